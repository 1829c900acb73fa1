"""What `edgesr report` measures: each section of the page, from the user's words to its data."""

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgesr.cli.data_folder import pairs_in
from edgesr.errors import PictureError

if TYPE_CHECKING:
    from edgesr.analysis.deadline import Deadline
    from edgesr.analysis.features import FeatureMap
    from edgesr.analysis.findings import Findings, PictureUsed, Pressure
    from edgesr.analysis.frequency import AttentionSpectra
    from edgesr.analysis.points import Point
    from edgesr.cli.report_targets import Target
    from edgesr.metrics import Uint8Array
    from edgesr.progress import ProgressCallback
    from edgesr.train.pictures import Pair

#: The page's sections, in its order.
SECTIONS = ("scatter", "pressure", "frequency", "features")

#: Pixels of a picture's side that features are drawn of.
SHOWN = 288

_BUSY = 0.5  # of the CPUs; as `edgesr bench` has it
_CARD = (192, 288)
_NO_BLOCKS = (
    "A .tflite has no blocks to look into any more: name the checkpoint or the network instead."
)
_NO_ATTENTION = "It has no high-frequency attention: that is FMEN's. There is nothing to show."
_MIB = 2**20


@dataclass(frozen=True)
class Asked:
    """What the user asks for; see the options of the command."""

    targets: tuple[str, ...]
    sections: tuple[str, ...]
    data: Path | None
    picture: Path | None
    sizes: tuple[int, ...] | None
    threads: int | None
    memory_limit: int | None

    @property
    def looks_inside(self) -> bool:
        """Whether a picture goes through the networks."""
        return "frequency" in self.sections or "features" in self.sections


def find(asked: Asked, deadline: "Deadline", progress: "ProgressCallback") -> "Findings":
    """Measure everything that is asked for.

    Args:
        asked: What the user asks for.
        deadline: No measurement begins later.
        progress: Told how far it is.

    Raises:
        EdgeSRError: A target or a picture cannot be read.
    """
    from edgesr.analysis.findings import Findings
    from edgesr.cli.report_targets import open_all
    from edgesr.files import temporary_file_errors
    from edgesr.runtime import available_threads

    threads = asked.threads or available_threads()
    shown = _picture_used(asked.picture) if asked.looks_inside else None
    load = os.getloadavg()[0]
    with temporary_file_errors():
        folder = tempfile.TemporaryDirectory(prefix="edgesr-report-")
    with folder as name:
        targets = open_all(asked.targets, Path(name), threads, progress)
        _limit_torch(targets, threads)
        points, frequency, features, pressure = None, None, None, None
        if "scatter" in asked.sections:
            points = _points(targets, asked.data, deadline, progress)
        if shown is not None and "frequency" in asked.sections:
            frequency = {t.name: _attention(t, shown) for t in targets}
        if shown is not None and "features" in asked.sections:
            features = {t.name: _maps(t, shown) for t in targets}
        if "pressure" in asked.sections:
            pressure = _pressure(targets, asked, threads, deadline, progress)
    conditions = _conditions(threads, load, deadline)
    names = [target.name for target in targets]
    return Findings(conditions, names, points, pressure, frequency, features, shown)


def _picture_used(path: Path | None) -> "PictureUsed":
    """The user's picture, or the test card.

    Raises:
        PictureError: It cannot be read.
    """
    from edgesr.analysis.findings import PictureUsed
    from edgesr.testcard import draw_test_card
    from edgesr.train.pictures import read_rgb

    if path is None:
        return PictureUsed("the drawn test card", draw_test_card(*_CARD))
    pixels = read_rgb(path)
    middle = _middle(pixels, SHOWN, SHOWN)
    cut = f", the middle of {pixels.shape[0]}x{pixels.shape[1]}"
    return PictureUsed(path.name + cut * (middle.shape != pixels.shape), middle)


def _middle(pixels_hwc: "Uint8Array", height: int, width: int) -> "Uint8Array":
    rows, columns = pixels_hwc.shape[:2]
    top, left = max(0, rows - height) // 2, max(0, columns - width) // 2
    return pixels_hwc[top : top + height, left : left + width]


def _fitting(target: "Target", shown: "PictureUsed") -> "Uint8Array":
    """The picture, cut to a size that the network takes.

    Raises:
        PictureError: Nothing is left.
    """
    multiple = target.size_multiple
    height, width = (side - side % multiple for side in shown.lr_hwc_u8.shape[:2])
    if not height or not width:
        raise PictureError(
            f"{shown.name} is too small for {target.name}, allowed {multiple}x{multiple} and more"
        )
    return shown.lr_hwc_u8[:height, :width]


def _points(
    targets: "Sequence[Target]",
    data: Path | None,
    deadline: "Deadline",
    progress: "ProgressCallback",
) -> "list[Point]":
    from edgesr.analysis.points import place

    pairs: dict[int, list[Pair]] = {}
    if data is not None:
        pairs = {scale: pairs_in(data, scale) for scale in sorted({t.scale for t in targets})}
    return place([t.subject for t in targets], pairs, _name(data), deadline, progress)


def _name(data: Path | None) -> str:
    return "" if data is None else data.resolve().name


def _attention(target: "Target", shown: "PictureUsed") -> "Sequence[AttentionSpectra] | str":
    from edgesr.analysis.frequency import attention_spectra

    if target.net is None:
        return _NO_BLOCKS
    return (
        attention_spectra(target.net, _fitting(target, shown), target.value_range) or _NO_ATTENTION
    )


def _maps(target: "Target", shown: "PictureUsed") -> "Sequence[FeatureMap] | str":
    from edgesr.analysis.features import feature_maps

    if target.net is None:
        return _NO_BLOCKS
    return feature_maps(target.net, _fitting(target, shown), target.value_range)


def _pressure(
    targets: "Sequence[Target]",
    asked: Asked,
    threads: int,
    deadline: "Deadline",
    progress: "ProgressCallback",
) -> "Pressure":
    from edgesr.analysis.findings import Pressure
    from edgesr.analysis.pressure import SIZES, PressurePlan, pressure_test
    from edgesr.machine import free_bytes

    limit = free_bytes() if asked.memory_limit is None else float(asked.memory_limit * _MIB)
    plan = PressurePlan(asked.sizes or SIZES, threads, limit)
    outcomes = pressure_test([t.pressed for t in targets], plan, deadline, progress)
    return Pressure(outcomes, limit, threads)


def _limit_torch(targets: "Sequence[Target]", threads: int) -> None:
    """Hold torch to the user's threads, where it is needed at all."""
    if any(target.net is not None for target in targets):
        import torch

        torch.set_num_threads(threads)


def _conditions(threads: int, load: float, deadline: "Deadline") -> dict[str, str]:
    """How the numbers were obtained."""
    import datetime

    from edgesr import __version__
    from edgesr.machine import processor, system
    from edgesr.runtime import available_threads

    cpus = available_threads()
    busy = ": other programs were running, and times are longer than on an idle machine"
    return {
        "made": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "processor": f"{processor()}, {cpus} CPUs; threads used: {threads}",
        "system": system(),
        "edgesr": __version__,
        "load before": f"{load:.1f}{busy if load > _BUSY * cpus else ''}",
        "time limit": f"{deadline.seconds:g} s; took {deadline.seconds - deadline.left_s:.0f} s",
    }
