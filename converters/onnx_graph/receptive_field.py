"""Receptive field of a network's graph, exact to the pixel.

Every tensor is followed along one axis at a time. The pixel at index i of a tensor depends on the
input's pixels low(i) to high(i), where the graph is imagined without borders. Both repeat: a period
of the input's pixels further on they are as many pixels further on.

Borders add nothing. A padding of zeros, of the edge or of the mirrored image gives values to pixels
outside the image; an output pixel that reads them is nearer to the border than the radius, and a
mirrored pixel lies no further inside than its original lies outside.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from converters.onnx_graph.graph import Graph, Node
from edgesr.tflite.facts import Reach

# Each output pixel depends on the input pixel at its own position alone, at any size.
POINTWISE = {
    "Abs", "Add", "BatchNormalization", "Cast", "Ceil", "Clip", "Div", "Elu", "Erf", "Exp", "Floor",
    "Gelu", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu", "Log", "Max", "Min", "Mish", "Mul",
    "Neg", "PRelu", "Pow", "Reciprocal", "Relu", "Round", "Selu", "Sigmoid", "Sign", "Softplus",
    "Softsign", "Sqrt", "Sub", "Tanh", "ThresholdedRelu",
}  # fmt: skip
# The same, as long as they work along the channels.
_ALONG_CHANNELS = {"Concat", "Split"}
_POOLS = {"MaxPool", "AveragePool"}
_GLOBAL = {"GlobalAveragePool", "GlobalMaxPool", "ReduceMean"}
_EVEN = {b"half_pixel", b"pytorch_half_pixel", b"asymmetric"}
_MIRRORING = {b"constant", b"reflect", b"edge"}

#: Index of an operator's output -> the indices of its input that it reads, along one axis.
_Window = Callable[[int], Sequence[int]]


@dataclass(frozen=True)
class _Axis:
    """What the pixels of a tensor depend on, along one axis.

    Attributes:
        resolution: Pixels of the tensor per pixel of the input.
        period: Input pixels after which the dependence repeats.
        spans: First and last input pixel, for each index within a period.
    """

    resolution: Fraction
    period: int
    spans: tuple[tuple[int, int], ...]

    def span(self, index: int) -> tuple[int, int]:
        """First and last input pixel that an index depends on."""
        periods, phase = divmod(index, len(self.spans))
        low, high = self.spans[phase]
        return low + periods * self.period, high + periods * self.period


_ITSELF = _Axis(Fraction(1), 1, ((0, 0),))


class _UnboundedError(Exception):
    """Why the receptive field of an operator has no bound."""


def reach(graph: Graph) -> Reach:
    """Compute the receptive field by following the operators from the input.

    An operator that is not known here makes the answer "unknown", never a guess.
    """
    known: dict[str, tuple[_Axis, ...]] = {graph.input: (_ITSELF, _ITSELF)}
    unbounded, coarsest, why = set[str](), 1, ""
    for node in graph.sorted_nodes():
        sources = [name for name in node.inputs if name in known]
        if unbounded.intersection(node.inputs):
            unbounded.update(node.outputs)
        if not sources:
            continue
        try:
            after = _followed(graph, node, [known[name] for name in sources])
        except _UnboundedError as error:
            unbounded.update(node.outputs)
            why = why or f"{node.op} {error}"
            continue
        coarsest = math.lcm(coarsest, *(axis.resolution.denominator for axis in after))
        known |= dict.fromkeys(node.outputs, after)
    result = known.get(graph.output)
    return Reach(
        None if result is None else max(map(_radius, result)),
        coarsest,
        graph.output in unbounded,
        why if graph.output in unbounded else "",
    )


def _radius(axis: _Axis) -> int:
    """How far a pixel of the output sees from the input pixel that it lies in."""
    radius = 0
    for index, (low, high) in enumerate(axis.spans):
        own = math.floor(index / axis.resolution)
        radius = max(radius, own - low, high - own)
    return radius


def _followed(graph: Graph, node: Node, sources: Sequence[tuple[_Axis, ...]]) -> tuple[_Axis, ...]:
    """What the outputs of an operator depend on.

    Raises:
        _UnboundedError: On more than a window around each pixel.
    """
    if node.op in _GLOBAL:
        raise _UnboundedError("has a global receptive field")
    shapes = [graph.shape(name) for name in (node.inputs[0], *node.outputs)]
    if any(len(shape) != 4 for shape in shapes):
        raise _UnboundedError("leaves the image's pixel grid")
    made: list[_Axis] = []
    for axis in range(2):
        factor, window = _window(graph, node, axis)
        before = [source[axis] for source in sources]
        size = graph.shape(graph.input)[2 + axis]
        sides = [shape[2 + axis] for shape in shapes]
        _check_grid(node, before, factor, size, sides)
        after = _joined(before, factor, window)
        # A border inside the image would move with each tile.
        if not after.span(-1)[0] < 0 or not all(after.span(n)[1] >= size for n in sides[1:]):
            raise _UnboundedError("cuts a part out of the image")
        made.append(after)
    return tuple(made)


def _check_grid(
    node: Node, before: Sequence[_Axis], factor: Fraction, size: int, sides: Sequence[int]
) -> None:
    """Refuse what maps the pixels of another size otherwise.

    Args:
        node: The operator.
        before: Its inputs.
        factor: Pixels of its output per pixel of its input.
        size: Pixels of the image.
        sides: Pixels of its first input and of its outputs.

    Raises:
        _UnboundedError: It does.
    """
    first = before[0].resolution
    even = all(axis.resolution == first for axis in before) and 0 not in sides
    # What changes the resolution must find and leave as many pixels as the image's size gives.
    if factor < 1 or node.op == "Resize":
        even = even and all(side == first * factor * size for side in sides[1:])
    if node.op == "Resize":
        even = even and sides[0] == first * size
    if not even:
        raise _UnboundedError("leaves the image's pixel grid")


def _joined(before: Sequence[_Axis], factor: Fraction, window: _Window) -> _Axis:
    """The dependence behind a window over inputs of one resolution."""
    resolution = before[0].resolution * factor
    period = math.lcm(resolution.denominator, *(axis.period for axis in before))
    spans: list[tuple[int, int]] = []
    for index in range(int(resolution * period)):
        seen = [axis.span(i) for axis in before for i in window(index)]
        spans.append((min(low for low, _ in seen), max(high for _, high in seen)))
    return _Axis(resolution, period, tuple(spans))


def _window(graph: Graph, node: Node, axis: int) -> tuple[Fraction, _Window]:
    """Pixels of the output per pixel of the input, and the indices that each one reads.

    Raises:
        _UnboundedError: The operator is not known.
    """
    if node.op in POINTWISE or is_along_channels(graph, node):
        return Fraction(1), lambda o: (o,)
    if node.op in {"DepthToSpace", "SpaceToDepth"}:
        block = int(node.attributes["blocksize"])
        if node.op == "DepthToSpace":
            return Fraction(block), lambda o: (o // block,)
        return Fraction(1, block), lambda o: (block * o, block * o + block - 1)
    if node.op in _POOLS or (node.op == "Conv" and _has_constants(graph, node)):
        return _strided(graph, node, axis)
    if node.op == "ConvTranspose" and is_plain_transposed(graph, node):
        return _transposed(graph, node, axis)
    if node.op == "Pad" and (pads := image_pads(graph, node)) is not None:
        begin = pads[axis]
        return Fraction(1), lambda o: (o - begin,)
    if node.op == "Resize" and node.attributes.get("antialias", 0) == 0:
        return _resized(graph, node, axis)
    raise _UnboundedError("may have a global receptive field")


def _has_constants(graph: Graph, node: Node) -> bool:
    return all(name in graph.weights for name in node.inputs[1:] if name)


def is_along_channels(graph: Graph, node: Node) -> bool:
    """Whether an operator joins or cuts channels alone."""
    if node.op in _ALONG_CHANNELS:
        return int(node.attributes.get("axis", 0)) % 4 == 1
    if node.op == "Slice" and len(node.inputs) > 3 and node.inputs[3] in graph.weights:
        return [int(axis) % 4 for axis in graph.weights[node.inputs[3]].reshape(-1)] == [1]
    return False


def is_plain_transposed(graph: Graph, node: Node) -> bool:
    """Whether a transposed convolution has constant weights and no size of its own."""
    plain = node.attributes.get("auto_pad", b"NOTSET") in (b"NOTSET", b"VALID")
    return plain and "output_shape" not in node.attributes and _has_constants(graph, node)


def image_pads(graph: Graph, node: Node) -> list[int] | None:
    """Pixels that a Pad adds at the top, left, bottom and right; None if not constant."""
    if node.attributes.get("mode", b"constant") not in _MIRRORING or not _has_constants(
        graph, node
    ):
        return None
    pads = [int(n) for n in graph.weights[node.inputs[1]].reshape(-1)]
    axes = [0, 1, 2, 3]
    if len(node.inputs) > 3 and node.inputs[3]:
        axes = [int(n) % 4 for n in graph.weights[node.inputs[3]].reshape(-1)]
    if len(pads) != 2 * len(axes):
        return None
    before = dict(zip(axes, pads[: len(axes)], strict=True))
    after = dict(zip(axes, pads[len(axes) :], strict=True))
    return [before.get(2, 0), before.get(3, 0), after.get(2, 0), after.get(3, 0)]


def _taps(graph: Graph, node: Node, axis: int) -> tuple[int, int, int, int]:
    """Size, stride, dilation and padding before the image of a window along an axis."""
    constant = node.inputs[1] if node.op.startswith("Conv") else None
    sizes = graph.shape(constant)[2:] if constant else node.attributes["kernel_shape"]
    size, stride = int(sizes[axis]), int(node.attributes.get("strides", [1, 1])[axis])
    dilation = int(node.attributes.get("dilations", [1, 1])[axis])
    pad = int(node.attributes.get("pads", [0, 0, 0, 0])[axis])
    auto = node.attributes.get("auto_pad", b"NOTSET")
    if auto in (b"SAME_UPPER", b"SAME_LOWER"):
        total = max(dilation * (size - 1) + 1 - stride, 0)
        pad = total // 2 if auto == b"SAME_UPPER" else total - total // 2
    return size, stride, dilation, pad


def _strided(graph: Graph, node: Node, axis: int) -> tuple[Fraction, _Window]:
    size, stride, dilation, pad = _taps(graph, node, axis)
    last = dilation * (size - 1)
    return Fraction(1, stride), lambda o: (stride * o - pad, stride * o - pad + last)


def _transposed(graph: Graph, node: Node, axis: int) -> tuple[Fraction, _Window]:
    """Output pixel o is the sum over taps t of input pixel i where o = stride i - pad + t."""
    size, stride, dilation, pad = _taps(graph, node, axis)

    def window(o: int) -> Sequence[int]:
        places = [o + pad - dilation * tap for tap in range(size)]
        # Where a stride is longer than the kernel, pixels between the taps are the bias alone.
        return [p // stride for p in places if p % stride == 0] or [(o + pad) // stride]

    return Fraction(stride), window


def _resized(graph: Graph, node: Node, axis: int) -> tuple[Fraction, _Window]:
    """A Resize that treats all pixels alike, not with aligned corners.

    Raises:
        _UnboundedError: It aligns corners, or its factor is no whole number or the inverse of one.
    """
    how = node.attributes.get("coordinate_transformation_mode", b"half_pixel")
    if how not in _EVEN:
        raise _UnboundedError("may have a global receptive field")
    before, after = graph.shape(node.inputs[0]), graph.shape(node.output)
    factor = Fraction(after[2 + axis], max(1, before[2 + axis]))
    if factor == 0 or 1 not in (factor.numerator, factor.denominator):
        raise _UnboundedError("leaves the image's pixel grid")
    shift = Fraction(0) if how == b"asymmetric" else Fraction(1, 2)
    mode = node.attributes.get("mode", b"nearest")
    rounding = node.attributes.get("nearest_mode", b"round_prefer_floor")

    def window(o: int) -> Sequence[int]:
        place = (o + shift) / factor - shift
        low = math.floor(place)
        if mode == b"nearest":
            return (_nearest(place, rounding),)
        if place == low:
            return (low,)
        return (low - 1, low + 2) if mode == b"cubic" else (low, low + 1)

    return factor, window


def _nearest(place: Fraction, rounding: bytes) -> int:
    match rounding:
        case b"floor":
            return math.floor(place)
        case b"ceil":
            return math.ceil(place)
        case b"round_prefer_ceil":
            return math.floor(place + Fraction(1, 2))
        case _:
            return math.ceil(place - Fraction(1, 2))
