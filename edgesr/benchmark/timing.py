"""Timing several models in interleaved rounds.

A drift of the machine's speed then hits all alike.
"""

import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgesr.common.progress import ProgressCallback, silent
from edgesr.runtime.session import Runner

Float64Array = NDArray[np.float64]


def time_interleaved(
    runners: Sequence[Runner],
    *,
    runs: int,
    warm_up: int,
    budget_s: float | None = None,
    progress: ProgressCallback = silent,
) -> Float64Array:
    """Run models in interleaved rounds: A B C A B C ...

    Args:
        runners: The models.
        runs: Timed runs of each.
        warm_up: Runs of each before.
        budget_s: Begin no turn of timed runs after that time, but for the first; None for no limit.
        progress: Told of every turn.

    Returns:
        Turns x models: milliseconds of each run, copying the image in and out included; one
        mid-grey image of the model's size.
    """
    inputs = [np.full(runner.shape.lr_nhwc, 0.5, np.float32) for runner in runners]
    taken_ms: list[list[float]] = []
    end = None
    for turn in range(warm_up + runs):
        if turn == warm_up and budget_s is not None:
            end = time.monotonic() + budget_s
        if turn > warm_up and end is not None and time.monotonic() > end:
            break
        progress("run", turn, warm_up + runs)
        taken_ms.append([])
        for runner, lr_nhwc in zip(runners, inputs, strict=True):
            start = time.perf_counter()
            runner.run(lr_nhwc)
            taken_ms[-1].append(1e3 * (time.perf_counter() - start))
    return np.asarray(taken_ms[warm_up:])
