import random
import re
from dataclasses import fields, is_dataclass
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from android_bench.benchmark_model.command import Flavour
from android_bench.benchmark_model.parse import Stats, parse_log, split_lines, unknown_flags
from android_bench.errors import LogError
from helpers.mutations import mutate
from helpers.tool_logs import (
    LITERT,
    LITERT_BLOCK,
    LITERT_REPLACED,
    LOGCAT,
    MEMORY,
    OLD,
    PEAK,
    RUNS,
    WARM_UP,
    classic,
)

COMPLETE = {
    "prefixed": classic(),
    "no prefix": classic(prefix=""),
    "no percentiles": classic(runs=RUNS),
    "logcat": classic(prefix=LOGCAT),
    "logcat with level": classic(prefix=f"{LOGCAT}INFO: "),
    "carriage returns": classic().replace("\n", "\r\n"),
    "old": OLD,
    "old, no stats": OLD.replace("Inference: ", "no stats: "),
}


@pytest.mark.parametrize("log", COMPLETE.values(), ids=COMPLETE.keys())
def test_every_form_of_the_classic_tool_gives_the_same_numbers(log: str) -> None:
    result = parse_log(log)
    assert result.flavour is Flavour.CLASSIC
    assert result.init_ms == 870.557
    assert result.first_ms == 130.565
    assert result.warm_up is not None
    assert (result.warm_up.count, result.warm_up.mean_ms) == (4, 122.373)
    runs = result.runs
    assert (runs.count, runs.min_ms, runs.max_ms, runs.mean_ms) == (50, 113.737, 124.776, 119.375)
    assert (runs.first_ms, runs.last_ms, runs.std_ms) == (119.212, 118.055, 1.948)


def test_percentiles_are_read_where_the_tool_gives_them() -> None:
    runs = parse_log(classic()).runs
    assert (runs.p5_ms, runs.median_ms, runs.p95_ms) == (114.0, 119.4, 123.0)
    assert parse_log(classic(runs=RUNS)).runs.median_ms is None


def test_scientific_notation_is_read() -> None:
    log = classic(
        runs="count=3 first=1203391 curr=1203391 min=1203380 max=1203391 avg=1.20339e+06 std=5",
        timings="Inference timings in us: Init: 870557, First inference: 130565, "
        "Warmup (avg): 122373, Inference (avg): 1.20339e+06",
    )
    assert parse_log(log).runs.mean_ms == 1203.39


@pytest.mark.parametrize("runs", ["count=50 curr=119375(all same)", "count=1 curr=119375"])
def test_runs_that_are_all_the_same_have_no_spread(runs: str) -> None:
    stats = parse_log(classic(runs=runs)).runs
    assert stats.min_ms == stats.max_ms == stats.mean_ms == stats.median_ms == 119.375
    assert stats.std_ms is None


def test_without_warm_up_the_first_inference_is_not_the_zero_that_the_tool_prints() -> None:
    log = classic(
        warm_up="count=0",
        timings="Inference timings in us: Init: 870557, First inference: 0, Warmup (avg): nan, "
        "Inference (avg): 119375",
    )
    result = parse_log(log)
    assert result.warm_up == Stats(0)
    assert result.first_ms == 119.212


def test_memory_is_read_with_and_without_its_peak() -> None:
    assert parse_log(classic(more=(MEMORY,))).memory.overall_mb == 18.7227
    assert parse_log(classic(more=())).memory.overall_mb is None
    assert parse_log(classic(more=(MEMORY, PEAK))).memory.peak_mb == 61.2
    assert parse_log(OLD).memory.overall_mb == 12.8672


def test_the_litert_tool_is_read_with_its_finer_lines() -> None:
    result = parse_log(LITERT)
    assert result.flavour is Flavour.LITERT
    assert (result.init_ms, result.first_ms) == (4.48, 1.033)
    runs = result.runs
    assert (runs.count, runs.mean_ms, runs.median_ms) == (2112, 0.464545, 0.462)
    assert result.memory.overall_mb == 11.51
    assert result.delegation.replacements[0].delegate == "LITERT_CL"


