"""fp16_range: scale every intermediate into the range that FP16 represents well.

Why it is exact. LeakyReLU, ReLU and PReLU are positively homogeneous, f(s x) = s f(x) for s > 0,
and so are sums, concats and shuffles. If a convolution makes its output 2^-e times as large, the
operators behind it pass the factor on, and the next convolution's weights undo it. A power of two
changes only exponents, so not even rounding differs while nothing over- or underflows.

A square is homogeneous of degree 2 and a square root of degree 1/2: where a tensor is scaled by
2^-e its square is by 2^-2e, so that a standard deviation comes out scaled as its tensor is.

What it may not scale: the graph's input and output have a meaning; sigmoid, tanh and other curved
operators are not homogeneous, so what they read and make keeps its scale; an Add ties its branches
to one scale; a product is scaled through one factor where the other is pinned.

Tensors that are averaged over a row or a column stay below 64, so that a sum of 1000 terms fits
too.

FMEN-S with its published weights reaches 2.3e7 inside its attention branches, and its 3x3 kernels
behind them go down to 1e-7: both ends of FP16 (65504 and 6e-8) are passed. Scaled, both fit.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import onnx
from numpy.typing import NDArray

from converters.onnx_graph.calibration import largest_magnitudes
from converters.onnx_graph.graph import Graph, Node
from converters.passes.convolution import read_conv, set_conv
from edgesr.common.text import printable
from edgesr.errors import ConversionError

NAME = "fp16_range"

# Scaled tensors end between TARGET / 2 and TARGET on the calibration inputs: 1000 times below
# FP16's end, and 20 binary places above its first subnormal.
_TARGET = 64.0
# Tensors whose largest value lies in this band are left as they are.
_COMFORTABLE = (2.0**-3, 2.0**9)
# The upper end of that band for tensors that are summed over a row or a column.
_AVERAGED = _TARGET
_FP16_MAX = 65504.0
# No intermediate may come nearer to FP16's end than this factor, scaled or not.
_HEADROOM = 16.0
_LARGEST = _FP16_MAX / _HEADROOM

_TIED = {
    "LeakyRelu", "Relu", "PRelu", "Identity", "DepthToSpace", "SpaceToDepth", "Concat", "Split",
    "Slice", "Reshape", "Transpose", "MaxPool", "AveragePool", "GlobalAveragePool", "ReduceMean",
    "Add", "Sub",
}  # fmt: skip
_AVERAGING = {"ReduceMean", "GlobalAveragePool"}


@dataclass(frozen=True)
class RangeReport:
    """Largest intermediates before and after fp16_range.

    Attributes:
        largest_before: Largest absolute value of any intermediate on the calibration inputs.
        largest_after: The same after the pass.
        scaled_tensors: How many tensors were scaled.
    """

    largest_before: float
    largest_after: float
    scaled_tensors: int


def fp16_range(
    model: onnx.ModelProto,
    calibration_nchw: Sequence[NDArray[np.float32]],
    *,
    must_fit: bool = True,
) -> tuple[onnx.ModelProto, RangeReport]:
    """Rescale weights so that every intermediate is far inside FP16's range.

    Args:
        model: A graph of range [0, 1].
        calibration_nchw: Inputs that show how large the intermediates get.
        must_fit: Whether what cannot be scaled must fit into FP16 as it is.

    Raises:
        ConversionError: An intermediate is NaN or infinite, or one that cannot be scaled is too
            large for FP16.
    """
    before = largest_magnitudes(model, calibration_nchw)
    graph = Graph(model)
    exponents = _choose_exponents(graph, before)
    _apply(graph, exponents)
    scaled = graph.to_model()
    after = largest_magnitudes(scaled, calibration_nchw)
    worst = max(after, key=lambda name: after[name])
    if must_fit and after[worst] > _LARGEST:
        raise ConversionError(_misfit(worst, after[worst], after[graph.output]))
    return scaled, RangeReport(
        largest_before=max(before.values()),
        largest_after=after[worst],
        scaled_tensors=sum(1 for exponent in exponents.values() if exponent != 0),
    )


def _misfit(tensor: str, largest: float, output: float) -> str:
    """What does not fit into FP16, and what to do about it."""
    if output > _LARGEST:
        return (
            f"the output reaches {output:.3g} where white is 1, allowed {_LARGEST:.4g}: the "
            "weights are damaged, or the network is of another range; take other weights, or give "
            "--value-range to an ONNX file"
        )
    return (
        f"tensor {printable(tensor)} reaches {largest:.3g}, which FP16 arithmetic does not hold "
        f"with a margin of {_HEADROOM:g} (allowed: {_LARGEST:.4g}), and may not be rescaled; "
        "convert with --fp32 alone and run the file in FP32"
    )


class _Ties:
    """Union-find over tensors with dependent scales; some are pinned to scale 1.

    Each tensor's exponent is a fixed multiple (its degree) of that of its class.
    """

    def __init__(self) -> None:
        self._parent: dict[str, tuple[str, Fraction]] = {}
        self._pinned: set[str] = set()

    def find(self, name: str) -> tuple[str, Fraction]:
        """The class of a tensor, and the tensor's degree in it."""
        parent, degree = self._parent.setdefault(name, (name, Fraction(1)))
        if parent == name:
            return name, degree
        root, above = self.find(parent)
        self._parent[name] = root, degree * above
        return self._parent[name]

    def tie(self, names: Sequence[str], degrees: Sequence[int | Fraction] | None = None) -> None:
        """Tie the exponents of tensors in the ratio of their degrees."""
        (first, *others), (unit, *multiples) = names, degrees or [1] * len(names)
        for name, multiple in zip(others, multiples, strict=True):
            self._tie(first, name, Fraction(multiple) / unit)

    def _tie(self, first: str, second: str, ratio: Fraction) -> None:
        """Set the second's exponent to `ratio` times the first's."""
        (root, degree), (other, other_degree) = self.find(first), self.find(second)
        if root == other:
            # Tied twice: where the two ratios differ, only scale 1 fits both.
            if other_degree != degree * ratio:
                self._pinned.add(root)
            return
        self._parent[other] = root, degree * ratio / other_degree
        if other in self._pinned:
            self._pinned.add(root)

    def pin(self, names: Sequence[str]) -> None:
        """Keep the scale of tensors at 1."""
        self._pinned.update(self.find(name)[0] for name in names)

    def is_pinned(self, name: str) -> bool:
        """Whether a tensor must keep its scale."""
        return self.find(name)[0] in self._pinned


