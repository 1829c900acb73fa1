"""Numbers of a series of runs, and whether a record's numbers can be true."""

import math
from collections.abc import Mapping, Sequence
from typing import TypedDict, cast

import numpy as np
from numpy.typing import ArrayLike

from edgesr.common.text import shorten

#: Records are rounded by nobody; other machines sum in another order.
_TOLERANCE = 1e-6
#: End of a key -> smallest and largest value that anything measured has.
_PLAUSIBLE = {
    "_ms": (0.0, 1e9),
    "_s": (0.0, 1e8),
    "seconds": (0.0, 1e8),
    "_mb": (0.0, 1e7),
    "_kib": (0.0, 1e12),
    "_bytes": (0.0, 1e15),
    "_celsius": (-100.0, 300.0),
    "percent": (0.0, 101.0),
    "runs": (0.0, 1e9),
    "repeats": (0.0, 1e9),
    "count": (0.0, 1e9),
    "calls": (0.0, 1e9),
    "cpus": (1.0, 1e5),
    "threads": (1.0, 1e5),
    "load_before": (0.0, 1e6),
    "load_after": (0.0, 1e6),
    "per_second": (0.0, 1e9),
    "ratio_to_first": (0.0, 1e9),
    "points": (0.0, 1e9),
    "weight": (0.0, 1e9),
}


class RunStatistics(TypedDict):
    """Fields of `edgesr.benchmark.record.HostSummary` that follow from the samples."""

    runs: int
    median_ms: float
    mean_ms: float
    std_ms: float
    p90_ms: float
    p95_ms: float
    min_ms: float
    max_ms: float
    frames_per_second: float
    ratio_to_first: float


def run_statistics(samples_ms: ArrayLike, first_samples_ms: ArrayLike) -> RunStatistics:
    """Summarise the runs of a file.

    Args:
        samples_ms: Its runs in milliseconds, in order; at least one.
        first_samples_ms: As many of the file that ratios are to.
    """
    taken_ms, first_ms = np.asarray(samples_ms, float), np.asarray(first_samples_ms, float)
    median = float(np.median(taken_ms))
    return RunStatistics(
        runs=len(taken_ms),
        median_ms=median,
        mean_ms=float(taken_ms.mean()),
        std_ms=float(taken_ms.std()),
        p90_ms=float(np.quantile(taken_ms, 0.9)),
        p95_ms=float(np.quantile(taken_ms, 0.95)),
        min_ms=float(taken_ms.min()),
        max_ms=float(taken_ms.max()),
        frames_per_second=1000 / median,
        ratio_to_first=float(np.median(taken_ms / first_ms)),
    )


def contradiction(stated: Mapping[str, object], computed: Mapping[str, object]) -> str | None:
    """Describe the first number that does not follow from the samples; None where all do."""
    for name, value in computed.items():
        given = stated[name]
        same = given == value
        if isinstance(value, float | int) and isinstance(given, float | int):
            same = math.isclose(given, value, rel_tol=_TOLERANCE)
        if not same:
            return f"{name} is {given}, its samples have {value}"
    return None


def implausible(value: object, key: str = "") -> str | None:
    """Describe the first number of a JSON value that nothing measured has; None without one."""
    if isinstance(value, Mapping):
        items = [(f"{key}.{k}" if key else str(k), v) for k, v in _entries(value)]
    elif isinstance(value, list):
        items = [(f"{key}.{i}", v) for i, v in enumerate(cast("Sequence[object]", value))]
    else:
        return _implausible_number(value, key)
    return next((found for k, v in items if (found := implausible(v, k)) is not None), None)


def _entries(value: Mapping[object, object]) -> list[tuple[object, object]]:
    return list(value.items())


def _implausible_number(value: object, key: str) -> str | None:
    if isinstance(value, bool) or not isinstance(value, float | int):
        return None
    if not math.isfinite(value):
        return f"{shorten(key)} is {value}, allowed is a finite number"
    name = key.rstrip("0123456789").rstrip(".")  # an item of a list has its list's meaning
    for end, (low, high) in _PLAUSIBLE.items():
        if name.endswith(end) and not low <= value <= high:
            return f"{shorten(key)} is {value:g}, allowed {low:g} to {high:g}"
    return None
