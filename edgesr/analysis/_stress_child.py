"""Measure time and memory of upscaling one image size, in a process of its own.

`python -m edgesr.analysis._stress_child JSON` reads a `StressTask` and prints as its last line
one JSON object: the measurements, `too_large`, or `error`.
"""

import json
import re
import statistics
import sys
import time
from pathlib import Path

import numpy as np

from edgesr.analysis.stress_test import StressTask
from edgesr.errors import EdgeSRError, ModelFileError
from edgesr.evaluation.methods import Method, network, whole_tflite
from edgesr.runtime.session import Backend

_SMALL = 32  # side of the warm-up image, after which libraries and threads are in memory
_REFUSED = "memory for it was refused"
_MEMORY = re.compile(r"alloc|memory", re.IGNORECASE)


def main() -> None:
    """Measure one task and print the result."""
    task = StressTask(**json.loads(sys.argv[1]))
    try:
        answer = _measure(task, _method(task))
    except EdgeSRError as error:
        answer = {"error": str(error)}
    sys.stdout.write(f"\n{json.dumps(answer)}\n")


def _method(task: StressTask) -> Method:
    path = Path(task.file)
    if path.suffix.lower() == ".tflite":
        return whole_tflite(task.file, path, Backend.CPU, task.threads)
    from edgesr.weights.checkpoints import load

    return network(task.file, load(path), task.threads)


def _measure(task: StressTask, method: Method) -> dict[str, object]:
    method.upscale(np.full((_SMALL, _SMALL, 3), 128, np.uint8))
    before = _status_bytes("VmRSS")
    limited = _limit_memory(task.limit_bytes)
    try:
        times_ms = _times(task, method)
    except MemoryError:
        return {"too_large": _REFUSED}
    except RuntimeError as error:
        if not _MEMORY.search(str(error)):
            raise
        return {"too_large": _REFUSED}
    except ModelFileError as error:
        # It was loaded at a small size, and its operators accept every size: memory ran out.
        if not limited:
            raise
        return {"too_large": f"{_REFUSED} ({error})"}
    return {
        "median_ms": statistics.median(times_ms),
        "runs": len(times_ms),
        "base_bytes": before,
        "peak_bytes": _status_bytes("VmHWM"),
    }


def _times(task: StressTask, method: Method) -> list[float]:
    """Milliseconds of each run but the first, which also makes the network ready for the size."""
    lr_hwc_u8 = np.full((task.side, task.side, 3), 128, np.uint8)
    method.upscale(lr_hwc_u8)
    end = time.monotonic() + task.budget_s
    times_ms: list[float] = []
    for _ in range(task.runs):
        if times_ms and time.monotonic() > end:
            break
        start = time.perf_counter()
        method.upscale(lr_hwc_u8)
        times_ms.append(1e3 * (time.perf_counter() - start))
    return times_ms


def _limit_memory(limit_bytes: int | None) -> bool:
    """Limit this process's memory; return whether there is a limit.

    Linux limits address space, of which libraries reserve much more than they use: what is
    reserved already is added to the limit.
    """
    used, reserved = _status_bytes("VmRSS"), _status_bytes("VmSize")
    if limit_bytes is None or used is None or reserved is None:
        return False
    wanted = reserved + max(0, limit_bytes - used)
    import resource  # there are sizes above on Linux alone, which has it

    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if hard == resource.RLIM_INFINITY or wanted < hard:
        resource.setrlimit(resource.RLIMIT_AS, (wanted, hard))
    return True


def _status_bytes(field: str) -> int | None:
    """Read a size from Linux's status of this process; None on other systems."""
    try:
        text = Path("/proc/self/status").read_text()
    except OSError:
        return None
    found = re.search(rf"^{field}:\s+(\d+) kB", text, re.MULTILINE)
    return 1024 * int(found[1]) if found else None


if __name__ == "__main__":
    main()
