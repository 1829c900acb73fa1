"""`edgesr report`: one page on the cost, quality and features of networks."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgesr.analysis.measure_report import SECTIONS, SHOWN, ReportRequest
from edgesr.cli.support.lines import print_line
from edgesr.cli.support.progress_bar import log_line, progress_bar
from edgesr.cli.support.threads import threads_option

if TYPE_CHECKING:
    from edgesr.analysis.findings import Findings

_DEFAULT_TIME_S = 300.0
_SMALLEST, _LARGEST = 8, 4096  # side of an image in the stress test


def _sections(context: click.Context, parameter: click.Parameter, value: str) -> tuple[str, ...]:
    """Parse names separated by commas."""
    names = [name.strip() for name in value.split(",")]
    wrong = next((name for name in names if name not in SECTIONS), None)
    if wrong is not None:
        raise click.BadParameter(f"got {wrong!r}, allowed: {', '.join(SECTIONS)}")
    return tuple(name for name in SECTIONS if name in names)


def _sizes(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> tuple[int, ...] | None:
    """Parse whole numbers separated by commas."""
    if value is None:
        return None
    words = [word.strip() for word in value.split(",")]
    wrong = next((w for w in words if not _is_size(w)), None)
    if wrong is not None:
        raise click.BadParameter(
            f"got {wrong[:20]!r}, allowed {_SMALLEST} to {_LARGEST}, e.g. 128,256,512"
        )
    return tuple(sorted({int(word) for word in words}))


def _is_size(word: str) -> bool:
    return word.isdecimal() and len(word) <= 9 and _SMALLEST <= int(word) <= _LARGEST


@click.command(
    epilog="""\b
Examples:
  edgesr report -o report.html
  edgesr report fmen-s mine.pth imdn:4 --data Set5 --svg scatter.svg
  edgesr report fmen-s --sections frequency,features --image photo.png
  edgesr report imdn-rtc_x2_720x480_fp16.tflite --sections stress --memory-limit 1024
"""
)
@click.argument("targets", nargs=-1, metavar="[TARGET]...")
@click.option(
    "--data",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Images to measure PSNR on: the folders HR and LR, or HR images alone; or folders x2, "
    "x3, x4 with such. Default: the PSNR recorded with the weights.",
)
@click.option(
    "--image",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help=f"Image for features and frequencies; of a larger one the middle {SHOWN}x{SHOWN}. "
    "Default: a synthetic test card.",
)
@click.option(
    "--sizes",
    callback=_sizes,
    metavar="N,N,...",
    help="Sides of the images of the stress test. Default: 128,256,384,512,640,768,896,1024.",
)
@click.option(
    "--sections",
    callback=_sections,
    default=",".join(SECTIONS),
    show_default=True,
    metavar="NAME,...",
    help="Sections of the page, separated by commas.",
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
    help="Write the scatter charts alone too, for a README.",
)
@click.option("--force", is_flag=True, help="Replace files that exist.")
@threads_option
@click.option(
    "--memory-limit",
    metavar="MIB",
    type=click.IntRange(1),
    help="Memory of each process of the stress test. Default: the free memory.",
)
@click.option(
    "--time-limit",
    metavar="SECONDS",
    type=click.FloatRange(min=0, min_open=True),
    default=_DEFAULT_TIME_S,
    show_default=True,
    help="No measurement begins later; the page lists what was left out.",
)
@click.option("--json", "as_json", is_flag=True, help="Print every number as JSON on stdout.")
def command(
    *,
    targets: tuple[str, ...],
    data: Path | None,
    image: Path | None,
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
    """Write a page on every TARGET, side by side, with the figures that papers show.

    scatter: PSNR against parameters, multiply-accumulates, latency and memory. stress: time and
    memory over the size of the image, and what does not fit. frequency: spectra before and
    after FMEN's attention. features: the average map of every block.

    TARGET is a network's name (NAME:SCALE where it has several; its bundled weights, else its
    authors'), a checkpoint or a .tflite. Default: the networks whose weights come with edgesr.
    """
    from edgesr.analysis.measure_report import measure_report
    from edgesr.analysis.stress_test import Deadline
    from edgesr.common.files import check_writable, input_files, write_texts
    from edgesr.common.requirements import require
    from edgesr.report.figures import scatter_sheet
    from edgesr.report.network_page import render

    outputs = [path for path in (output, svg_file) if path is not None]
    request = ReportRequest(targets, sections, data, image, sizes, threads, memory_limit)
    _check_usage(request, outputs)
    inputs = input_files([*targets, image, data])
    for path in outputs:
        check_writable(path, overwrite=force, inputs=inputs)
    require("charts of a report", ("matplotlib",), "train")
    with progress_bar() as progress:
        findings = measure_report(request, Deadline(time_limit), progress)
    contents = {output: render(findings)}
    if svg_file is not None:
        contents[svg_file] = scatter_sheet(findings.points or ())
    write_texts(contents, overwrite=force, inputs=inputs)
    _print(findings, outputs, json=as_json)


def _check_usage(request: ReportRequest, outputs: Sequence[Path]) -> None:
    """Refuse options that do not fit together.

    Raises:
        UsageError: They do not.
    """
    twice = next((name for name in request.targets if request.targets.count(name) > 1), None)
    if twice is not None:
        raise click.UsageError(f"{twice} is named twice")
    if len(set(outputs)) < len(outputs):
        raise click.UsageError("--output and --svg name the same file")
    scatter, stress = ("scatter" in request.sections, "stress" in request.sections)
    for given, name, section, wanted in (
        (request.data is not None, "--data", "scatter", scatter),
        (len(outputs) > 1, "--svg", "scatter", scatter),
        (request.sizes is not None, "--sizes", "stress", stress),
        (request.memory_limit_mib is not None, "--memory-limit", "stress", stress),
        (request.image is not None, "--image", "frequency or features", request.needs_image),
    ):
        if given and not wanted:
            raise click.UsageError(f"{name} is for the section {section}: add it to --sections")


def _print(findings: "Findings", outputs: Sequence[Path], *, json: bool) -> None:
    """Print the paths that were written, or every number."""
    from edgesr.analysis.findings import as_data
    from edgesr.cli.support.printing import as_json

    left_out = [f"{p.name}: {why}" for p in findings.points or () for why in p.missing]
    if findings.stress is not None:
        missing = [o for o in findings.stress.outcomes if o.reason]
        left_out += [f"{o.name} at {o.side}x{o.side}: {o.state}: {o.reason}" for o in missing]
    for line in left_out:
        log_line(f"edgesr: note: {line}")
    if json:
        as_json({"files": [str(path) for path in outputs], **as_data(findings)})
        return
    for path in outputs:
        print_line(path)
