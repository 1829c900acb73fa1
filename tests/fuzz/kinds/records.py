"""Edited benchmark records and manifests through `bench compare`, `bench report` and `inspect`."""

import json
from functools import cache, partial
from pathlib import Path
from random import Random
from typing import Any

from fuzz.case import Case, damage, edit_tree
from fuzz.kinds.images import network

_ROOT = Path(__file__).parents[3]
_MODEL = "imdn-rtc_x2_720x480_fp16"


@cache
def _host_record() -> str:
    """What `edgesr bench --on host` recorded of this project's files."""
    recorded = json.loads((_ROOT / "benchmarks" / "results" / "host.json").read_text())
    return json.dumps(recorded["parts"]["cpu"])


@cache
def _model_file(suffix: str) -> bytes:
    return (_ROOT / "tflite_models" / f"{_MODEL}{suffix}").read_bytes()


def make(rng: Random) -> Case:
    """A record or manifest, most often bad, and the command on it."""
    if rng.random() < 0.3:
        files = {"m.tflite": _model_file(".tflite"), "m.json": _edited(_model_file(".json"), rng)}
        shown = rng.choice(("--json", "--manifest"))
        return Case(["inspect", "m.tflite", shown], files)
    good = _host_record().encode()
    bad = _contradicting(rng) if rng.random() < 0.2 else _edited(good, rng)
    files = {"a.json": good, "b.json": bad}
    if rng.random() < 0.4:
        return Case(["bench", "report", "b.json", "-o", "page.html"], files)
    words = ["bench", "compare", *rng.sample(["a.json", "b.json"], 2)]
    words += rng.choice(([], ["--across"], ["--json"], ["--max-regression", "5%"]))
    return Case(words, files, partial(_check, bad))


def _edited(content: bytes, rng: Random) -> bytes:
    """JSON with a few other values, deeply nested, or damaged."""
    choice = rng.random()
    if choice < 0.1:
        depth = rng.choice((900, 200_000))
        return rng.choice((b"[" * depth, b'{"a":' * depth, b"[" * depth + b"]" * depth))
    if choice < 0.25:
        return damage(content, rng)
    if choice < 0.3:
        return rng.choice(
            (b"", b"null", b"[]", b"{}", b"\xff\xfe{}", network(), b"NaN", b"1" * 5000)
        )
    tree = json.loads(content)
    for _ in range(rng.choice((1, 1, 3))):
        edit_tree(tree, rng)
    return json.dumps(tree).encode()


def _contradicting(rng: Random) -> bytes:
    """A record of which the samples and the summary say different things."""
    record: Any = json.loads(_host_record())
    case = rng.choice(record["cases"])
    match rng.randrange(4):
        case 0:
            case["samples_ms"] = [2 * value for value in case["samples_ms"]]
        case 1:
            case["summary"]["median_ms"] *= 3
        case 2:
            case["summary"]["runs"] += 5
        case _:
            case["summary"]["min_ms"] = case["summary"]["max_ms"] + 1
    return json.dumps(record).encode()


def _check(content: bytes, _: Path, out: str) -> list[str]:
    """What was compared agrees with itself."""
    found = [f"{word} was printed" for word in ("nan", "inf ", "e+3") if word in out]
    for case in json.loads(content)["cases"]:
        ordered = sorted(case["samples_ms"])
        middle = (ordered[len(ordered) // 2] + ordered[(len(ordered) - 1) // 2]) / 2
        if abs(middle - case["summary"]["median_ms"]) > 0.01 * middle:
            found.append(f"median {case['summary']['median_ms']} of samples around {middle}")
        if len(ordered) != case["summary"]["runs"]:
            found.append(f"{case['summary']['runs']} runs with {len(ordered)} samples")
    return found
