"""Wall time and peak memory of whole `edgesr convert` commands, parity run included.

python benchmarks/convert_cost.py --json benchmarks/results/convert_cost.json
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
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Cost:
    """What one command took; memory is the resident set of the command and all its children."""

    command: str
    seconds: float
    peak_gib: float


def main() -> None:
    """Measure each conversion in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", default="rtc,fmen-s")
    parser.add_argument("--sizes", default="720x480")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    costs = [
        measure(["convert", "--model", model, "--fp16", "--size", size])
        for model in arguments.models.split(",")
        for size in arguments.sizes.split(",")
    ]
    table = Table("command", "seconds", "peak GiB")
    for cost in costs:
        table.add_row(cost.command, f"{cost.seconds:.1f}", f"{cost.peak_gib:.2f}")
    Console().print(table)
    if arguments.json:
        machine = {"machine": f"{platform.machine()}, {os.cpu_count()} CPUs", "runs": 1}
        record = {"conditions": machine, "costs": [asdict(cost) for cost in costs]}
        arguments.json.write_text(json.dumps(record, indent=2) + "\n")


def measure(words: list[str]) -> Cost:
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
    return Cost(f"edgesr {' '.join(words)}", seconds, peak[0] / 2**30)


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
