"""A graph run in float64, so that every CPU gets the same values.

onnxruntime sums in another order on another CPU: its float32 activations differ by 1e-7. What is
decided by them, weight after weight, then ends elsewhere. In float64 they differ by 1e-15, which
changes no decision.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from converters.onnx_graph import native

Float64Array = NDArray[np.float64]

#: Operators that onnx's reference computes by whole arrays, and not element by element.
OPERATORS = frozenset({
    "Abs", "Add", "Clip", "Concat", "Conv", "DepthToSpace", "Div", "Identity", "LeakyRelu", "Max",
    "Min", "Mul", "Neg", "Pad", "PRelu", "ReduceMean", "Relu", "Reshape", "Sigmoid", "Slice",
    "Softplus", "Split", "Sqrt", "Sub", "Tanh", "Transpose",
})  # fmt: skip


class Float64Session:
    """A graph of those operators in numpy; the counterpart of `native.Session`."""

    def __init__(self, model: onnx.ModelProto) -> None:
        """Load a model, whose operators must be in `OPERATORS`."""
        self._evaluator = ReferenceEvaluator(_widened(model), new_ops=[Conv])
        self._input = model.graph.input[0].name

    def run(self, names: Sequence[str], source: NDArray[np.float32]) -> list[Float64Array]:
        """Compute tensors of the model, intermediates too, from its one input.

        Raises:
            GraphError: An operator fails.
        """
        with native.one_line_errors("the graph cannot be run in float64"):
            values: Any = self._evaluator.run(list(names), {self._input: source.astype(np.float64)})
        return [np.asarray(value, np.float64) for value in values]


class Conv(OpRun):
    """Conv as one matrix product per tap: several times as fast as onnx's own.

    The evaluator finds it by its class's name.
    """

    op_domain = ""

    def _run(
        self,
        x: Float64Array,
        kernel: Float64Array,
        bias: Float64Array | None = None,
        auto_pad: str = "NOTSET",
        dilations: Sequence[int] | None = None,
        group: int = 1,
        kernel_shape: Sequence[int] | None = None,
        pads: Sequence[int] | None = None,
        strides: Sequence[int] | None = None,
    ) -> tuple[Float64Array]:
        if auto_pad != "NOTSET":
            raise native.GraphError(f"auto_pad {auto_pad} is not supported here")
        (down, across), (rows, columns) = dilations or (1, 1), strides or (1, 1)
        top, left, bottom, right = pads or (0, 0, 0, 0)
        outputs, inputs, height, width = kernel.shape
        padded = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
        out_height = (padded.shape[2] - down * (height - 1) - 1) // rows + 1
        out_width = (padded.shape[3] - across * (width - 1) - 1) // columns + 1
        grouped = kernel.reshape(group, outputs // group, inputs, height, width)
        total = np.zeros((len(x), group, outputs // group, out_height * out_width))
        for i in range(height):
            for j in range(width):
                seen = padded[
                    :, :,
                    i * down : i * down + (out_height - 1) * rows + 1 : rows,
                    j * across : j * across + (out_width - 1) * columns + 1 : columns,
                ]  # fmt: skip
                total += grouped[..., i, j] @ seen.reshape(len(x), group, inputs, -1)
        result = total.reshape(len(x), outputs, out_height, out_width)
        return (result if bias is None else result + bias[:, np.newaxis, np.newaxis],)


def _widened(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with float64 in place of float32."""
    wide = onnx.ModelProto()
    wide.CopyFrom(model)
    del wide.graph.value_info[:]
    tensors = [*wide.graph.initializer]
    tensors += [a.t for node in wide.graph.node for a in node.attribute if a.HasField("t")]
    for tensor in tensors:
        if tensor.data_type == TensorProto.FLOAT:
            value = native.tensor_value(tensor).astype(np.float64)
            tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
    for value_info in (*wide.graph.input, *wide.graph.output):
        if value_info.type.tensor_type.elem_type == TensorProto.FLOAT:
            value_info.type.tensor_type.elem_type = TensorProto.DOUBLE
    return wide
