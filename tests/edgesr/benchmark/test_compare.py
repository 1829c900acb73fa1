"""`edgesr bench compare` on records made by hand."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgesr.benchmark.compare import ratio_interval
from edgesr.benchmark.record import (
    FileFacts,
    GpuFacts,
    HostCase,
    HostConditions,
    HostMachine,
    HostRecord,
    HostSetting,
    HostSummary,
)
from edgesr.benchmark.summary import run_statistics
from edgesr.runtime.session import Backend
from helpers.commands import Ran, run_here

SOFTWARE = GpuFacts(adapter="S", api="Vulkan", software=True, driver="d", precision="fp32")
Compare = Callable[..., Ran]


def samples(median_ms: float, *, seed: int, count: int = 60, spread: float = 0.05) -> list[float]:
    random = np.random.default_rng(seed)
    return list(map(float, median_ms * (1 + spread * random.standard_normal(count))))


def write(
    path: Path,
    samples_ms: list[float],
    *,
    sha256: str = "a" * 64,
    processor: str = "P",
    threads: int | None = 2,
    gpu: GpuFacts | None = None,
) -> Path:
    """A record of one file."""
    start = dict.fromkeys(("cold_init_ms", "warm_init_ms", "first_ms", "peak_mb"), 1.0)
    record = HostRecord(
        created_at="2026-01-01T00:00:00+00:00",
        edgesr="0",
        host="Linux x86_64",
        files=(FileFacts(name="a.tflite", sha256=sha256, size_bytes=1),),
        machine=HostMachine(
            processor=processor,
            cpus=2,
            python="3",
            runtime="r 1",
            load_before=0.0,
            load_after=1.0,
        ),
        conditions=HostConditions(runs=len(samples_ms), warm_up_runs=5, budget_s=None),
        cases=(
            HostCase(
                file="a.tflite",
                setting=HostSetting(backend=Backend.GPU if gpu else Backend.CPU, threads=threads),
                gpu=gpu,
                summary=HostSummary(**run_statistics(samples_ms, samples_ms), **start),
                samples_ms=tuple(samples_ms),
                notes=(),
            ),
        ),
    )
    path.write_text(record.model_dump_json())
    return path


@pytest.fixture
def compare(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Compare:
    """The command."""
    return lambda *words: run_here(monkeypatch, capsys, "bench", "compare", *words)


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """The first record: 100 ms."""
    return write(tmp_path / "old.json", samples(100, seed=1))


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    """Of 60 pairs with no difference, about 57 intervals hold 1; with fewer than 51 it lies."""
    holding = 0
    for seed in range(60):
        low, high = ratio_interval(samples(1, seed=2 * seed), samples(1, seed=2 * seed + 1))
        holding += low <= 1 <= high
    assert holding >= 51


def test_the_same_records_give_the_same_interval_and_no_difference(
    compare: Compare, old: Path
) -> None:
    first, second = (compare(old, old, "--json") for _ in range(2))
    assert first.status == 0, first.err
    assert first.out == second.out
    found = json.loads(first.out)
    assert (found["resamples"], found["seed"]) == (10_000, 0)
    (only,) = found["comparisons"]
    assert only["ratio"] == 1.0
    assert only["interval"][0] <= 1 <= only["interval"][1]
    assert only["verdict"] == "no difference shown"


@pytest.mark.parametrize(
    ("median_ms", "status", "verdict"),
    [
        pytest.param(110, 1, "slower", id="10 % slower"),
        pytest.param(103, 0, "slower", id="3 % slower"),
        pytest.param(90, 0, "faster", id="faster"),
    ],
)
def test_ci_fails_beyond_what_is_allowed(
    compare: Compare, old: Path, tmp_path: Path, median_ms: float, status: int, verdict: str
) -> None:
    new = write(tmp_path / "new.json", samples(median_ms, seed=3, spread=0.01))
    ran = compare(old, new, "--max-regression", "5%")
    assert ran.status == status, ran.err
    assert verdict in ran.out
    if status:
        ran.fails_alone_on_stderr("a.tflite with cpu 2 threads on P takes 1.", "allowed 1.050")


def test_what_is_slower_by_chance_does_not_fail(
    compare: Compare, old: Path, tmp_path: Path
) -> None:
    new = write(tmp_path / "new.json", samples(102, seed=5, spread=0.5))
    ran = compare(old, new, "--max-regression", "0%")
    assert ran.status == 0, ran.err
    assert "no difference shown" in ran.out


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        pytest.param({"sha256": "b" * 64}, "file", id="file"),
        pytest.param({"processor": "Q"}, "device", id="device"),
        pytest.param({"threads": 1}, "setting", id="setting"),
    ],
)
def test_what_does_not_belong_together_is_refused_unless_told(
    compare: Compare, old: Path, tmp_path: Path, changed: dict[str, Any], word: str
) -> None:
    new = write(tmp_path / "new.json", samples(100, seed=2), **changed)
    compare(old, new).fails_alone(f"differ in their {word}", "--across")
    ran = compare(old, new, "--across")
    assert ran.status == 0, ran.err


def test_a_software_device_is_compared_with_no_cpu(
    compare: Compare, old: Path, tmp_path: Path
) -> None:
    new = write(tmp_path / "new.json", samples(100, seed=2), threads=None, gpu=SOFTWARE)
    compare(old, new, "--across").fails_alone("software device", "compared with nothing else")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param(None, ("cannot read",), id="missing"),
        pytest.param("{", ("is no record",), id="no JSON"),
        pytest.param("[1]", ("is no record",), id="a list"),
        pytest.param(
            '{"on": "moon"}', ("'moon'", "allowed android, browser, host"), id="elsewhere"
        ),
        pytest.param('{"on": "host"}', ("damaged: created_at: missing",), id="keys missing"),
        pytest.param('{"on": ["host"]}', ("['host']",), id="wrong type"),
    ],
)
def test_what_is_no_record(
    compare: Compare, old: Path, tmp_path: Path, text: str | None, words: tuple[str, ...]
) -> None:
    bad = tmp_path / "bad.json"
    if text is not None:
        bad.write_text(text)
    compare(old, bad).fails_alone("bad.json", *words)


@pytest.mark.parametrize("share", ["5 percent", "-1%", "2000%", "nan"])
def test_a_share_that_is_none(compare: Compare, old: Path, share: str) -> None:
    compare(old, old, f"--max-regression={share}").is_wrong_usage("allowed 0% to 1000%")


def _changed(text: str, **changes: object) -> str:
    """A record in which keys of the one case's summary, or the samples, are others."""
    record = json.loads(text)
    (case,) = record["cases"]
    if "samples_ms" in changes:
        case["samples_ms"] = changes.pop("samples_ms")
    case["summary"] |= changes
    return json.dumps(record)


