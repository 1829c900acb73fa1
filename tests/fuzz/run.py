"""Runs seeded bad inputs through the command line, judges each, and prints a table.

Usage: python -m fuzz.run [--seed S] [--count N] [--kinds A,B] [--case K] [--jobs J] [--keep DIR]
A case is named by its kind, seed and number alone. The exit status is 1 on any finding.
"""

import argparse
import importlib
import shlex
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from random import Random

from fuzz.case import Case
from fuzz.runner import Runner

_LIGHT = (
    *("numpy", "PIL.PngImagePlugin", "PIL.JpegImagePlugin", "PIL.WebPImagePlugin", "imagecodecs"),
    *("ai_edge_litert.interpreter", "ai_edge_litert.compiled_model", "rich.table"),
    *("edgesr.cli.upscale", "edgesr.cli.metrics", "edgesr.cli.inspect", "edgesr.cli.bench"),
    *("edgesr.upscaling.upscaler", "edgesr.upscaling.files", "edgesr.runtime.session"),
    *("edgesr.benchmark.compare", "android_bench.benchmark_model.parse", "converters.gpu.audit"),
)
_HEAVY = (
    *_LIGHT,
    *("torch", "safetensors.torch", "onnx", "onnxruntime", "edgesr.weights.checkpoints"),
)
#: Kind of input -> what its commands import, and its share of all cases.
KINDS: dict[str, tuple[Sequence[str], int]] = {
    "images": (_LIGHT, 7),
    "tflite_files": (_LIGHT, 6),
    "records": (_LIGHT, 2),
    "logs": (_LIGHT, 3),
    "command_words": (_LIGHT, 2),
    "surroundings": (_LIGHT, 1),
    "special_files": (_LIGHT, 1),
    "checkpoints": (_HEAVY, 3),
    "onnx_files": (_HEAVY, 2),
    "recipes": (_HEAVY, 1),
}


@dataclass(frozen=True)
class Name:
    """The name of a case."""

    kind: str
    seed: int
    number: int

    def case(self) -> Case:
        """The case, always the same."""
        rng = Random(f"{self.kind} {self.seed} {self.number}")
        return importlib.import_module(f"fuzz.kinds.{self.kind}").make(rng)

    def __str__(self) -> str:
        return f"--kinds {self.kind} --seed {self.seed} --case {self.number}"


class Runners:
    """Runs cases on any number of threads, each with servers of its own, in a temporary folder.

    Args:
        keep: Folder that receives the inputs and the output of each case.
    """

    def __init__(self, keep: Path | None = None) -> None:
        self._keep = keep
        self._folder = tempfile.TemporaryDirectory(prefix="fuzz-")
        self._mine, self._all = threading.local(), list[Runner]()

    def __enter__(self) -> "Runners":
        return self

    def __exit__(self, *_: object) -> None:
        for runner in self._all:
            runner.close()
        self._folder.cleanup()

    def run(self, name: Name) -> list[tuple[str, str]]:
        """Run a case: kinds of findings, each with what exactly."""
        known: dict[Sequence[str], Runner] = self._mine.__dict__
        modules = KINDS[name.kind][0]
        if modules not in known:
            known[modules] = Runner(modules, Path(self._folder.name))
            self._all.append(known[modules])
        folder = f"{name.kind}-{name.seed}-{name.number}"
        return known[modules].run(name.case(), folder, self._keep)


def choose(kinds: Sequence[str], seed: int, count: int) -> list[Name]:
    """So many cases of these kinds, by their shares, at least one each."""
    shares = sum(KINDS[kind][1] for kind in kinds)
    return [
        Name(kind, seed, number)
        for kind in kinds
        for number in range(max(1, round(count * KINDS[kind][1] / shares)))
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the arguments name; the exit status."""
    parser = argparse.ArgumentParser(prog="fuzz.run", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=200, help="of all kinds together")
    parser.add_argument("--kinds", default=",".join(KINDS), help="default: %(default)s")
    parser.add_argument("--case", type=int, help="only this one, of one kind")
    parser.add_argument("--jobs", type=int, default=1, help="cases at a time")
    parser.add_argument("--keep", type=Path, help="folder for inputs and output of each case")
    given = parser.parse_args(arguments)
    names = choose(given.kinds.split(","), given.seed, given.count)
    if given.case is not None:
        names = [Name(kind, given.seed, given.case) for kind in given.kinds.split(",")]
    counts = {name.kind: Counter[str]() for name in names}
    with Runners(given.keep) as runners, ThreadPoolExecutor(given.jobs) as pool:
        for done, (name, found) in enumerate(
            zip(names, pool.map(runners.run, names), strict=True), 1
        ):
            counts[name.kind]["cases"] += 1
            counts[name.kind].update({what for what, _ in found})
            for what, detail in found:
                words = shlex.join(name.case().words)[:200]
                print(f"{what}: {detail}\n    {name}\n    edgesr {words}", flush=True)
            if done % 100 == 0:
                print(f"{done} of {len(names)}", file=sys.stderr, flush=True)
    print(table(counts))
    return 1 if any(kind.keys() - {"cases"} for kind in counts.values()) else 0


def table(counts: dict[str, Counter[str]]) -> str:
    """Kinds of input, their cases, and the findings of each kind that there were."""
    whats = sorted({what for kind in counts.values() for what in kind} - {"cases"})
    head = f"{'':16}{'cases':>8}" + "".join(f"  {what}" for what in whats)
    rows = [
        f"{kind:16}{found['cases']:8}" + "".join(f"  {found[w]:{len(w)}}" for w in whats)
        for kind, found in counts.items()
    ]
    total = sum((found for found in counts.values()), Counter[str]())
    last = f"{'together':16}{total['cases']:8}" + "".join(f"  {total[w]:{len(w)}}" for w in whats)
    return "\n".join([head, *rows, last])


if __name__ == "__main__":
    sys.exit(main())
