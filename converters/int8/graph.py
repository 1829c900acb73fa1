"""A float32 `.tflite` as operators and float64 constants, run by PyTorch.

One executor serves calibration (float64, so that every CPU chooses the same integers), the
simulation of the integer file and training. TFLite's NHWC tensors are NCHW here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from edgesr.errors import ConversionError
from edgesr.tflite.model import ModelView, OperatorView, TensorView

Float64Array = NDArray[np.float64]
#: Called with a tensor's number and its value; returns the value to go on with.
Observer = Callable[[int, Tensor], Tensor]

_CHANNELS_LAST = 3
_SAME, _VALID = 0, 1
_NCHW_AXIS = {0: 0, 1: 2, 2: 3, 3: 1}

#: Operators whose outputs hold the same numbers as their inputs, hence the same scale: TFLite's
#: integer kernels of these copy, and refuse to rescale.
SAME_SCALE = frozenset({
    "CONCATENATION", "DEPTH_TO_SPACE", "PAD", "RESHAPE", "RESIZE_BILINEAR",
    "RESIZE_NEAREST_NEIGHBOR", "SLICE", "SPACE_TO_DEPTH", "STRIDED_SLICE",
})  # fmt: skip
#: Operators with a kernel for convolutions' weights: per channel, in int8.
CONVOLUTIONS = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D"})


@dataclass(frozen=True)
class Op:
    """An operator: its kind, the numbers of its tensors, its options.

    Attributes:
        kind: Name in TFLite's schema.
        inputs: Tensors that it reads; constants among them.
        output: The tensor that it makes.
        options: By the names of the schema.
        activation: Name of the activation fused into it.
    """

    kind: str
    inputs: tuple[int, ...]
    output: int
    options: Mapping[str, Any]
    activation: str


@dataclass(frozen=True)
class IntegerGraph:
    """A network to be quantised.

    Attributes:
        ops: In the order of execution.
        constants: Number of a tensor -> its value as TFLite stores it (kernels O x H x W x I),
            float64 or integers.
        shapes: Number of a tensor -> its NHWC shape.
        names: Number of a tensor -> its name.
        source: The input's number.
        result: The output's number.
    """

    ops: tuple[Op, ...]
    constants: dict[int, NDArray[Any]]
    shapes: dict[int, tuple[int, ...]]
    names: dict[int, str]
    source: int
    result: int

    def consumers(self, tensor: int) -> list[Op]:
        """The operators that read a tensor."""
        return [op for op in self.ops if tensor in op.inputs]

    def producer(self, tensor: int) -> Op | None:
        """The operator that makes a tensor; None of the input and of constants."""
        return next((op for op in self.ops if op.output == tensor), None)

    def channels(self, tensor: int) -> int:
        """The size of a tensor's last dimension."""
        return self.shapes[tensor][-1]

    def with_constants(self, constants: Mapping[int, NDArray[Any]]) -> "IntegerGraph":
        """The same network with some constants replaced."""
        return IntegerGraph(
            self.ops, {**self.constants, **constants}, self.shapes, self.names, self.source,
            self.result,
        )  # fmt: skip

    def tensors(self) -> dict[int, Tensor]:
        """The constants as float64 tensors, by number; those of integers are left out."""
        return {
            number: torch.from_numpy(value)
            for number, value in self.constants.items()
            if value.dtype == np.float64
        }

    def run(
        self,
        lr_nchw: Tensor,
        observe: Observer,
        constants: Mapping[int, Tensor] | None = None,
        convolve: Callable[[Op, Tensor], Tensor] | None = None,
    ) -> Tensor:
        """Run the network.

        Args:
            lr_nchw: N x 3 x H x W in [0, 1], of the constants' dtype.
            observe: Sees the input and every operator's output, and may change it.
            constants: Values in place of the graph's own; by default those.
            convolve: Runs a convolution on its input in place of `conv`.

        Returns:
            N x 3 x (scale H) x (scale W).
        """
        values: dict[int, Tensor] = dict(self.tensors() if constants is None else constants)
        values[self.source] = observe(self.source, lr_nchw)
        last = {number: op for op in self.ops for number in op.inputs}
        for op in self.ops:
            if convolve is not None and op.kind in CONVOLUTIONS:
                made = convolve(op, values[op.inputs[0]])
            else:
                made = _RUN[op.kind](self, op, [values.get(i) for i in op.inputs])
            made = made.relu() if op.activation == "RELU" else made
            values[op.output] = observe(op.output, made)
            for number in op.inputs:
                if last[number] is op and number not in self.constants:
                    values.pop(number, None)  # a whole graph's activations are gigabytes
        return values[self.result]


def read_graph(view: ModelView) -> IntegerGraph:
    """Read a float32 file.

    Raises:
        ConversionError: An operator has no integer form here; the message names it.
    """
    for operator in view.operators:
        if operator.name not in _RUN:
            raise ConversionError(
                f"operator {operator.name} ({operator.outputs[0].name}) has no integer kernel "
                f"that edgesr writes, allowed {', '.join(sorted(_RUN))}; convert with --fp16"
            )
    return IntegerGraph(
        ops=tuple(_op(operator) for operator in view.operators),
        constants={t.index: _constant(t) for t in view.tensors if t.constant},
        shapes={t.index: t.shape for t in view.tensors},
        names={t.index: t.name for t in view.tensors},
        source=view.inputs[0].index,
        result=view.outputs[0].index,
    )


