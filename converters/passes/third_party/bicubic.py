"""bicubic: write bicubic upscaling by a whole factor as padding, a convolution and a shuffle.

Why it is exact. Each sub-pixel is a sum of the 5 x 5 pixels around it, with weights that depend on
the sub-pixel's place alone (Keys 1981, whose constant a is the operator's): a convolution with one
output per sub-pixel, which DepthToSpace lays out. Beyond the border the operator repeats the
border's pixels, as the padding does.

Why it is needed. TFLite has no bicubic Resize.
"""

import math

import numpy as np
import onnx
from numpy.typing import NDArray

from converters.onnx_graph.graph import Graph, Node

NAME = "bicubic"

_REACH = 2
# The most weights of such a convolution, which is dense: 48 channels x2, 24 channels x4.
_LARGEST = 2**18
_EVEN = {b"half_pixel": 0.5, b"pytorch_half_pixel": 0.5, b"asymmetric": 0.0}

Float64Array = NDArray[np.float64]


def bicubic(model: onnx.ModelProto) -> onnx.ModelProto:
    """Replace every bicubic Resize by one whole factor."""
    if not any(_mode(node) == b"cubic" for node in model.graph.node if node.op_type == "Resize"):
        return model
    graph = Graph(model)
    for node in [n for n in graph.nodes if n.op == "Resize"]:
        factor = _factor(graph, node)
        if factor > 1:
            _rewrite(graph, node, factor)
    return graph.to_model()


def _mode(node: onnx.NodeProto) -> bytes:
    return next((a.s for a in node.attribute if a.name == "mode"), b"nearest")


def _factor(graph: Graph, node: Node) -> int:
    """The factor of a bicubic Resize that is the same at every pixel; 0 where there is none."""
    given = node.attributes
    before, after = graph.shape(node.inputs[0]), graph.shape(node.output)
    plain = (
        given.get("mode") == b"cubic"
        and given.get("coordinate_transformation_mode", b"half_pixel") in _EVEN
        and not given.get("exclude_outside", 0)
        and not given.get("antialias", 0)
        and len(before) == 4
        and min(before[2:]) > 1
    )
    factor = after[2] // before[2] if plain else 0
    if not plain or after != (*before[:2], factor * before[2], factor * before[3]):
        return 0
    too_large = before[1] ** 2 * factor**2 * (2 * _REACH + 1) ** 2 > _LARGEST
    return 0 if too_large else factor


def _rewrite(graph: Graph, node: Node, factor: int) -> None:
    _, channels, height, width = graph.shape(node.inputs[0])
    around = [0, 0, _REACH, _REACH]
    pads = graph.add_weight("pads", np.array(around * 2, np.int64))
    padded = graph.fresh("padded", (1, channels, height + 2 * _REACH, width + 2 * _REACH))
    enlarged = graph.fresh("sub_pixels", (1, channels * factor**2, height, width))
    a = float(node.attributes.get("cubic_coeff_a", -0.75))
    mode = node.attributes.get("coordinate_transformation_mode", b"half_pixel")
    taps = _taps(factor, a, _EVEN[mode])
    size = 2 * _REACH + 1
    one = np.einsum("iy,jx->ijyx", taps, taps).reshape(factor**2, size, size)
    kernel = np.einsum("oc,pyx->opcyx", np.eye(channels), one)
    weights = [
        graph.add_weight("kernel", kernel.reshape(-1, channels, size, size).astype(np.float32)),
        graph.add_weight("bias", np.zeros(channels * factor**2, np.float32)),
    ]
    position = graph.nodes.index(node)
    graph.nodes[position : position + 1] = [
        Node("Pad", [node.inputs[0], pads], [padded], {"mode": b"edge"}),
        Node("Conv", [padded, *weights], [enlarged], {"kernel_shape": [size] * 2}),
        Node("DepthToSpace", [enlarged], node.outputs, {"blocksize": factor, "mode": b"CRD"}),
    ]


def _taps(factor: int, a: float, centre: float) -> Float64Array:
    """Weights of the pixels around one, for each sub-pixel along an axis; factor x 5."""
    taps = np.zeros((factor, 2 * _REACH + 1))
    for sub_pixel in range(factor):
        place = (sub_pixel + centre) / factor - centre
        first = math.floor(place) - 1
        for pixel in range(first, first + 4):
            taps[sub_pixel, pixel + _REACH] = _keys(abs(place - pixel), a)
    return taps


def _keys(distance: float, a: float) -> float:
    """Keys' cubic convolution kernel."""
    if distance <= 1:
        return ((a + 2) * distance - (a + 3)) * distance**2 + 1
    if distance < 2:
        return a * (((distance - 5) * distance + 8) * distance - 4)
    return 0.0
