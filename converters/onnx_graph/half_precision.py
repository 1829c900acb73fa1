"""Graphs that compute in FP16, rewritten to compute in FP32.

The weights are the same numbers, which FP32 holds exactly; what goes is the rounding of every
intermediate to FP16. A `.tflite` computes in the arithmetic of its backend anyway, and the passes
read float32 weights.
"""

import copy

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto, numpy_helper

from converters.onnx_graph import native

_HALF = (TensorProto.FLOAT16, TensorProto.BFLOAT16)
# Attributes that name the type of an operator's output.
_TYPE_ATTRIBUTES = ("to", "dtype")


def computes_in_half(model: onnx.ModelProto) -> bool:
    """Whether any constant or any operator of a graph is of a 16-bit floating-point type."""
    nodes = [*model.graph.node, *(node for f in model.functions for node in f.node)]
    return any(tensor.data_type in _HALF for tensor in model.graph.initializer) or any(
        _is_half(attribute) for node in nodes for attribute in node.attribute
    )


def _is_half(attribute: AttributeProto) -> bool:
    if attribute.name in _TYPE_ATTRIBUTES and attribute.i in _HALF:
        return True
    return attribute.HasField("t") and attribute.t.data_type in _HALF


def in_float32(model: onnx.ModelProto) -> onnx.ModelProto:
    """Replace the 16-bit floating-point types of a graph by float32.

    Args:
        model: A graph whose input and output are float32; it is not changed.

    Raises:
        GraphError: The bytes of a constant do not fit its shape, or an operator not its inputs.
    """
    widened = copy.deepcopy(model)
    _round_cast_constants(widened)
    graph = widened.graph
    for tensor in graph.initializer:
        _widen(tensor)
    for node in (*graph.node, *(node for f in widened.functions for node in f.node)):
        for attribute in node.attribute:
            if attribute.name in _TYPE_ATTRIBUTES and attribute.i in _HALF:
                attribute.i = TensorProto.FLOAT
            if attribute.HasField("t"):
                _widen(attribute.t)
    del graph.value_info[:]
    _drop_casts(widened)
    return widened


def _drop_casts(model: onnx.ModelProto) -> None:
    """Turn casts of float32 to float32 into identities, which the passes remove."""
    inferred = native.with_shapes(model).graph
    values = (*inferred.input, *inferred.value_info)
    floats = {v.name for v in values if v.type.tensor_type.elem_type == TensorProto.FLOAT}
    for node in model.graph.node:
        is_cast = node.op_type == "Cast" and node.input[0] in floats
        if is_cast and any(a.name == "to" and a.i == TensorProto.FLOAT for a in node.attribute):
            node.op_type = "Identity"
            del node.attribute[:]


def _round_cast_constants(model: onnx.ModelProto) -> None:
    """Fold casts of constants to FP16, whose rounding belongs to the network's weights."""
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
            constants[node.output[0]] = node.attribute[0].t
    for node in [n for n in graph.node if n.op_type == "Cast" and n.input[0] in constants]:
        if any(a.name == "to" and a.i == TensorProto.FLOAT16 for a in node.attribute):
            values = native.tensor_value(constants[node.input[0]]).astype(np.float16)
            graph.initializer.append(numpy_helper.from_array(values, node.output[0]))
            graph.node.remove(node)


def _widen(tensor: TensorProto) -> None:
    if tensor.data_type in _HALF:
        values = native.tensor_value(tensor).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
