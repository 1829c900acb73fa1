"""centred_sigmoid: write `sigmoid(x) - 0.5` as `0.5 tanh(x / 2)` where FP16 computes that better.

Why it is exact. The two are the same function: tanh(x / 2) = 2 sigmoid(x) - 1.

Why it is needed. Near 0, where SPAN's attention mostly is, the sigmoid is near 0.5. FP16 rounds it
there to multiples of 1/2048 or 1/4096, and the difference keeps that error however small it is.
Tanh near 0 has the precision of a small number. Which is better for the image depends on the
network: both are run on the calibration inputs, with every result rounded to FP16.
"""

import copy
from collections.abc import Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from converters.onnx_graph.graph import Graph, Node
from converters.onnx_graph.native import Session, with_shapes

NAME = "centred_sigmoid"

Float32Array = NDArray[np.float32]


def has_centred_sigmoid(model: onnx.ModelProto) -> bool:
    """Whether the graph takes one half off a sigmoid."""
    graph = Graph(model)
    return any(_centred(graph, node) is not None for node in graph.nodes)


def centred_sigmoid(
    model: onnx.ModelProto, calibration_nchw: Sequence[Float32Array]
) -> onnx.ModelProto:
    """Replace the centred sigmoids by tanh if the result is nearer to FP32's then.

    Args:
        model: A graph of range [0, 1].
        calibration_nchw: Inputs of the graph's own size.
    """
    replaced = with_tanh(model)
    kept, changed = (squared_error(m, calibration_nchw) for m in (model, replaced))
    return replaced if changed < kept else model


def with_tanh(model: onnx.ModelProto) -> onnx.ModelProto:
    """Replace every centred sigmoid by half the tanh of half its input."""
    graph = Graph(model)
    for node in list(graph.nodes):
        source = _centred(graph, node)
        if source is None:
            continue
        half = graph.add_weight("half", np.array(0.5, np.float32))
        shape = graph.shape(node.output)
        halved, curved = graph.fresh("halved", shape), graph.fresh("tanh", shape)
        position = graph.nodes.index(node)
        graph.nodes[position : position + 1] = [
            Node("Mul", [source, half], [halved]),
            Node("Tanh", [halved], [curved]),
            Node("Mul", [curved, half], list(node.outputs)),
        ]
    return graph.to_model()


def _centred(graph: Graph, node: Node) -> str | None:
    """What a sigmoid reads of which this operator takes one half, if it is such a one."""
    if node.op not in ("Sub", "Add"):
        return None
    wanted = 0.5 if node.op == "Sub" else -0.5
    pairs = [node.inputs] if node.op == "Sub" else [node.inputs, node.inputs[::-1]]
    for curve, number in pairs:
        sigmoid, value = graph.producer(curve), graph.weights.get(number)
        if sigmoid is None or sigmoid.op != "Sigmoid" or value is None:
            continue
        if value.size and bool((value == wanted).all()):
            same_shape = graph.shape(node.output) == graph.shape(curve)
            return sigmoid.inputs[0] if same_shape else None
    return None


def squared_error(model: onnx.ModelProto, inputs_nchw: Sequence[Float32Array]) -> float:
    """Mean square difference that rounding every result to FP16 makes in the output."""
    exact = Session(model, rewrite=False)
    rounded = Session(_rounded(model), rewrite=False)
    errors: list[float] = []
    for lr_nchw in inputs_nchw:
        wanted, got = exact.run(None, lr_nchw)[0], rounded.run(None, lr_nchw)[0]
        errors.append(float(np.mean((got.astype(np.float64) - wanted) ** 2)))
    return float(np.mean(errors))


def _rounded(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph with every computed float rounded to FP16 and back."""
    rounded = with_shapes(copy.deepcopy(model))
    graph = rounded.graph
    kinds = {v.name: v.type.tensor_type.elem_type for v in (*graph.value_info, *graph.output)}
    nodes = list(graph.node)
    del graph.node[:]
    for node in nodes:
        plain = list(node.output)
        node.output[:] = [f"{name}/exact" if name else "" for name in plain]
        graph.node.append(node)
        for name in filter(None, plain):
            if kinds.get(name, TensorProto.FLOAT) != TensorProto.FLOAT:
                graph.node.append(helper.make_node("Identity", [f"{name}/exact"], [name]))
                continue
            for source, to, result in (
                (f"{name}/exact", TensorProto.FLOAT16, f"{name}/half"),
                (f"{name}/half", TensorProto.FLOAT, name),
            ):
                graph.node.append(helper.make_node("Cast", [source], [result], to=to))
    del graph.value_info[:]
    return rounded
