"""Small graphs that offend one rule of the GPU each, and others that offend none."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from helpers.tflite_builder import TfliteBuilder, conv_options, options

Case = Callable[[TfliteBuilder, int], int]  # adds operators behind a tensor, returns the last one


def built(case: Case, shape: Sequence[int] = (1, 4, 6, 8), dtype: str = "float32") -> bytes:
    made = TfliteBuilder()
    source = made.tensor(shape, dtype, name="source")
    return made.finish([source], [case(made, source)])


def unary(name: str, shape: Sequence[int] = (1, 4, 6, 8), dtype: str = "float32") -> Case:
    """One operator of one input."""
    return with_options(name, None, shape, dtype)


def with_options(
    name: str,
    opts: Any,  # one of the schema's many options classes
    shape: Sequence[int] = (1, 4, 6, 8),
    dtype: str = "float32",
    version: int = 1,
) -> Case:
    def case(made: TfliteBuilder, source: int) -> int:
        output = made.tensor(shape, dtype, name="output")
        made.operator(name, [source], [output], opts, version=version)
        return output

    return case


def with_constants(
    name: str,
    constants: Sequence[np.ndarray[Any, Any]],
    shape: Sequence[int],
    opts: Any = None,
    version: int = 1,
) -> Case:
    """One operator whose further inputs are constants."""

    def case(made: TfliteBuilder, source: int) -> int:
        inputs = [source, *(made.constant(value, "constant") for value in constants)]
        output = made.tensor(shape, name="output")
        made.operator(name, inputs, [output], opts, version=version)
        return output

    return case


def ints(*values: int) -> np.ndarray[Any, Any]:
    return np.array(values, np.int32)


def floats(*shape: int) -> np.ndarray[Any, Any]:
    return np.ones(shape, np.float32)


def custom(name: str) -> Case:
    def case(made: TfliteBuilder, source: int) -> int:
        output = made.tensor([1, 4, 6, 8], name="output")
        made.operator("CUSTOM", [source], [output], custom=name)
        return output

    return case


def conv(made: TfliteBuilder, source: int) -> int:
    output = made.tensor([1, 4, 6, 5], name="output")
    inputs = [source, made.constant(floats(5, 3, 3, 8)), made.constant(floats(5))]
    made.operator("CONV_2D", inputs, [output], conv_options(activation="RELU"), version=6)
    return output


def conv_with_computed_bias(made: TfliteBuilder, source: int) -> int:
    bias, output = made.tensor([8], name="bias"), made.tensor([1, 4, 6, 8], name="output")
    axes = made.constant(ints(0, 1, 2))
    made.operator("MEAN", [source, axes], [bias], options("ReducerOptions"))
    inputs = [source, made.constant(floats(8, 1, 1, 8)), bias]
    made.operator("CONV_2D", inputs, [output], conv_options())
    return output


def conv_with_sign(made: TfliteBuilder, source: int) -> int:
    output = made.tensor([1, 4, 6, 5], name="output")
    inputs = [source, made.constant(floats(5, 3, 3, 8)), made.constant(floats(5))]
    made.operator("CONV_2D", inputs, [output], conv_options(activation="SIGN_BIT"))
    return output


def of_constants_only(made: TfliteBuilder, source: int) -> int:
    constant, output = made.constant(floats(1, 4, 6, 8)), made.tensor([1, 4, 6, 8], name="output")
    made.operator("RELU", [constant], [constant_relu := made.tensor([1, 4, 6, 8])])
    made.operator("ADD", [source, constant_relu], [output], options("AddOptions"))
    return output


def add_of(shape: Sequence[int], output_shape: Sequence[int] = (1, 4, 6, 8)) -> Case:
    """A sum with a tensor of another shape that is computed at run time."""

    def case(made: TfliteBuilder, source: int) -> int:
        other, output = made.tensor(shape, name="other"), made.tensor(output_shape, name="output")
        made.graph.inputs = [source, other]
        made.operator("ADD", [source, other], [output], options("AddOptions"))
        return output

    return case


def dequantized(value: np.ndarray[Any, Any]) -> Case:
    """A sum with a constant that DEQUANTIZE widens."""

    def case(made: TfliteBuilder, source: int) -> int:
        whole, output = made.tensor(value.shape), made.tensor([1, 4, 6, 8], name="output")
        made.operator("DEQUANTIZE", [made.constant(value, "narrow")], [whole], version=3)
        made.operator("ADD", [source, whole], [output], options("AddOptions"))
        return output

    return case


def slice_options(**masks: int) -> Any:
    return options("StridedSliceOptions", beginMask=0, endMask=0, **masks)


def strided_slice(step: int = 1, **masks: int) -> Case:
    limits = [ints(0, 0, 0, 2), ints(1, 4, 6, 6), ints(1, 1, 1, step)]
    channels = 4 // abs(step)
    return with_constants("STRIDED_SLICE", limits, (1, 4, 6, channels), slice_options(**masks))


def transpose_conv(made: TfliteBuilder, source: int) -> int:
    output = made.tensor([1, 8, 12, 8], name="output")
    inputs = [made.constant(ints(1, 8, 12, 8)), made.constant(floats(8, 2, 2, 8)), source]
    opts = options("TransposeConvOptions", padding=0, strideH=2, strideW=2)
    made.operator("TRANSPOSE_CONV", inputs, [output], opts)
    return output


def paddings(rows: int) -> np.ndarray[Any, Any]:
    return np.zeros((rows, 2), np.int32)


CHANNELS = (1, 4, 6, 8)
SIX = (1, 2, 2, 6, 4, 2)
#: What is refused, in a file of what shape, by which rule.
REFUSED = {
    "FlexErf": (custom("FlexErf"), CHANNELS, "gpu-flex"),
    "custom": (custom("MyOperator"), CHANNELS, "gpu-custom"),
    "unknown to the GPU": (unary("CEIL"), CHANNELS, "gpu-operator"),
    "RELU_0_TO_1": (unary("RELU_0_TO_1"), CHANNELS, "gpu-relu-0-to-1"),
    "LEAKY_RELU of version 3": (
        with_options("LEAKY_RELU", options("LeakyReluOptions", alpha=0.1), version=3),
        CHANNELS,
        "gpu-version",
    ),
    "RESHAPE to rank 6": (with_constants("RESHAPE", [ints(*SIX)], SIX), CHANNELS, "gpu-rank"),
    "rank 5": (unary("RELU", (1, 2, 3, 4, 5)), (1, 2, 3, 4, 5), "gpu-rank"),
    "batch of 2": (unary("RELU", (2, 4, 6, 8)), (2, 4, 6, 8), "gpu-batch"),
    "int32 made": (with_options("RELU", None, CHANNELS, "int32"), CHANNELS, "gpu-type"),
    "DEQUANTIZE of an activation": (
        unary("DEQUANTIZE"),
        CHANNELS,
        "gpu-dequantize",
    ),
    "DEQUANTIZE of a float32 constant": (dequantized(floats(8)), CHANNELS, "gpu-dequantize"),
    "fused SIGN_BIT": (conv_with_sign, CHANNELS, "gpu-activation"),
    "constants only": (of_constants_only, CHANNELS, "gpu-runtime-input"),
    "computed bias": (conv_with_computed_bias, CHANNELS, "gpu-parameter"),
    "int64 permutation": (
        with_constants("TRANSPOSE", [np.array([0, 2, 1, 3], np.int64)], (1, 6, 4, 8)),
        CHANNELS,
        "gpu-parameter",
    ),
    "both operands stretched": (
        add_of((1, 1, 6, 8)),
        (1, 4, 1, 8),
        "gpu-broadcast",
    ),
    "a matrix as operand": (
        with_constants("MUL", [floats(6, 8)], CHANNELS, options("MulOptions")),
        CHANNELS,
        "gpu-broadcast",
    ),
    "a computed vector as operand": (add_of((8,)), CHANNELS, "gpu-broadcast"),
    "DEPTH_TO_SPACE by 1": (
        with_options("DEPTH_TO_SPACE", options("DepthToSpaceOptions", blockSize=1)),
        CHANNELS,
        "gpu-block-size",
    ),
    "PRELU per row": (with_constants("PRELU", [floats(4, 1, 1)], CHANNELS), CHANNELS, "gpu-prelu"),
    "shrink-axis mask": (strided_slice(shrinkAxisMask=1), CHANNELS, "gpu-slice"),
    "new-axis mask": (strided_slice(newAxisMask=1), CHANNELS, "gpu-slice"),
    "ellipsis mask": (strided_slice(ellipsisMask=1), CHANNELS, "gpu-slice"),
    "backwards": (strided_slice(step=-1), CHANNELS, "gpu-slice"),
    "SLICE of rank 2": (
        with_constants("SLICE", [ints(0, 0), ints(4, 6)], (4, 6)),
        (4, 8),
        "gpu-slice",
    ),
    "PAD of rank 2": (with_constants("PAD", [paddings(2)], (4, 8)), (4, 8), "gpu-pad"),
    "MIRROR_PAD SYMMETRIC": (
        with_constants("MIRROR_PAD", [paddings(4)], CHANNELS, options("MirrorPadOptions", mode=1)),
        CHANNELS,
        "gpu-pad",
    ),
    "SOFTMAX with beta 2": (
        with_options("SOFTMAX", options("SoftmaxOptions", beta=2.0)),
        CHANNELS,
        "gpu-softmax",
    ),
    "shuffled weights": (
        with_constants(
            "FULLY_CONNECTED",
            [floats(5, 8)],
            (3, 5),
            options("FullyConnectedOptions", weightsFormat=1),
        ),
        (3, 8),
        "gpu-weights-format",
    ),
    "both kinds of corners": (
        with_constants(
            "RESIZE_BILINEAR",
            [ints(8, 12)],
            (1, 8, 12, 8),
            options("ResizeBilinearOptions", alignCorners=True, halfPixelCenters=True),
        ),
        CHANNELS,
        "gpu-resize",
    ),
}
#: What depends on the device, likewise.
CAUTIONS = {
    "GATHER": (
        with_constants("GATHER", [ints(*range(8))], CHANNELS, options("GatherOptions", axis=3)),
        CHANNELS,
        "gpu-gather",
    ),
    "TRANSPOSE_CONV": (transpose_conv, CHANNELS, "gpu-transpose-conv"),
    "RESIZE_NEAREST_NEIGHBOR": (
        with_constants(
            "RESIZE_NEAREST_NEIGHBOR",
            [ints(8, 12)],
            (1, 8, 12, 8),
            options("ResizeNearestNeighborOptions"),
        ),
        CHANNELS,
        "gpu-resize-nearest",
    ),
    "QUANTIZE": (with_options("QUANTIZE", None, CHANNELS, "int8"), CHANNELS, "gpu-quantized"),
}
#: What every device takes.
TAKEN = {
    "CONV_2D": conv,
    "LEAKY_RELU": with_options("LEAKY_RELU", options("LeakyReluOptions", alpha=0.1), version=2),
    "LOGISTIC": unary("LOGISTIC"),
    "DEPTH_TO_SPACE": with_options(
        "DEPTH_TO_SPACE", options("DepthToSpaceOptions", blockSize=2), (1, 8, 12, 2)
    ),
    "PRELU per channel": with_constants("PRELU", [floats(1, 1, 8)], CHANNELS),
    "PRELU per element": with_constants("PRELU", [floats(4, 6, 8)], CHANNELS),
    "STRIDED_SLICE": strided_slice(),
    "SLICE": with_constants("SLICE", [ints(0, 0, 0, 2), ints(1, 4, 6, 3)], (1, 4, 6, 3)),
    "PAD 4x2": with_constants("PAD", [paddings(4)], CHANNELS),
    "MIRROR_PAD REFLECT": with_constants(
        "MIRROR_PAD", [paddings(4)], CHANNELS, options("MirrorPadOptions", mode=0)
    ),
    "TRANSPOSE": with_constants("TRANSPOSE", [ints(0, 2, 1, 3)], (1, 6, 4, 8)),
    "RESHAPE of rank 4": with_constants("RESHAPE", [ints(1, 6, 4, 8)], (1, 6, 4, 8)),
    "ADD of [C]": with_constants("ADD", [floats(8)], CHANNELS, options("AddOptions")),
    "ADD of one number": with_constants("ADD", [floats(1)], CHANNELS, options("AddOptions")),
    "ADD of height x width x 1": with_constants(
        "ADD", [floats(1, 4, 6, 1)], CHANNELS, options("AddOptions")
    ),
    "ADD of the same shape": add_of(CHANNELS),
    "ADD of 1 x 1 x C, computed": add_of((1, 1, 1, 8)),
    "ADD of a dequantised FP16 constant": dequantized(np.ones(8, np.float16)),
    "MEAN": with_constants("MEAN", [ints(1, 2)], (1, 1, 1, 8), options("ReducerOptions")),
    "SOFTMAX": with_options("SOFTMAX", options("SoftmaxOptions", beta=1.0)),
}
