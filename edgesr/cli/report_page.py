"""`edgesr report`: one page of what networks cost, what fits, and what their blocks do."""

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgesr.cli.progress_bar import progress_bar, say
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

_SECTIONS = ("scatter", "pressure", "frequency", "features")
_DEFAULT_TIME_S = 300.0
_MIB = 2**20
_BUSY = 0.5  # of the CPUs; as `edgesr bench` has it
_LARGEST = 4096  # side of a picture in the pressure test
_SHOWN = 288  # pixels of a picture's side that features are drawn of
_CARD = (192, 288)
_NO_BLOCKS = (
    "A .tflite has no blocks to look into any more: name the checkpoint or the network instead."
)
_NO_ATTENTION = "It has no high-frequency attention: that is FMEN's. There is nothing to show."


def _sections(context: click.Context, parameter: click.Parameter, value: str) -> tuple[str, ...]:
    """Names with commas between them."""
    names = [name.strip() for name in value.split(",")]
    wrong = next((name for name in names if name not in _SECTIONS), None)
    if wrong is not None:
        raise click.BadParameter(f"got {wrong!r}, allowed: {', '.join(_SECTIONS)}")
    return tuple(name for name in _SECTIONS if name in names)


def _sizes(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> tuple[int, ...] | None:
    """Whole numbers with commas between them."""
    if value is None:
        return None
    words = [word.strip() for word in value.split(",")]
    wrong = next((w for w in words if not w.isdecimal() or not 8 <= int(w) <= _LARGEST), None)
    if wrong is not None:
        raise click.BadParameter(f"got {wrong!r}, allowed 8 to {_LARGEST}, e.g. 128,256,512")
    return tuple(sorted({int(word) for word in words}))


@click.command(
    epilog="""\b
Examples:
  edgesr report -o report.html
  edgesr report fmen-s mine.pth imdn:4 --data Set5 --svg scatter.svg
  edgesr report fmen-s --sections frequency,features --picture photo.png
  edgesr report imdn-rtc_x2_720x480_fp16.tflite --sections pressure --memory-limit 1024
"""
)
@click.argument("targets", nargs=-1, metavar="[TARGET]...")
@click.option(
    "--data",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Pictures to measure PSNR on: the folders HR and LR, or HR pictures alone; or folders x2, "
    "x3, x4 with such. Default: what is recorded with the weights.",
)
@click.option(
    "--picture",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help=f"What features and frequencies are of; the middle {_SHOWN}x{_SHOWN} of a larger one. "
    "Default: a drawn test card.",
)
@click.option(
    "--sizes",
    callback=_sizes,
    metavar="N,N,...",
    help="Sides of the pictures of the pressure test. Default: 128,256,384,512,640,768,896,1024.",
)
@click.option(
    "--sections",
    callback=_sections,
    default=",".join(_SECTIONS),
    show_default=True,
    metavar="NAME,...",
    help="What to look at.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("report.html"),
    show_default=True,
    help="The page; it needs no other file and fetches nothing.",
)
@click.option(
    "--svg",
    "svg_file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write the scatter alone too, for a README.",
)
@click.option("--force", is_flag=True, help="Replace files that exist.")
@click.option("--threads", type=click.IntRange(1), help="CPU threads. Default: all.")
@click.option(
    "--memory-limit",
    metavar="MIB",
    type=click.IntRange(1),
    help="What a process of the pressure test may take. Default: what is free.",
)
@click.option(
    "--time-limit",
    metavar="SECONDS",
    type=click.FloatRange(min=0, min_open=True),
    default=_DEFAULT_TIME_S,
    show_default=True,
    help="No measurement begins later; the page says what was left out.",
)
@click.option("--json", "as_json", is_flag=True, help="Print every number as JSON on stdout.")
def command(
    *,
    targets: tuple[str, ...],
    data: Path | None,
    picture: Path | None,
    sizes: tuple[int, ...] | None,
    sections: tuple[str, ...],
    output: Path,
    svg_file: Path | None,
    force: bool,
    threads: int | None,
    memory_limit: int | None,
    time_limit: float,
    as_json: bool,
) -> None:
    """Write a page on every TARGET, side by side: figures as papers have them.

    scatter: PSNR against parameters, multiply-accumulates, latency and memory. pressure: time and
    memory over the size of the picture, and what does not fit. frequency: what FMEN's attention
    does to the spectrum. features: the average map of every block.

    TARGET is a network's name (NAME:SCALE where it has several; its bundled weights, else its
    authors'), a checkpoint or a .tflite. Default: the networks whose weights come with edgesr.
    """
    from edgesr.analysis.deadline import Deadline
    from edgesr.analysis.figures import scatter_sheet
    from edgesr.analysis.page import render
    from edgesr.cli.needs import require
    from edgesr.files import atomic_outputs, check_writable

    outputs = [path for path in (output, svg_file) if path is not None]
    asked = _Asked(targets, sections, data, picture, sizes, threads, memory_limit)
    _check_usage(asked, outputs)
    for path in outputs:
        check_writable(path, overwrite=force)
    require("drawing a report", ("matplotlib",), "train")
    with progress_bar() as progress:
        findings = _find(asked, Deadline(time_limit), progress)
    contents = {output: render(findings)}
    if svg_file is not None:
        contents[svg_file] = scatter_sheet(findings.points or ())
    with atomic_outputs(list(contents), overwrite=force) as temporary:
        for path, text in zip(temporary, contents.values(), strict=True):
            path.write_text(text, encoding="utf-8", errors="replace")
    _say(findings, outputs, json=as_json)


@dataclass(frozen=True)
class _Asked:
    """What the user asks for; see the command's options."""

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


def _check_usage(asked: _Asked, outputs: Sequence[Path]) -> None:
    """Refuse options that do not fit together.

    Raises:
        UsageError: They do not.
    """
    twice = next((name for name in asked.targets if asked.targets.count(name) > 1), None)
    if twice is not None:
        raise click.UsageError(f"{twice} is named twice")
    if len(set(outputs)) < len(outputs):
        raise click.UsageError("--output and --svg name the same file")
    scatter, pressure = ("scatter" in asked.sections, "pressure" in asked.sections)
    for given, name, section, wanted in (
        (asked.data is not None, "--data", "scatter", scatter),
        (len(outputs) > 1, "--svg", "scatter", scatter),
        (asked.sizes is not None, "--sizes", "pressure", pressure),
        (asked.memory_limit is not None, "--memory-limit", "pressure", pressure),
        (asked.picture is not None, "--picture", "frequency or features", asked.looks_inside),
    ):
        if given and not wanted:
            raise click.UsageError(f"{name} is for the section {section}: add it to --sections")


def _find(asked: _Asked, deadline: "Deadline", progress: "ProgressCallback") -> "Findings":
    """Measure everything."""
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
    middle = _middle(pixels, _SHOWN, _SHOWN)
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
        pairs = {scale: _pairs(data, scale) for scale in sorted({t.scale for t in targets})}
    return place([t.subject for t in targets], pairs, _name(data), deadline, progress)


def _name(data: Path | None) -> str:
    return "" if data is None else data.resolve().name


def _pairs(data: Path, scale: int) -> "list[Pair]":
    """The pictures in both resolutions.

    Raises:
        PictureError: There is no such folder, a picture is unreadable, or HR and LR do not match.
        SizeError: The scale is 1.
    """
    from edgesr.train.pictures import validation_pairs

    if not data.is_dir():
        raise PictureError(f"--data {data} is not a folder; name a folder of pictures")
    folder = data / f"x{scale}" if (data / f"x{scale}").is_dir() else data
    only_hr = (folder / "HR").is_dir() and not (folder / "LR").is_dir()
    return validation_pairs(folder / "HR" if only_hr else folder, scale)


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
    asked: _Asked,
    threads: int,
    deadline: "Deadline",
    progress: "ProgressCallback",
) -> "Pressure":
    from edgesr.analysis.findings import Pressure
    from edgesr.analysis.pressure import SIZES, PressurePlan, free_bytes, pressure_test

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


def _say(findings: "Findings", outputs: Sequence[Path], *, json: bool) -> None:
    """Print what was written, or every number."""
    from edgesr.analysis.findings import as_data
    from edgesr.cli.report import as_json

    left_out = [f"{p.name}: {why}" for p in findings.points or () for why in p.missing]
    if findings.pressure is not None:
        missing = [o for o in findings.pressure.outcomes if o.reason]
        left_out += [f"{o.name} at {o.side}x{o.side}: {o.state}: {o.reason}" for o in missing]
    for line in left_out:
        say(f"edgesr: note: {line}")
    if json:
        as_json({"files": [str(path) for path in outputs], **as_data(findings)})
        return
    for path in outputs:
        click.echo(path)
