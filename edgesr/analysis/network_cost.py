"""Cost of what a user names: a network, a checkpoint, an `.onnx` or a `.tflite`."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from edgesr.errors import SizeError

if TYPE_CHECKING:
    from edgesr.evaluation.complexity import Complexity
    from edgesr.evaluation.torch_cost import CudaCost

#: Size at which the challenge on efficient super-resolution counts, height x width.
DEFAULT_SIZE = "256x256"

#: Form of a network in PyTorch: folded, or as it is trained.
Form = Literal["plain", "training"]


@dataclass(frozen=True)
class NetworkCost:
    """Cost of one run of a network at one size.

    Attributes:
        target: As the user named it.
        network: Its name and scale; "unknown" where the file holds neither.
        form: Which form was counted.
        height: Rows of the input.
        width: Columns of the input.
        cost: The counts.
        receptive_radius: In pixels of the input; None where it is unknown.
        whole_image: Whether the receptive field is global besides.
        cuda: Memory and time on a CUDA device; None without one.
    """

    target: str
    network: str
    form: str
    height: int
    width: int
    cost: "Complexity"
    receptive_radius: int | None
    whole_image: bool
    cuda: "CudaCost | None" = None

    @property
    def receptive_field(self) -> int | None:
        """Side of the receptive field in pixels of the input; None where it is unknown."""
        return None if self.receptive_radius is None else 2 * self.receptive_radius + 1


def network_cost(
    target: str, size: str | None = None, scale: int | None = None, form: Form = "plain"
) -> NetworkCost:
    """Count parameters, MACs, activations and peak memory; nothing is computed without CUDA.

    Args:
        target: A network's name, a checkpoint, an `.onnx` or a `.tflite`.
        size: HxW of the input; None for the file's own, else DEFAULT_SIZE.
        scale: Of a network that has several scales.
        form: Of a network in PyTorch.

    Raises:
        SizeError: The size is not one that the target accepts.
        EdgeSRError: The target is unknown or cannot be read, or a library is missing.
    """
    match Path(target).suffix.lower():
        case ".tflite":
            return _tflite(Path(target), size)
        case ".onnx":
            return _onnx(Path(target), size)
        case _:
            return _torch(target, size, scale, form)


def as_data(found: NetworkCost, *, layers: bool) -> dict[str, Any]:
    """Every count, for JSON; with `layers`, those of each layer too."""
    cost: dict[str, Any] = dataclasses.asdict(found.cost)
    rows = cost.pop("layers")
    return {
        "target": found.target,
        "network": found.network,
        "form": found.form,
        "input": {"height": found.height, "width": found.width},
        **cost,
        "operations": found.cost.operations,
        "receptive_radius": found.receptive_radius,
        "receptive_field": found.receptive_field,
        "whole_image": found.whole_image,
        "cuda": None if found.cuda is None else dataclasses.asdict(found.cuda),
        **({"layers": rows} if layers else {}),
    }


def _tflite(path: Path, size: str | None) -> NetworkCost:
    from converters.gpu.audit import audit
    from converters.onnx_graph.complexity import tflite_complexity
    from edgesr.tflite.facts import read_facts

    found = audit(path)
    shape = found.inputs[0].shape if len(found.inputs) == 1 else ()
    height, width = shape[1:3] if len(shape) == 4 else (0, 0)
    _check_fixed(path, size, height, width)
    facts = read_facts(path)
    return NetworkCost(
        target=str(path),
        network=f"{facts.model} x{facts.scale}" if facts else "unknown",
        form="as converted",
        height=height,
        width=width,
        cost=tflite_complexity(found),
        receptive_radius=facts.receptive_radius if facts else None,
        whole_image=facts.whole_image if facts else False,
    )


def _onnx(path: Path, size: str | None) -> NetworkCost:
    from converters.onnx_graph.complexity import onnx_complexity, sized_graph
    from converters.onnx_graph.receptive_field import reach
    from converters.onnx_graph.third_party import read_onnx
    from converters.spec import parse_size
    from edgesr.common.requirements import require

    require("reading an ONNX file", ("onnx", "onnxruntime"), "convert")
    file = read_onnx(path)
    wanted = parse_size(size or DEFAULT_SIZE)
    height, width = file.height or wanted[0], file.width or wanted[1]
    _check_fixed(path, size, height, width)
    with file.errors(height, width):
        graph = sized_graph(file.model, height, width)
        seen, cost = reach(graph), onnx_complexity(graph)
    return NetworkCost(
        target=str(path),
        network="unknown",
        form="as exported",
        height=height,
        width=width,
        cost=cost,
        receptive_radius=seen.radius,
        whole_image=seen.whole_image,
    )


def _check_fixed(path: Path, size: str | None, height: int, width: int) -> None:
    """Refuse a size other than a file's own.

    Raises:
        SizeError: The file has another size, or the text is no size.
    """
    from converters.spec import parse_size

    if size is not None and parse_size(size) != (height, width):
        raise SizeError(
            f"got --size {size} for {path}, whose input is fixed; allowed {height}x{width}: leave "
            "--size out, or name the checkpoint"
        )


def _torch(target: str, size: str | None, scale: int | None, form: Form) -> NetworkCost:
    from converters.spec import check_multiple, parse_size
    from edgesr.common.requirements import require

    require("counting a network in PyTorch", ("torch",), "convert")
    import torch

    from edgesr.evaluation.torch_cost import cuda_cost, torch_complexity
    from edgesr.networks.spec import build
    from edgesr.weights.sources import named_spec

    spec = named_spec(target, scale)
    height, width = parse_size(size or DEFAULT_SIZE)
    check_multiple(height, width, spec)
    with torch.device("meta"):
        net = build(spec, training_form=form == "training")
    cuda = None
    if torch.cuda.is_available():
        cuda = cuda_cost(build(spec, training_form=form == "training"), height, width)
    return NetworkCost(
        target=target,
        network=f"{spec.name} x{spec.scale}",
        form=form,
        height=height,
        width=width,
        cost=torch_complexity(net, height, width),
        receptive_radius=spec.receptive_radius,
        whole_image=spec.whole_image,
        cuda=cuda,
    )
