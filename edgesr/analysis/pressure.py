"""The pressure test: time and memory over the size of the picture, up to what does not fit.

Every size is measured in a process of its own, so that its peak of memory is that size's.
"""

import dataclasses
import json
import math
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from edgesr.analysis.deadline import TIME_BUDGET, Deadline
from edgesr.analysis.pressure_task import PressureTask
from edgesr.doctor import child
from edgesr.errors import EdgeSRError
from edgesr.progress import ProgressCallback, silent
from edgesr.resizing import resize
from edgesr.runtime import read_model_bytes

if TYPE_CHECKING:
    from torch import nn

#: Sides of the square pictures, as the test is usually drawn.
SIZES = (128, 256, 384, 512, 640, 768, 896, 1024)

_RUNS = 3
_MIB = 2**20
_GROWTH_MARGIN = 0.5  # of the time that the pixels predict; caches and threads make it uneven
_MEMORY_WORDS = ("bad_alloc", "allocate", "MemoryError", "out of memory")
_VALUES_BYTES = 4

#: Side -> bytes that the network predictably takes at least.
Needed = Callable[[int], float]


class State(StrEnum):
    """What became of one size."""

    MEASURED = "measured"
    TOO_LARGE = "does not fit"
    NOT_RUN = "not run"
    FAILED = "failed"


@dataclass(frozen=True)
class Pressed:
    """What is put under pressure.

    Attributes:
        name: As the user named it.
        file: A `.tflite`, or a checkpoint.
        needed: Bytes that it predictably takes at least, by the side of the picture.
    """

    name: str
    file: Path
    needed: Needed


@dataclass(frozen=True)
class PressurePlan:
    """How.

    Attributes:
        sizes: Sides of the pictures.
        threads: CPU threads.
        limit_bytes: Memory that a process may take in all.
        runs: Timed runs of each size.
    """

    sizes: tuple[int, ...]
    threads: int
    limit_bytes: float
    runs: int = _RUNS


@dataclass(frozen=True)
class Outcome:
    """One size of one target.

    Attributes:
        name: The target.
        side: Rows and columns of the picture.
        state: What became of it.
        reason: Why it was not measured; empty where it was.
        median_ms: Of the timed runs, 8-bit picture in and out.
        runs: How many were timed.
        base_bytes: Resident memory before: libraries, weights, a small picture.
        peak_bytes: Largest resident memory of the process.
    """

    name: str
    side: int
    state: State
    reason: str = ""
    median_ms: float | None = None
    runs: int = 0
    base_bytes: int | None = None
    peak_bytes: int | None = None


def pressure_test(
    targets: Sequence[Pressed],
    plan: PressurePlan,
    deadline: Deadline,
    progress: ProgressCallback = silent,
) -> list[Outcome]:
    """Measure every size of every target, the small sizes of all first.

    Args:
        targets: What to measure.
        plan: How.
        deadline: What begins later is not run, nor what predictably ends later.
        progress: Told of every size, as stage "pressure".
    """
    sizes = sorted(set(plan.sizes))
    outcomes: dict[tuple[str, int], Outcome] = {}
    for place, side in enumerate(sizes):
        for index, target in enumerate(targets):
            progress("pressure", place * len(targets) + index, len(sizes) * len(targets))
            smaller = [outcomes[target.name, s] for s in sizes[:place]]
            outcomes[target.name, side] = _outcome(target, side, plan, deadline, smaller)
    progress("pressure", len(outcomes), len(outcomes))
    return [outcomes[target.name, side] for target in targets for side in sizes]


def needed_by_tflite(path: Path) -> Needed:
    """What a `.tflite` takes, by `edgesr.resizing`.

    Raises:
        ModelFileError: It is unreadable; the callable too, where it fits one size only.
    """
    content = read_model_bytes(path)
    return lambda side: resize(content, side, side, str(path)).needed_bytes


def needed_by_network(net: "nn.Module", scale: int) -> Needed:
    """What a network takes in PyTorch: the activations alive at once, and the pictures."""
    from edgesr.evaluation.torch_cost import torch_complexity

    def needed(side: int) -> float:
        cost = torch_complexity(net, side, side)
        pictures = (1 + _VALUES_BYTES) * 3 * side * side * (1 + scale * scale)
        return cost.peak.bytes + cost.weight_bytes + pictures

    return needed


def _outcome(
    target: Pressed, side: int, plan: PressurePlan, deadline: Deadline, smaller: Sequence[Outcome]
) -> Outcome:
    stopped = next((o for o in smaller if o.state is State.TOO_LARGE), None)
    if stopped is not None:
        reason = f"{stopped.side}x{stopped.side} did not"
        return Outcome(target.name, side, State.TOO_LARGE, reason)
    try:
        needed = target.needed(side)
    except EdgeSRError as error:
        return Outcome(target.name, side, State.FAILED, str(error))
    if needed > plan.limit_bytes:
        reason = f"needs about {_mib(needed)}, {_mib(plan.limit_bytes)} allowed"
        return Outcome(target.name, side, State.TOO_LARGE, reason)
    if _predicted_s(smaller, side) * _GROWTH_MARGIN >= deadline.left_s:
        return Outcome(target.name, side, State.NOT_RUN, TIME_BUDGET)
    return _run(target, side, plan, deadline)


def _predicted_s(smaller: Sequence[Outcome], side: int) -> float:
    """At least how long a size takes, by the largest one measured: two runs."""
    measured = [o for o in smaller if o.median_ms is not None]
    if not measured:
        return 0.0
    last = measured[-1]
    return 2 * (last.median_ms or 0.0) / 1e3 * (side / last.side) ** 2


def _run(target: Pressed, side: int, plan: PressurePlan, deadline: Deadline) -> Outcome:
    limit = None if math.isinf(plan.limit_bytes) else int(plan.limit_bytes)
    task = PressureTask(
        file=str(target.file),
        side=side,
        threads=plan.threads,
        runs=plan.runs,
        budget_s=deadline.left_s / 4,
        limit_bytes=limit,
    )
    words = json.dumps(dataclasses.asdict(task))
    argv = [sys.executable, "-m", "edgesr.analysis._pressure_child", words]
    ended = child.run_to_end(argv, deadline.left_s)
    return outcome_of(target.name, side, ended, plan.limit_bytes)


def outcome_of(name: str, side: int, ended: child.Ended, limit_bytes: float) -> Outcome:
    """What the end of a process means."""
    if ended.status is None:
        return Outcome(name, side, State.NOT_RUN, f"{TIME_BUDGET}, stopped on its way")
    allowed = f"{_mib(limit_bytes)} allowed"
    if ended.status == 0:
        answer = json.loads(ended.out.splitlines()[-1])
        if "error" in answer:
            return Outcome(name, side, State.FAILED, answer["error"])
        if "too_large" in answer:
            return Outcome(name, side, State.TOO_LARGE, f"{answer['too_large']}, {allowed}")
        return Outcome(name, side, State.MEASURED, **answer)
    if ended.status == -signal.SIGKILL:
        reason = "the system killed the process, as it does when memory runs out"
        return Outcome(name, side, State.TOO_LARGE, reason)
    if any(word in ended.err for word in _MEMORY_WORDS):
        return Outcome(name, side, State.TOO_LARGE, f"memory for it was refused, {allowed}")
    return Outcome(name, side, State.FAILED, ended.reason)


def _mib(size: float) -> str:
    return "any memory" if math.isinf(size) else f"{size / _MIB:.0f} MiB"
