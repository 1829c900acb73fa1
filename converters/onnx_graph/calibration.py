"""Largest magnitudes of the tensors of an ONNX graph on given inputs."""

import copy
from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from converters.onnx_graph import native
from converters.onnx_graph.graph import Graph, Node
from converters.parity.test_inputs import ReferenceNetwork
from edgesr.common.text import printable
from edgesr.errors import ConversionError

Float32Array = NDArray[np.float32]


def largest_magnitudes(
    model: onnx.ModelProto, inputs_nchw: Sequence[Float32Array]
) -> Mapping[str, float]:
    """Measure the largest absolute value of every tensor over all inputs.

    The maxima are computed inside the graph, so that no intermediate has to be kept.

    Args:
        model: A graph with one input.
        inputs_nchw: Inputs of the graph's own shape and value range.

    Returns:
        Tensor name -> largest absolute value; the input and the output are among them.

    Raises:
        ConversionError: A tensor holds NaN or infinity, or an operator fails.
    """
    graph = Graph(model)
    tensors = [name for node in graph.nodes for name in node.outputs]
    session = native.Session(_with_maxima(model, tensors))
    names = [_maximum(name) for name in tensors]
    largest = {name: 0.0 for name in [graph.input, *tensors]}
    for lr_nchw in inputs_nchw:
        values = session.run(names, lr_nchw)
        largest[graph.input] = max(largest[graph.input], float(np.abs(lr_nchw).max()))
        for name, value in zip(tensors, values, strict=True):
            if not np.isfinite(value).all():
                raise ConversionError(
                    f"tensor {printable(name)} holds NaN or infinity on ordinary images, allowed "
                    "finite numbers: the weights are damaged, or too large for float32; take "
                    "others"
                )
            largest[name] = max(largest[name], float(value.max()))
    return largest


def without_last_clip(model: onnx.ModelProto) -> onnx.ModelProto | None:
    """The graph without the Clip that it ends in; None where it ends in none.

    A Clip at the end hides that a network leaves its range, which tells how far it amplifies.
    """
    graph = Graph(model)
    clips: list[Node] = []
    tensor = graph.output
    while (node := graph.producer(tensor)) is not None and node.op in ("Clip", "Identity"):
        clips.append(node)
        tensor = node.inputs[0]
    if not any(node.op == "Clip" for node in clips):
        return None
    open_ended = copy.deepcopy(model)
    del open_ended.graph.output[:]
    shape = graph.shape(graph.output)
    open_ended.graph.output.append(helper.make_tensor_value_info(tensor, TensorProto.FLOAT, shape))
    return open_ended


def unclipped(model: onnx.ModelProto, value_range: float) -> ReferenceNetwork | None:
    """The network of a graph without its last Clip, of images in [0, 1]; None if it has none.

    Args:
        model: The graph, of one size.
        value_range: Its own range is [0, value_range].
    """
    open_ended = without_last_clip(model)
    if open_ended is None:
        return None
    session = native.Session(open_ended)

    def run(lr_nhwc: Float32Array) -> Float32Array:
        lr_nchw = np.ascontiguousarray(lr_nhwc.transpose(0, 3, 1, 2)) * np.float32(value_range)
        (hr_nchw,) = session.run(None, lr_nchw)
        hr_nhwc: Float32Array = hr_nchw.transpose(0, 2, 3, 1)
        return hr_nhwc / np.float32(value_range)

    return run


def _maximum(tensor: str) -> str:
    return f"{tensor}/largest"


def _with_maxima(model: onnx.ModelProto, tensors: Sequence[str]) -> onnx.ModelProto:
    """Add max(|t|) of every tensor t as an output."""
    extended = copy.deepcopy(model)
    for name in tensors:
        magnitude = f"{name}/magnitude"
        extended.graph.node.append(helper.make_node("Abs", [name], [magnitude]))
        extended.graph.node.append(
            helper.make_node("ReduceMax", [magnitude], [_maximum(name)], keepdims=0)
        )
        extended.graph.output.append(
            helper.make_tensor_value_info(_maximum(name), TensorProto.FLOAT, [])
        )
    return extended
