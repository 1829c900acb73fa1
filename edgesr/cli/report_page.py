"""`edgesr report`: one page of what networks cost, what fits, and what their blocks do."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgesr.cli.progress_bar import progress_bar, say
from edgesr.cli.report_sections import SECTIONS, SHOWN, Asked, find

if TYPE_CHECKING:
    from edgesr.analysis.findings import Findings

_DEFAULT_TIME_S = 300.0
_SMALLEST, _LARGEST = 8, 4096  # side of a picture in the pressure test


def _sections(context: click.Context, parameter: click.Parameter, value: str) -> tuple[str, ...]:
    """Names with commas between them."""
    names = [name.strip() for name in value.split(",")]
    wrong = next((name for name in names if name not in SECTIONS), None)
    if wrong is not None:
        raise click.BadParameter(f"got {wrong!r}, allowed: {', '.join(SECTIONS)}")
    return tuple(name for name in SECTIONS if name in names)


def _sizes(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> tuple[int, ...] | None:
    """Whole numbers with commas between them."""
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
    help=f"What features and frequencies are of; the middle {SHOWN}x{SHOWN} of a larger one. "
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
    default=",".join(SECTIONS),
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
    asked = Asked(targets, sections, data, picture, sizes, threads, memory_limit)
    _check_usage(asked, outputs)
    for path in outputs:
        check_writable(path, overwrite=force)
    require("drawing a report", ("matplotlib",), "train")
    with progress_bar() as progress:
        findings = find(asked, Deadline(time_limit), progress)
    contents = {output: render(findings)}
    if svg_file is not None:
        contents[svg_file] = scatter_sheet(findings.points or ())
    with atomic_outputs(list(contents), overwrite=force) as temporary:
        for path, text in zip(temporary, contents.values(), strict=True):
            path.write_text(text, encoding="utf-8", errors="replace")
    _say(findings, outputs, json=as_json)


def _check_usage(asked: Asked, outputs: Sequence[Path]) -> None:
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