def test_the_litert_block_alone_is_enough() -> None:
    result = parse_log(LITERT_REPLACED + LITERT_BLOCK)
    assert (result.runs.count, result.runs.mean_ms, result.runs.min_ms) == (2112, 0.46, 0.44)
    assert result.runs.median_ms is None


def test_warnings_and_errors_that_the_tool_went_on_after_are_kept() -> None:
    log = "ERROR: Falling back to OpenGL\nWARN: Duplicate flags: num_threads\n" + classic()
    assert parse_log(log).complaints == (
        "Falling back to OpenGL",
        "Duplicate flags: num_threads",
    )


def test_flags_that_the_tool_did_not_know_are_found() -> None:
    assert unknown_flags(classic()) == ""
    line = "WARN: Unconsumed cmdline flags: --num_run=5 --x=1\n"
    assert unknown_flags(classic() + line) == "--num_run=5 --x=1"
    assert unknown_flags(classic() + line.removeprefix("WARN: ")) == "--num_run=5 --x=1"


OTHER_MEAN = classic().replace("Inference (avg): 119375", "Inference (avg): 11937")
BROKEN = {
    "empty": ("", "ends before its result"),
    "noise": ("\x00\xff\n" * 50, "ends before its result"),
    "no timings": (classic().split("INFO: Inference timings")[0], "ends before its result"),
    "cut in the last line": (
        classic(more=()).rstrip("\n"),
        "ends before its result",
    ),
    "another mean": (OTHER_MEAN, "contradicts itself on the mean latency"),
    "runs before warm-up": (
        classic(warm_up=RUNS, runs=WARM_UP),
        "contradicts itself",
    ),
    "one phase only": (classic(warm_up="nothing"), "1 of the 2 lines"),
    "no runs": (classic(runs="count=0"), "no run that counts"),
    "two results": (classic() + classic(), "several runs"),
    "min above median": (
        classic(runs=f"{RUNS} p5=114000 median=113000 p95=123000"),
        "no runs have these statistics",
    ),
    "std too large": (
        classic(runs=RUNS.replace("std=1948", "std=19480")),
        "no runs have these statistics",
    ),
    "std 0 of different runs": (
        classic(runs=RUNS.replace("std=1948", "std=0")),
        "no runs have these statistics",
    ),
    "std too small": (
        classic(runs=RUNS.replace("std=1948", "std=1100")),
        "no runs have these statistics",
    ),
    "LiteRT's std 0 of different runs": (
        LITERT_REPLACED + LITERT_BLOCK.replace("(std):      0.01", "(std):      0"),
        "no runs have these statistics",
    ),
    "infinite memory": (
        classic(more=(MEMORY.replace("overall=18.7227", "overall=1e999"),)),
        "no measurement is 1e999",
    ),
    "infinite peak": (classic(more=(MEMORY, PEAK.replace("61.2", "1e999"))), "is 1e999"),
    "a petabyte of memory": (
        classic(more=(MEMORY.replace("overall=18.7227", "overall=1e9"),)),
        "no program takes so much memory",
    ),
    "a number of 400 digits": (
        classic(runs=RUNS.replace("max=", "max=" + "9" * 400)),
        "no measurement is 9{60}$",
    ),
    "warm-up of no runs": (
        classic().replace("count=4 ", "count=0 "),
        "no runs have these statistics",
    ),
    "LiteRT with a mean of nan": (
        LITERT.replace("Warmup (avg):         0.47", "Warmup (avg):         nan"),
        "runs without a mean",
    ),
    "more memory first than in all": (
        classic(more=(MEMORY.replace("init=8.97656", "init=80.5"),)),
        "contradicts itself on the memory",
    ),
    "another init": (
        classic().replace("session in 870.557ms", "session in 87.557ms"),
        "contradicts itself on the initialisation",
    ),
    "avg is nan": (classic(runs=RUNS.replace("avg=119375", "avg=nan")), "cannot be read"),
    "LiteRT without a mean": (
        LITERT.replace("Inference (avg)", "Inference"),
        "block of results lacks mean",
    ),
    "LiteRT with other counts": (
        LITERT.replace("(2112 runs)", "(2113 runs)"),
        "2113 and 2112 runs",
    ),
    "LiteRT with another minimum": (
        LITERT.replace("(min):      0.44", "(min):      0.40"),
        "min_ms",
    ),
}


