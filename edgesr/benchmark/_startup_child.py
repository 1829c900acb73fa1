"""Start-up time and memory of a `.tflite` in its own process.

`python -m edgesr.benchmark._startup_child FILE BACKEND THREADS RUNS` prints as its last line one
JSON object: milliseconds and bytes, or `error`.
"""

import json
import os
import re
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from edgesr.common.litert import require_litert
from edgesr.errors import EdgeSRError
from edgesr.runtime.interpreter import interpreter_class
from edgesr.runtime.session import Backend, open_model

T = TypeVar("T")


def main() -> None:
    """Measure, and print."""
    file, backend, threads, runs = sys.argv[1:]
    try:
        answer = _measure(Path(file), Backend(backend), int(threads) or None, int(runs))
    except EdgeSRError as error:
        answer = {"error": str(error)}
    sys.stdout.write(f"\n{json.dumps(answer)}\n")


def _measure(
    file: Path, backend: Backend, threads: int | None, runs: int
) -> dict[str, float | int | None]:
    _import_runtime(backend)
    cold_ms, runner = _timed(lambda: open_model(file, backend, threads=threads))
    lr_nhwc = np.full(runner.shape.lr_nhwc, 0.5, np.float32)
    first_ms, _ = _timed(partial(runner.run, lr_nhwc))
    for _ in range(runs):
        runner.run(lr_nhwc)
    peak = _peak_bytes()  # before a second copy is opened
    runner.close()
    runner = None  # lets go of its memory
    warm_ms, again = _timed(lambda: open_model(file, backend, threads=threads))
    again.close()
    return {"cold_ms": cold_ms, "first_ms": first_ms, "warm_ms": warm_ms, "peak_bytes": peak}


def _import_runtime(backend: Backend) -> None:
    """Import the runtime, whose cost is the same for every file."""
    if backend is Backend.CPU:
        interpreter_class()
    else:
        require_litert(f"the backend {backend}")


def _timed(work: Callable[[], T]) -> tuple[float, T]:
    start = time.perf_counter()
    result = work()
    return 1e3 * (time.perf_counter() - start), result


def _peak_bytes() -> int | None:
    """Largest resident sizes of this process and its running children, summed.

    Not ru_maxrss: Linux lets a process inherit that from the one that started it.
    """
    try:
        tasks = Path("/proc/self/task").iterdir()
        children = [pid for task in tasks for pid in (task / "children").read_text().split()]
        texts = [Path(f"/proc/{pid}/status").read_text() for pid in [os.getpid(), *children]]
    except OSError:
        return None
    found = [re.search(r"^VmHWM:\s+(\d+) kB", text, re.MULTILINE) for text in texts]
    return 1024 * sum(int(match[1]) for match in found if match) if all(found) else None


if __name__ == "__main__":
    main()
