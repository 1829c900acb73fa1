"""Writes small `.tflite` files operator by operator, so that tests need no TensorFlow."""

from collections.abc import Mapping, Sequence
from typing import Any

import ai_edge_litert.schema_py_generated as schema
import flatbuffers
import numpy as np
from numpy.typing import NDArray

_TYPES = {
    "float32": schema.TensorType.FLOAT32,
    "float16": schema.TensorType.FLOAT16,
    "int8": schema.TensorType.INT8,
    "int16": schema.TensorType.INT16,
    "int32": schema.TensorType.INT32,
    "int64": schema.TensorType.INT64,
    "uint8": schema.TensorType.UINT8,
    "bool": schema.TensorType.BOOL,
}


class TfliteBuilder:
    """One subgraph, built in execution order. Tensors are named by their index."""

    def __init__(self) -> None:
        self.model: Any = schema.ModelT()
        self.model.version = 3
        self.model.description = b"test"
        self.model.operatorCodes = []
        self.model.metadata = []
        self.model.signatureDefs = []
        self.model.buffers = [schema.BufferT()]
        self.graph: Any = schema.SubGraphT()
        self.graph.name = b"main"
        self.graph.tensors, self.graph.operators = [], []
        self.model.subgraphs = [self.graph]

    def tensor(
        self,
        shape: Sequence[int],
        dtype: str = "float32",
        name: str | None = None,
        signature: Sequence[int] | None = None,
    ) -> int:
        """Add a tensor that an operator (or the caller) fills; return its index."""
        tensor: Any = schema.TensorT()
        tensor.shape = list(shape)
        tensor.shapeSignature = list(signature) if signature else None
        tensor.type = _TYPES[dtype]
        tensor.name = (name or f"tensor_{len(self.graph.tensors)}").encode()
        tensor.hasRank = True
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def constant(self, value: NDArray[Any], name: str | None = None) -> int:
        """Add a constant; return its index."""
        index = self.tensor(value.shape, value.dtype.name, name)
        self.graph.tensors[index].buffer = self.buffer(value.tobytes())
        return index

    def buffer(self, data: bytes) -> int:
        """Add a buffer; return its index."""
        buffer: Any = schema.BufferT()
        buffer.data = np.frombuffer(data, np.uint8)
        self.model.buffers.append(buffer)
        return len(self.model.buffers) - 1

    def operator(
        self,
        name: str,
        inputs: Sequence[int],
        outputs: Sequence[int],
        options: Any = None,
        *,
        version: int = 1,
        custom: str | None = None,
    ) -> None:
        """Add an operator, e.g. `CONV_2D` with a `Conv2DOptionsT`."""
        code: Any = schema.OperatorCodeT()
        code.builtinCode = getattr(schema.BuiltinOperator, name)
        code.deprecatedBuiltinCode = min(code.builtinCode, 127)
        code.version = version
        code.customCode = custom.encode() if custom else None
        self.model.operatorCodes.append(code)
        operator: Any = schema.OperatorT()
        operator.opcodeIndex = len(self.model.operatorCodes) - 1
        operator.inputs, operator.outputs = list(inputs), list(outputs)
        if options is not None:
            kind = type(options).__name__.removesuffix("T")
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
            operator.builtinOptions = options
        self.graph.operators.append(operator)

    def metadata(self, name: str, data: bytes) -> None:
        """Add a metadata entry."""
        entry: Any = schema.MetadataT()
        entry.name, entry.buffer = name.encode(), self.buffer(data)
        self.model.metadata.append(entry)

    def signature(self, inputs: Mapping[str, int], outputs: Mapping[str, int]) -> None:
        """Name the inputs and outputs in a signature `serving_default`."""
        signature: Any = schema.SignatureDefT()
        signature.signatureKey = b"serving_default"
        signature.inputs = [_tensor_map(n, i) for n, i in inputs.items()]
        signature.outputs = [_tensor_map(n, i) for n, i in outputs.items()]
        self.model.signatureDefs.append(signature)

    def finish(
        self, inputs: Sequence[int], outputs: Sequence[int], *, outside: bool = False
    ) -> bytes:
        """The file's bytes; with `outside`, every buffer's data lies behind the flatbuffer."""
        self.graph.inputs, self.graph.outputs = list(inputs), list(outputs)
        if not outside:
            return _pack(self.model)
        moved = [b for b in self.model.buffers if b.data is not None]
        blobs = [bytes(b.data) for b in moved]
        for buffer in moved:
            buffer.data, buffer.offset, buffer.size = None, 1, 1  # placeholders of the final width
        start = len(_pack(self.model))
        tail = b""
        for buffer, blob in zip(moved, blobs, strict=True):
            tail += b"\0" * (-(start + len(tail)) % 16)
            buffer.offset, buffer.size = start + len(tail), len(blob)
            tail += blob
        return _pack(self.model) + tail


