"""The pressure test: what is measured, what does not fit, what the time did not reach."""

import json
import math
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from edgesr.analysis.deadline import TIME_BUDGET, Deadline
from edgesr.analysis.pressure import (
    Outcome,
    Pressed,
    PressurePlan,
    State,
    needed_by_network,
    needed_by_tflite,
    outcome_of,
    pressure_test,
)
from edgesr.archs.imdn_rtc import IMDNRTC
from edgesr.doctor.child import Ended
from edgesr.errors import ModelFileError
from edgesr.resizing import resize

MIB = 2**20


def plan(*sizes: int, limit_bytes: float = math.inf) -> PressurePlan:
    return PressurePlan(sizes, threads=1, limit_bytes=limit_bytes, runs=2)


def pressed(path: Path, needed: Callable[[int], float] = lambda side: 0.0) -> Pressed:
    return Pressed("net", path, needed)


def test_a_file_is_measured_at_every_size_in_a_process_of_its_own(small_tflite: Path) -> None:
    target = pressed(small_tflite, needed_by_tflite(small_tflite))
    small, large = pressure_test([target], plan(32, 512), Deadline(120))
    assert [(o.side, o.state, o.reason) for o in (small, large)] == [
        (32, State.MEASURED, ""),
        (512, State.MEASURED, ""),
    ]
    assert small.median_ms is not None
    assert large.median_ms is not None
    assert 0 < small.median_ms < large.median_ms
    assert small.runs == large.runs == 2
    assert small.peak_bytes is not None
    assert large.peak_bytes is not None
    # The float32 pictures alone, in and out.
    assert large.peak_bytes - small.peak_bytes > 4 * 3 * 5 * 512 * 512 / 2
    assert large.base_bytes is not None
    assert 0 < large.base_bytes < large.peak_bytes < 1000 * MIB


@pytest.mark.slow
def test_a_network_is_measured_in_pytorch(checkpoint: Path) -> None:
    target = Pressed("rtc", checkpoint, needed_by_network(IMDNRTC(), 2))
    (got,) = pressure_test([target], plan(64), Deadline(300))
    assert got.state is State.MEASURED, got.reason
    assert got.peak_bytes is not None
    assert 100 * MIB < got.peak_bytes < 1500 * MIB


def test_what_predictably_does_not_fit_is_not_run_nor_is_anything_larger(tmp_path: Path) -> None:
    asked: list[int] = []

    def needed(side: int) -> float:
        asked.append(side)
        return 10.0 * MIB

    found = pressure_test(
        [pressed(tmp_path / "none.tflite", needed)], plan(64, 128, limit_bytes=MIB), Deadline(60)
    )
    assert [(o.state, o.reason) for o in found] == [
        (State.TOO_LARGE, "needs about 10 MiB, 1 MiB allowed"),
        (State.TOO_LARGE, "64x64 did not"),
    ]
    assert asked == [64]
    assert all(o.median_ms is None and o.peak_bytes is None for o in found)


def test_a_process_that_grows_beyond_the_limit_does_not_fit(small_tflite: Path) -> None:
    """Nothing predicts it here: the process itself is refused the memory."""
    limit = 100.0 * MIB
    (got,) = pressure_test([pressed(small_tflite)], plan(2048, limit_bytes=limit), Deadline(120))
    assert got.state is State.TOO_LARGE, got
    assert got.reason.startswith("memory for it was refused")
    assert got.reason.endswith("100 MiB allowed")


def test_after_the_time_nothing_runs_and_nothing_is_invented(small_tflite: Path) -> None:
    found = pressure_test([pressed(small_tflite)], plan(32, 64), Deadline(0))
    assert found == [Outcome("net", side, State.NOT_RUN, TIME_BUDGET) for side in (32, 64)]


def test_all_targets_come_to_a_size_before_the_next_one(tmp_path: Path) -> None:
    asked: list[tuple[str, int]] = []

    def target(name: str) -> Pressed:
        def needed(side: int) -> float:
            asked.append((name, side))
            raise ModelFileError("fits one size only")

        return Pressed(name, tmp_path / "x.tflite", needed)

    found = pressure_test([target("a"), target("b")], plan(64, 32, 32), Deadline(60))
    assert asked == [("a", 32), ("b", 32), ("a", 64), ("b", 64)]
    assert [(o.name, o.side) for o in found] == [("a", 32), ("a", 64), ("b", 32), ("b", 64)]
    assert {(o.state, o.reason) for o in found} == {(State.FAILED, "fits one size only")}


@pytest.mark.parametrize(
    ("ended", "state", "reason"),
    [
        pytest.param(Ended(None, "", "", 3.0), State.NOT_RUN, TIME_BUDGET, id="time"),
        pytest.param(
            Ended(-signal.SIGKILL, "", "", 3.0), State.TOO_LARGE, "memory runs out", id="killed"
        ),
        pytest.param(
            Ended(-signal.SIGABRT, "", "what(): std::bad_alloc\n", 3.0),
            State.TOO_LARGE,
            "refused, 1 MiB allowed",
            id="bad-alloc",
        ),
        pytest.param(Ended(-signal.SIGSEGV, "", "", 3.0), State.FAILED, "SIGSEGV", id="crash"),
        pytest.param(
            Ended(0, json.dumps({"error": "no such file"}), "", 3.0),
            State.FAILED,
            "no such file",
            id="error",
        ),
    ],
)
def test_every_end_of_a_process_has_a_meaning(ended: Ended, state: State, reason: str) -> None:
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
