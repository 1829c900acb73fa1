"""`edgesr eval`: PSNR and SSIM of networks and files on a set of pictures, side by side."""

import csv
import dataclasses
import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgesr.cli.data_folder import pairs_in
from edgesr.cli.progress_bar import progress_bar, say
from edgesr.errors import OutputError

if TYPE_CHECKING:
    from rich.table import Table

    from edgesr.evaluation.contestants import Contestant
    from edgesr.evaluation.evaluate import Column, Journal, Measured
    from edgesr.progress import ProgressCallback
    from edgesr.train.pictures import Pair

_PIPE_WIDTH = 160
_JOURNAL_SUFFIX = ".partial.jsonl"


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
    help="Holds the folders HR and LR with pictures of the same names, or HR pictures alone; LR is "
    "then made as MATLAB's bicubic makes it.",
)
@click.option("--scale", type=click.IntRange(1), help="Of a network that has several scales.")
@click.option(
    "--backend",
    type=click.Choice(["cpu", "cpu-fp16", "gpu"]),
    default="cpu",
    show_default=True,
    help="What computes a .tflite. cpu-fp16 computes in FP16, gpu is LiteRT's GPU accelerator.",
)
@click.option(
    "--whole",
    is_flag=True,
    help="A .tflite takes each picture in one piece, not by tiles of its size.",
)
@click.option("--threads", type=click.IntRange(1), help="CPU threads. Default: all.")
@click.option(
    "--value-range",
    type=click.Choice(["1", "255"]),
    default="1",
    show_default=True,
    help="Upper end of the range that an .onnx takes and gives.",
)
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON on stdout.")
@click.option(
    "--csv",
    "csv_file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write a row per picture and target.",
)
@click.option(
    "--html",
    "html_file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write one page with tables, crops side by side and where they differ.",
)
@click.option("--force", is_flag=True, help="Replace files that exist.")
@click.option(
    "--resume",
    is_flag=True,
    help="Go on where the same evaluation was broken off; needs --csv or --html, beside which "
    "results are kept meanwhile.",
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
    """Measure every TARGET on the pictures of DIR: PSNR and SSIM on Y, as papers give them.

    TARGET is a network's name (its bundled weights, else its authors'), a checkpoint, an .onnx or a
    .tflite. Results are rounded to 8 bits, and as many pixels are left out along each edge as the
    scale. Bicubic is always measured too; differences are to the first TARGET. Files of one fixed
    size go by tiles, unless --whole is given. A picture that cannot be read ends the command: none
    is passed over.
    """
    from edgesr.cli.eval_targets import open_targets
    from edgesr.files import check_writable
    from edgesr.runtime import Backend, available_threads

    outputs = [path for path in (csv_file, html_file) if path is not None]
    _check_usage(targets, backend, resume=resume, outputs=outputs)
    for path in outputs:
        check_writable(path, overwrite=force)
    journal = _journal(outputs, resume=resume, force=force)
    _limit_torch(threads)
    cores = threads or available_threads()
    with progress_bar() as progress:
        opened = open_targets(
            targets, scale, Backend(backend), cores, float(value_range), progress, whole=whole
        )
        try:
            done = _run(opened, data, cores, journal, progress)
            contents = _contents(done, csv_file, html_file, progress)
        except KeyboardInterrupt:
            if outputs:
                say(f"edgesr: interrupted; {journal.known} results are kept: go on with --resume")
                raise click.exceptions.Exit(130) from None
            raise
        finally:
            for contestant in opened:
                contestant.close()
    _write(contents, overwrite=force)
    journal.remove()
    _print_json(done) if as_json else _print(done)


@dataclass(frozen=True)
class _Done:
    """A whole evaluation.

    Attributes:
        pairs: The pictures.
        columns: What was measured, bicubic first.
        conditions: How.
    """

    pairs: "list[Pair]"
    columns: "list[Column]"
    conditions: dict[str, Any]


def _run(
    opened: "Sequence[Contestant]",
    data: Path,
    threads: int,
    journal: "Journal",
    progress: "ProgressCallback",
) -> _Done:
    """Measure bicubic and every target."""
    from edgesr.evaluation.contestants import bicubic
    from edgesr.evaluation.evaluate import evaluate

    scale = opened[0].scale
    pairs = pairs_in(data, scale)
    for contestant in opened:
        if contestant.note:
            say(f"edgesr: note: {contestant.name}: {contestant.note}")
    columns = evaluate(pairs, [bicubic(scale), *opened], journal, progress)
    return _Done(pairs, columns, _conditions(data, scale, threads))


def _contents(
    done: _Done, csv_file: Path | None, html_file: Path | None, progress: "ProgressCallback"
) -> dict[Path, str]:
    """What is to be written where."""
    from edgesr.evaluation.page import page

    contents: dict[Path, str] = {}
    if csv_file is not None:
        contents[csv_file] = _csv(done)
    if html_file is not None:
        title = f"edgesr eval: {done.conditions['data']}"
        ways = {f"{c.contestant.name} is computed by": c.contestant.how for c in done.columns}
        facts = {key: str(value) for key, value in done.conditions.items()}
        contents[html_file] = page(title, facts | ways, done.pairs, done.columns, progress)
    return contents


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


def _limit_torch(threads: int | None) -> None:
    """Hold torch to the user's threads, where it is installed."""
    import importlib.util

    if threads is not None and importlib.util.find_spec("torch") is not None:
        import torch

        torch.set_num_threads(threads)


def _journal(outputs: Sequence[Path], *, resume: bool, force: bool) -> "Journal":
    """Where results are kept meanwhile.

    Raises:
        OutputError: An evaluation was broken off here, and nobody says what is to become of it.
    """
    from edgesr.evaluation.evaluate import Journal

    if not outputs:
        return Journal(None, resume=False)
    path = outputs[0].with_name(f"{outputs[0].name}{_JOURNAL_SUFFIX}")
    if path.exists() and not (resume or force):
        raise OutputError(
            f"an evaluation was broken off: its results are in {path}; go on with --resume, or "
            "begin anew with --force"
        )
    journal = Journal(path, resume=resume)
    if journal.known:
        say(f"edgesr: note: {journal.known} results are there already")
    return journal


def _conditions(data: Path, scale: int, threads: int) -> dict[str, Any]:
    """How the numbers were obtained."""
    from edgesr import __version__
    from edgesr.machine import processor, system

    return {
        "data": str(data),
        "scale": scale,
        "shave": scale,
        "measured on": "Y of BT.601, 8 bits",
        "threads": threads,
        "processor": processor(),
        "system": system(),
        "edgesr": __version__,
    }


def _csv(done: _Done) -> str:
    columns = done.columns
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["picture", "target", "psnr_db", "ssim", "psnr_db_to_first", "ssim_to_first"])
    rows = [
        (pair.name, [column.measured[index] for column in columns])
        for index, pair in enumerate(done.pairs)
    ]
    for name, row in [*rows, ("mean", [column.mean for column in columns])]:
        for column, measured in zip(columns, row, strict=True):
            psnr_db, ssim = _to_first(measured, row[1])
            numbers = (measured.psnr_db, measured.ssim, psnr_db, ssim)
            writer.writerow([name, column.contestant.name, *(f"{n:.6f}" for n in numbers)])
    return text.getvalue()


