"""Wall time and peak memory of whole `edgesr convert` commands, parity run included.

    python benchmarks/convert_cost.py --json benchmarks/results/convert_cost.json
    python benchmarks/convert_cost.py --memory --models "" --checkpoint IMDN_x2.pth \
        --json benchmarks/results/convert_memory.json

Each peak is recorded with the prediction of `converters.memory`, which must be more but not much
more. Seconds depend on the machine's other load, memory does not: `--memory` leaves the seconds
out, and keeps the record's commands that are not measured again.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from converters.memory import predicted_bytes
from converters.source import checkpoint_source
from edgesr.networks.spec import find_spec
from edgesr.weights.bundled import bundled_checkpoint
from edgesr.weights.checkpoints import LoadedCheckpoint, load


@dataclass(frozen=True)
class Cost:
    """Time and memory (resident set, all children included) of one command."""

    command: str
    seconds: float | None
    peak_gib: float
    predicted_gib: float


def main() -> None:
    """Measure each conversion in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", default="rtc,fmen-s", help="names, with commas; may be empty")
    parser.add_argument("--checkpoint", type=Path, action="append", default=[])
    parser.add_argument("--sizes", default="720x480")
    parser.add_argument("--memory", action="store_true", help="leave the seconds out")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    sources = [(["--model", name], bundled(name)) for name in arguments.models.split(",") if name]
    sources += [(["--checkpoint", str(path)], load(path)) for path in arguments.checkpoint]
    costs = recorded(arguments.json) if arguments.memory else {}
    for words, checkpoint in sources:
        for size in arguments.sizes.split(","):
            cost = measure(
                ["convert", *words, "--fp16", "--size", size], predicted(checkpoint, size)
            )
            costs[cost.command] = replace(cost, seconds=None) if arguments.memory else cost
            if arguments.json:
                _write(arguments.json, list(costs.values()), memory=arguments.memory)
    _show(list(costs.values()))


def recorded(path: Path | None) -> dict[str, Cost]:
    """Read the entries of an existing record by their commands."""
    if path is None or not path.is_file():
        return {}
    costs = [Cost(**entry) for entry in json.loads(path.read_bytes())["costs"]]
    return {cost.command: cost for cost in costs}


def _show(costs: Sequence[Cost]) -> None:
    table = Table("command", "seconds", "peak GiB", "predicted GiB")
    for cost in costs:
        seconds = "-" if cost.seconds is None else f"{cost.seconds:.1f}"
        table.add_row(cost.command, seconds, f"{cost.peak_gib:.2f}", f"{cost.predicted_gib:.2f}")
    Console().print(table)


def bundled(name: str) -> LoadedCheckpoint:
    """Load the weights that `--model` alone selects."""
    spec = find_spec(name)
    return load(bundled_checkpoint(spec), spec.name, spec.scale)


def predicted(checkpoint: LoadedCheckpoint, size: str) -> float:
    """Predicted peak memory of a conversion in GiB."""
    height, width = map(int, size.split("x"))
    source = checkpoint_source(checkpoint, height, width)
    return predicted_bytes(source, height, width) / 2**30


def _write(path: Path, costs: Sequence[Cost], *, memory: bool) -> None:
    conditions = {"machine": f"{platform.machine()}, {os.cpu_count()} CPUs", "runs": 1}
    if memory:
        conditions["note"] = "memory alone: other work may have run beside it"
    record = {"conditions": conditions, "costs": [asdict(cost) for cost in costs]}
    path.write_text(json.dumps(record, indent=2) + "\n")


def measure(words: list[str], predicted_gib: float) -> Cost:
    """Run one command in a scratch folder and watch its memory."""
    with tempfile.TemporaryDirectory() as scratch:
        start = time.perf_counter()
        launch = [sys.executable, "-c", "from edgesr.cli import main; main()", *words]
        process = psutil.Popen([*launch, "--output", scratch], stdout=subprocess.DEVNULL)
        peak = [0.0]
        watcher = threading.Thread(target=_watch, args=(process, peak))
        watcher.start()
        status = process.wait()
        watcher.join()
        seconds = time.perf_counter() - start
    if status:
        sys.exit(f"edgesr {' '.join(words)} failed with status {status}")
    shown = (Path(word).name for word in words)  # of a checkpoint, not where it lies here
    return Cost(f"edgesr {' '.join(shown)}", seconds, peak[0] / 2**30, predicted_gib)


def _watch(process: psutil.Popen, peak: list[float]) -> None:
    """Sample the resident memory of a process and its children until it ends."""
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        try:
            family = [process, *process.children(recursive=True)]
            peak[0] = max(peak[0], sum(p.memory_info().rss for p in family))
        except psutil.NoSuchProcess:
            pass
        time.sleep(0.05)


if __name__ == "__main__":
    main()
