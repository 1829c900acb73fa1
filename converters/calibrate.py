"""How large the tensors of an ONNX graph get on given inputs."""

import copy
from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from converters.graph import Graph

Float32Array = NDArray[np.float32]


def largest_magnitudes(
    model: onnx.ModelProto, inputs_nchw: Sequence[Float32Array]
) -> Mapping[str, float]:
    """The largest absolute value of every tensor over all inputs.

    The maxima are computed inside the graph, so that no intermediate has to be kept.

    Args:
        model: A graph with one input.
        inputs_nchw: Inputs of the graph's own shape and value range.

    Returns:
        Tensor name -> largest absolute value; the input and the output are among them.
    """
    import onnxruntime

    graph = Graph(model)
    tensors = [name for node in graph.nodes for name in node.outputs]
    session = onnxruntime.InferenceSession(
        _with_maxima(model, tensors).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    names = [_maximum(name) for name in tensors]
    largest = {name: 0.0 for name in [graph.input, *tensors]}
    for lr_nchw in inputs_nchw:
        values = session.run(names, {graph.input: lr_nchw})
        largest[graph.input] = max(largest[graph.input], float(np.abs(lr_nchw).max()))
        for name, value in zip(tensors, values, strict=True):
            largest[name] = max(largest[name], float(np.asarray(value).max()))
    return largest


def _maximum(tensor: str) -> str:
    return f"{tensor}/largest"


def _with_maxima(model: onnx.ModelProto, tensors: Sequence[str]) -> onnx.ModelProto:
    """Add max(|t|) of every tensor t as an output."""
    probed = copy.deepcopy(model)
    for name in tensors:
        magnitude = f"{name}/magnitude"
        probed.graph.node.append(helper.make_node("Abs", [name], [magnitude]))
        probed.graph.node.append(
            helper.make_node("ReduceMax", [magnitude], [_maximum(name)], keepdims=0)
        )
        probed.graph.output.append(
            helper.make_tensor_value_info(_maximum(name), TensorProto.FLOAT, [])
        )
    return probed
