"""fp16_rounding: round weights to FP16 so that their errors cancel.

Rounding every weight to the nearest FP16 number causes errors that are small on images and large on
regular patterns: IMDN_RTC keeps 80 dB and more on photographs, but 53 dB on a checkerboard of full
contrast. Here the weights of a convolution are rounded one after the other, and each one's error is
compensated by the weights that are still to come, in the least-squares sense over the convolution's
calibration inputs. The smallest weights come last: FP16 is finest there. The bias takes part as the
weight of an input that is always 1.

This is the one step of a conversion that is not exact in itself; the gates bound its error. The
file is as large and as fast as one with plain rounding. Every CPU chooses the same weights: the
calibration runs in float64.

Source: Frantar et al., "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained
Transformers", ICLR 2023, algorithm 1; there for integers, here for a floating-point grid.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from converters.onnx_graph import native
from converters.onnx_graph.float64 import OPERATORS, Float64Session
from converters.onnx_graph.graph import Graph
from converters.passes.convolution import Conv, read_conv, set_conv
from edgesr.common.text import printable
from edgesr.errors import ConversionError

NAME = "fp16_rounding"

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]

# Inputs that always vary together must not get large opposite weights. Activations in float32 give
# correlations to about 1e-7, so a much smaller value would not suffice.
_DAMPING = 1e-4

# Windows sampled from each calibration input; ten times as many give photographs the same PSNR
# within 1 dB.
_SAMPLES = 2000

#: A tensor that convolutions read, and the size of the window they read it through.
_Window = tuple[str, tuple[int, int]]


def round_weights(
    model: onnx.ModelProto, calibration_nchw: Sequence[Float32Array]
) -> onnx.ModelProto:
    """Round the weights of dense stride-1 convolutions to FP16.

    Args:
        model: The rewritten graph.
        calibration_nchw: Calibration inputs of the graph's own shape.

    Returns:
        The same graph; the changed weights are float32 numbers that FP16 holds exactly.

    Raises:
        ConversionError: A weight is beyond FP16's range.
    """
    graph = Graph(model)
    convs = [c for c in (read_conv(graph, n) for n in graph.nodes) if c and _is_dense(c)]
    moments = _second_moments(graph, model, convs, calibration_nchw)
    for conv in convs:
        outputs = len(conv.kernel)
        weights = np.hstack([conv.kernel.reshape(outputs, -1), conv.bias[:, np.newaxis]])
        rounded = round_to_fp16(weights.astype(np.float64), moments[_window(conv)])
        if not np.isfinite(rounded).all():
            raise ConversionError(
                f"weights of {printable(conv.node.output)} reach {np.abs(weights).max():.3g}, FP16 "
                "ends at 65504; convert with --fp32 alone"
            )
        set_conv(graph, conv, rounded[:, :-1].reshape(conv.kernel.shape), rounded[:, -1])
    return graph.to_model()


def round_to_fp16(weights: Float64Array, second_moments: Float64Array) -> Float64Array:
    """Round the rows of a matrix to FP16, compensating for typical inputs.

    Args:
        weights: Outputs x inputs.
        second_moments: Sum of x x^T over typical inputs x, inputs x inputs, of any scale.

    Returns:
        Numbers that FP16 holds; infinite where a weight is beyond its range.
    """

    def nearest(column: Float64Array) -> Float64Array:
        with np.errstate(over="ignore", invalid="ignore"):  # the caller looks for infinities
            return column.astype(np.float16).astype(np.float64)

    return round_compensated(weights, second_moments, nearest)


def round_compensated(
    weights: Float64Array,
    second_moments: Float64Array,
    nearest: Callable[[Float64Array], Float64Array],
) -> Float64Array:
    """Round the rows of a matrix to some grid, compensating for typical inputs.

    Args:
        weights: Outputs x inputs.
        second_moments: As of `round_to_fp16`.
        nearest: Rounds a column of the matrix to the grid.
    """
    count = weights.shape[1]
    order = np.argsort(-np.abs(weights).max(axis=0), kind="stable")
    left = weights[:, order].copy()
    inverse_root = _inverse_root(second_moments[np.ix_(order, order)])
    rounded = np.empty_like(left)
    for index in range(count):
        rounded[:, index] = nearest(left[:, index])
        with np.errstate(over="ignore", invalid="ignore"):
            error = (left[:, index] - rounded[:, index]) / inverse_root[index, index]
            left[:, index + 1 :] -= np.outer(error, inverse_root[index, index + 1 :])
    result = np.empty_like(rounded)
    result[:, order] = rounded
    return result


def _inverse_root(moments: Float64Array) -> Float64Array:
    """Upper triangular U with U^T U the inverse of the damped moments.

    Damping acts on correlations: a small or absent input is damped relative to its own size. It
    grows where inputs are so alike that rounding leaves no positive inverse.
    """
    size = np.sqrt(np.diag(moments))
    size[size == 0.0] = 1.0
    correlations = moments / np.outer(size, size)
    damping = _DAMPING
    while True:
        np.fill_diagonal(correlations, 1.0 + damping)
        inverse = np.linalg.inv(correlations) / np.outer(size, size)
        try:
            return np.asarray(np.linalg.cholesky((inverse + inverse.T) / 2).T, np.float64)
        except np.linalg.LinAlgError:
            if damping > len(size) or not np.isfinite(inverse).all():  # it would be enough
                raise
            damping *= 10.0


def _is_dense(conv: Conv) -> bool:
    return conv.is_same and conv.group == 1


def _window(conv: Conv) -> _Window:
    return conv.source, conv.size


def _second_moments(
    graph: Graph,
    model: onnx.ModelProto,
    convs: Sequence[Conv],
    calibration_nchw: Sequence[Float32Array],
) -> dict[_Window, Float64Array]:
    """Sum of x x^T over sampled windows x, each extended by a 1."""
    sources = sorted({conv.source for conv in convs} - {graph.input})
    session: native.Session | Float64Session
    if OPERATORS.issuperset(node.op for node in graph.nodes):
        session = Float64Session(model)
    else:  # in float64 it would take minutes; the weights then depend on the CPU
        session = native.Session(_with_outputs(model, sources))
    totals: dict[_Window, Float64Array] = {}
    rng = np.random.default_rng(0)
    for lr_nchw in calibration_nchw:
        # An empty list would mean all outputs, so the graph's own is requested too.
        values = session.run([*sources, graph.output], lr_nchw)
        seen: dict[str, NDArray[Any]] = dict(zip([*sources, graph.output], values, strict=True))
        seen[graph.input] = lr_nchw
        for window in dict.fromkeys(_window(conv) for conv in convs):
            # In float32 the sums' errors would reach the size of the damping, and another CPU's
            # order of summation would choose other weights.
            columns = _columns(seen[window[0]], *window[1], rng).astype(np.float64)
            moment = columns @ columns.T
            # Extreme patterns are thousands of times stronger than photographs; each counts alike.
            totals[window] = totals.get(window, 0.0) + moment / np.trace(moment)
    return totals


def _columns(
    tensor_nchw: NDArray[Any], height: int, width: int, rng: np.random.Generator
) -> NDArray[Any]:
    """Sampled windows of a zero-padded tensor as columns, with a row of ones."""
    rows, columns = height // 2, width // 2
    padded = np.pad(tensor_nchw[0], ((0, 0), (rows, rows), (columns, columns)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (height, width), axis=(1, 2))
    places = windows.shape[1] * windows.shape[2]
    chosen = rng.choice(places, min(places, _SAMPLES), replace=False)
    picked = windows[:, chosen // windows.shape[2], chosen % windows.shape[2]]
    flat = picked.transpose(0, 2, 3, 1).reshape(len(padded) * height * width, -1)
    return np.vstack([flat, np.ones((1, flat.shape[1]), flat.dtype)])


def _with_outputs(model: onnx.ModelProto, tensors: Sequence[str]) -> onnx.ModelProto:
    extended = onnx.ModelProto()
    extended.CopyFrom(model)
    for name in tensors:
        extended.graph.output.append(
            onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
        )
    return extended
