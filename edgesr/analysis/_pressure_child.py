"""Upscales one picture of one size in a process of its own: how long, and how much memory.

`python -m edgesr.analysis._pressure_child JSON` takes `PressureTask` as JSON and prints as its last
line one JSON object: what was measured, `too_large`, or `error`.
"""

import json
import re
import resource
import statistics
import sys
import time
from pathlib import Path

import numpy as np

from edgesr.analysis.pressure_task import PressureTask
from edgesr.errors import EdgeSRError, ModelFileError
from edgesr.evaluation.contestants import Contestant, network, whole_tflite
from edgesr.runtime import Backend

_SMALL = 32  # pixels of the picture that brings the libraries and their threads into memory
_REFUSED = "memory for it was refused"
_MEMORY = re.compile(r"alloc|memory", re.IGNORECASE)


def main() -> None:
    """Measure, and print."""
    task = PressureTask(**json.loads(sys.argv[1]))
    try:
        answer = _measure(task, _contestant(task))
    except EdgeSRError as error:
        answer = {"error": str(error)}
    sys.stdout.write(f"\n{json.dumps(answer)}\n")


def _contestant(task: PressureTask) -> Contestant:
    path = Path(task.file)
    if path.suffix.lower() == ".tflite":
        return whole_tflite(task.file, path, Backend.CPU, task.threads)
    import torch

    from edgesr.checkpoints import load

    torch.set_num_threads(task.threads)
    return network(task.file, load(path))


def _measure(task: PressureTask, contestant: Contestant) -> dict[str, object]:
    contestant.upscale(np.full((_SMALL, _SMALL, 3), 128, np.uint8))
    before = _status_bytes("VmRSS")
    limited = _limit_memory(task.limit_bytes)
    try:
        times_ms = _times(task, contestant)
    except MemoryError:
        return {"too_large": _REFUSED}
    except RuntimeError as error:
        if not _MEMORY.search(str(error)):
            raise
        return {"too_large": _REFUSED}
    except ModelFileError as error:
        # It was loaded at a small size, and every operator of it takes any: it is the memory.
        if not limited:
            raise
        return {"too_large": f"{_REFUSED} ({error})"}
    return {
        "median_ms": statistics.median(times_ms),
        "runs": len(times_ms),
        "base_bytes": before,
        "peak_bytes": _status_bytes("VmHWM"),
    }


def _times(task: PressureTask, contestant: Contestant) -> list[float]:
    """Milliseconds of each run but the first, which also makes the network ready for the size."""
    lr_hwc_u8 = np.full((task.side, task.side, 3), 128, np.uint8)
    contestant.upscale(lr_hwc_u8)
    end = time.monotonic() + task.budget_s
    times_ms: list[float] = []
    for _ in range(task.runs):
        if times_ms and time.monotonic() > end:
            break
        start = time.perf_counter()
        contestant.upscale(lr_hwc_u8)
        times_ms.append(1e3 * (time.perf_counter() - start))
    return times_ms


def _limit_memory(limit_bytes: int | None) -> bool:
    """Let this process's memory grow to the limit, and no further; whether there is a limit.

    Linux limits addresses, of which libraries reserve many more than they use: what is reserved
    already is granted on top.
    """
    used, reserved = _status_bytes("VmRSS"), _status_bytes("VmSize")
    if limit_bytes is None or used is None or reserved is None:
        return False
    wanted = reserved + max(0, limit_bytes - used)
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if hard == resource.RLIM_INFINITY or wanted < hard:
        resource.setrlimit(resource.RLIMIT_AS, (wanted, hard))
    return True


def _status_bytes(field: str) -> int | None:
    """A size that Linux tells of this process; None on other systems."""
    try:
        text = Path("/proc/self/status").read_text()
    except OSError:
        return None
    found = re.search(rf"^{field}:\s+(\d+) kB", text, re.MULTILINE)
    return 1024 * int(found[1]) if found else None


if __name__ == "__main__":
    main()
