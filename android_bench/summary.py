"""The repeats of a case as one: a median of medians, with how far the repeats are apart."""

import statistics
from collections.abc import Sequence

from android_bench.record import Invocation, Summary


def latency_ms(invocation: Invocation) -> float:
    """What one invocation says of a run: its median where the tool gives one, else its mean."""
    median = median_ms(invocation)
    if median is not None:
        return median
    assert invocation.runs.mean_ms is not None  # the parser lets no other pass
    return invocation.runs.mean_ms


def median_ms(invocation: Invocation) -> float | None:
    """The median of its runs, from the log or the tool's own record."""
    if invocation.runs.median_ms is not None:
        return invocation.runs.median_ms
    return invocation.proto.median_ms if invocation.proto is not None else None


def summarise(invocations: Sequence[Invocation]) -> Summary:
    """All invocations of a case as one; those for latencies count, at least one of them."""
    timed = [i for i in invocations if i.purpose == "latency"]
    medians = [m for i in timed if (m := median_ms(i)) is not None]
    # Means and medians are not mixed.
    exact = len(medians) == len(timed)
    values = medians if exact else [i.runs.mean_ms for i in timed if i.runs.mean_ms is not None]
    p95 = [p for i in timed if (p := _p95(i)) is not None]
    first = [i.first_ms for i in timed if i.first_ms is not None]
    middle = statistics.median(values)
    return Summary(
        statistic="median of medians" if exact else "median of means",
        latency_ms=middle,
        lowest_ms=min(values),
        highest_ms=max(values),
        p95_ms=statistics.median(p95) if len(p95) == len(timed) else None,
        min_ms=min(i.runs.min_ms for i in timed if i.runs.min_ms is not None),
        max_ms=max(i.runs.max_ms for i in timed if i.runs.max_ms is not None),
        runs=sum(i.runs.count for i in timed),
        repeats=len(timed),
        init_ms=statistics.median(i.init_ms for i in timed),
        first_ms=statistics.median(first) if first else None,
        frames_per_second=1000 / middle,
        cold_init_ms=_init(invocations, "cold start"),
        warm_init_ms=_init(invocations, "warm start"),
        peak_mb=next((i.memory.peak_mb for i in invocations if i.purpose == "memory"), None),
    )


def _p95(invocation: Invocation) -> float | None:
    if invocation.runs.p95_ms is not None:
        return invocation.runs.p95_ms
    return invocation.proto.p95_ms if invocation.proto is not None else None


def _init(invocations: Sequence[Invocation], purpose: str) -> float | None:
    return next((i.init_ms for i in invocations if i.purpose == purpose), None)