@pytest.mark.parametrize(("log", "message"), BROKEN.values(), ids=BROKEN.keys())
def test_a_log_without_a_whole_consistent_result_is_an_error(log: str, message: str) -> None:
    with pytest.raises(LogError, match=message):
        parse_log(log)


def _numbers(value: object) -> list[float]:
    """Every number in a result."""
    if is_dataclass(value):
        return [n for field in fields(value) for n in _numbers(getattr(value, field.name))]
    if isinstance(value, tuple):
        return [n for part in value for n in _numbers(part)]
    return [value] if isinstance(value, int | float) and not isinstance(value, bool) else []


def _allowed(log: str) -> set[float]:
    """Every number that stands in a log, as it is and as milliseconds of microseconds."""
    found = re.findall(r"\d+(?:\.\d+)?(?:e[+-]?\d+)?", log)
    return {float(Decimal(text) / unit) for text in found for unit in (1, 1000)}


def assert_nothing_invented(log: str) -> bool:
    """Whether there is a result at all."""
    try:
        result = parse_log(log)
    except LogError:
        return False
    allowed = _allowed(log)
    invented = [n for n in _numbers(result) if n not in allowed]
    assert not invented, f"{invented} in no line of:\n{log}"
    return True


def test_1000_mutated_logs_give_an_error_or_only_numbers_that_stand_in_them() -> None:
    sources = [*COMPLETE.values(), LITERT, LITERT_REPLACED + LITERT_BLOCK]
    rng = random.Random(7)
    results = sum(
        assert_nothing_invented(mutate(sources[i % len(sources)], rng)) for i in range(1000)
    )
    # Else the mutations are too gentle, or too harsh, to show anything.
    assert 200 < results < 900


@pytest.mark.parametrize("log", [classic(), OLD, LITERT], ids=["classic", "old", "litert"])
def test_every_truncation_is_an_error_or_keeps_the_whole_result(log: str) -> None:
    whole = parse_log(log)
    for end in range(len(log)):
        try:
            cut = parse_log(log[:end])
        except LogError:
            continue
        assert (cut.runs, cut.init_ms, cut.first_ms) == (whole.runs, whole.init_ms, whole.first_ms)


@given(st.binary(max_size=2000))
def test_binary_noise_is_an_error(noise: bytes) -> None:
    with pytest.raises(LogError):
        parse_log(noise.decode("utf-8", errors="replace"))


@given(
    st.permutations([line for line in classic().split("\n") if line]),
)
def test_shuffled_lines_never_exchange_warm_up_and_runs(lines: list[str]) -> None:
    try:
        result = parse_log("\n".join(lines) + "\n")
    except LogError:
        return
    assert (result.runs.count, result.runs.mean_ms) == (50, 119.375)


def test_a_prefix_is_taken_off_once_and_a_level_is_kept() -> None:
    lines = split_lines(
        f"{LOGCAT}WARN: a\nERROR: b\nINFO: [x/y.h:12] c\nd: e\nINFO: INFO: f\nunended"
    )
    assert [tuple(line) for line in lines] == [
        ("WARN", "a"),
        ("ERROR", "b"),
        ("INFO", "c"),
        ("", "d: e"),
        ("INFO", "INFO: f"),
    ]
