"""FP16 weights whose rounding errors cancel instead of adding up.

Rounding every weight to the nearest FP16 number makes errors that are small on pictures and large
on regular patterns: IMDN_RTC keeps 80 dB and more on photographs, but 53 dB on a checkerboard of
full contrast. Here the weights of a convolution are rounded one after the other, and each one's
error is made good by the weights that are still to come, in the least-squares sense over what the
convolution really reads. The smallest weights come last: FP16 is finest there. The bias takes part
as the weight of an input that is always 1.

This is the one step of a conversion that is not exact in itself; the gates measure what it leaves.
The file is as large and as fast as one with plain rounding.

Source: Frantar et al., "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained
Transformers", ICLR 2023, algorithm 1; there for integers, here for a floating-point grid.
"""

from collections.abc import Sequence

import numpy as np
import onnx
from numpy.typing import NDArray

from converters.graph import Graph
from converters.passes.convolution import Conv, read_conv, set_conv
from edgesr.errors import ConversionError

NAME = "fp16_rounding"

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]

# Inputs that always vary together must not be given large opposite weights. Float32 sums leave
# correlations exact to about 1e-6, so much less would not do.
_DAMPING = 1e-4

# Places looked at in each calibration input; ten times as many give photographs the same PSNR
# within 1 dB.
_PLACES = 2000

#: A tensor that convolutions read, and the size of the window they read it through.
_Window = tuple[str, tuple[int, int]]


def round_weights(
    model: onnx.ModelProto, calibration_nchw: Sequence[Float32Array]
) -> onnx.ModelProto:
    """Replace the weights of dense stride-1 convolutions by well-chosen FP16 numbers.

    Args:
        model: The rewritten graph.
        calibration_nchw: Inputs of the graph's own shape that show what convolutions read.

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
                f"weights of {conv.node.output} reach {np.abs(weights).max():.3g}, FP16 ends at "
                "65504; convert with --fp32"
            )
        set_conv(graph, conv, rounded[:, :-1].reshape(conv.kernel.shape), rounded[:, -1])
    return graph.to_model()


def round_to_fp16(weights: Float64Array, second_moments: Float64Array) -> Float64Array:
    """Round the rows of a matrix so that its products with typical inputs change little.

    Args:
        weights: Outputs x inputs.
        second_moments: Sum of x x^T over typical inputs x, inputs x inputs, of any scale.

    Returns:
        Numbers that FP16 holds; infinite where a weight is beyond its range.
    """
    count = weights.shape[1]
    order = np.argsort(-np.abs(weights).max(axis=0), kind="stable")
    left = weights[:, order].copy()
    inverse_root = _inverse_root(second_moments[np.ix_(order, order)])
    rounded = np.empty_like(left)
    for index in range(count):
        with np.errstate(over="ignore", invalid="ignore"):  # the caller looks for infinities
            rounded[:, index] = left[:, index].astype(np.float16)
            error = (left[:, index] - rounded[:, index]) / inverse_root[index, index]
            left[:, index + 1 :] -= np.outer(error, inverse_root[index, index + 1 :])
    result = np.empty_like(rounded)
    result[:, order] = rounded
    return result


def _inverse_root(moments: Float64Array) -> Float64Array:
    """Upper triangular U with U^T U the inverse of the damped moments.

    Damping acts on correlations: an input that is small or never there is damped by its own size.
    """
    size = np.sqrt(np.diag(moments))
    size[size == 0.0] = 1.0
    correlations = moments / np.outer(size, size)
    np.fill_diagonal(correlations, 1.0 + _DAMPING)
    inverse = np.linalg.inv(correlations) / np.outer(size, size)
    return np.asarray(np.linalg.cholesky((inverse + inverse.T) / 2).T, np.float64)


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
    """Sum of x x^T over many places of all inputs, x being what a kernel sees and a 1."""
    import onnxruntime

    sources = sorted({conv.source for conv in convs} - {graph.input})
    session = onnxruntime.InferenceSession(
        _with_outputs(model, sources).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    totals: dict[_Window, Float64Array] = {}
    rng = np.random.default_rng(0)
    for lr_nchw in calibration_nchw:
        # An empty list would mean all outputs, so the graph's own is asked for too.
        values = session.run([*sources, graph.output], {graph.input: lr_nchw})
        seen = dict(zip([*sources, graph.output], values, strict=True)) | {graph.input: lr_nchw}
        for window in dict.fromkeys(_window(conv) for conv in convs):
            columns = _columns(np.asarray(seen[window[0]]), *window[1], rng)
            moment = (columns @ columns.T).astype(np.float64)
            # Extreme patterns are thousands of times stronger than pictures; each counts alike.
            totals[window] = totals.get(window, 0.0) + moment / np.trace(moment)
    return totals


def _columns(
    tensor_nchw: Float32Array, height: int, width: int, rng: np.random.Generator
) -> Float32Array:
    """Windows of a zero-padded tensor as columns, channel by channel, and a row of ones."""
    rows, columns = height // 2, width // 2
    padded = np.pad(tensor_nchw[0], ((0, 0), (rows, rows), (columns, columns)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (height, width), axis=(1, 2))
    places = windows.shape[1] * windows.shape[2]
    chosen = rng.choice(places, min(places, _PLACES), replace=False)
    picked = windows[:, chosen // windows.shape[2], chosen % windows.shape[2]]
    flat = picked.transpose(0, 2, 3, 1).reshape(len(padded) * height * width, -1)
    return np.vstack([flat, np.ones((1, flat.shape[1]), np.float32)])


def _with_outputs(model: onnx.ModelProto, tensors: Sequence[str]) -> onnx.ModelProto:
    probed = onnx.ModelProto()
    probed.CopyFrom(model)
    for name in tensors:
        probed.graph.output.append(
            onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
        )
    return probed