def _ties(graph: Graph) -> _Ties:
    ties = _Ties()
    ties.pin([graph.input, graph.output])
    products: list[Node] = []
    for node in graph.nodes:
        tensors = _tensors(graph, node)
        if read_conv(graph, node) is not None:
            continue
        if (power := _power(graph, node)) is not None:
            ties.tie([node.inputs[0], node.output], [1, power])
        elif node.op in _TIED and not _adds_constant(graph, node):
            ties.tie(tensors)
        elif node.op == "Mul" and len(tensors) == 3:
            products.append(node)
        else:
            ties.pin(tensors)
    for node in products:
        _tie_product(ties, node)
    return ties


def _power(graph: Graph, node: Node) -> Fraction | None:
    """The degree of a square or a square root; None for anything else."""
    if node.op == "Sqrt":
        return Fraction(1, 2)
    if node.op == "Mul" and node.inputs[0] == node.inputs[1]:
        return Fraction(2)
    if node.op == "Pow" and (exponent := graph.weights.get(node.inputs[1])) is not None:
        power = Fraction(float(exponent.reshape(-1)[0])) if exponent.size == 1 else None
        return power if power in {Fraction(2), Fraction(1, 2)} else None
    return None


def _adds_constant(graph: Graph, node: Node) -> bool:
    """Whether a constant is added, which fixes the tensor's scale."""
    return node.op in {"Add", "Sub"} and any(name in graph.weights for name in node.inputs)


def _tie_product(ties: _Ties, node: Node) -> None:
    """Tie a product to one factor where the other is pinned."""
    first, second = node.inputs
    if ties.is_pinned(second):
        ties.tie([first, node.output])
    elif ties.is_pinned(first):
        ties.tie([second, node.output])
    else:
        ties.pin([first, second, node.output])


def _tensors(graph: Graph, node: Node) -> list[str]:
    return [n for n in [*node.inputs, *node.outputs] if n and n not in graph.weights]


@dataclass(frozen=True)
class _Member:
    """Range of one tensor of a class.

    Attributes:
        degree: Its exponent per exponent of the class.
        largest: Its largest absolute value.
        high: Upper bound for that value.
    """

    degree: Fraction
    largest: float
    high: float


def _choose_exponents(graph: Graph, largest: Mapping[str, float]) -> dict[str, int]:
    """Tensor -> e; the scaled graph holds 2^-e times the tensor."""
    ties = _ties(graph)
    averaged = {n for node in graph.nodes if node.op in _AVERAGING for n in node.inputs}
    classes: dict[str, list[_Member]] = {}
    for name, value in largest.items():
        root, degree = ties.find(name)
        high = _AVERAGED if name in averaged else _COMFORTABLE[1]
        classes.setdefault(root, []).append(_Member(degree, value, high))
    exponents = {root: _exponent(members) for root, members in classes.items()}
    return {
        name: 0 if ties.is_pinned(name) else int(degree * exponents[root])
        for name in largest
        for root, degree in [ties.find(name)]
    }


def _exponent(members: Sequence[_Member]) -> int:
    """Exponent of a class: 0 if all are in range, else the largest required."""
    present = [member for member in members if member.largest > 0]
    if not present or (
        all(member.largest <= member.high for member in present)
        and any(member.largest >= _COMFORTABLE[0] for member in present)
    ):
        return 0
    wanted = max(math.ceil(math.log2(m.largest / _TARGET) / m.degree) for m in present)
    # A whole number for every member: a multiple of all their degrees' denominators.
    step = math.lcm(*(member.degree.denominator for member in members))
    return math.ceil(wanted / step) * step


def _apply(graph: Graph, exponents: Mapping[str, int]) -> None:
    """Move the factors into the convolutions' weights and biases."""
    for node in graph.nodes:
        conv = read_conv(graph, node)
        if conv is None:
            continue
        coming, going = exponents[conv.source], exponents[node.output]
        if coming or going:
            kernel = np.ldexp(conv.kernel, coming - going)
            set_conv(graph, conv, kernel, np.ldexp(conv.bias, -going))
