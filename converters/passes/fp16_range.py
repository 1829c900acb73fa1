"""fp16_range: every intermediate gets a magnitude that FP16 holds well.

Why it is exact. LeakyReLU, ReLU and PReLU are positively homogeneous, f(s x) = s f(x) for s > 0,
and so are sums, concats and shuffles. If a convolution makes its output 2^-e times as large, the
operators behind it pass the factor on, and the next convolution takes it back in its weights. A
power of two changes only exponents, so not even rounding differs while nothing over- or underflows.

Where it may not go: the graph's input and output have a meaning; sigmoid, tanh and other curved
operators are not homogeneous, so what they read and make keeps its scale; an Add ties its branches
to one scale; a product is scaled through one factor where the other is pinned.

FMEN-S with its published weights reaches 2.3e7 inside its attention branches, and its 3x3 kernels
behind them go down to 1e-7: both ends of FP16 (65504 and 6e-8) are passed. Scaled, both fit.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

from converters.calibrate import largest_magnitudes
from converters.graph import Graph, Node
from converters.passes.convolution import read_conv, set_conv
from edgesr.errors import ConversionError

NAME = "fp16_range"

# Scaled tensors end between TARGET / 2 and TARGET on the calibration inputs: 1000 times below
# FP16's end, and 20 binary places above its first subnormal.
_TARGET = 64.0
# Tensors whose largest value lies in this band are left as they are.
_COMFORTABLE = (2.0**-3, 2.0**9)
_FP16_MAX = 65504.0
# No intermediate may come nearer to FP16's end than this factor, scaled or not.
_HEADROOM = 16.0

_TIED = {
    "LeakyRelu", "Relu", "PRelu", "Identity", "DepthToSpace", "SpaceToDepth", "Concat", "Split",
    "Slice", "Reshape", "Transpose", "MaxPool", "AveragePool", "GlobalAveragePool", "ReduceMean",
    "Add", "Sub",
}  # fmt: skip


@dataclass(frozen=True)
class RangeReport:
    """What fp16_range found and did.

    Attributes:
        largest_before: Largest absolute value of any intermediate on the calibration inputs.
        largest_after: The same after the pass.
        scaled_tensors: How many tensors were scaled.
    """

    largest_before: float
    largest_after: float
    scaled_tensors: int


def fp16_range(
    model: onnx.ModelProto, calibration_nchw: Sequence[NDArray[np.float32]]
) -> tuple[onnx.ModelProto, RangeReport]:
    """Rescale weights so that every intermediate is far inside FP16's range.

    Args:
        model: A graph of range [0, 1].
        calibration_nchw: Inputs that show how large the intermediates get.

    Raises:
        ConversionError: An intermediate that may not be scaled is too large for FP16.
    """
    before = largest_magnitudes(model, calibration_nchw)
    graph = Graph(model)
    exponents = _choose_exponents(graph, before)
    _apply(graph, exponents)
    scaled = graph.to_model()
    after = largest_magnitudes(scaled, calibration_nchw)
    worst = max(after, key=lambda name: after[name])
    if after[worst] > _FP16_MAX / _HEADROOM:
        raise ConversionError(
            f"tensor {worst} reaches {after[worst]:.3g}, which FP16 arithmetic does not hold with "
            f"a margin of {_HEADROOM:g} (allowed: {_FP16_MAX / _HEADROOM:.4g}), and may not be "
            "rescaled; convert with --fp32 and run the file in FP32"
        )
    return scaled, RangeReport(
        largest_before=max(before.values()),
        largest_after=after[worst],
        scaled_tensors=sum(1 for exponent in exponents.values() if exponent != 0),
    )


class _Ties:
    """Union-find over tensors that must share one scale; some are pinned to scale 1."""

    def __init__(self) -> None:
        self._parent: dict[str, str] = {}
        self._pinned: set[str] = set()

    def find(self, name: str) -> str:
        parent = self._parent.setdefault(name, name)
        if parent == name:
            return name
        self._parent[name] = self.find(parent)
        return self._parent[name]

    def tie(self, names: Sequence[str]) -> None:
        roots = [self.find(name) for name in names]
        pinned = any(root in self._pinned for root in roots)
        for root in roots[1:]:
            self._parent[root] = roots[0]
        if pinned:
            self._pinned.add(roots[0])

    def pin(self, names: Sequence[str]) -> None:
        self._pinned.update(self.find(name) for name in names)

    def is_pinned(self, name: str) -> bool:
        return self.find(name) in self._pinned


def _ties(graph: Graph) -> _Ties:
    ties = _Ties()
    ties.pin([graph.input, graph.output])
    products: list[Node] = []
    for node in graph.nodes:
        tensors = _tensors(graph, node)
        if read_conv(graph, node) is not None:
            continue
        if node.op in _TIED and not _adds_constant(graph, node):
            ties.tie(tensors)
        elif node.op == "Mul" and len(tensors) == 3:
            products.append(node)
        else:
            ties.pin(tensors)
    for node in products:
        _tie_product(ties, node)
    return ties


def _adds_constant(graph: Graph, node: Node) -> bool:
    """A constant added to a tensor fixes the tensor's scale (no network here needs more)."""
    return node.op in {"Add", "Sub"} and any(name in graph.weights for name in node.inputs)


def _tie_product(ties: _Ties, node: Node) -> None:
    """A product keeps the scale of one factor where the other's is pinned to 1."""
    first, second = node.inputs
    if ties.is_pinned(second) and first != second:
        ties.tie([first, node.output])
    elif ties.is_pinned(first) and first != second:
        ties.tie([second, node.output])
    else:
        ties.pin([first, second, node.output])


def _tensors(graph: Graph, node: Node) -> list[str]:
    return [n for n in [*node.inputs, *node.outputs] if n and n not in graph.weights]


def _choose_exponents(graph: Graph, largest: Mapping[str, float]) -> dict[str, int]:
    """Tensor -> e; the scaled graph holds 2^-e times the tensor."""
    ties = _ties(graph)
    of_class: dict[str, float] = {}
    for name, value in largest.items():
        root = ties.find(name)
        of_class[root] = max(of_class.get(root, 0.0), value)
    return {
        name: 0 if ties.is_pinned(name) else _exponent(of_class[ties.find(name)])
        for name in largest
    }


def _exponent(value: float) -> int:
    low, high = _COMFORTABLE
    if value == 0.0 or low <= value <= high:
        return 0
    return math.ceil(math.log2(value / _TARGET))


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