def _tensor_map(name: str, index: int) -> Any:
    entry: Any = schema.TensorMapT()
    entry.name, entry.tensorIndex = name.encode(), index
    return entry


def _pack(model: Any) -> bytes:
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def conv_options(
    stride: int = 1, dilation: int = 1, activation: str = "NONE", padding: str = "SAME"
) -> Any:
    """A convolution's options; SAME padding unless another is named."""
    options: Any = schema.Conv2DOptionsT()
    options.padding = getattr(schema.Padding, padding)
    options.strideH = options.strideW = stride
    options.dilationHFactor = options.dilationWFactor = dilation
    options.fusedActivationFunction = getattr(schema.ActivationFunctionType, activation)
    return options


def options(kind: str, **values: Any) -> Any:
    """Any options class by name, e.g. `options("DepthToSpaceOptions", blockSize=2)`."""
    result = getattr(schema, f"{kind}T")()
    for name, value in values.items():
        if not hasattr(result, name):
            raise AttributeError(f"{kind} has no field {name}")
        setattr(result, name, value)
    return result


def sr_model(
    height: int = 6, width: int = 8, scale: int = 2, *, half: bool = True, outside: bool = False
) -> bytes:
    """A clean super-resolution file: 3x3 convolution, LeakyReLU, sum, 3x3, DEPTH_TO_SPACE.

    With `half`, its weights are FP16 constants behind DEQUANTIZE, as a converter writes them.
    """
    rng = np.random.default_rng(1)
    made = TfliteBuilder()

    def weight(*shape: int) -> int:
        value = rng.normal(0, 0.2, shape).astype(np.float16 if half else np.float32)
        index = made.constant(value, f"weight_{len(made.graph.tensors)}")
        if half:
            whole = made.tensor(shape)
            made.operator("DEQUANTIZE", [index], [whole], version=3)
            return whole
        return index

    def conv(source: int, channels_in: int, channels_out: int) -> int:
        inputs = [source, weight(channels_out, 3, 3, channels_in), weight(channels_out)]
        output = made.tensor([1, height, width, channels_out])
        made.operator("CONV_2D", inputs, [output], conv_options())
        return output

    lr = made.tensor([1, height, width, 3], name="lr")
    head = conv(lr, 3, 8)
    active = made.tensor([1, height, width, 8])
    made.operator("LEAKY_RELU", [head], [active], options("LeakyReluOptions", alpha=0.05))
    body = conv(active, 8, 8)
    total = made.tensor([1, height, width, 8])
    made.operator("ADD", [body, head], [total], options("AddOptions"))
    tail = conv(total, 8, 3 * scale * scale)
    hr = made.tensor([1, scale * height, scale * width, 3], name="hr")
    made.operator("DEPTH_TO_SPACE", [tail], [hr], options("DepthToSpaceOptions", blockSize=scale))
    made.metadata("min_runtime_version", b"1.13.0")
    made.signature({"lr": lr}, {"hr": hr})
    return made.finish([lr], [hr], outside=outside)
