"""Times of operators: as benchmark_model prints them, damaged, and from a device to the page."""

import random
import re
from pathlib import Path

import pytest
from fake_device import AdbServer, Dialect, FakeDevice
from fake_device.benchmark_model.dialects import Printer
from fake_device.benchmark_model.flags import CLASSIC, parse
from fake_device.benchmark_model.profile import profile
from fake_device.benchmark_model.timing import Timings

from android_bench.benchmark_model.profile import Profile, parse_profile
from android_bench.errors import LogError
from android_bench.record import BenchRecord
from edgesr.benchmark.record import OperatorTime
from helpers.benching import Bench, is_clean
from helpers.commands import run_here
from helpers.mutations import mutate
from helpers.tool_logs import classic

RUNS = (20_410, 19_730, 20_120, 20_020, 19_890)
KINDS = ["CONV_2D", "CONV_2D", "LEAKY_RELU", "DEPTH_TO_SPACE"]


def log(
    flag: str = "--use_xnnpack=false", dialect: Dialect = Dialect.NEW, gpu: bool = False
) -> str:
    """A whole log, with a profile at its end."""
    timings = Timings(870_557, [130_565], RUNS)
    steps = profile(timings, parse([flag], CLASSIC), Printer(dialect), on_gpu=gpu)
    return classic() + "".join(str(text) for _, text in steps)


# By hand, in the older form with the column of beginnings: what the numbers mean.
OLD = (
    "Operator-wise Profiling Info for Regular Benchmark Runs:\n"
    "============================== Run Order ==============================\n"
    "\t             [node type]\t          [start]\t  [first]\t [avg ms]\t     [%]\t  [cdf%]"
    "\t  [mem KB]\t[times called]\t[Name]\n"
    "\t                 CONV_2D\t            0.066\t   87.754\t   75.125\t 75.125%\t 75.125%"
    "\t     0.000\t        1\t[a, b c]:0\n"
    "\t                 RESHAPE\t           75.191\t    3.100\t   12.437\t 24.875%\t100.000%"
    "\t     0.000\t        2\t[d]:1\n"
    "\nNumber of nodes executed: 2\n\n"
    "Timings (microseconds): count=50 first=99 curr=99 min=98 max=1e+06 avg=100000 std=3\n"
)


def test_an_operator_has_its_type_its_name_its_time_and_its_share() -> None:
    first, second = parse_profile(OLD).operators
    assert first == OperatorTime(
        kind="CONV_2D", name="[a, b c]:0", mean_ms=75.125, calls=1, percent=75.125
    )
    assert (second.kind, second.mean_ms, second.calls, second.percent) == (
        *("RESHAPE", 12.437, 2, 24.875),
    )


@pytest.mark.parametrize("dialect", [d for d in Dialect if d is not Dialect.LITERT])
def test_every_build_prints_the_operators_of_the_cpu(dialect: Dialect) -> None:
    found = parse_profile(log(dialect=dialect))
    assert [one.kind for one in found.operators] == KINDS
    assert [one.percent for one in found.operators] == [50.0, 20.0, 5.0, 25.0]
    assert found.operators[0].mean_ms == pytest.approx(sum(RUNS) / 5 / 2000, abs=1e-3)
    assert found.inside == ()


@pytest.mark.parametrize("dialect", [Dialect.NEW, Dialect.OLD])
def test_what_is_inside_a_delegate_is_read_where_it_is_told(dialect: Dialect) -> None:
    found = parse_profile(log("--use_xnnpack=true", dialect))
    told = found.inside if dialect is Dialect.OLD else found.operators
    assert [one.kind for one in told] == [
        "Convolution (NHWC, F32) IGEMM",
        "Depth To Space (NHWC, X32)",
    ]
    assert told[0].calls == 13


def test_a_gpu_delegate_is_one_operator() -> None:
    (only,) = parse_profile(log(gpu=True)).operators
    assert (only.kind, only.percent) == ("TfLiteGpuDelegateV2", 100.0)


