"""activations: write GELU and hard-swish as one operator, and hard sigmoid and clips for the GPU.

Why it is exact. GELU is x times the normal distribution's function at x, that is 0.5 x (1 + erf(x /
sqrt 2)); hard-swish is x clip(x + 3, 0, 6) / 6. Exporters and authors write these in many orders.
No pattern has to be recognised: a group of pointwise operators that computes one tensor from
another and plain numbers alone is run in float64 on numbers from -12 to 12. Where it gives GELU, or
hard-swish, everywhere, it is that. A hard sigmoid clip(a x + b, 0, 1) is clip(6 a x + 6 b, 0, 6) /
6, and a minimum of a maximum with plain numbers is a clip.

Why it is needed. Neither TFLite nor the GPU delegate has an error function; both have GELU. A hard
sigmoid becomes RELU_0_TO_1, which LiteRT's GPU refuses; it takes RELU6, HARD_SWISH, and a Clip,
which becomes RELU and MINIMUM.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

from converters.onnx_graph import native
from converters.onnx_graph.graph import Graph, Node

NAME = "activations"

_PLACES = np.linspace(-12, 12, 4801)
# The formula's numbers are rounded to float32, that is to 6e-8 of their own size.
_TOLERANCE = 1e-6

Float64Array = NDArray[np.float64]

_ERF = np.vectorize(math.erf, otypes=[np.float64])
_BINARY = {
    "Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": np.divide,
    "Max": np.maximum, "Min": np.minimum,
}  # fmt: skip
_UNARY: dict[str, Callable[[Float64Array], Float64Array]] = {
    "Erf": _ERF,
    "Neg": np.negative,
    "Relu": lambda x: np.maximum(x, 0),
}
_CLIPS = ("Clip", "HardSigmoid")


@dataclass(frozen=True)
class _Function:
    """A function that has an operator of its own.

    Attributes:
        op: The operator.
        opset: The first version of ONNX's operators that has it.
        ir_version: The first version of ONNX files that goes with that.
        inside: Operators of which each way of writing the function has one.
        values: The function at `_PLACES`.
    """

    op: str
    opset: int
    ir_version: int
    inside: tuple[str, ...]
    values: Float64Array


_FUNCTIONS = (
    _Function("Gelu", 20, 9, ("Erf",), 0.5 * _PLACES * (1 + _ERF(_PLACES / math.sqrt(2)))),
    _Function(
        "HardSwish",
        14,
        7,
        (*_CLIPS, "Min", "Relu"),
        _PLACES * np.clip(_PLACES + 3, 0, 6) / 6,
    ),
)


def activations(model: onnx.ModelProto) -> onnx.ModelProto:
    """Replace groups of operators that compute GELU, hard-swish, a hard sigmoid or a clip."""
    for function in _FUNCTIONS:
        model = _with(model, function)
    if not {node.op_type for node in model.graph.node} & {"HardSigmoid", "Max", "Min"}:
        return model
    graph = Graph(model)
    for node in list(graph.nodes):
        if node.op == "HardSigmoid":
            _write_hard_sigmoid(graph, node)
        elif node.op in ("Max", "Min"):
            _write_clip(graph, node)
    return graph.to_model()


def _with(model: onnx.ModelProto, function: _Function) -> onnx.ModelProto:
    """Replace every group of operators that computes a function."""
    if not any(node.op_type in function.inside for node in model.graph.node):
        return model
    graph = Graph(model)
    if not any(_rewrite(graph, node, function) for node in _anchors(graph, function)):
        return model
    graph = Graph(_raised(model, function))
    for node in _anchors(graph, function):
        _rewrite(graph, node, function)
    return graph.to_model()


def _anchors(graph: Graph, function: _Function) -> list[Node]:
    return [node for node in graph.nodes if node.op in function.inside]


def _raised(model: onnx.ModelProto, function: _Function) -> onnx.ModelProto:
    """The model at an opset that has the function's operator."""
    versions = [o.version for o in model.opset_import if o.domain in ("", "ai.onnx")]
    if max(versions) >= function.opset:
        return model
    raised = native.at_opset(model, function.opset)
    raised.ir_version = max(raised.ir_version, function.ir_version)
    return raised


def _rewrite(graph: Graph, anchor: Node, function: _Function) -> bool:
    """Replace what computes a function around an operator, and tell whether anything does."""
    if anchor not in graph.nodes:
        return False
    for source in _sources(graph, anchor):
        for end in _results(graph, source, anchor):
            values = _value(graph, end.output, source)
            if np.abs(values - function.values).max() <= _TOLERANCE * np.abs(_PLACES).max():
                made = Node(function.op, [source], [graph.fresh("activated", graph.shape(source))])
                graph.nodes.insert(graph.nodes.index(end), made)
                graph.rename_uses(end.output, made.output)
                graph.remove_dead()
                return True
    return False


