"""`edgesr metrics`: how alike pictures are, as papers measure it."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgesr.errors import EdgeSRError, PictureError, SizeError

if TYPE_CHECKING:
    from edgesr.evaluation.scores import Scores


@click.command(
    epilog="""\b
Examples:
  edgesr metrics upscaled.png original.png --shave 2
  edgesr metrics results/ Set5/x2/HR/ --shave 2 --json
"""
)
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path))
@click.option(
    "--shave",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Pixels left out along each edge. Papers leave out as many as the scale.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the measurements as JSON on stdout.")
def command(*, a: Path, b: Path, shave: int, as_json: bool) -> None:
    """Measure the pictures A and B, or two folders of pictures with the same names.

    PSNR and SSIM on Y as papers give them (BT.601, rounded to 8 bits, windows of 11x11), and on R,
    G and B: PSNR over all values together, SSIM as the mean of the channels. A transparent picture
    is refused; 16 bits are rounded to 8.
    """
    from edgesr.evaluation.scores import Scores

    pairs = _pairs(a, b)
    measured = {name: _compare(one, other, shave) for name, one, other in pairs}
    mean = Scores.mean(list(measured.values()))
    _print_json(measured, mean, shave) if as_json else _print(measured, mean)


def _pairs(a: Path, b: Path) -> list[tuple[str, Path, Path]]:
    """Name, picture of A, picture of B.

    Raises:
        PictureError: One is a folder and the other none, or they hold pictures of other names.
    """
    from edgesr.train.pictures import find_pictures

    if a.is_dir() != b.is_dir():
        folder, file = (a, b) if a.is_dir() else (b, a)
        raise PictureError(
            f"got the folder {folder} and the file {file}, allowed two pictures or two folders"
        )
    if not a.is_dir():
        return [(a.name, a, b)]
    found = [find_pictures(folder, recursive=False) for folder in (a, b)]
    by_name = [_by_stem(files) for files in found]
    for folder, names, others in ((a, *by_name), (b, *reversed(by_name))):
        if missing := sorted(others.keys() - names.keys()):
            raise PictureError(
                f"{folder} holds no picture named {', '.join(missing[:5])} ({len(missing)} of "
                f"{len(others)} missing), allowed equal names in both folders; add or take out"
            )
    return [(name, file, by_name[1][name]) for name, file in by_name[0].items()]


def _by_stem(files: list[Path]) -> dict[str, Path]:
    """Name without suffix -> file.

    Raises:
        PictureError: Two files have one name.
    """
    by_stem: dict[str, Path] = {}
    for file in files:
        if file.stem in by_stem:
            raise PictureError(f"{file.parent} holds {file.stem} twice; take one out")
        by_stem[file.stem] = file
    return by_stem


def _compare(one: Path, other: Path, shave: int) -> "Scores":
    from edgesr.evaluation.scores import compare
    from edgesr.train.pictures import read_rgb

    pictures = read_rgb(one), read_rgb(other)
    try:
        return compare(*pictures, shave)
    except EdgeSRError as error:
        raise SizeError(f"{one} and {other}: {error}") from error


def _print_json(measured: "dict[str, Scores]", mean: "Scores", shave: int) -> None:
    from edgesr.cli.report import as_json

    pictures = [{"name": name, **dataclasses.asdict(s)} for name, s in measured.items()]
    as_json({"shave": shave, "pictures": pictures, "mean": dataclasses.asdict(mean)})


def _print(measured: "dict[str, Scores]", mean: "Scores") -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2))
    table.add_column("picture", overflow="fold")
    for name in ("PSNR Y", "SSIM Y", "PSNR RGB", "SSIM RGB"):
        table.add_column(name, justify="right", no_wrap=True)
    rows = [*measured.items(), ("mean", mean)] if len(measured) > 1 else [*measured.items()]
    for name, scores in rows:
        table.add_row(
            name,
            f"{scores.psnr_y:.2f}",
            f"{scores.ssim_y:.4f}",
            f"{scores.psnr_rgb:.2f}",
            f"{scores.ssim_rgb:.4f}",
        )
    Console().print(table)
