"""The stress test: what is measured, what does not fit, what the time did not reach."""

import json
import math
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from edgesr.analysis.stress_test import (
    TIME_BUDGET,
    Deadline,
    StressOutcome,
    StressPlan,
    StressState,
    StressTarget,
    needed_by_network,
    needed_by_tflite,
    outcome_of,
    run_stress_test,
)
from edgesr.common.subprocesses import ProcessResult
from edgesr.errors import ModelFileError
from edgesr.networks.architectures.imdn_rtc import IMDNRTC
from edgesr.tflite.resize import resize

MIB = 2**20


def plan(*sizes: int, limit_bytes: float = math.inf) -> StressPlan:
    return StressPlan(sizes, threads=1, limit_bytes=limit_bytes, runs=2)


def stress_target(path: Path, needed: Callable[[int], float] = lambda side: 0.0) -> StressTarget:
    return StressTarget("net", path, needed)


def test_a_file_is_measured_at_every_size_in_a_process_of_its_own(small_tflite: Path) -> None:
    target = stress_target(small_tflite, needed_by_tflite(small_tflite))
    small, large = run_stress_test([target], plan(32, 512), Deadline(120))
    assert [(o.side, o.state, o.reason) for o in (small, large)] == [
        (32, StressState.MEASURED, ""),
        (512, StressState.MEASURED, ""),
    ]
    assert small.median_ms is not None
    assert large.median_ms is not None
    assert small.median_ms > 0
    assert large.median_ms > 0
    assert small.runs == large.runs == 2
    assert small.peak_bytes is not None
    assert large.peak_bytes is not None
    # The float32 images alone, in and out.
    assert large.peak_bytes - small.peak_bytes > 4 * 3 * 5 * 512 * 512 / 2
    assert large.base_bytes is not None
    assert 0 < large.base_bytes < large.peak_bytes < 1000 * MIB


@pytest.mark.slow
def test_a_network_is_measured_in_pytorch(checkpoint: Path) -> None:
    target = StressTarget("rtc", checkpoint, needed_by_network(IMDNRTC(), 2))
    (got,) = run_stress_test([target], plan(64), Deadline(300))
    assert got.state is StressState.MEASURED, got.reason
    assert got.peak_bytes is not None
    assert 100 * MIB < got.peak_bytes < 1500 * MIB


def test_what_predictably_does_not_fit_is_not_run_nor_is_anything_larger(tmp_path: Path) -> None:
    sizes_seen: list[int] = []

    def needed(side: int) -> float:
        sizes_seen.append(side)
        return 10.0 * MIB

    found = run_stress_test(
        [stress_target(tmp_path / "none.tflite", needed)],
        plan(64, 128, limit_bytes=MIB),
        Deadline(60),
    )
    assert [(o.state, o.reason) for o in found] == [
        (StressState.TOO_LARGE, "needs about 10 MiB, 1 MiB allowed"),
        (StressState.TOO_LARGE, "64x64 did not"),
    ]
    assert sizes_seen == [64]
    assert all(o.median_ms is None and o.peak_bytes is None for o in found)


def test_a_process_that_grows_beyond_the_limit_does_not_fit(small_tflite: Path) -> None:
    """Nothing predicts it here: the process itself is refused the memory."""
    limit = 100.0 * MIB
    (got,) = run_stress_test(
        [stress_target(small_tflite)], plan(2048, limit_bytes=limit), Deadline(120)
    )
    assert got.state is StressState.TOO_LARGE, got
    assert got.reason.startswith("memory for it was refused")
    assert got.reason.endswith("100 MiB allowed")


def test_after_the_time_nothing_runs_and_there_are_no_numbers(small_tflite: Path) -> None:
    found = run_stress_test([stress_target(small_tflite)], plan(32, 64), Deadline(0))
    assert found == [
        StressOutcome("net", side, StressState.NOT_RUN, TIME_BUDGET) for side in (32, 64)
    ]


def test_all_targets_come_to_a_size_before_the_next_one(tmp_path: Path) -> None:
    sizes_seen: list[tuple[str, int]] = []

    def target(name: str) -> StressTarget:
        def needed(side: int) -> float:
            sizes_seen.append((name, side))
            raise ModelFileError("fits one size only")

        return StressTarget(name, tmp_path / "x.tflite", needed)

    found = run_stress_test([target("a"), target("b")], plan(64, 32, 32), Deadline(60))
    assert sizes_seen == [("a", 32), ("b", 32), ("a", 64), ("b", 64)]
    assert [(o.name, o.side) for o in found] == [("a", 32), ("a", 64), ("b", 32), ("b", 64)]
    assert {(o.state, o.reason) for o in found} == {(StressState.FAILED, "fits one size only")}


@pytest.mark.parametrize(
    ("ended", "state", "reason"),
    [
        pytest.param(ProcessResult(None, "", "", 3.0), StressState.NOT_RUN, TIME_BUDGET, id="time"),
        pytest.param(
            ProcessResult(-signal.SIGKILL, "", "", 3.0),
            StressState.TOO_LARGE,
            "memory runs out",
            id="killed",
        ),
        pytest.param(
            ProcessResult(-signal.SIGABRT, "", "what(): std::bad_alloc\n", 3.0),
            StressState.TOO_LARGE,
            "refused, 1 MiB allowed",
            id="bad-alloc",
        ),
        pytest.param(
            ProcessResult(-signal.SIGSEGV, "", "", 3.0), StressState.FAILED, "SIGSEGV", id="crash"
        ),
        pytest.param(
            ProcessResult(0, json.dumps({"error": "no such file"}), "", 3.0),
            StressState.FAILED,
            "no such file",
            id="error",
        ),
    ],
)
def test_every_end_of_a_process_has_a_meaning(
    ended: ProcessResult, state: StressState, reason: str
) -> None:
    got = outcome_of("net", 64, ended, MIB)
    assert got.state is state
    assert reason in got.reason
    assert got.median_ms is None


def test_predictions_are_those_of_the_file_and_of_the_graph(small_tflite: Path) -> None:
    content = small_tflite.read_bytes()
    assert needed_by_tflite(small_tflite)(64) == resize(content, 64, 64).needed_bytes
    needed = needed_by_network(IMDNRTC(), 2)
    # At least input and output in float32, and about four times as much for four times the pixels.
    assert needed(128) > 4 * 3 * 128 * 128 * 5
    assert needed(256) / needed(128) == pytest.approx(4, rel=0.05)
