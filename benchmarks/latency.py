"""Latency of edgesr's files against the published timing file and litert-torch's, in one run.

    python benchmarks/latency.py --json benchmarks/results/latency_cpu.json

The runs are interleaved (A B C A B C ...), so that a drift of the machine's speed affects all
alike; the ratio is the median of the ratios per round. All run on the same runtime with the same
threads.
"""

import argparse
import json
import os
import platform
import tempfile
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from peers import LITERT_TORCH, convert_with_litert_torch
from rich.console import Console
from rich.table import Table

from converters.parity.test_inputs import shared_photos
from converters.pipeline import convert, default_outputs
from converters.source import checkpoint_source
from converters.spec import ConversionSpec, Precision
from edgesr.benchmark.timing import time_interleaved
from edgesr.networks.reparam import fold
from edgesr.networks.spec import find_spec
from edgesr.runtime.session import open_model
from edgesr.weights.checkpoints import LoadedCheckpoint, load
from edgesr.weights.download import published_checkpoint

PUBLISHED = Path("reference/imdn_rtc_time.tflite")

_WARM_UP = 1


@dataclass(frozen=True)
class Timing:
    """One file's latency in milliseconds, and its ratio to the first file of the group."""

    model: str
    file: str
    rounds: int
    median_ms: float
    p90_ms: float
    min_ms: float
    ratio_of_edgesr_to_this: float


def main() -> None:
    """Convert, measure in interleaved rounds, print a table and write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--models", default="rtc,fmen-s")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    timings: list[Timing] = []
    for model in arguments.models.split(","):
        with tempfile.TemporaryDirectory() as scratch:
            files = converted_files(load(published_checkpoint(find_spec(model))), Path(scratch))
            rounds = arguments.rounds if model == "rtc" else max(5, arguments.rounds // 5)
            timings += measure(model, files, arguments.threads, rounds)
    show(timings)
    if arguments.json:
        record = {"conditions": conditions(arguments), "timings": [asdict(t) for t in timings]}
        arguments.json.write_text(json.dumps(record, indent=2) + "\n")


def converted_files(checkpoint: LoadedCheckpoint, folder: Path) -> dict[str, Path]:
    """Convert with edgesr and litert-torch; add the published file where there is one."""
    spec = ConversionSpec(precisions=(Precision.FP32, Precision.FP16))
    source = checkpoint_source(checkpoint, spec.height, spec.width)
    outputs = default_outputs(source, spec, folder)
    convert(source, spec, outputs, images=shared_photos())
    weights, peer = folder / "plain.pt", folder / "litert_torch.tflite"
    torch.save(fold(checkpoint.net).state_dict(), weights)
    name = checkpoint.spec.name
    convert_with_litert_torch(name, weights, spec.height, spec.width, peer)
    files = {f"edgesr {p}": path for p, path in outputs.items()}
    files[LITERT_TORCH.replace("==", " ")] = peer
    published = (shared_photos() or Path("x/x")).parent.parent / PUBLISHED
    if name == "imdn-rtc" and published.is_file():
        files["published imdn_rtc_time.tflite"] = published
    return files


def measure(model: str, files: dict[str, Path], threads: int, rounds: int) -> list[Timing]:
    """Time the files in interleaved rounds, one image each, after one warm-up round."""
    runners = [open_model(file, threads=threads) for file in files.values()]
    taken_ms = time_interleaved(runners, runs=rounds, warm_up=_WARM_UP).T
    return [
        Timing(
            model,
            name,
            rounds,
            float(np.median(values)),
            float(np.quantile(values, 0.9)),
            float(values.min()),
            float(np.median(taken_ms[0] / values)),
        )
        for name, values in zip(files, taken_ms, strict=True)
    ]


def conditions(arguments: argparse.Namespace) -> dict[str, object]:
    """Conditions of the measurements."""
    return {
        "threads": arguments.threads,
        "warm_up_rounds": _WARM_UP,
        "size": "720x480",
        "runtime": f"ai-edge-litert {version('ai-edge-litert')}, XNNPACK, FP32 arithmetic",
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs",
        "python": platform.python_version(),
    }


def show(timings: list[Timing]) -> None:
    """Print the table."""
    table = Table("model", "file", "median ms", "p90 ms", "min ms", "edgesr fp32 / this")
    for t in timings:
        row = [f"{v:.1f}" for v in (t.median_ms, t.p90_ms, t.min_ms)]
        table.add_row(t.model, t.file, *row, f"{t.ratio_of_edgesr_to_this:.3f}")
    Console().print(table)


if __name__ == "__main__":
    main()
