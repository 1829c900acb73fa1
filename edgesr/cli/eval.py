"""`edgesr eval`: PSNR and SSIM of networks and files on a set of images, side by side."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgesr.cli.support.progress_bar import log_line, progress_bar
from edgesr.cli.support.threads import threads_option

if TYPE_CHECKING:
    from rich.table import Table

    from edgesr.common.progress import ProgressCallback
    from edgesr.evaluation.methods import Method
    from edgesr.evaluation.results import Evaluation, ImageScore


@click.command(
    epilog="""\b
Examples:
  edgesr eval rtc imdn-rtc_x2_720x480_fp16.tflite --data Set5/x2
  edgesr eval imdn mine.pth --scale 4 --data photos/ --csv mine.csv --html mine.html
  edgesr eval rtc --data DIV2K/ --csv rtc.csv --resume
"""
)
@click.argument("targets", nargs=-1, required=True, metavar="TARGET...")
@click.option(
    "--data",
    required=True,
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Holds the folders HR and LR with images of the same names, or HR images alone; LR is "
    "then computed by MATLAB's bicubic.",
)
@click.option("--scale", type=click.IntRange(1), help="Of a network that has several scales.")
@click.option(
    "--backend",
    type=click.Choice(["cpu", "cpu-fp16", "gpu"]),
    default="cpu",
    show_default=True,
    help="Of every .tflite. cpu-fp16 computes in FP16, gpu is LiteRT's GPU accelerator.",
)
@click.option(
    "--whole",
    is_flag=True,
    help="Run every .tflite untiled, resized to each image, not by tiles of its size.",
)
@threads_option
@click.option(
    "--value-range",
    type=click.Choice(["1", "255"]),
    default="1",
    show_default=True,
    help="Upper end of the range of an .onnx file's input and output.",
)
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON on stdout.")
@click.option(
    "--csv",
    "csv_file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write a row per image and target.",
)
@click.option(
    "--html",
    "html_file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write one page with tables, crops side by side and their differences.",
)
@click.option("--force", is_flag=True, help="Replace files that exist.")
@click.option(
    "--resume",
    is_flag=True,
    help="Continue an interrupted evaluation; needs --csv or --html, beside which the results so "
    "far are kept.",
)
def command(
    *,
    targets: tuple[str, ...],
    data: Path,
    scale: int | None,
    backend: str,
    whole: bool,
    threads: int | None,
    value_range: str,
    as_json: bool,
    csv_file: Path | None,
    html_file: Path | None,
    force: bool,
    resume: bool,
) -> None:
    """Evaluate every TARGET on the images of DIR: PSNR and SSIM on Y, as papers report them.

    TARGET is a network's name (NAME:SCALE where it has several; its bundled weights, else its
    authors'), a checkpoint, an .onnx or a .tflite. Results are rounded to 8 bits, and as many
    pixels are shaved off each edge as the scale. Bicubic is always evaluated too; differences are
    to the first TARGET. Files of one fixed size run tiled, unless --whole is given. An image that
    cannot be read ends the command: none is skipped.
    """
    from edgesr.analysis.open_methods import MethodOptions, open_methods
    from edgesr.cli.support import printing
    from edgesr.common.files import check_writable, input_files, write_texts
    from edgesr.evaluation.evaluate import evaluate_folder
    from edgesr.evaluation.journal import open_journal
    from edgesr.evaluation.results import as_data
    from edgesr.runtime.session import Backend, available_threads

    outputs = [path for path in (csv_file, html_file) if path is not None]
    _check_usage(targets, backend, resume=resume, outputs=outputs)
    inputs = input_files([*targets, data])
    for path in outputs:
        check_writable(path, overwrite=force, inputs=inputs)
    journal = open_journal(outputs, resume=resume, force=force)
    if journal.known:
        log_line(f"edgesr: note: {journal.known} results are there already")
    options = MethodOptions(scale, Backend(backend), threads, float(value_range), whole=whole)
    cores = threads or available_threads()
    with progress_bar() as progress, open_methods(targets, options, progress) as methods:
        _log_notes(methods)
        try:
            evaluation = evaluate_folder(data, methods, cores, journal, progress)
            contents = _contents(evaluation, csv_file, html_file, progress)
        except KeyboardInterrupt:
            if not outputs:
                raise
            log_line(
                f"edgesr: interrupted; {journal.known} results are kept: continue with --resume"
            )
            raise click.exceptions.Exit(130) from None
    write_texts(contents, overwrite=force, inputs=inputs)
    journal.remove()
    printing.as_json(as_data(evaluation)) if as_json else _print(evaluation)


def _check_usage(
    targets: Sequence[str], backend: str, *, resume: bool, outputs: Sequence[Path]
) -> None:
    """Refuse options that do not fit together.

    Raises:
        UsageError: They do not.
    """
    twice = next((target for target in targets if targets.count(target) > 1), None)
    if twice is not None:
        raise click.UsageError(f"{twice} is named twice")
    if backend != "cpu" and not any(t.lower().endswith(".tflite") for t in targets):
        raise click.UsageError(f"--backend {backend} is for .tflite files: name one")
    if resume and not outputs:
        raise click.UsageError("--resume needs --csv or --html, beside which results are kept")
    if len(set(outputs)) < len(outputs):
        raise click.UsageError("--csv and --html name the same file")


def _log_notes(methods: "Sequence[Method]") -> None:
    for method in methods:
        if method.note:
            log_line(f"edgesr: note: {method.name}: {method.note}")


def _contents(
    evaluation: "Evaluation",
    csv_file: Path | None,
    html_file: Path | None,
    progress: "ProgressCallback",
) -> dict[Path, str]:
    """Text of each output file."""
    from edgesr.evaluation.results import as_csv
    from edgesr.report.evaluation_page import page

    contents: dict[Path, str] = {}
    if csv_file is not None:
        contents[csv_file] = as_csv(evaluation)
    if html_file is not None:
        title = f"Evaluation on {Path(str(evaluation.conditions['data'])).name}"
        facts = {key: str(value) for key, value in evaluation.conditions.items()}
        facts |= {f"{m.method.name} is computed by": m.method.how for m in evaluation.methods}
        contents[html_file] = page(title, facts, evaluation.pairs, evaluation.methods, progress)
    return contents


def _print(evaluation: "Evaluation") -> None:
    from edgesr.cli.support.tables import print_table

    print_table(_table(evaluation))


def _table(evaluation: "Evaluation") -> "Table":
    from edgesr.cli.support.tables import make_table

    table = make_table()
    table.add_column("PSNR dB / SSIM, on Y", overflow="fold")
    for one in evaluation.methods:
        table.add_column(one.method.name, justify="right", overflow="fold")
    for index, pair in enumerate(evaluation.pairs):
        table.add_row(pair.name, *(_cell(one.scores[index]) for one in evaluation.methods))
    table.add_section()
    means = [one.mean for one in evaluation.methods]
    table.add_row(f"mean of {len(evaluation.pairs)}", *map(_cell, means))
    differences = [mean.above(evaluation.first.mean) for mean in means]
    cells = [f"{psnr_db:+.2f} / {ssim:+.4f}" for psnr_db, ssim in differences]
    table.add_row(f"above {evaluation.first.method.name}", *cells)
    table.add_row("seconds each", *(f"{mean.seconds:.2f}" for mean in means))
    return table


def _cell(score: "ImageScore") -> str:
    return f"{score.psnr_db:.2f} / {score.ssim:.4f}"
