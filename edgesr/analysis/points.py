"""Points of PSNR against cost: every network counted and measured alike."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from edgesr.analysis.stress_test import TIME_BUDGET, Deadline
from edgesr.benchmark.timing import time_interleaved
from edgesr.common.progress import ProgressCallback, silent
from edgesr.evaluation.complexity import Complexity
from edgesr.evaluation.evaluate import evaluate
from edgesr.evaluation.journal import Journal
from edgesr.evaluation.methods import Method
from edgesr.evaluation.results import MethodScores
from edgesr.images.datasets import Pair
from edgesr.runtime.gpu import GpuDevice
from edgesr.runtime.session import Float32Array
from edgesr.tflite.shape import ModelShape

if TYPE_CHECKING:
    from edgesr.evaluation.results import ImageScore

#: Side of the image, in pixels, at which costs are counted and latency is measured.
SIDE = 256

_RUNS = 10
_WARM_UP = 1
_BUDGET_S = 30.0


@dataclass(frozen=True)
class Subject:
    """Network to be counted and measured.

    Attributes:
        method: Upscales whole images of any size.
        network: Name of the network; "unknown" where a file does not hold it.
        cost: Counted at SIDE x SIDE; None where the file accepts its own size only.
        recorded: PSNR in dB recorded with the weights, by benchmark set; may be empty.
    """

    method: Method
    network: str
    cost: Complexity | None
    recorded: Mapping[str, float]


@dataclass(frozen=True)
class Point:
    """PSNR and cost of one network.

    Attributes:
        name: As the user named it.
        network: Name of the network.
        how: Backend, for people.
        scale: Upscaling factor; only points of one scale are comparable.
        parameters: Number of weights.
        macs: Multiply-accumulates at SIDE x SIDE.
        activation_bytes: Peak live activations at SIDE x SIDE, counted.
        latency_ms: Median at SIDE x SIDE, 8-bit image in and out.
        runs: Timed runs.
        psnr_db: On Y, 8 bits, `scale` pixels shaved off each edge; mean over images.
        ssim: Likewise; None where it is not recorded.
        psnr_of: Images and origin of the PSNR.
        missing: What was not measured, and why.
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


def measure_points(
    subjects: Sequence[Subject],
    pairs: Mapping[int, Sequence[Pair]],
    data_name: str,
    deadline: Deadline,
    progress: ProgressCallback = silent,
) -> list[Point]:
    """Count and measure every network.

    Args:
        subjects: The networks.
        pairs: Scale -> images to measure PSNR on; empty for the recorded PSNR.
        data_name: Name of the images, for people.
        deadline: Measurements that would begin later are skipped and named in `missing`.
        progress: Reports the stages "latency" and "PSNR".

    Raises:
        EdgeSRError: A network cannot upscale an image.
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
    method, cost = subject.method, subject.cost
    point = Point(method.name, subject.network, method.how, method.scale)
    if cost is None:
        return replace(point, missing=("counts and latency: the file fits its own size only",))
    return replace(
        point,
        parameters=cost.parameters,
        macs=cost.macs,
        activation_bytes=cost.peak.bytes,
    )


class _AsRunner:
    """A method as a runner of one size, for the benchmark functions."""

    device: GpuDevice | None = None

    def __init__(self, method: Method) -> None:
        self.shape = ModelShape(SIDE, SIDE, method.scale)
        self._upscale = method.upscale

    def run(self, lr_nhwc: Float32Array) -> Float32Array:
        """Upscale one image and return the input: only the time matters."""
        self._upscale(np.rint(lr_nhwc[0] * 255).astype(np.uint8))
        return lr_nhwc

    def close(self) -> None:
        """Do nothing: there is nothing to release."""


def _with_latency(
    subjects: Sequence[Subject],
    points: Sequence[Point],
    deadline: Deadline,
    progress: ProgressCallback,
) -> list[Point]:
    """All in turns, so that a drift of the machine's speed hits all alike."""
    runners = [_AsRunner(s.method) for s in subjects if s.cost is not None]
    if not runners:
        return list(points)
    if deadline.is_over:
        return [_without(point, f"latency: not run: {TIME_BUDGET}") for point in points]
    times_ms = time_interleaved(
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
    measured: list[ImageScore] = []
    for pair in pairs[point.scale]:
        if deadline.is_over:
            return _without(point, f"PSNR: not run: {TIME_BUDGET}")
        (column,) = evaluate([pair], [subject.method], Journal(None, resume=False))
        measured += column.scores
    mean = MethodScores(subject.method, tuple(measured)).mean
    return replace(
        point,
        psnr_db=mean.psnr_db,
        ssim=mean.ssim,
        psnr_of=f"{data_name}, {len(measured)} images, measured now",
    )


def _with_recorded(subject: Subject, point: Point) -> Point:
    if not subject.recorded:
        return _without(point, "PSNR: none is recorded with these weights, and no images given")
    name, psnr_db = next(iter(subject.recorded.items()))
    return replace(point, psnr_db=psnr_db, psnr_of=f"{name}, recorded with the weights")


def _without(point: Point, reason: str) -> Point:
    return replace(point, missing=(*point.missing, reason))
