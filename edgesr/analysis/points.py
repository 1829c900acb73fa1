"""PSNR against what it costs: one point per network, counted and measured under one condition."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from edgesr.analysis.deadline import TIME_BUDGET, Deadline
from edgesr.benching.turns import time_in_turns
from edgesr.complexity import Complexity
from edgesr.evaluation.contestants import Contestant
from edgesr.evaluation.evaluate import Column, Journal, evaluate
from edgesr.gpu import GpuDevice
from edgesr.progress import ProgressCallback, silent
from edgesr.runtime import Float32Array, ModelShape
from edgesr.train.pictures import Pair

if TYPE_CHECKING:
    from edgesr.evaluation.evaluate import Measured

#: Rows and columns of the picture at which the challenge counts, and at which time is measured.
SIDE = 256

_RUNS = 10
_WARM_UP = 1
_BUDGET_S = 30.0


@dataclass(frozen=True)
class Subject:
    """A network to be placed.

    Attributes:
        contestant: Upscales whole pictures of any size.
        network: Name of the network; "unknown" where a file does not say.
        cost: Counted at SIDE x SIDE; None where the file fits its own size only.
        recorded: PSNR that is recorded with the weights, by benchmark set; may be empty.
    """

    contestant: Contestant
    network: str
    cost: Complexity | None
    recorded: Mapping[str, float]


@dataclass(frozen=True)
class Point:
    """One network.

    Attributes:
        name: As the user named it.
        network: Name of the network.
        how: What computes it.
        scale: Upscaling factor; only points of one scale are comparable.
        parameters: Numbers that it holds.
        macs: Multiply-accumulates at SIDE x SIDE.
        activation_bytes: The most activations alive at once at SIDE x SIDE, counted.
        latency_ms: Median at SIDE x SIDE, 8-bit picture in and out.
        runs: How many were timed.
        psnr_db: On Y, 8 bits, as many pixels shaved as the scale; a mean over pictures.
        ssim: Likewise; None where it is not recorded.
        psnr_of: On which pictures, and who measured.
        missing: What is not there, and why.
    """

    name: str
    network: str
    how: str
    scale: int
    parameters: int | None = None
    macs: int | None = None
    activation_bytes: int | None = None
    latency_ms: float | None = None
    runs: int = 0
    psnr_db: float | None = None
    ssim: float | None = None
    psnr_of: str = ""
    missing: tuple[str, ...] = ()


def place(
    subjects: Sequence[Subject],
    pairs: Mapping[int, Sequence[Pair]],
    data_name: str,
    deadline: Deadline,
    progress: ProgressCallback = silent,
) -> list[Point]:
    """Count and measure every network.

    Args:
        subjects: The networks.
        pairs: Scale -> pictures to measure PSNR on; empty to take what is recorded.
        data_name: What to call the pictures.
        deadline: What begins later is left out, and said to be.
        progress: Told of stages "latency" and "PSNR".

    Raises:
        EdgeSRError: A network cannot upscale a picture.
    """
    points = [_counted(subject) for subject in subjects]
    points = _with_latency(subjects, points, deadline, progress)
    made: list[Point] = []
    for index, (subject, point) in enumerate(zip(subjects, points, strict=True)):
        progress("PSNR", index, len(subjects))
        made.append(_with_psnr(subject, point, pairs, data_name, deadline))
    progress("PSNR", len(subjects), len(subjects))
    return made


def _counted(subject: Subject) -> Point:
    contestant, cost = subject.contestant, subject.cost
    point = Point(contestant.name, subject.network, contestant.how, contestant.scale)
    if cost is None:
        return replace(point, missing=("counts and latency: the file fits its own size only",))
    return replace(
        point,
        parameters=cost.parameters,
        macs=cost.macs,
        activation_bytes=cost.peak.bytes,
    )


class _AsRunner:
    """A contestant as the bench functions take it, at one size."""

    device: GpuDevice | None = None

    def __init__(self, contestant: Contestant) -> None:
        self.shape = ModelShape(SIDE, SIDE, contestant.scale)
        self._upscale = contestant.upscale

    def run(self, lr_nhwc: Float32Array) -> Float32Array:
        """Upscale one picture; what comes out is left in 8 bits, for only the time counts."""
        self._upscale(np.rint(lr_nhwc[0] * 255).astype(np.uint8))
        return lr_nhwc

    def close(self) -> None:
        """Nothing is held."""


def _with_latency(
    subjects: Sequence[Subject],
    points: Sequence[Point],
    deadline: Deadline,
    progress: ProgressCallback,
) -> list[Point]:
    """All in turns, so that a drift of the machine's speed hits all alike."""
    runners = [_AsRunner(s.contestant) for s in subjects if s.cost is not None]
    if not runners:
        return list(points)
    if deadline.is_over:
        return [_without(point, f"latency: not run: {TIME_BUDGET}") for point in points]
    times_ms = time_in_turns(
        runners,
        runs=_RUNS,
        warm_up=_WARM_UP,
        budget_s=min(_BUDGET_S, deadline.left_s / 2),
        progress=lambda _, done, total: progress("latency", done, total),
    )
    columns = iter(times_ms.T.tolist())
    return [
        replace(point, latency_ms=median(column), runs=len(column))
        if subject.cost is not None and (column := next(columns))
        else point
        for subject, point in zip(subjects, points, strict=True)
    ]


def _with_psnr(
    subject: Subject,
    point: Point,
    pairs: Mapping[int, Sequence[Pair]],
    data_name: str,
    deadline: Deadline,
) -> Point:
    if not pairs:
        return _with_recorded(subject, point)
    measured: list[Measured] = []
    for pair in pairs[point.scale]:
        if deadline.is_over:
            return _without(point, f"PSNR: not run: {TIME_BUDGET}")
        (column,) = evaluate([pair], [subject.contestant], Journal(None, resume=False))
        measured += column.measured
    mean = Column(subject.contestant, tuple(measured)).mean
    return replace(
        point,
        psnr_db=mean.psnr_db,
        ssim=mean.ssim,
        psnr_of=f"{data_name}, {len(measured)} pictures, measured now",
    )


def _with_recorded(subject: Subject, point: Point) -> Point:
    if not subject.recorded:
        return _without(point, "PSNR: none is recorded with these weights, and no pictures given")
    name, psnr_db = next(iter(subject.recorded.items()))
    return replace(point, psnr_db=psnr_db, psnr_of=f"{name}, recorded with the weights")


def _without(point: Point, reason: str) -> Point:
    return replace(point, missing=(*point.missing, reason))
