"""Measure a report: every section that a request names, as data."""

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgesr.errors import ImageError

if TYPE_CHECKING:
    from edgesr.analysis.features import FeatureMap
    from edgesr.analysis.findings import Findings, ImageUsed, StressTest
    from edgesr.analysis.frequency import AttentionSpectra
    from edgesr.analysis.points import Point
    from edgesr.analysis.report_targets import ReportTarget
    from edgesr.analysis.stress_test import Deadline
    from edgesr.common.progress import ProgressCallback
    from edgesr.images.datasets import Pair
    from edgesr.images.metrics import Uint8Array

#: The page's sections, in its order.
SECTIONS = ("scatter", "stress", "frequency", "features")

#: Largest side, in pixels, of the image whose features are shown.
SHOWN = 288

_BUSY = 0.5  # of the CPUs; as `edgesr bench` has it
_CARD = (192, 288)
_NO_BLOCKS = "A .tflite has no blocks any more: name the checkpoint or the network instead."
_NO_ATTENTION = "It has no high-frequency attention: that is FMEN's. There is nothing to show."
_MIB = 2**20


@dataclass(frozen=True)
class ReportRequest:
    """Targets, sections and limits of a report.

    Attributes:
        targets: As the user named them; empty for the networks whose weights are bundled.
        sections: Some of SECTIONS.
        data: Folder of images to measure PSNR on; None for the recorded PSNR.
        image: Of which features and spectra are shown; None for the test card.
        sizes: Sides of the stress test's images, in pixels; None for its own.
        threads: CPU threads; None for all.
        memory_limit_mib: Of each process of the stress test; None for the free memory.
    """

    targets: tuple[str, ...]
    sections: tuple[str, ...]
    data: Path | None = None
    image: Path | None = None
    sizes: tuple[int, ...] | None = None
    threads: int | None = None
    memory_limit_mib: int | None = None

    @property
    def needs_image(self) -> bool:
        """Whether an image is run through the networks for a section."""
        return "frequency" in self.sections or "features" in self.sections


def measure_report(
    request: ReportRequest, deadline: "Deadline", progress: "ProgressCallback"
) -> "Findings":
    """Measure every section of a report.

    Args:
        request: Targets and sections.
        deadline: No measurement begins later.
        progress: Reports every stage.

    Raises:
        EdgeSRError: A target or an image cannot be read.
    """
    from edgesr.analysis.findings import Findings
    from edgesr.analysis.report_targets import open_report_targets
    from edgesr.common.files import temporary_file_errors
    from edgesr.runtime.session import available_threads

    threads = request.threads or available_threads()
    shown = _shown_image(request.image) if request.needs_image else None
    # Windows has none
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    with temporary_file_errors():
        folder = tempfile.TemporaryDirectory(prefix="edgesr-report-")
    with folder as name:
        targets = open_report_targets(request.targets, Path(name), threads, progress)
        points, frequency, features, stress = None, None, None, None
        if "scatter" in request.sections:
            points = _points(targets, request.data, deadline, progress)
        if shown is not None and "frequency" in request.sections:
            frequency = {t.name: _attention(t, shown) for t in targets}
        if shown is not None and "features" in request.sections:
            features = {t.name: _maps(t, shown) for t in targets}
        if "stress" in request.sections:
            stress = _stress(targets, request, threads, deadline, progress)
    conditions = _conditions(threads, load, deadline)
    names = [target.name for target in targets]
    return Findings(conditions, names, points, stress, frequency, features, shown)


def _shown_image(path: Path | None) -> "ImageUsed":
    """Read the user's image, or draw the test card.

    Raises:
        ImageError: It cannot be read.
    """
    from edgesr.analysis.findings import ImageUsed
    from edgesr.images.datasets import read_rgb
    from edgesr.images.test_card import draw_test_card

    if path is None:
        return ImageUsed("the test card", draw_test_card(*_CARD))
    pixels = read_rgb(path)
    middle = _centre_crop(pixels, SHOWN, SHOWN)
    cut = f", the middle of {pixels.shape[0]}x{pixels.shape[1]}"
    return ImageUsed(path.name + cut * (middle.shape != pixels.shape), middle)


def _centre_crop(pixels_hwc: "Uint8Array", height: int, width: int) -> "Uint8Array":
    rows, columns = pixels_hwc.shape[:2]
    top, left = max(0, rows - height) // 2, max(0, columns - width) // 2
    return pixels_hwc[top : top + height, left : left + width]


def _fitting(target: "ReportTarget", shown: "ImageUsed") -> "Uint8Array":
    """Crop the image to a size that the network accepts.

    Raises:
        ImageError: Nothing is left.
    """
    multiple = target.size_multiple
    height, width = (side - side % multiple for side in shown.lr_hwc_u8.shape[:2])
    if not height or not width:
        raise ImageError(
            f"{shown.name} is too small for {target.name}, allowed {multiple}x{multiple} and more"
        )
    return shown.lr_hwc_u8[:height, :width]


def _points(
    targets: "Sequence[ReportTarget]",
    data: Path | None,
    deadline: "Deadline",
    progress: "ProgressCallback",
) -> "list[Point]":
    from edgesr.analysis.points import measure_points
    from edgesr.images.datasets import pairs_in

    pairs: dict[int, list[Pair]] = {}
    if data is not None:
        pairs = {scale: pairs_in(data, scale) for scale in sorted({t.scale for t in targets})}
    return measure_points([t.subject for t in targets], pairs, _name(data), deadline, progress)


def _name(data: Path | None) -> str:
    return "" if data is None else data.resolve().name


def _attention(target: "ReportTarget", shown: "ImageUsed") -> "Sequence[AttentionSpectra] | str":
    from edgesr.analysis.frequency import attention_spectra

    if target.net is None:
        return _NO_BLOCKS
    return (
        attention_spectra(target.net, _fitting(target, shown), target.value_range) or _NO_ATTENTION
    )


def _maps(target: "ReportTarget", shown: "ImageUsed") -> "Sequence[FeatureMap] | str":
    from edgesr.analysis.features import feature_maps

    if target.net is None:
        return _NO_BLOCKS
    return feature_maps(target.net, _fitting(target, shown), target.value_range)


def _stress(
    targets: "Sequence[ReportTarget]",
    request: ReportRequest,
    threads: int,
    deadline: "Deadline",
    progress: "ProgressCallback",
) -> "StressTest":
    from edgesr.analysis.findings import StressTest
    from edgesr.analysis.stress_test import SIZES, StressPlan, run_stress_test
    from edgesr.common.machine import free_bytes

    limit = (
        free_bytes() if request.memory_limit_mib is None else float(request.memory_limit_mib * _MIB)
    )
    plan = StressPlan(request.sizes or SIZES, threads, limit)
    outcomes = run_stress_test([t.stress_target for t in targets], plan, deadline, progress)
    return StressTest(outcomes, limit, threads)


def _conditions(threads: int, load: float, deadline: "Deadline") -> dict[str, str]:
    """How the numbers were obtained."""
    import datetime

    from edgesr import __version__
    from edgesr.common.machine import processor, system
    from edgesr.runtime.session import available_threads

    cpus = available_threads()
    busy = ": other programs were running, and times are longer than on an idle machine"
    return {
        "made": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "processor": f"{processor()}, {cpus} CPUs; threads used: {threads}",
        "system": system(),
        "edgesr": __version__,
        "load before": f"{load:.1f}{busy if load > _BUSY * cpus else ''}",
        "time limit": f"{deadline.seconds:g} s; took {deadline.seconds - deadline.left_s:.0f} s",
    }
