"""Prediction of a conversion's peak memory, so that it fails early."""

import math
from typing import TYPE_CHECKING

from edgesr.common.liveness import peak_live_size
from edgesr.common.machine import free_bytes
from edgesr.errors import SizeError

if TYPE_CHECKING:
    from converters.onnx_graph.graph import Graph

_GIB = 2**30
_FLOAT32_BYTES = 4
# What the libraries use at any size, and how many copies of the network's peak live activations
# and of its result are held: PyTorch, both runtimes, the outputs that are compared in float64 and
# their differences. Fitted from above to benchmarks/results/convert_memory.json.
_BASE_BYTES = 1.6 * _GIB
_ACTIVATIONS = 2.75
_RESULTS = 12.0


def check_memory(bytes_per_pixel: float, scale: int, height: int, width: int) -> None:
    """Refuse a size whose conversion needs more memory than this machine has free.

    Args:
        bytes_per_pixel: The network's `activation_bytes_per_pixel`.
        scale: Its upscaling factor.
        height: Rows of the fixed input.
        width: Columns of the fixed input.

    Raises:
        SizeError: The predicted peak is larger than the memory that is free.
    """
    needed, free = predicted_bytes(bytes_per_pixel, scale, height, width), free_bytes()
    if needed > free:
        raise SizeError(
            f"converting at {height}x{width} needs about {needed / _GIB:.1f} GiB of memory and "
            f"{free / _GIB:.1f} GiB are free; give a smaller --size (files of any size upscale "
            "images of any size, by tiles)"
        )


def predicted_bytes(bytes_per_pixel: float, scale: int, height: int, width: int) -> float:
    """Predict the peak memory of a conversion with its parity run."""
    result_bytes = 3 * _FLOAT32_BYTES * scale**2
    return _BASE_BYTES + (_ACTIVATIONS * bytes_per_pixel + _RESULTS * result_bytes) * height * width


def activation_bytes_per_pixel(graph: "Graph") -> float:
    """Peak live activations in float32, in bytes per pixel of the graph's input."""
    height, width = graph.shape(graph.input)[2:]
    tensors = [graph.input, *(name for node in graph.nodes for name in node.outputs)]
    sizes = {name: _FLOAT32_BYTES * math.prod(graph.shape(name)) for name in tensors}
    steps = [(node.inputs, node.outputs) for node in graph.nodes]
    peak, _ = peak_live_size(steps, sizes, [graph.input], [graph.output])
    return peak / (height * width)
