"""Operators of an ONNX graph that no pass removes, found before TensorFlow is started.

The rules of converters/gpu/rules.py judge the finished `.tflite`. Some of their verdicts are known
from the ONNX graph already: an operator whose TFLite counterpart the GPU has no kernel for, and a
tensor of more than four dimensions that something other than a Reshape reads.
"""

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from converters.gpu.refusal import NotCleanError
from converters.gpu.rules import RULES
from converters.manifest import RefusedOperator
from converters.onnx_graph.graph import Graph, Node
from edgesr.common.text import printable
from edgesr.errors import ConversionError

if TYPE_CHECKING:
    import onnx

# Their TFLite counterparts are not among the operators of converters/gpu/checker.py. Source: the
# conversions of onnx2tf, one file per operator.
_NO_KERNEL = {
    "Acos", "Acosh", "ArgMax", "ArgMin", "Asin", "Asinh", "Atan", "Atanh", "Bernoulli", "BitShift",
    "Ceil", "Compress", "Cosh", "Det", "Erf", "EyeLike", "GRU", "GatherElements", "GatherND",
    "GridSample", "IsInf", "IsNaN", "LSTM", "NonMaxSuppression", "NonZero", "Not", "Or", "RNN",
    "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Range",
    "ReverseSequence", "RoiAlign", "Round", "STFT", "Scatter", "ScatterElements", "ScatterND",
    "Sinh", "Tan", "TopK", "Unique", "Xor",
}  # fmt: skip
# onnx2tf merges chains of these, so that a large tensor between them does not remain.
_RESHAPES = {"Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity"}
_MAX_RANK = 4
# Windows and the pixels in them are four dimensions, in place of height and width.
_ATTENTION, _WINDOWS_RANK = {"Softmax"}, 6
_SCOPES = "pkg.torch.onnx.name_scopes"
_REMEDIES = {
    "Erf": "write GELU as x (1 + erf(x / sqrt 2)) / 2 or as nn.GELU, and no other error function",
    "ScatterND": "join the parts by torch.cat instead of assigning to a slice",
}
_WITHOUT = "write the network without it"


def modules_of(model: "onnx.ModelProto") -> dict[str, str]:
    """The module in which each tensor is computed, where the exporter kept its name as metadata.

    Args:
        model: As it was exported.
    """
    return {
        tensor: _joined(_listed(entry.value)[:-1])
        for node in model.graph.node
        for entry in node.metadata_props
        if entry.key == _SCOPES
        for tensor in node.output
    }


def check_graph(
    graph: Graph, modules: Mapping[str, str] | None = None, *, allow_refused: bool = False
) -> None:
    """Refuse a graph that cannot be converted, or whose file the GPU delegate would refuse.

    Args:
        graph: After the passes for third-party graphs.
        modules: The module in which each tensor is computed.
        allow_refused: Whether the GPU may refuse operators.

    Raises:
        ConversionError: onnx2tf has no conversion of an operator.
        NotCleanError: The GPU would refuse operators.
    """
    names = modules or {}
    known = _convertible()
    for node in graph.nodes:
        if known and node.op not in known:
            raise ConversionError(
                f"operator {printable(node.op)}{_where([node], names)} has no conversion to TFLite "
                "(onnx2tf knows none); write the network without it"
            )
    if allow_refused:
        return
    refused = [_record(graph, found, names) for found in _no_kernel(graph)]
    refused += [_record(graph, found, names) for found in _large(graph)]
    if refused:
        raise NotCleanError(tuple(refused))


def _listed(text: str) -> list[str]:
    """The names in a list as the exporter writes it: "['', 'body', 'body.0', 'erf']"."""
    return [part.strip(" '\"") for part in text.strip("[]").split(",")]


def _joined(scopes: Sequence[str]) -> str:
    """The path of a module, of scopes that may begin with those around them."""
    path: list[str] = []
    for scope in filter(None, scopes):
        if path and scope.startswith(f"{path[-1]}."):
            path[-1] = scope
        else:
            path.append(scope)
    return ".".join(path)


def _in_name(tensor: str) -> str:
    """The module's path in a tensor's name, where torch's older exporter puts it."""
    return _joined(tensor.split("/")[1:-1]) if tensor.startswith("/") else ""


def _convertible() -> frozenset[str]:
    """The operators that onnx2tf converts: it has a file for each. Empty if it is not installed."""
    found = importlib.util.find_spec("onnx2tf")
    folders = (found and found.submodule_search_locations) or []
    names = [path.stem for folder in folders for path in Path(folder, "ops").glob("*.py")]
    return frozenset(names)


def _no_kernel(graph: Graph) -> list[list[Node]]:
    """Operators without a kernel, by kind."""
    kinds = sorted({node.op for node in graph.nodes} & _NO_KERNEL)
    return [[node for node in graph.nodes if node.op == kind] for kind in kinds]


def _large(graph: Graph) -> list[list[Node]]:
    """Operators other than reshapes that read or make a tensor of more than four dimensions."""
    found: dict[str, list[Node]] = {}
    for node in graph.nodes:
        if node.op not in _RESHAPES and node.op not in _NO_KERNEL and _largest(graph, node):
            found.setdefault(node.op, []).append(node)
    return list(found.values())


def _largest(graph: Graph, node: Node) -> str:
    """A tensor of more than four dimensions that an operator computes with; empty if none."""
    tensors = [name for name in [*node.inputs, *node.outputs] if name and name not in graph.weights]
    return next((name for name in tensors if len(graph.shape(name)) > _MAX_RANK), "")


def _record(graph: Graph, nodes: Sequence[Node], modules: Mapping[str, str]) -> RefusedOperator:
    first = nodes[0]
    tensor = _largest(graph, first)
    rule = RULES["gpu-rank" if tensor else "gpu-operator"]
    found = f"rank {len(graph.shape(tensor))}" if tensor else first.op
    windows = tensor and len(graph.shape(tensor)) >= _WINDOWS_RANK
    if windows and _ATTENTION & {node.op for node in graph.nodes}:
        found += " (window attention cuts the image so)"
    shown = tensor or first.output
    remedy = "cut the image in four dimensions at most" if tensor else _WITHOUT
    return RefusedOperator(
        operator=first.op,
        count=len(nodes),
        of=sum(node.op == first.op for node in graph.nodes),
        tensor=printable(shown),
        shape=graph.shape(shown),
        rule=f"{rule.sentence} ({rule.id})",
        reason=f"got {found}{_where(nodes, modules)}",
        remedy=_REMEDIES.get(first.op, remedy),
    )


def _where(nodes: Sequence[Node], modules: Mapping[str, str]) -> str:
    """The modules that hold operators, as far as they are known."""
    found = (modules.get(node.output) or _in_name(node.output) for node in nodes)
    names = list(dict.fromkeys(filter(None, found)))
    if not names:
        return ""
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f" in module {printable(names[0])}{more}"
