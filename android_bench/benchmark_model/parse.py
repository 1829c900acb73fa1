"""Parser of the logs of benchmark_model, the classic TFLite tool's and LiteRT's.

A number is taken only from a whole line of a known form, and what a log says twice must agree: the
mean of the last `count=` line is that of `Inference timings`, a minimum is not above its median. A
log that is truncated, mixed up or damaged where it matters is an error, never a result with a
number that nobody measured.

Sources: tensorflow/lite/tools/benchmark/{benchmark_model,benchmark_tflite_model}.cc,
xla/tsl/util/stats_calculator.h, litert/tools/benchmark_litert_model.h.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import NamedTuple

from android_bench.benchmark_model.command import Flavour
from android_bench.benchmark_model.delegation import Delegation, parse_delegation
from android_bench.errors import LogError

_WHOLE = r"\d+"
_NUMBER = rf"{_WHOLE}(?:\.\d+)?(?:e[+-]?\d+)?"
# More than anything that is measured; what is longer or larger is damage.
_LONGEST_NUMBER, _MOST = 60, 1e15
# Doubles are printed with six significant digits.
_SIX_DIGITS = 1e-5
# More than any device has.
_MOST_MB = 1e7
# LiteRT's tool prints milliseconds with two decimals.
_TWO_DECIMALS = 0.00501

_STATS = re.compile(
    rf"count=(?P<count>{_WHOLE}) first=(?P<first>{_WHOLE}) curr=(?P<last>{_WHOLE}) "
    rf"min=(?P<min>{_WHOLE}) max=(?P<max>{_WHOLE}) avg=(?P<mean>{_NUMBER}) std=(?P<std>{_WHOLE})"
    rf"(?: p5=(?P<p5>{_WHOLE}) median=(?P<median>{_WHOLE}) p95=(?P<p95>{_WHOLE}))?"
)
_ALL_SAME = re.compile(
    rf"count=(?P<count>{_WHOLE}) curr=(?P<value>{_WHOLE})(?:\(all same\))?"
    rf"(?: p5=(?P<p5>{_WHOLE}) median=(?P<median>{_WHOLE}) p95=(?P<p95>{_WHOLE}))?"
)
_NO_RUNS = re.compile(r"count=0")
_TIMINGS = re.compile(
    rf"Inference timings in us: Init: (?P<init>{_NUMBER}), First inference: (?P<first>{_NUMBER}), "
    rf"Warmup \(avg\): (?P<warm_up>{_NUMBER}|-?nan), Inference \(avg\): (?P<mean>{_NUMBER})"
)
_OLD_TIMINGS = re.compile(
    rf"Average inference timings in us: Warmup: (?P<warm_up>{_NUMBER}|-?nan), "
    rf"Init: (?P<init>{_NUMBER}), (?:Inference|no stats): (?P<mean>{_NUMBER})"
)
_SESSION = re.compile(rf"Initialized session in ({_NUMBER})ms\.?")
_MEMORY = re.compile(
    rf"(?:Memory footprint delta from the start of the tool|Peak memory footprint) \(MB\): "
    rf"init=({_NUMBER}) overall=({_NUMBER})"
)
_PEAK = re.compile(
    rf"Overall peak memory footprint \(MB\) via periodic monitoring: ({_NUMBER})"
    rf"|Peak memory: +({_NUMBER}) MB"
)
_LITERT_FIELDS = {
    "init": re.compile(rf"Model initialization: +({_NUMBER}) ms"),
    "first": re.compile(rf"Warmup \(first\): +({_NUMBER}) ms"),
    "warm_up": re.compile(rf"Warmup \(avg\): +({_NUMBER}|-?nan) ms \(({_WHOLE}) runs\)"),
    "mean": re.compile(rf"Inference \(avg\): +({_NUMBER}) ms \(({_WHOLE}) runs\)"),
    "min": re.compile(rf"Inference \(min\): +({_NUMBER}) ms"),
    "max": re.compile(rf"Inference \(max\): +({_NUMBER}) ms"),
    "std": re.compile(rf"Inference \(std\): +({_NUMBER})"),
    "init_mb": re.compile(rf"Init footprint: +({_NUMBER}) MB"),
    "overall_mb": re.compile(rf"Overall footprint: +({_NUMBER}) MB"),
}
_LITERT_TITLE = "========== BENCHMARK RESULTS =========="
_LEVELS_TO_KEEP = ("WARN", "WARNING", "ERROR", "FATAL")


@dataclass(frozen=True)
class Stats:
    """Latencies of the runs of one phase, in milliseconds.

    None where the tool does not print a value.

    Attributes:
        count: Runs.
        first_ms: The first of them.
        last_ms: The last of them.
        min_ms: The shortest.
        max_ms: The longest.
        mean_ms: Their mean, of six significant digits.
        std_ms: Their standard deviation (population).
        p5_ms: 5th percentile.
        median_ms: The median.
        p95_ms: 95th percentile.
    """

    count: int
    first_ms: float | None = None
    last_ms: float | None = None
    min_ms: float | None = None
    max_ms: float | None = None
    mean_ms: float | None = None
    std_ms: float | None = None
    p5_ms: float | None = None
    median_ms: float | None = None
    p95_ms: float | None = None


@dataclass(frozen=True)
class Memory:
    """Memory of the tool in MB, without that of the GPU.

    Attributes:
        init_mb: Growth from its start to the end of the initialisation.
        overall_mb: Growth from its start to its end.
        peak_mb: Largest resident size, sampled; only where it was requested.
    """

    init_mb: float | None = None
    overall_mb: float | None = None
    peak_mb: float | None = None


@dataclass(frozen=True)
class ToolResult:
    """One run of benchmark_model that came to its end.

    Attributes:
        flavour: Which tool it was.
        init_ms: Loading the file, applying the delegate, allocating tensors.
        first_ms: The first inference of all.
        warm_up: Runs before those that count.
        runs: Runs that count.
        memory: What it used.
        delegation: Which delegate took which part of the graph.
        complaints: Warnings and errors that it went on after.
    """

    flavour: Flavour
    init_ms: float
    first_ms: float | None
    warm_up: Stats | None
    runs: Stats
    memory: Memory
    delegation: Delegation
    complaints: tuple[str, ...]


def parse_log(log: str) -> ToolResult:
    """Read the log of a run that came to its end.

    Args:
        log: Standard output and error of benchmark_model, or what logcat has of it.

    Raises:
        LogError: It holds no result, or an incomplete one, or contradicts itself.
    """
    lines = split_lines(log)
    texts = [line.text for line in lines]
    phases = _phases(texts)
    litert = [index for index, text in enumerate(texts) if text == _LITERT_TITLE]
    if len(litert) > 1:
        raise LogError("the log holds the results of several runs; give one")
    read = _litert_result(texts[litert[0] :], phases) if litert else _classic_result(texts, phases)
    check_stats(read.runs)
    if read.warm_up is not None:
        check_stats(read.warm_up)
    _check_memory(read.memory)
    session = _only(_SESSION, texts)
    if session is not None:
        _agree("initialisation", _number(session[1]), read.init_ms, 0.01 if litert else 0.001)
    return ToolResult(
        flavour=Flavour.LITERT if litert else Flavour.CLASSIC,
        init_ms=read.init_ms,
        first_ms=read.first_ms,
        warm_up=read.warm_up,
        runs=read.runs,
        memory=read.memory,
        delegation=parse_delegation(texts),
        complaints=tuple(line.text for line in lines if line.level in _LEVELS_TO_KEEP),
    )


class _Read(NamedTuple):
    init_ms: float
    first_ms: float | None
    warm_up: Stats | None
    runs: Stats
    memory: Memory


def _phases(texts: Sequence[str]) -> list[Stats]:
    """Every `count=` line that follows the line which announces its runs."""
    found: list[Stats] = []
    announced = False
    for text in texts:
        if text.startswith("Running benchmark for at least "):
            announced = True
        elif text.startswith("count=") and announced:
            found.append(_stats(text))
            announced = False
    return found


def _stats(text: str) -> Stats:
    if match := _STATS.fullmatch(text):
        values = {f"{k}_ms": _ms(v) for k, v in match.groupdict().items() if v and k != "count"}
        return Stats(_count(match["count"]), **values)
    if match := _ALL_SAME.fullmatch(text):
        value = _ms(match["value"])
        percentiles = {f"{k}_ms": _ms(match[k] or match["value"]) for k in ("p5", "median", "p95")}
        return Stats(_count(match["count"]), value, value, value, value, value, None, **percentiles)
    if _NO_RUNS.fullmatch(text):
        return Stats(0)
    raise LogError(f"benchmark_model's statistics cannot be read: {text[:200]!r}")


def _classic_result(texts: Sequence[str], phases: Sequence[Stats]) -> _Read:
    timings = _only(_TIMINGS, texts) or _only(_OLD_TIMINGS, texts)
    if timings is None:
        raise LogError("benchmark_model's log ends before its result")
    if len(phases) != 2:
        raise LogError(
            f"benchmark_model's log has {len(phases)} of the 2 lines with statistics that belong "
            "to a result"
        )
    warm_up, runs = phases
    if runs.count == 0 or runs.mean_ms is None:
        raise LogError("benchmark_model made no run that counts")
    _agree("mean latency", _ms(timings["mean"]), runs.mean_ms)
    if warm_up.mean_ms is not None:
        _agree("mean warm-up latency", _ms(timings["warm_up"]), warm_up.mean_ms)
    # Without warm-up the tool calls the first inference 0.
    first_ms = warm_up.first_ms if warm_up.count else runs.first_ms
    if warm_up.count and "first" in timings.groupdict() and first_ms is not None:
        _agree("first inference", _ms(timings["first"]), first_ms)
    memory = _only(_MEMORY, texts)
    peak = _only(_PEAK, texts)
    return _Read(
        _ms(timings["init"]),
        first_ms,
        warm_up,
        runs,
        Memory(
            _number(memory[1]) if memory else None,
            _number(memory[2]) if memory else None,
            _number(peak[1] or peak[2]) if peak else None,
        ),
    )


def _litert_result(texts: Sequence[str], phases: Sequence[Stats]) -> _Read:
    """Read LiteRT's block of results.

    The `count=` lines before it are finer, where there are such.
    """
    found = {name: _only(pattern, texts) for name, pattern in _LITERT_FIELDS.items()}
    missing = [name for name in ("init", "warm_up", "mean", "min", "max", "std") if not found[name]]
    if missing:
        raise LogError(f"benchmark_model's block of results lacks {', '.join(missing)}")
    value = {name: _number(m[1]) for name, m in found.items() if m and not m[1].endswith("nan")}
    counts = {name: _count(match[2]) for name in ("warm_up", "mean") if (match := found[name])}
    runs = Stats(
        counts["mean"],
        min_ms=value["min"],
        max_ms=value["max"],
        mean_ms=value["mean"],
        std_ms=value["std"],
    )
    if runs.count == 0:
        raise LogError("benchmark_model made no run that counts")
    warm_up, first_ms = Stats(0), None
    if counts["warm_up"]:
        if "warm_up" not in value:
            raise LogError(f"the log contradicts itself: {counts['warm_up']} runs without a mean")
        first_ms = value.get("first")
        warm_up = Stats(counts["warm_up"], first_ms=first_ms, mean_ms=value["warm_up"])
    if len(phases) == 2:
        for rough, fine in zip((warm_up, runs), phases, strict=True):
            _same_runs(rough, fine)
        warm_up, runs = phases
        first_ms = warm_up.first_ms if warm_up.count else runs.first_ms
    elif phases:
        raise LogError(f"benchmark_model's log has {len(phases)} of 2 lines with statistics")
    peak = _only(_PEAK, texts)
    memory = Memory(
        value.get("init_mb"), value.get("overall_mb"), _number(peak[2] or peak[1]) if peak else None
    )
    return _Read(value["init"], first_ms, warm_up, runs, memory)


def _same_runs(rough: Stats, fine: Stats) -> None:
    """Compare two accounts of the same runs, one rounded to two decimals."""
    if rough.count != fine.count:
        raise LogError(f"the log contradicts itself: {rough.count} and {fine.count} runs")
    for field in fields(Stats):
        one, other = getattr(rough, field.name), getattr(fine, field.name)
        # The std of the count line has lost its fraction, a microsecond at most.
        if one is not None and other is not None:
            _agree(field.name, one, other, _TWO_DECIMALS + 0.001)


def _only(pattern: re.Pattern[str], texts: Sequence[str]) -> re.Match[str] | None:
    """The one line of that form, or None."""
    found = [match for text in texts if (match := pattern.fullmatch(text)) is not None]
    if len({match[0] for match in found}) > 1 or (len(found) > 1 and pattern is _TIMINGS):
        raise LogError("the log holds the results of several runs; give one")
    return found[0] if found else None


def _number(text: str) -> float:
    """A number of the log as it stands there.

    Raises:
        LogError: It is larger than anything that is measured.
    """
    if len(text) > _LONGEST_NUMBER or not float(text) <= _MOST:  # NaN is in no order
        raise LogError(f"no measurement is {text[:_LONGEST_NUMBER]}")
    return float(text)


def _count(text: str) -> int:
    return int(_number(text))


def _ms(microseconds: str) -> float:
    _number(microseconds)
    return float(Decimal(microseconds) / 1000)  # as if the log had milliseconds, to the last digit


def _agree(what: str, one_ms: float, other_ms: float, tolerance_ms: float = 0.0) -> None:
    # 1 us where a fraction was cut off, 6 digits where a double was printed.
    allowed = tolerance_ms or max(0.001, _SIX_DIGITS * abs(other_ms))
    if not math.isclose(one_ms, other_ms, rel_tol=_SIX_DIGITS, abs_tol=allowed):
        raise LogError(f"the log contradicts itself on the {what}: {one_ms:g} and {other_ms:g} ms")


def check_stats(stats: Stats) -> None:
    """Refuse statistics that no runs have.

    Raises:
        LogError: They contradict each other.
    """
    low, high = stats.min_ms, stats.max_ms
    if low is None or high is None:
        return
    inside = (
        stats.first_ms,
        stats.last_ms,
        stats.mean_ms,
        stats.p5_ms,
        stats.median_ms,
        stats.p95_ms,
    )
    slack = max(0.001, _SIX_DIGITS * high)
    ordered = [v for v in (stats.p5_ms, stats.median_ms, stats.p95_ms) if v is not None]
    if (
        stats.count < 1
        or not all(v is None or low - slack <= v <= high + slack for v in inside)
        or ordered != sorted(ordered)
        or not _has_spread(stats, high - low, slack)
        or not 0 < high < math.inf
    ):
        raise LogError(f"no runs have these statistics: {stats}")


def _has_spread(stats: Stats, width_ms: float, slack_ms: float) -> bool:
    """Whether the standard deviation is one of runs over this range.

    It is at most half the range, and at least that of runs that all lie in the middle but for the
    shortest and the longest. The tool cuts off its fraction, and rounds the range.
    """
    if stats.std_ms is None:
        return True
    exact = stats.last_ms is not None  # of a `count=` line, in whole microseconds
    rounding = 0 if exact else _TWO_DECIMALS  # of each number
    least = max(0, width_ms - 2 * rounding) / math.sqrt(2 * stats.count) - rounding
    most = width_ms / 2 + 2 * rounding
    return least - slack_ms <= stats.std_ms <= most + slack_ms


def _check_memory(memory: Memory) -> None:
    """Refuse sizes that no program has."""
    sizes = [mb for mb in (memory.init_mb, memory.overall_mb, memory.peak_mb) if mb is not None]
    init, overall = memory.init_mb, memory.overall_mb
    if not all(mb <= _MOST_MB for mb in sizes):
        raise LogError(f"no program takes so much memory: {memory}")
    if init is not None and overall is not None and init > overall:
        raise LogError(
            f"the log contradicts itself on the memory: {init:g} MB after the initialisation, "
            f"{overall:g} MB in all"
        )


_PREFIX = re.compile(
    # logcat's, then the level, then LiteRT's file and line.
    r"(?:\S.{0,80}?\b(?:tflite|litert)\s*(?:\(\s*\d+\))?: )?"
    r"(?:(?P<level>VERBOSE|INFO|WARN(?:ING)?|ERROR|FATAL): )?"
    r"(?:\[\S{1,200}:\d+\] ?)?(?P<text>.*)"
)
_UNKNOWN_FLAGS = re.compile(r"Unconsumed cmdline flags: (.+)")


class Line(NamedTuple):
    """One line without what was put before it.

    Attributes:
        level: VERBOSE, INFO, WARN, WARNING, ERROR or FATAL; empty in old tools.
        text: The rest.
    """

    level: str
    text: str


def split_lines(log: str) -> list[Line]:
    """Split a log into whole lines without their prefixes.

    A last line without its end is left out.
    """
    # Only \n ends a line here: str.splitlines would make two of one at a stray control character.
    return [
        Line(match["level"] or "", match["text"])
        for raw in log.split("\n")[:-1]
        if (match := _PREFIX.fullmatch(raw.rstrip("\r"))) is not None
    ]


def unknown_flags(log: str) -> str:
    """List the flags that the tool ignored; empty where it knew all."""
    found = [m[1] for line in split_lines(log) if (m := _UNKNOWN_FLAGS.fullmatch(line.text))]
    return " ".join(found).strip()
