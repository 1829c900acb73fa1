"""Stress test: time and memory by image size, up to the size that does not fit.

Every size runs in a process of its own, so that the peak memory is that size's alone.
"""

import dataclasses
import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgesr.common import subprocesses
from edgesr.common.compat import StrEnum
from edgesr.common.progress import ProgressCallback, silent
from edgesr.errors import EdgeSRError
from edgesr.tflite.resize import resize
from edgesr.tflite.schema import read_model_bytes

if TYPE_CHECKING:
    from torch import nn

#: Reason of everything that was not measured because the time was over.
TIME_BUDGET = "time budget"


class Deadline:
    """Time limit, counted from its creation."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    @property
    def left_s(self) -> float:
        """Remaining seconds, at least 0."""
        return max(0.0, self._end - time.monotonic())

    @property
    def is_over(self) -> bool:
        """Whether no time remains."""
        return self.left_s <= 0


@dataclass(frozen=True)
class StressTask:
    """Measurement of one image size by a child process.

    Attributes:
        file: A `.tflite`, or a checkpoint.
        side: Height and width of the image, in pixels.
        threads: CPU threads.
        runs: Timed runs, after an untimed one.
        budget_s: No further run begins after that time.
        limit_bytes: Memory limit of the process; None without one.
    """

    file: str
    side: int
    threads: int
    runs: int
    budget_s: float
    limit_bytes: int | None


#: Default sides of the square images, in pixels.
SIZES = (128, 256, 384, 512, 640, 768, 896, 1024)

_RUNS = 3
_MIB = 2**20
_GROWTH_MARGIN = 0.5  # of the time that the pixels predict; caches and threads make it uneven
_MEMORY_WORDS = ("bad_alloc", "allocate", "MemoryError", "out of memory")
_VALUES_BYTES = 4

#: Side of the image -> lower bound of the memory needed, in bytes.
Needed = Callable[[int], float]


class StressState(StrEnum):
    """State of one size after the test."""

    MEASURED = "measured"
    TOO_LARGE = "does not fit"
    NOT_RUN = "not run"
    FAILED = "failed"


@dataclass(frozen=True)
class StressTarget:
    """Network or file to be stress-tested.

    Attributes:
        name: As the user named it.
        file: A `.tflite`, or a checkpoint.
        needed: Lower bound of its memory by the side of the image.
    """

    name: str
    file: Path
    needed: Needed


@dataclass(frozen=True)
class StressPlan:
    """Conditions of a stress test.

    Attributes:
        sizes: Sides of the images, in pixels.
        threads: CPU threads.
        limit_bytes: Memory limit of each process.
        runs: Timed runs of each size.
    """

    sizes: tuple[int, ...]
    threads: int
    limit_bytes: float
    runs: int = _RUNS


@dataclass(frozen=True)
class StressOutcome:
    """Result of one size of one target.

    Attributes:
        name: Of the target.
        side: Height and width of the image, in pixels.
        state: Whether it was measured.
        reason: Why it was not measured; empty where it was.
        median_ms: Of the timed runs, 8-bit image in and out.
        runs: Timed runs.
        base_bytes: Resident memory before: libraries, weights, a small image.
        peak_bytes: Largest resident memory of the process.
    """

    name: str
    side: int
    state: StressState
    reason: str = ""
    median_ms: float | None = None
    runs: int = 0
    base_bytes: int | None = None
    peak_bytes: int | None = None


def run_stress_test(
    targets: Sequence[StressTarget],
    plan: StressPlan,
    deadline: Deadline,
    progress: ProgressCallback = silent,
) -> list[StressOutcome]:
    """Measure every size of every target, the small sizes of all first.

    Args:
        targets: Networks and files.
        plan: Sizes and limits.
        deadline: Sizes that would begin later, or predictably end later, are not run.
        progress: Reports every size, as stage "stress".
    """
    sizes = sorted(set(plan.sizes))
    outcomes: dict[tuple[str, int], StressOutcome] = {}
    for place, side in enumerate(sizes):
        for index, target in enumerate(targets):
            progress("stress", place * len(targets) + index, len(sizes) * len(targets))
            smaller = [outcomes[target.name, s] for s in sizes[:place]]
            outcomes[target.name, side] = _outcome(target, side, plan, deadline, smaller)
    progress("stress", len(outcomes), len(outcomes))
    return [outcomes[target.name, side] for target in targets for side in sizes]


def needed_by_tflite(path: Path) -> Needed:
    """Memory needed by a `.tflite`, as `edgesr.tflite.resize` estimates it.

    Raises:
        ModelFileError: It is unreadable; also raised by the callable for a file of one size only.
    """
    content = read_model_bytes(path)
    return lambda side: resize(content, side, side, str(path)).needed_bytes


def needed_by_network(net: "nn.Module", scale: int) -> Needed:
    """Memory needed by a network in PyTorch: weights, peak live activations, images."""
    from edgesr.evaluation.torch_cost import torch_complexity

    def needed(side: int) -> float:
        cost = torch_complexity(net, side, side)
        images = (1 + _VALUES_BYTES) * 3 * side * side * (1 + scale * scale)
        return cost.peak.bytes + cost.weight_bytes + images

    return needed


def _outcome(
    target: StressTarget,
    side: int,
    plan: StressPlan,
    deadline: Deadline,
    smaller: Sequence[StressOutcome],
) -> StressOutcome:
    stopped = next((o for o in smaller if o.state is StressState.TOO_LARGE), None)
    if stopped is not None:
        reason = f"{stopped.side}x{stopped.side} did not"
        return StressOutcome(target.name, side, StressState.TOO_LARGE, reason)
    try:
        needed = target.needed(side)
    except EdgeSRError as error:
        return StressOutcome(target.name, side, StressState.FAILED, str(error))
    if needed > plan.limit_bytes:
        reason = f"needs about {_mib(needed)}, {_mib(plan.limit_bytes)} allowed"
        return StressOutcome(target.name, side, StressState.TOO_LARGE, reason)
    if _predicted_s(smaller, side) * _GROWTH_MARGIN >= deadline.left_s:
        return StressOutcome(target.name, side, StressState.NOT_RUN, TIME_BUDGET)
    return _run(target, side, plan, deadline)


def _predicted_s(smaller: Sequence[StressOutcome], side: int) -> float:
    """Lower bound of two runs of a size in seconds, from the largest size measured."""
    measured = [o for o in smaller if o.median_ms is not None]
    if not measured:
        return 0.0
    last = measured[-1]
    return 2 * (last.median_ms or 0.0) / 1e3 * (side / last.side) ** 2


def _run(target: StressTarget, side: int, plan: StressPlan, deadline: Deadline) -> StressOutcome:
    limit = None if math.isinf(plan.limit_bytes) else int(plan.limit_bytes)
    task = StressTask(
        file=str(target.file),
        side=side,
        threads=plan.threads,
        runs=plan.runs,
        budget_s=deadline.left_s / 4,
        limit_bytes=limit,
    )
    request = json.dumps(dataclasses.asdict(task))
    argv = [sys.executable, "-m", "edgesr.analysis._stress_child", request]
    ended = subprocesses.run_to_end(argv, deadline.left_s)
    return outcome_of(target.name, side, ended, plan.limit_bytes)


def outcome_of(
    name: str, side: int, ended: subprocesses.ProcessResult, limit_bytes: float
) -> StressOutcome:
    """Interpret how a child process ended."""
    if ended.status is None:
        return StressOutcome(
            name, side, StressState.NOT_RUN, f"{TIME_BUDGET}, stopped while it ran"
        )
    allowed = f"{_mib(limit_bytes)} allowed"
    if ended.status == 0:
        answer = json.loads(ended.out.splitlines()[-1])
        if "error" in answer:
            return StressOutcome(name, side, StressState.FAILED, answer["error"])
        if "too_large" in answer:
            return StressOutcome(
                name, side, StressState.TOO_LARGE, f"{answer['too_large']}, {allowed}"
            )
        return StressOutcome(name, side, StressState.MEASURED, **answer)
    if ended.status == -subprocesses.SIGKILL:
        reason = "the system killed the process, as it does when memory runs out"
        return StressOutcome(name, side, StressState.TOO_LARGE, reason)
    if any(word in ended.err for word in _MEMORY_WORDS):
        return StressOutcome(
            name, side, StressState.TOO_LARGE, f"memory for it was refused, {allowed}"
        )
    return StressOutcome(name, side, StressState.FAILED, ended.reason)


def _mib(size: float) -> str:
    return "any memory" if math.isinf(size) else f"{size / _MIB:.0f} MiB"