def _to_first(measured: "Measured", first: "Measured") -> tuple[float, float]:
    """PSNR and SSIM above those of the first target."""
    # Two infinities do not differ; their difference would be no number.
    same = measured.psnr_db == first.psnr_db
    return 0.0 if same else measured.psnr_db - first.psnr_db, measured.ssim - first.ssim


def _write(contents: dict[Path, str], *, overwrite: bool) -> None:
    from edgesr.files import atomic_outputs

    if contents:
        with atomic_outputs(list(contents), overwrite=overwrite) as temporary:
            for path, text in zip(temporary, contents.values(), strict=True):
                path.write_text(text, encoding="utf-8")


def _print_json(done: _Done) -> None:
    from edgesr.cli.report import as_json

    first = done.columns[1].mean
    found: list[dict[str, Any]] = []
    for column in done.columns:
        psnr_db, ssim = _to_first(column.mean, first)
        found.append(
            {
                "target": column.contestant.name,
                "computed_by": column.contestant.how,
                "mean": dataclasses.asdict(column.mean),
                "to_first": {"psnr_db": psnr_db, "ssim": ssim},
                "pictures": [
                    {"name": pair.name, **dataclasses.asdict(measured)}
                    for pair, measured in zip(done.pairs, column.measured, strict=True)
                ],
            }
        )
    as_json({"conditions": done.conditions, "targets": found})


def _print(done: _Done) -> None:
    from rich.console import Console

    # A pipe has no width: there the rows shall not wrap.
    console = Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH)
    console.print(_table(done.pairs, done.columns))


def _table(pairs: "Sequence[Pair]", columns: "Sequence[Column]") -> "Table":
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("PSNR dB / SSIM, on Y", overflow="fold")
    for column in columns:
        table.add_column(column.contestant.name, justify="right", overflow="fold")
    for index, pair in enumerate(pairs):
        table.add_row(pair.name, *(_cell(column.measured[index]) for column in columns))
    table.add_section()
    means = [column.mean for column in columns]
    table.add_row(f"mean of {len(pairs)}", *map(_cell, means))
    apart = [_to_first(mean, means[1]) for mean in means]
    shown = [f"{psnr_db:+.2f} / {ssim:+.4f}" for psnr_db, ssim in apart]
    table.add_row(f"above {columns[1].contestant.name}", *shown)
    table.add_row("seconds each", *(f"{mean.seconds:.2f}" for mean in means))
    return table


def _cell(measured: "Measured") -> str:
    return f"{measured.psnr_db:.2f} / {measured.ssim:.4f}"
