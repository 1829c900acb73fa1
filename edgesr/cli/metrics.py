"""`edgesr metrics`: PSNR and SSIM between images, as papers measure them."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from edgesr.images.metrics import Scores


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
    """Compare the images A and B, or two folders of images with the same names.

    PSNR and SSIM on Y as papers report them (BT.601, rounded to 8 bits, windows of 11x11), and on
    R, G and B: PSNR over all values together, SSIM as the mean of the channels. A transparent image
    is refused; 16 bits are rounded to 8.
    """
    from edgesr.evaluation.compare_files import compare_files
    from edgesr.images.metrics import Scores

    measured = compare_files(a, b, shave)
    mean = Scores.mean(list(measured.values()))
    _print_json(measured, mean, shave) if as_json else _print(measured, mean)


def _print_json(measured: "dict[str, Scores]", mean: "Scores", shave: int) -> None:
    from edgesr.cli.support.printing import as_json

    images = [{"name": name, **dataclasses.asdict(s)} for name, s in measured.items()]
    as_json({"shave": shave, "images": images, "mean": dataclasses.asdict(mean)})


def _print(measured: "dict[str, Scores]", mean: "Scores") -> None:
    from edgesr.cli.support.tables import make_table, print_table

    table = make_table(lines=False, padding=2)
    table.add_column("image", overflow="fold")
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
    print_table(table)