@pytest.mark.parametrize("command", ["compare", "report"])
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param({"doubled": True}, ("contradicts itself", "median_ms"), id="samples doubled"),
        pytest.param({"samples_ms": [100.0]}, ("contradicts itself", "runs"), id="samples lost"),
        pytest.param({"samples_ms": []}, ("contradicts itself",), id="no samples"),
        pytest.param({"runs": 51}, ("contradicts itself", "runs is 51"), id="another count"),
        pytest.param({"p95_ms": 1.0}, ("contradicts itself", "p95_ms"), id="another percentile"),
        pytest.param({"frames_per_second": 9.0}, ("frames_per_second",), id="another rate"),
        pytest.param({"first_ms": math.nan}, ("damaged", "first_ms is nan"), id="no number"),
        pytest.param({"first_ms": -5e300}, ("damaged", "first_ms is -5e+300"), id="negative"),
        pytest.param({"peak_mb": 1e300}, ("damaged", "peak_mb is 1e+300"), id="too much"),
        pytest.param(
            {"median_ms": "fast"}, ("median_ms: got 'fast', allowed a number",), id="text"
        ),
        pytest.param(
            {"median_ms": "9.5"}, ("median_ms: got '9.5', allowed a number",), id="quoted"
        ),
        pytest.param({"median_ms": None}, ("median_ms: got None, allowed a number",), id="null"),
    ],
)
def test_a_record_that_cannot_be_true_is_refused(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    old: Path,
    tmp_path: Path,
    command: str,
    changes: dict[str, object],
    words: tuple[str, ...],
) -> None:
    text = old.read_text()
    if changes == {"doubled": True}:
        changes = {"samples_ms": [2 * one for one in json.loads(text)["cases"][0]["samples_ms"]]}
    bad = tmp_path / "bad.json"
    bad.write_text(_changed(text, **changes))
    page = ["-o", tmp_path / "page.html"] if command == "report" else []
    run_here(monkeypatch, capsys, "bench", command, old, bad, *page).fails_alone("bad.json", *words)
    assert not (tmp_path / "page.html").exists()
