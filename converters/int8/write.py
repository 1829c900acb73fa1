"""The integer file: types, scales and integers written into the float32 file's structure."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.int8.graph import CONVOLUTIONS, IntegerGraph, Op
from converters.int8.grids import IMAGE, Grid, constant_grid
from converters.int8.rounding import IntegerWeights
from converters.spec import Io
from converters.tflite.backend import pack
from edgesr.common.litert import litert_schema

# The version of each operator that knows int8; the others know it in their first.
_VERSIONS = {
    "ADD": 2, "CONCATENATION": 2, "CONV_2D": 3, "DEPTHWISE_CONV_2D": 3, "DEPTH_TO_SPACE": 1,
    "LEAKY_RELU": 2, "LOGISTIC": 2, "MUL": 2, "PAD": 2, "RELU": 2, "SPACE_TO_DEPTH": 2, "SUB": 2,
}  # fmt: skip
_QUANTIZE_OPTIONS = {"QUANTIZE": "QuantizeOptions", "DEQUANTIZE": "DequantizeOptions"}
_UINT8_ZERO = 128


def write_integers(
    content: bytes,
    graph: IntegerGraph,
    grids: Mapping[int, Grid],
    weights: Mapping[int, IntegerWeights],
    io: Io,
) -> bytes:
    """Write the integer file.

    Args:
        content: The float32 file, of any size; its tensors have the graph's numbers.
        graph: The network.
        grids: Of the input and every operator's output.
        weights: Number of a convolution's output -> its weights.
        io: Type of input and output. uint8 holds grey levels.
    """
    schema = litert_schema()
    model: Any = schema.ModelT.InitFromPackedBuf(content, 0)
    file = _File(schema, model)
    for tensor, grid in grids.items():
        file.set_type(tensor, schema.TensorType.INT8, [grid.scale], [grid.zero])
    for position, op in enumerate(graph.ops):
        if op.kind in CONVOLUTIONS:
            file.set_weights(position, op, grids[op.inputs[0]], weights[op.output])
        else:
            file.set_operands(position, op, graph)
    _set_versions(schema, model)
    file.add_ends(graph, io)
    file.empty_unused_buffers()
    return pack(model)


def _set_versions(schema: Any, model: Any) -> None:  # noqa: ANN401
    names = {v: k for k, v in vars(schema.BuiltinOperator).items() if isinstance(v, int)}
    for code in model.operatorCodes:
        code.version = max(code.version, _VERSIONS.get(names[code.builtinCode], 1))


class _File:
    """The object form of a `.tflite`, which the schema's generated code leaves untyped."""

    def __init__(self, schema: Any, model: Any) -> None:  # noqa: ANN401
        self._schema, self._model = schema, model
        self._graph = model.subgraphs[0]

    def set_type(self, tensor: int, kind: int, scales: list[float], zeros: list[int]) -> None:
        """Make a tensor an integer one with one scale."""
        self._graph.tensors[tensor].type = kind
        self._graph.tensors[tensor].quantization = self._quantization(scales, zeros, 0)

    def _quantization(self, scales: Any, zeros: Any, axis: int) -> Any:  # noqa: ANN401
        made = self._schema.QuantizationParametersT()
        made.scale = np.asarray(scales, np.float32)
        made.zeroPoint = np.asarray(zeros, np.int64)
        made.quantizedDimension = axis
        return made

    def _constant(self, position: int, slot: int, values: NDArray[Any], quantization: Any) -> None:  # noqa: ANN401
        """Give an operator a constant of its own: two may share a float32 one."""
        operator = self._graph.operators[position]
        number = operator.inputs[slot]
        old = tensor = self._graph.tensors[number]
        if sum(i == number for o in self._graph.operators for i in o.inputs) > 1:
            tensor = self._schema.TensorT()
            tensor.name, tensor.shape = f"{_text(old.name)}_{position}", old.shape
            operator.inputs = np.array(operator.inputs)  # it was a view of the file's bytes
            operator.inputs[slot] = len(self._graph.tensors)
            self._graph.tensors.append(tensor)
        buffer: Any = self._schema.BufferT()
        buffer.data = np.frombuffer(values.tobytes(), np.uint8)
        tensor.buffer = len(self._model.buffers)
        self._model.buffers.append(buffer)
        types = self._schema.TensorType
        tensor.type = types.INT8 if values.dtype == np.int8 else types.INT32
        tensor.quantization = quantization

    def set_weights(self, position: int, op: Op, source: Grid, weights: IntegerWeights) -> None:
        """Write a convolution's kernel and bias."""
        axis = 3 if op.kind == "DEPTHWISE_CONV_2D" else 0
        zeros = np.zeros(len(weights.scales), np.int64)
        of_kernel = self._quantization(weights.scales, zeros, axis)
        self._constant(position, 1, weights.kernel, of_kernel)
        steps = np.float64(source.scale) * weights.scales
        ends = np.iinfo(np.int32)
        bias = np.rint(weights.bias / steps).clip(ends.min, ends.max).astype(np.int32)
        self._constant(position, 2, bias, self._quantization(steps, zeros, 0))

    def set_operands(self, position: int, op: Op, graph: IntegerGraph) -> None:
        """Write the constants of an elementwise operator; those of integers stay."""
        for slot, number in enumerate(op.inputs):
            value = graph.constants.get(number)
            if value is not None and value.dtype == np.float64:
                grid = constant_grid(value)
                whole = np.rint(value / grid.scale + grid.zero).clip(-128, 127).astype(np.int8)
                self._constant(
                    position, slot, whole, self._quantization([grid.scale], [grid.zero], 0)
                )

    def add_ends(self, graph: IntegerGraph, io: Io) -> None:
        """Turn the images into int8 before the first operator, and back behind the last."""
        first = self._outside(graph.source, io)
        last = self._outside(graph.result, io)
        enter, leave = ("QUANTIZE", "QUANTIZE" if io == "uint8" else "DEQUANTIZE")
        self._graph.operators.insert(0, self._operator(enter, first, graph.source))
        self._graph.operators.append(self._operator(leave, graph.result, last))
        self._graph.inputs, self._graph.outputs = [first], [last]

    def empty_unused_buffers(self) -> None:
        """Leave out the float32 constants that integers took the place of."""
        used = {tensor.buffer for tensor in self._graph.tensors}
        used |= {entry.buffer for entry in self._model.metadata or []}
        for index, buffer in enumerate(self._model.buffers):
            if index not in used:
                buffer.data = None

    def _outside(self, inner: int, io: Io) -> int:
        """A tensor that the caller fills or reads; it takes the name of the one inside."""
        old, tensor = self._graph.tensors[inner], self._schema.TensorT()
        tensor.name, old.name = _text(old.name), f"{_text(old.name)}_int8"
        tensor.shape, tensor.shapeSignature = old.shape, old.shapeSignature
        tensor.buffer = 0
        tensor.type = self._schema.TensorType.FLOAT32
        if io == "uint8":
            tensor.type = self._schema.TensorType.UINT8
            tensor.quantization = self._quantization([IMAGE.scale], [IMAGE.zero + _UINT8_ZERO], 0)
        self._graph.tensors.append(tensor)
        return len(self._graph.tensors) - 1

    def _operator(self, kind: str, source: int, result: int) -> Any:  # noqa: ANN401
        operator = self._schema.OperatorT()
        operator.inputs, operator.outputs = [source], [result]
        operator.opcodeIndex = self._code(getattr(self._schema.BuiltinOperator, kind))
        options = _QUANTIZE_OPTIONS[kind]
        operator.builtinOptionsType = getattr(self._schema.BuiltinOptions, options)
        operator.builtinOptions = getattr(self._schema, f"{options}T")()
        return operator

    def _code(self, number: int) -> int:
        codes = self._model.operatorCodes
        for index, code in enumerate(codes):
            if code.builtinCode == number:
                return index
        code = self._schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = number
        code.version = 2
        codes.append(code)
        return len(codes) - 1


def _text(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else name
