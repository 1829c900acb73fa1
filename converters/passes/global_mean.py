"""global_mean: split a mean over all pixels into width, then height.

Why it is exact. All rows are of one length, so the mean of their means is the mean of all.

Why it is needed. At 720x480 a mean adds up 345,600 values. In FP16 such a sum leaves the range
(65504) where the mean is above 0.19, and terms that are added late are lost in rounding. No sum of
this pass has more than a row or a column of terms.
"""

import numpy as np
import onnx

from converters.onnx_graph.graph import Graph, Node

NAME = "global_mean"

_HEIGHT, _WIDTH = 2, 3


def has_global_mean(model: onnx.ModelProto) -> bool:
    """Whether the graph holds a mean over height and width."""
    graph = Graph(model)
    return any(_is_global(graph, node) for node in graph.nodes)


def global_mean(model: onnx.ModelProto) -> onnx.ModelProto:
    """Split every mean over height and width that keeps its dimensions."""
    graph = Graph(model)
    axes_as_input = model.opset_import[0].version >= 18
    for node in [n for n in graph.nodes if _is_global(graph, n)]:
        rows = _mean(graph, node.inputs[0], _WIDTH, axes_as_input)
        whole = _mean(graph, rows.output, _HEIGHT, axes_as_input)
        whole.outputs = list(node.outputs)
        position = graph.nodes.index(node)
        graph.nodes[position : position + 1] = [rows, whole]
    return graph.to_model()


def _is_global(graph: Graph, node: Node) -> bool:
    if node.op == "GlobalAveragePool":
        return len(graph.shape(node.inputs[0])) == 4
    if node.op != "ReduceMean" or node.attributes.get("keepdims", 1) != 1:
        return False
    rank = len(graph.shape(node.inputs[0]))
    if len(node.inputs) > 1 and node.inputs[1]:
        given = graph.weights.get(node.inputs[1], np.array([]))
    else:
        given = np.array(node.attributes.get("axes", []))
    return rank == 4 and sorted(int(axis) % rank for axis in given) == [_HEIGHT, _WIDTH]


def _mean(graph: Graph, source: str, axis: int, axes_as_input: bool) -> Node:
    """Create a mean over one axis, which is kept with length 1."""
    shape = list(graph.shape(source))
    shape[axis] = 1
    output = graph.fresh("mean", shape)
    if axes_as_input:
        axes = graph.add_weight("axes", np.array([axis], np.int64))
        return Node("ReduceMean", [source, axes], [output], {"keepdims": 1})
    return Node("ReduceMean", [source], [output], {"axes": [axis], "keepdims": 1})
