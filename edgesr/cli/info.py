"""`edgesr info`: cost of a network, as the challenge on efficient super-resolution counts."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgesr.analysis.network_cost import DEFAULT_SIZE
from edgesr.cli.support.lines import print_line

if TYPE_CHECKING:
    from rich.table import Table

    from edgesr.analysis.network_cost import Form, NetworkCost
    from edgesr.evaluation.complexity import Complexity

_MIB = 2**20


@click.command(
    epilog="""\b
Examples:
  edgesr info imdn-rtc
  edgesr info mine.pth --size 720x480 --layers
  edgesr info fmen-s --form training --json
  edgesr info imdn-rtc_x2_720x480_fp16.tflite
"""
)
@click.argument("target")
@click.option(
    "--size",
    metavar="HxW",
    help=f"Of the input. Default: the file's own where it is fixed, else {DEFAULT_SIZE}, at which "
    "the challenge counts.",
)
@click.option("--scale", type=click.IntRange(1), help="Of a network that has several scales.")
@click.option("--layers", is_flag=True, help="Show every layer too.")
@click.option(
    "--form",
    type=click.Choice(["plain", "training"]),
    help="Of a network in PyTorch: folded, or as it is trained. Default: plain.",
)
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON on stdout.")
def command(
    *,
    target: str,
    size: str | None,
    scale: int | None,
    layers: bool,
    form: "Form | None",
    as_json: bool,
) -> None:
    """Count the cost of TARGET: a network's name, a checkpoint, an .onnx or a .tflite.

    Parameters, multiply-accumulates, activations (the numbers that convolutions make),
    convolutions, receptive field, and peak live activations: an operator's inputs and outputs, and
    what is read later. Nothing is computed, except on a CUDA device, where memory and time are
    measured too.
    """
    from edgesr.analysis.network_cost import as_data, network_cost
    from edgesr.cli.support import printing

    is_file = Path(target).suffix.lower() in (".onnx", ".tflite")
    if is_file and (form is not None or scale is not None):
        raise click.UsageError("--form and --scale are for networks in PyTorch: leave them out")
    found = network_cost(target, size, scale, form or "plain")
    if as_json:
        printing.as_json(as_data(found, layers=layers))
    else:
        _print(found, layers=layers)


def _print(found: "NetworkCost", *, layers: bool) -> None:
    if layers:
        from edgesr.cli.support.tables import print_table

        print_table(_layer_table(found.cost))
    print_line(f"{found.network}, {found.form}, input {found.height}x{found.width}")
    for name, value in _rows(found):
        print_line(f"{name:<16}{value}")


def _rows(found: "NetworkCost") -> list[tuple[str, str]]:
    cost = found.cost
    rectified = f"; {_giga(cost.operations)} with one operation per number of the ReLU kind"
    at = f", at {cost.peak.layer}" if cost.peak.layer else ""
    rows = [
        ("parameters", f"{cost.parameters:,}  ({cost.parameters / 1e3:.0f}K)"),
        ("MACs", _giga(cost.macs) + (rectified if cost.rectified else "")),
        ("activations", f"{cost.activations / 1e6:.2f}M"),
        ("convolutions", str(cost.convolutions)),
        ("receptive field", _field(found)),
        ("peak memory", f"{cost.peak.bytes / _MIB:.1f} MiB of activations{at}"),
        ("weights", f"{cost.weight_bytes / 1024:.1f} KiB"),
    ]
    if found.cuda is not None:
        cuda = found.cuda
        took = f"{cuda.max_allocated_bytes / _MIB:.1f} MiB allocated at most"
        timed = f"median of {cuda.runs} runs {cuda.milliseconds:.2f} ms, {cuda.warm_up} before"
        rows.append((cuda.device, f" {took}; {timed}, float32"))
    return rows


def _giga(macs: int) -> str:
    return f"{macs / 1e9:.2f}G"


def _field(found: "NetworkCost") -> str:
    side = found.receptive_field
    if side is None:
        return "unknown: the file does not hold it"
    return f"{side}x{side}" + (", and statistics of the whole image" * found.whole_image)


def _layer_table(cost: "Complexity") -> "Table":
    from edgesr.cli.support.tables import make_table

    table = make_table(lines=False)
    for name in ("layer", "operator", "output"):
        table.add_column(name, no_wrap=True)
    for name in ("parameters", "MACs"):
        table.add_column(name, justify="right", no_wrap=True)
    for layer in cost.layers:
        shape = "x".join(map(str, layer.shape))
        macs = f"{layer.macs:,}" if layer.macs else ""
        parameters = f"{layer.parameters:,}" if layer.parameters else ""
        table.add_row(layer.name, layer.op, shape, parameters, macs)
    return table
