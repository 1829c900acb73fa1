"""`edgesr fold`: a checkpoint in training form becomes plain weights, verified equal."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgesr.cli.support.lines import print_line

if TYPE_CHECKING:
    from edgesr import Folded


@click.command(
    "fold",
    epilog="""\b
Examples:
  edgesr fold rtc/model-training.safetensors
  edgesr fold rtc/checkpoint.pt -o rtc.safetensors
  edgesr convert --checkpoint rtc.safetensors --fp16
""",
)
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="The .safetensors to write. Default: CHECKPOINT's name with -folded, in this folder.",
)
@click.option("--force", is_flag=True, help="Replace a file that exists.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on stdout.")
def command(*, checkpoint: Path, output: Path | None, force: bool, as_json: bool) -> None:
    """Fold CHECKPOINT, in the form that trains, into the plain form that runs.

    Both forms are run on a synthetic image and compared; weights that differ are not written. A
    checkpoint that is plain already is refused with status 1. `edgesr convert` folds by itself:
    fold only to pass plain weights on.
    """
    import edgesr

    target = output or Path(f"{checkpoint.stem}-folded.safetensors")
    folded = edgesr.fold_checkpoint(checkpoint, target, overwrite=force)
    if as_json:
        from edgesr.cli.support import printing as report

        report.as_json(folded.as_dict())
        return
    _show(folded)


def _show(folded: "Folded") -> None:
    equality = folded.equality
    psnr = "equal to the bit" if folded.psnr_db is None else f"PSNR {folded.psnr_db:.1f} dB"
    print_line(
        f"{folded.model} x{folded.scale}: {folded.parameters_before:,} parameters fold into "
        f"{folded.parameters:,}"
    )
    print_line(
        f"both forms on a synthetic image, outputs over a range of {equality.output_range:.3g}: "
        f"max abs {equality.max_abs_float64:.1e} in float64, {equality.max_abs_float32:.1e} in "
        f"float32, {psnr}"
    )
    print_line(f"{folded.output}")
