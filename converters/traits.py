"""What the graph of a network that nobody described tells of itself: its reach, and what binds it.

Both are read off the operators. An operator that is not known here makes the answer "unknown",
never a guess.
"""

import math
from dataclasses import dataclass
from fractions import Fraction

from converters.graph import Graph, Node

# Each output pixel depends on the input pixel of its own place alone, and sizes do not matter.
_POINTWISE = {
    "Abs", "Add", "BatchNormalization", "Cast", "Ceil", "Clip", "Div", "Elu", "Erf", "Exp", "Floor",
    "Gelu", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu", "Log", "Max", "Min", "Mish", "Mul",
    "Neg", "PRelu", "Pow", "Reciprocal", "Relu", "Round", "Selu", "Sigmoid", "Sign", "Softplus",
    "Softsign", "Sqrt", "Sub", "Tanh", "ThresholdedRelu",
}  # fmt: skip
# Likewise, as long as they work along the channels.
_ALONG_CHANNELS = {"Concat", "Split"}
_SHUFFLES = {"DepthToSpace", "SpaceToDepth"}
_WINDOWS = {"Conv", "MaxPool", "AveragePool"}
_WHOLE = {"GlobalAveragePool", "GlobalMaxPool", "ReduceMean"}


def size_bound(graph: Graph) -> Node | None:
    """The first operator whose parameters fit one size of the picture only; None if none does."""
    return next((node for node in graph.nodes if not _is_free(graph, node)), None)


def _is_free(graph: Graph, node: Node) -> bool:
    """Whether an operator computes the same, pixel by pixel, on a picture of another size."""
    if node.op in _POINTWISE:
        return all(_is_flat(graph, name) for name in node.inputs)
    if node.op in _SHUFFLES or node.op in {"Conv", "MaxPool", "GlobalAveragePool", "GlobalMaxPool"}:
        return True
    if node.op == "AveragePool":
        # A window of the whole picture stands for a mean over it.
        window, size = node.attributes["kernel_shape"], graph.shape(node.inputs[0])[2:]
        return all(a < b for a, b in zip(window, size, strict=True))
    if node.op == "ReduceMean":
        return node.attributes.get("keepdims", 1) == 1
    if node.op == "Resize":
        return len(node.inputs) < 4 or not node.inputs[3]
    return _is_along_channels(graph, node)


def _is_flat(graph: Graph, tensor: str) -> bool:
    """Whether a tensor is no constant, or one that is the same at every pixel."""
    return tensor not in graph.weights or all(n == 1 for n in graph.weights[tensor].shape[-2:])


def _is_along_channels(graph: Graph, node: Node) -> bool:
    if node.op in _ALONG_CHANNELS:
        return int(node.attributes.get("axis", 0)) % 4 == 1
    if node.op == "Slice" and len(node.inputs) > 3 and node.inputs[3] in graph.weights:
        return [int(axis) % 4 for axis in graph.weights[node.inputs[3]].reshape(-1)] == [1]
    return False


@dataclass(frozen=True)
class Reach:
    """How far an output pixel sees, as tiles must know it.

    Attributes:
        radius: In pixels of the input; None where nothing that leads to the output has a bound.
        size_multiple: What tiles must begin at multiples of.
        whole_picture: Whether something besides sees the whole picture, or a grid of pixels that
            tiles do not keep; the radius is then that of the rest.
        why: The operator that does.
    """

    radius: int | None
    size_multiple: int = 1
    whole_picture: bool = False
    why: str = ""


def reach(graph: Graph) -> Reach:
    """Follow the operators from the input.

    Every tensor has a resolution in pixels per input pixel, and a reach. A window adds half of its
    size in that resolution. Below the input's resolution it depends on the place in the grid what
    is seen; the farthest place counts.
    """
    known: dict[str, Fraction] = {graph.input: Fraction(0)}
    unbounded, coarsest, why = set[str](), 1, ""
    for node in graph.sorted_nodes():
        sources = [name for name in node.inputs if name in known]
        reason = _why_unbounded(graph, node) if sources else ""
        if reason or not sources:
            if reason or unbounded.intersection(node.inputs):
                unbounded.update(node.outputs)
            why = why or (f"{node.op} {reason}" if reason else "")
            continue
        resolution = _resolution(graph, sources[0])
        coarsest = math.lcm(coarsest, *(_resolution(graph, n).denominator for n in node.outputs))
        after = max(known[name] for name in sources) + _half_window(graph, node) / resolution
        known |= dict.fromkeys(node.outputs, after)
        if unbounded.intersection(node.inputs):
            unbounded.update(node.outputs)
    radius = known.get(graph.output)
    return Reach(
        None if radius is None else math.ceil(radius) + coarsest - 1,
        coarsest,
        graph.output in unbounded,
        why if graph.output in unbounded else "",
    )


def _resolution(graph: Graph, tensor: str) -> Fraction:
    """Pixels of a tensor per pixel of the input."""
    return Fraction(graph.shape(tensor)[3], graph.shape(graph.input)[3])


def _why_unbounded(graph: Graph, node: Node) -> str:
    """Why an operator's reach has no bound that tiles could keep; empty if it has one."""
    if node.op in _WHOLE:
        return "looks at the whole picture"
    if node.op not in _POINTWISE | _WINDOWS | _SHUFFLES and not (
        _is_along_channels(graph, node) or _is_even_resize(node)
    ):
        return "may look at the whole picture"
    before = graph.shape(node.inputs[0])[2:]
    strides = node.attributes.get("strides", [1, 1]) if node.op in _WINDOWS else [0, 0]
    for shape in (graph.shape(name) for name in node.outputs):
        if len(shape) != 4 or not all(map(_keeps_grid, before, shape[2:], strides)):
            return "leaves the picture's grid of pixels"
    return ""


def _keeps_grid(before: int, after: int, stride: int) -> bool:
    """Whether pixels fall on every so many pixels, to the picture's end.

    Args:
        before: Pixels along an axis that an operator reads.
        after: Pixels that it makes.
        stride: Pixels from window to window; 0 where there is none.
    """
    if after == 0 or (stride and before != after * stride):
        return False
    return before % after == 0 or after % before == 0


def _is_even_resize(node: Node) -> bool:
    """Whether a Resize treats all pixels alike; with aligned corners it does not."""
    mode = node.attributes.get("coordinate_transformation_mode", b"half_pixel")
    return node.op == "Resize" and mode in {b"half_pixel", b"pytorch_half_pixel", b"asymmetric"}


def _half_window(graph: Graph, node: Node) -> int:
    """Pixels to the farther side of its own that an operator reads, in its input's resolution."""
    if node.op == "Resize":
        return 2 if node.attributes.get("mode", b"nearest") == b"cubic" else 1
    if node.op not in _WINDOWS:
        return 0
    sizes = (
        graph.shape(node.inputs[1])[2:] if node.op == "Conv" else node.attributes["kernel_shape"]
    )
    dilations = node.attributes.get("dilations", [1, 1])
    spans = [d * (s - 1) for s, d in zip(sizes, dilations, strict=True)]
    if node.attributes.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
        return max(spans)
    # The window of a pixel begins `pad` before it.
    pads = node.attributes.get("pads", [0, 0, 0, 0])[:2]
    return max(max(pad, span - pad) for span, pad in zip(spans, pads, strict=True))
