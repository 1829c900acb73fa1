"""How long one run of a file takes on this machine's CPU."""

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgesr.runtime import open_model

Float64Array = NDArray[np.float64]


def measure_latencies(
    files: Sequence[Path], *, threads: int, rounds: int, warm_up: int
) -> list[Float64Array]:
    """Run files in turns (A B C A B C ...), so that a drift of the machine's speed hits all alike.

    Args:
        files: Super-resolution files.
        threads: CPU threads of each.
        rounds: Timed runs of each.
        warm_up: Runs of each before.

    Returns:
        For each file, milliseconds of each run: one mid-grey picture, FP32 arithmetic.

    Raises:
        ModelFileError: A file is unreadable, or not a super-resolution model.
    """
    runners = [open_model(file, threads=threads) for file in files]
    inputs = [np.full(runner.shape.lr_nhwc, 0.5, np.float32) for runner in runners]
    taken_ms = np.empty((len(files), warm_up + rounds))
    for turn in range(warm_up + rounds):
        for index, (runner, lr_nhwc) in enumerate(zip(runners, inputs, strict=True)):
            start = time.perf_counter()
            runner.run(lr_nhwc)
            taken_ms[index, turn] = 1e3 * (time.perf_counter() - start)
    return list(taken_ms[:, warm_up:])