BROKEN = {
    "none": (classic(), "holds 0 profiles"),
    "two": (OLD + OLD, "holds 2 profiles"),
    "no table": (OLD.split("=")[0], "ends before its table"),
    "other columns": (OLD.replace("[avg ms]", "[med ms]"), "other columns"),
    "cut in the table": (OLD[: OLD.index("\t                 RESHAPE")], "ends before its sum"),
    "no sum": (OLD[: OLD.index("Timings")], "ends before its sum"),
    "a row is missing": (re.sub(r"\t +RESHAPE.*\n", "", OLD), "has 1 operators, and says 2"),
    "another share": (OLD.replace(" 24.875%", " 24.075%"), "do not add up at '\\[d\\]:1'"),
    "another time": (OLD.replace("   75.125\t 75", "   85.125\t 75"), "contradicts itself on"),
    "another sum": (OLD.replace("avg=100000", "avg=10000"), "contradicts itself on"),
    "not all of the time": (
        OLD.replace(" 24.875%\t100.000%", " 14.875%\t 90.000%").replace("12.437", " 7.437"),
        "take 90 % of their time",
    ),
    "no number": (OLD.replace("   12.437", "      nan"), "cannot be read"),
    "sum is no number": (OLD.replace("avg=100000", "avg=1e.+5"), "cannot be read"),
}


@pytest.mark.parametrize(("text", "message"), BROKEN.values(), ids=BROKEN.keys())
def test_a_profile_that_is_not_whole_is_an_error(text: str, message: str) -> None:
    with pytest.raises(LogError, match=message):
        parse_profile(text)


def all_operators(found: Profile) -> set[tuple[object, ...]]:
    return {tuple(one.model_dump().values()) for one in (*found.operators, *found.inside)}


def test_1000_mutated_profiles_give_an_error_or_what_stands_in_them() -> None:
    """A number that is damaged in its last digit still is one; an operator is never made up."""
    sources = [OLD, log(), log("--use_xnnpack=true", Dialect.OLD), log(gpu=True)]
    rng = random.Random(11)
    results = 0
    for index in range(1000):
        text = mutate(sources[index % len(sources)], rng)
        try:
            found = parse_profile(text)
        except LogError:
            continue
        results += 1
        for kind, name, mean_ms, calls, percent in all_operators(found):
            rows = [line for line in text.split("\n") if f"\t{name}" in line]
            wanted = [f"{kind}\t", f"{mean_ms:.3f}\t", f"{percent:.3f}%\t", f"{calls}\t"]
            assert any(all(w in row for w in wanted) for row in rows), (name, text)
    assert 200 < results < 900


def test_the_profile_is_a_run_of_its_own(
    device: FakeDevice, bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    target, page = tmp_path / "r.json", tmp_path / "r.html"
    ran = bench("--delegate", "cpu", "--delegate", "gpu", "--profile", "-o", target)
    assert ran.status == 0, ran.err
    assert is_clean(device)
    cpu, gpu = BenchRecord.model_validate_json(target.read_text()).cases
    assert cpu.profile is not None
    assert [one.kind for one in cpu.profile.operators] == KINDS
    assert gpu.profile is not None
    assert [one.kind for one in gpu.profile.operators] == ["TfLiteGpuDelegateV2"]
    timed = {i.purpose: "--enable_op_profiling=true" in i.command for i in cpu.invocations}
    assert timed == {"latency": False, "memory": False, "profile": True}
    assert cpu.summary.runs == 50
    assert "what each operator takes" in ran.out
    assert "DEPTH_TO_SPACE" in ran.out
    assert run_here(monkeypatch, capsys, "bench", "report", target, "-o", page).status == 0
    text = page.read_text()
    assert "Time of each operator" in text
    assert 'data-label="operator">DEPTH_TO_SPACE</td>' in text


def test_without_asking_nothing_is_profiled(device: FakeDevice, bench: Bench) -> None:
    ran = bench("--json")
    assert BenchRecord.model_validate_json(ran.out).cases[0].profile is None
    assert not any("enable_op_profiling" in word for run in device.runs for word in run.words)


def test_a_tool_that_cannot_profile_says_so_and_measures_the_rest(
    adb_server: AdbServer, bench: Bench
) -> None:
    with FakeDevice(dialect=Dialect.LITERT) as device:
        adb_server.connect(device)
        ran = bench("--profile")
        assert ran.status == 0, ran.err
        assert "no times of operators: this benchmark_model does not print them" in ran.out
