"""How long one run of a file takes on this machine's CPU."""

from collections.abc import Sequence
from pathlib import Path

from edgesr.benching.turns import Float64Array, time_in_turns
from edgesr.runtime import open_model

__all__ = ["Float64Array", "measure_latencies"]


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
    return list(time_in_turns(runners, runs=rounds, warm_up=warm_up).T)
