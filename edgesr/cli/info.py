"""`edgesr info`: what a network costs, as the challenge on efficient super-resolution counts."""

import dataclasses
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from edgesr.errors import ArchitectureError, SizeError

if TYPE_CHECKING:
    from edgesr.complexity import Complexity
    from edgesr.evaluation.torch_cost import CudaCost
    from edgesr.registry import ArchSpec

_DEFAULT_SIZE = "256x256"
_PIPE_WIDTH = 160
_MIB = 2**20

#: Which form of a network is counted.
Form = Literal["plain", "training"]


@dataclass(frozen=True)
class _Report:
    """What is known of one target.

    Attributes:
        target: As the user named it.
        network: Its name and scale.
        form: Which form was counted.
        height: Rows of the input.
        width: Columns of it.
        cost: The counts.
        receptive_radius: In pixels of the input; None where the file does not say.
        whole_picture: Whether all pixels enter every pixel besides.
        cuda: What was measured on a CUDA device; None without one.
    """

    target: str
    network: str
    form: str
    height: int
    width: int
    cost: "Complexity"
    receptive_radius: int | None
    whole_picture: bool
    cuda: "CudaCost | None" = None


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
    help=f"Of the input. Default: the file's own where it is fixed, else {_DEFAULT_SIZE}, at which "
    "the challenge counts.",
)
@click.option("--scale", type=click.IntRange(1), help="Of a network that has several scales.")
@click.option("--layers", is_flag=True, help="Show every layer too.")
@click.option(
    "--form",
    type=click.Choice(["plain", "training"]),
    help="Of a network in PyTorch: as it runs, or as it trains. Default: plain.",
)
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON on stdout.")
def command(
    *,
    target: str,
    size: str | None,
    scale: int | None,
    layers: bool,
    form: Form | None,
    as_json: bool,
) -> None:
    """Count what TARGET costs: a network's name, a checkpoint, an .onnx or a .tflite.

    Parameters, multiply-accumulates, activations (the numbers that convolutions make),
    convolutions, receptive field, and the most memory that activations take at once: an operator's
    inputs and outputs, and what is read later. Nothing is computed, except on a CUDA device, where
    memory and time are measured too.
    """
    suffix = Path(target).suffix.lower()
    if suffix in (".onnx", ".tflite") and (form is not None or scale is not None):
        raise click.UsageError("--form and --scale are for networks in PyTorch: leave them out")
    if suffix == ".tflite":
        found = _tflite(Path(target), size)
    elif suffix == ".onnx":
        found = _onnx(Path(target), size)
    else:
        found = _torch(target, scale, form or "plain", size)
    _print_json(found, layers=layers) if as_json else _print(found, layers=layers)


def _tflite(path: Path, size: str | None) -> _Report:
    from converters.audit import audit
    from converters.complexity import tflite_complexity
    from edgesr.overlap import stated_facts

    found = audit(path)
    shape = found.inputs[0].shape if len(found.inputs) == 1 else ()
    height, width = shape[1:3] if len(shape) == 4 else (0, 0)
    _check_fixed(path, size, height, width)
    facts = stated_facts(path)
    return _Report(
        target=str(path),
        network=f"{facts.model} x{facts.scale}" if facts else "unknown",
        form="as converted",
        height=height,
        width=width,
        cost=tflite_complexity(found),
        receptive_radius=facts.receptive_radius if facts else None,
        whole_picture=facts.whole_picture if facts else False,
    )


def _onnx(path: Path, size: str | None) -> _Report:
    from converters.complexity import onnx_complexity, sized_graph
    from converters.onnx_file import read_onnx
    from converters.spec import parse_size
    from converters.traits import reach
    from edgesr.cli.needs import require

    require("reading an ONNX file", ("onnx", "onnxruntime"), "convert")
    file = read_onnx(path)
    wanted = parse_size(size or _DEFAULT_SIZE)
    height, width = file.height or wanted[0], file.width or wanted[1]
    _check_fixed(path, size, height, width)
    graph = sized_graph(file.model, height, width)
    seen = reach(graph)
    return _Report(
        target=str(path),
        network="unknown",
        form="as exported",
        height=height,
        width=width,
        cost=onnx_complexity(graph),
        receptive_radius=seen.radius,
        whole_picture=seen.whole_picture,
    )


