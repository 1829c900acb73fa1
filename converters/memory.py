"""Prediction of a conversion's peak memory, so that it fails early."""

import math
from typing import TYPE_CHECKING

from edgesr.common.liveness import peak_live_size
from edgesr.common.machine import free_bytes
from edgesr.errors import SizeError

if TYPE_CHECKING:
    from converters.onnx_graph.graph import Graph
    from converters.source import Source

_GIB = 2**30
_FLOAT32_BYTES = 4
# What the libraries use at any size; how many copies of the network's peak live activations are
# held while its weights are chosen (at the calibration's size) and when it is verified (at the
# file's), and how many of its result, compared in float64. Of a network of one size the reference's
# results for all inputs have that size. Fitted from above to
# benchmarks/results/convert_memory.json.
_BASE_BYTES = 1.4 * _GIB
_CALIBRATED = 12.0
_ACTIVATIONS = 0.5
_RESULTS = 7.0
_RESULTS_OF_ONE_SIZE = 14.0


def check_memory(source: "Source", height: int, width: int) -> None:
    """Refuse a size whose conversion needs more memory than this machine has free.

    Args:
        source: The network.
        height: Rows of the fixed input.
        width: Columns of the fixed input.

    Raises:
        SizeError: The predicted peak is larger than the memory that is free.
    """
    needed, free = predicted_bytes(source, height, width), free_bytes()
    if needed > free:
        raise SizeError(
            f"converting at {height}x{width} needs about {needed / _GIB:.1f} GiB of memory and "
            f"{free / _GIB:.1f} GiB are free; give a smaller --size (files of any size upscale "
            "images of any size, by tiles)"
        )


def predicted_bytes(source: "Source", height: int, width: int) -> float:
    """Predict the peak memory of a conversion with its parity run."""
    activation, result = source.bytes_per_pixel(), 3 * _FLOAT32_BYTES * source.scale**2
    results = (_RESULTS if source.any_size else _RESULTS_OF_ONE_SIZE) * result
    calibrated = _CALIBRATED * activation * math.prod(source.calibration_size(height, width))
    return _BASE_BYTES + calibrated + (_ACTIVATIONS * activation + results) * height * width


def activation_bytes_per_pixel(graph: "Graph") -> float:
    """Peak live activations in float32, in bytes per pixel of the graph's input."""
    height, width = graph.shape(graph.input)[2:]
    tensors = [graph.input, *(name for node in graph.nodes for name in node.outputs)]
    sizes = {name: _FLOAT32_BYTES * math.prod(graph.shape(name)) for name in tensors}
    steps = [(node.inputs, node.outputs) for node in graph.nodes]
    peak, _ = peak_live_size(steps, sizes, [graph.input], [graph.output])
    return peak / (height * width)