def _sources(graph: Graph, anchor: Node) -> list[str]:
    """The tensors of which an operator reads a linear function, the nearest first."""
    tensors = [n for n in anchor.inputs[: 2 if anchor.op == "Min" else 1] if n]
    tensors = [n for n in tensors if _number(graph, n) is None][:1]
    linear = (*_BINARY, "Neg", "Relu")
    while tensors and (node := graph.producer(tensors[-1])) is not None and node.op in linear:
        runtime = [name for name in node.inputs if _number(graph, name) is None]
        if len(runtime) != 1:
            break
        tensors.append(runtime[0])
    return tensors


def _results(graph: Graph, source: str, anchor: Node) -> Sequence[Node]:
    """The operators behind one that compute from `source` and numbers alone, the last first."""
    known, found, behind = {source}, list[Node](), {anchor.output}
    for node in graph.nodes:
        inputs = [name for name in node.inputs if name and _number(graph, name) is None]
        if _is_plain(node) and inputs and known.issuperset(inputs):
            known.add(node.output)
            if behind.intersection(node.inputs):
                behind.add(node.output)
                found.append(node)
    return found[::-1]


def _is_plain(node: Node) -> bool:
    """Whether an operator computes each value from those at the same place alone."""
    return (node.op in _BINARY and len(node.inputs) == 2) or node.op in (*_UNARY, *_CLIPS)


def _value(graph: Graph, tensor: str, source: str) -> Float64Array:
    """What a tensor is where `source` is `_PLACES`."""
    if tensor == source:
        return _PLACES
    number = _number(graph, tensor)
    if number is not None:
        return np.full_like(_PLACES, number)
    node = graph.producer(tensor)
    assert node is not None, "found by _results"
    operands = [_value(graph, name, source) for name in node.inputs if name]
    if node.op == "HardSigmoid":
        slope, offset = _hard_sigmoid(node)
        return np.clip(slope * operands[0] + offset, 0, 1)
    if node.op == "Clip":
        low, high = _bounds(graph, node)
        return np.clip(operands[0], low, high)
    with np.errstate(all="ignore"):  # a division by 0 is none of the functions
        return (_BINARY.get(node.op) or _UNARY[node.op])(*operands)


def _hard_sigmoid(node: Node) -> tuple[float, float]:
    """Slope and offset."""
    return float(node.attributes.get("alpha", 0.2)), float(node.attributes.get("beta", 0.5))


def _bounds(graph: Graph, clip: Node) -> tuple[float, float]:
    """The bounds of a Clip; infinite where there is none."""
    names = [*clip.inputs[1:], "", ""][:2]
    numbers = [_number(graph, name) if name else None for name in names]
    low, high = numbers
    return -np.inf if low is None else low, np.inf if high is None else high


def _number(graph: Graph, tensor: str) -> float | None:
    """The one number that a constant holds, if it does."""
    weight = graph.weights.get(tensor)
    if weight is None or weight.size == 0 or bool((weight != weight.reshape(-1)[0]).any()):
        return None
    return float(weight.reshape(-1)[0])


def _write_hard_sigmoid(graph: Graph, node: Node) -> None:
    """Write a hard sigmoid by a clip from 0 to 6, which the GPU has as RELU6."""
    slope, offset = _hard_sigmoid(node)
    shape = graph.shape(node.output)

    def step(op: str, source: str, *numbers: float) -> Node:
        weights = [graph.add_weight("number", np.array(n, np.float32)) for n in numbers]
        return Node(op, [source, *weights], [graph.fresh("hard_sigmoid", shape)])

    steps = [step("Mul", node.inputs[0], 6 * slope)]
    steps.append(step("Add", steps[-1].output, 6 * offset))
    steps.append(step("Clip", steps[-1].output, 0.0, 6.0))
    steps.append(step("Mul", steps[-1].output, 1 / 6))
    position = graph.nodes.index(node)
    graph.nodes[position + 1 : position + 1] = steps
    graph.rename_uses(node.output, steps[-1].output)
    graph.nodes.remove(node)


def _write_clip(graph: Graph, outer: Node) -> None:
    """Write a minimum of a maximum, or the reverse, with plain numbers as one Clip."""
    inner_op = "Min" if outer.op == "Max" else "Max"
    found = _with_number(graph, outer)
    inner = graph.producer(found[0]) if found else None
    if found is None or inner is None or inner.op != inner_op:
        return
    inside = _with_number(graph, inner)
    if inside is None:
        return
    low, high = (found[1], inside[1]) if outer.op == "Max" else (inside[1], found[1])
    if low > high:
        return
    outer.op = "Clip"
    outer.inputs = [
        inside[0],
        *(graph.add_weight("bound", np.array(n, np.float32)) for n in (low, high)),
    ]


def _with_number(graph: Graph, node: Node) -> tuple[str, float] | None:
    """The tensor and the number that an operator of two inputs reads."""
    numbers = {name: _number(graph, name) for name in node.inputs}
    constants = [n for n in numbers.values() if n is not None]
    tensors = [name for name, number in numbers.items() if number is None]
    if len(node.inputs) != 2 or len(tensors) != 1 or len(constants) != 1:
        return None
    return tensors[0], constants[0]
