"""Times of single operators, from benchmark_model's --enable_op_profiling.

The tool prints one table in the order of the run, whose shares must add up; a table that is cut,
mixed up or damaged is an error. With a delegate that does not profile its own operators, all that
it took is one operator.

Sources: tensorflow/lite/profiling/{profile_summarizer,profile_summary_formatter}.cc,
xla/tsl/util/stats_calculator.cc; logs of 2021 to 2024 that people have published.
"""

import re
from collections.abc import Iterator, Sequence

from android_bench.benchmark_model.parse import split_lines
from android_bench.errors import LogError
from edgesr.benchmark.record import OperatorTime
from edgesr.common.record import Record

_TITLE = "Operator-wise Profiling Info for Regular Benchmark Runs:"
_INSIDE = "Delegate internal:"
_RUN_ORDER = re.compile(r"=+ Run Order =+")
_NODES = re.compile(r"Number of nodes executed: (\d+)")
_TIMINGS = re.compile(r"Timings \(microseconds\): count=\d+ (?:.* )?(?:avg|curr)=([\d.e+]+)\b.*")
_COLUMNS = ("[first]", "[avg ms]", "[%]", "[cdf%]", "[mem KB]", "[times called]", "[Name]")
_MS = re.compile(r"\d+\.\d{3}")
_SHARE = re.compile(r"(\d+\.\d{3})%")
# Three decimals are printed.
_ROUNDED = 0.0006


class Profile(Record):
    """Times of the operators of a graph.

    Attributes:
        operators: In the order of the run; a delegate may be one of them.
        inside: What the delegate says of its own operators; empty where it says nothing.
    """

    operators: tuple[OperatorTime, ...]
    inside: tuple[OperatorTime, ...] = ()


def parse_profile(log: str) -> Profile:
    """Read the operators' times of the runs that count.

    Args:
        log: Everything that benchmark_model said.

    Raises:
        LogError: There are none, or they are incomplete or contradict themselves.
    """
    texts = [line.text.rstrip() for line in split_lines(log)]
    if texts.count(_TITLE) != 1:
        raise LogError(f"the log holds {texts.count(_TITLE)} profiles of operators, allowed one")
    texts = texts[texts.index(_TITLE) + 1 :]
    inside: tuple[OperatorTime, ...] = ()
    if _INSIDE in texts:
        at = texts.index(_INSIDE)
        inside, texts = _table(texts[at + 1 :]), texts[:at]
    return Profile(operators=_table(texts), inside=inside)


def _table(texts: Sequence[str]) -> tuple[OperatorTime, ...]:
    """Read the first table of a part of the log."""
    start = next((i for i, text in enumerate(texts) if _RUN_ORDER.fullmatch(text)), None)
    if start is None or start + 1 == len(texts):
        raise LogError("the profile of the operators ends before its table")
    with_start = _has_start(texts[start + 1])
    found: list[OperatorTime] = []
    before = 0.0
    rest = iter(texts[start + 2 :])
    for text in rest:
        if not text:
            break
        operator, together = _row(text, with_start)
        if abs(together - before - operator.percent) > 2 * _ROUNDED:
            raise LogError(f"the profile's shares do not add up at {operator.name!r}")
        before = together
        found.append(operator)
    _check(found, before, rest)
    return tuple(found)


def _has_start(header: str) -> bool:
    """Whether a table has the column of start times (old tools)."""
    names = [name.strip() for name in header.split("\t")]
    with_start = "[start]" in names
    wanted = ["", "[node type]", *(["[start]"] if with_start else []), *_COLUMNS]
    if names != wanted:
        raise LogError(f"the profile's table has other columns than are known: {header[:200]!r}")
    return with_start


def _row(text: str, with_start: bool) -> tuple[OperatorTime, float]:
    """One operator, and the share of all so far."""
    cells = [cell.strip() for cell in text.split("\t")]
    if with_start and len(cells) > 2:
        del cells[2]
    if len(cells) == 9:
        _, kind, first, mean, share, together, memory, calls, name = cells
        shares = [_SHARE.fullmatch(share), _SHARE.fullmatch(together)]
        numbers = all(_MS.fullmatch(value) for value in (first, mean, memory))
        if kind and name and numbers and calls.isdecimal() and all(shares):
            percent, sum_percent = (float(match[1]) for match in shares if match)
            operator = OperatorTime(
                kind=kind, name=name, mean_ms=float(mean), calls=int(calls), percent=percent
            )
            return operator, sum_percent
    raise LogError(f"an operator of the profile cannot be read: {text[:200]!r}")


def _check(found: Sequence[OperatorTime], together: float, rest: Iterator[str]) -> None:
    """Hold a table against what the tool says below it."""
    nodes = total_ms = None
    for text in rest:
        if (match := _NODES.fullmatch(text)) and nodes is None:
            nodes = int(match[1])
        elif match := _TIMINGS.fullmatch(text):
            total_ms = _number(match[1]) / 1000
            break
    if nodes is None or total_ms is None:
        raise LogError("the profile of the operators ends before its sum")
    if nodes != len(found) or not found:
        raise LogError(f"the profile has {len(found)} operators, and says {nodes}")
    if abs(together - 100) > _ROUNDED:
        raise LogError(f"the profile's operators take {together:g} % of their time, not all of it")
    for operator in found:
        ms = operator.percent / 100 * total_ms
        # Shares are rounded; the calls of one run are cut off to a whole number.
        slack = _ROUNDED * (operator.calls + 1) + 2e-5 * total_ms
        low, high = (operator.mean_ms * calls for calls in (operator.calls, operator.calls + 1))
        if not low - slack <= ms <= high + slack:
            raise LogError(
                f"the profile contradicts itself on {operator.name!r}: {operator.percent:g} % of "
                f"{total_ms:g} ms, and {operator.calls} x {operator.mean_ms:g} ms"
            )


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise LogError(f"the profile's sum cannot be read: {text!r}") from error