def _op(operator: OperatorView) -> Op:
    inputs = tuple(t.index for t in operator.inputs if t is not None)
    activation = operator.activation
    if activation not in ("NONE", "RELU"):
        raise ConversionError(
            f"operator {operator.name} ({operator.outputs[0].name}) has the activation "
            f"{activation} built in, allowed NONE and RELU; convert with --fp16"
        )
    return Op(operator.name, inputs, operator.outputs[0].index, operator.options, activation)


def _constant(tensor: TensorView) -> NDArray[Any]:
    types = {"float32": "<f4", "float16": "<f2", "int32": "<i4", "int64": "<i8"}
    if tensor.dtype not in types:
        raise ConversionError(
            f"constant {tensor.name} is of type {tensor.dtype}, allowed {', '.join(types)}"
        )
    value = np.frombuffer(tensor.data, types[tensor.dtype]).reshape(tensor.shape)
    return value.astype(np.float64 if value.dtype.kind == "f" else np.int64)


def _some(values: list[Tensor | None]) -> list[Tensor]:
    return [v for v in values if v is not None]


def padded(x: Tensor, op: Op, height: int, width: int) -> Tensor:
    """The input with TFLite's padding SAME, which puts the odd pixel behind."""
    if op.options["padding"] == _VALID:
        return x
    pads: list[int] = []
    for size, kernel, way in ((x.shape[3], width, "w"), (x.shape[2], height, "h")):
        stride, dilation = op.options[f"stride_{way}"], op.options[f"dilation_{way}_factor"]
        total = max((-(-size // stride) - 1) * stride + dilation * (kernel - 1) + 1 - size, 0)
        pads += [total // 2, total - total // 2]
    return F.pad(x, pads)


def _conv(graph: "IntegerGraph", op: Op, values: list[Tensor | None]) -> Tensor:
    return conv(op, *_some(values))


def conv(op: Op, x: Tensor, kernel: Tensor, bias: Tensor | None = None) -> Tensor:
    """A convolution with the kernel as TFLite stores it."""
    if op.kind == "DEPTHWISE_CONV_2D":  # 1 x H x W x O
        kernel, groups = kernel.permute(3, 0, 1, 2), x.shape[1]
    else:  # O x H x W x I
        kernel = kernel.permute(0, 3, 1, 2)
        groups = x.shape[1] // kernel.shape[1]
    options = op.options
    return F.conv2d(
        padded(x, op, kernel.shape[2], kernel.shape[3]),
        kernel,
        bias,
        stride=(options["stride_h"], options["stride_w"]),
        dilation=(options["dilation_h_factor"], options["dilation_w_factor"]),
        groups=groups,
    )


def _operand(graph: "IntegerGraph", number: int, value: Tensor) -> Tensor:
    """A constant of an elementwise operator, NHWC in the file, as NCHW."""
    if number not in graph.constants:
        return value
    return value.reshape((1,) * (4 - value.ndim) + value.shape).permute(0, 3, 1, 2)


def _binary(compute: Callable[[Tensor, Tensor], Tensor]) -> "_Run":
    def run(graph: "IntegerGraph", op: Op, values: list[Tensor | None]) -> Tensor:
        first, second = (
            _operand(graph, number, value)
            for number, value in zip(op.inputs, _some(values), strict=True)
        )
        return compute(first, second)

    return run


def _unary(compute: Callable[[Tensor], Tensor]) -> "_Run":
    return lambda graph, op, values: compute(_some(values)[0])


def _leaky(graph: "IntegerGraph", op: Op, values: list[Tensor | None]) -> Tensor:
    return F.leaky_relu(_some(values)[0], op.options["alpha"])


def _concatenation(graph: "IntegerGraph", op: Op, values: list[Tensor | None]) -> Tensor:
    return torch.cat(_some(values), _NCHW_AXIS[op.options["axis"] % 4])


def _depth_to_space(graph: "IntegerGraph", op: Op, values: list[Tensor | None]) -> Tensor:
    """TFLite's order: the block's place is the outer part of the channel (DCR)."""
    x, block = _some(values)[0], op.options["block_size"]
    batch, channels, height, width = x.shape
    x = x.reshape(batch, block, block, channels // block**2, height, width)
    x = x.permute(0, 3, 4, 1, 5, 2)
    return x.reshape(batch, channels // block**2, height * block, width * block)


def _space_to_depth(graph: "IntegerGraph", op: Op, values: list[Tensor | None]) -> Tensor:
    x, block = _some(values)[0], op.options["block_size"]
    batch, channels, height, width = x.shape
    x = x.reshape(batch, channels, height // block, block, width // block, block)
    x = x.permute(0, 3, 5, 1, 2, 4)
    return x.reshape(batch, channels * block**2, height // block, width // block)


def _pad(graph: "IntegerGraph", op: Op, values: list[Tensor | None]) -> Tensor:
    _, rows, columns, channels = graph.constants[op.inputs[1]].tolist()
    return F.pad(_some(values)[0], [*columns, *rows, *channels])


_Run = Callable[[IntegerGraph, Op, list[Tensor | None]], Tensor]
_RUN: dict[str, _Run] = {
    "ADD": _binary(torch.add),
    "CONCATENATION": _concatenation,
    "CONV_2D": _conv,
    "DEPTHWISE_CONV_2D": _conv,
    "DEPTH_TO_SPACE": _depth_to_space,
    "LEAKY_RELU": _leaky,
    "LOGISTIC": _unary(torch.sigmoid),
    "MUL": _binary(torch.mul),
    "PAD": _pad,
    "RELU": _unary(torch.relu),
    "SPACE_TO_DEPTH": _space_to_depth,
    "SUB": _binary(torch.sub),
}