def _check_fixed(path: Path, size: str | None, height: int, width: int) -> None:
    """Refuse a size that a file has not.

    Raises:
        SizeError: The file's is another, or the text is no size.
    """
    from converters.spec import parse_size

    if size is not None and parse_size(size) != (height, width):
        raise SizeError(
            f"got --size {size} for {path}, whose input is fixed; allowed {height}x{width}: leave "
            "--size out, or name the checkpoint"
        )


def _torch(target: str, scale: int | None, form: Form, size: str | None) -> _Report:
    from converters.spec import ConversionSpec, check_multiple, parse_size
    from edgesr.cli.needs import require

    require("counting a network in PyTorch", ("torch",), "convert")
    import torch

    from edgesr.evaluation.torch_cost import cuda_cost, torch_complexity
    from edgesr.registry import build

    spec = _spec(target, scale)
    height, width = parse_size(size or _DEFAULT_SIZE)
    check_multiple(ConversionSpec(height, width), spec)
    with torch.device("meta"):
        net = build(spec, training_form=form == "training")
    cuda = None
    if torch.cuda.is_available():
        cuda = cuda_cost(build(spec, training_form=form == "training"), height, width)
    return _Report(
        target=target,
        network=f"{spec.name} x{spec.scale}",
        form=form,
        height=height,
        width=width,
        cost=torch_complexity(net, height, width),
        receptive_radius=spec.receptive_radius,
        whole_picture=spec.whole_picture,
        cuda=cuda,
    )


def _spec(target: str, scale: int | None) -> "ArchSpec":
    """The network of that name, or of that checkpoint; a file that is there goes first.

    Raises:
        ArchitectureError: It is the name of no network, or of none at that scale.
        CheckpointError: It is a checkpoint that cannot be read.
    """
    from edgesr.checkpoints import load
    from edgesr.registry import all_specs, find_spec

    path = Path(target)
    named = any(target in (spec.name, *spec.aliases) for spec in all_specs())
    if path.is_file() or (not named and (path.suffix or len(path.parts) > 1)):
        spec = load(path).spec
        if scale not in (None, spec.scale):
            raise ArchitectureError(
                f"{target} holds {spec.name} x{spec.scale}, got --scale {scale}; leave out --scale"
            )
        return spec
    return find_spec(target, scale)


def _print_json(found: _Report, *, layers: bool) -> None:
    from edgesr.cli.report import as_json

    cost: dict[str, Any] = dataclasses.asdict(found.cost)
    rows = cost.pop("layers")
    radius = found.receptive_radius
    as_json(
        {
            "target": found.target,
            "network": found.network,
            "form": found.form,
            "input": {"height": found.height, "width": found.width},
            **cost,
            "operations": found.cost.operations,
            "receptive_radius": radius,
            "receptive_field": None if radius is None else 2 * radius + 1,
            "whole_picture": found.whole_picture,
            "cuda": None if found.cuda is None else dataclasses.asdict(found.cuda),
            **({"layers": rows} if layers else {}),
        }
    )


def _print(found: _Report, *, layers: bool) -> None:
    from rich.console import Console

    if layers:
        # A pipe has no width: there the rows shall not wrap.
        Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH).print(_layer_table(found.cost))
    click.echo(f"{found.network}, {found.form}, input {found.height}x{found.width}")
    for name, value in _rows(found):
        click.echo(f"{name:<16}{value}")


def _rows(found: _Report) -> list[tuple[str, str]]:
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


def _field(found: _Report) -> str:
    if found.receptive_radius is None:
        return "unknown: the file does not say"
    side = 2 * found.receptive_radius + 1
    return f"{side}x{side}" + (", and statistics of the whole picture" * found.whole_picture)


def _layer_table(cost: "Complexity") -> Any:  # noqa: ANN401 - rich is imported when it is needed
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 1))
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
