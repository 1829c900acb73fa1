"""edge_pad: write padding by repeated border pixels as Slices and Concats.

Why it is exact. The border's rows and columns are joined to the image, once per repetition.

Why it is needed. TFLite pads by zeros and by mirrored pixels only; of the latter, the GPU delegate
has no kernel for the form that repeats the border.
"""

import numpy as np
import onnx

from converters.onnx_graph.graph import Graph, Node
from converters.onnx_graph.receptive_field import image_pads

NAME = "edge_pad"

_TO_END = np.iinfo(np.int64).max


def has_edge_pad(model: onnx.ModelProto) -> bool:
    """Whether the graph pads by repeated border pixels."""
    graph = Graph(model)
    return any(_is_edge_pad(graph, node) for node in graph.nodes)


def edge_pad(model: onnx.ModelProto) -> onnx.ModelProto:
    """Replace every padding of height and width by the border's pixels."""
    graph = Graph(model)
    for node in [n for n in graph.nodes if _is_edge_pad(graph, n)]:
        top, left, bottom, right = image_pads(graph, node) or [0] * 4
        tensor, new = node.inputs[0], list[Node]()
        for axis, before, after in ((2, top, bottom), (3, left, right)):
            if before or after:
                new += _extended(graph, tensor, axis, before, after)
                tensor = new[-1].output
        new[-1].outputs = list(node.outputs)
        position = graph.nodes.index(node)
        graph.nodes[position : position + 1] = new
    return graph.to_model()


def _is_edge_pad(graph: Graph, node: Node) -> bool:
    """Whether a Pad repeats border pixels along height and width, and does something."""
    if node.op != "Pad" or node.attributes.get("mode") != b"edge":
        return False
    before, after = graph.shape(node.inputs[0]), graph.shape(node.output)
    pads = image_pads(graph, node)
    grows = pads is not None and min(pads) >= 0 and max(pads) > 0
    return grows and len(before) == 4 and before[:2] == after[:2]


def _extended(graph: Graph, tensor: str, axis: int, before: int, after: int) -> list[Node]:
    """Join the first and the last pixels along an axis to a tensor, some times each."""
    shape = list(graph.shape(tensor))
    border = [1 if i == axis else n for i, n in enumerate(shape)]
    new, ends = list[Node](), list[str]()
    for count, start, stop in ((before, 0, 1), (after, -1, _TO_END)):
        if count:
            numbers = [graph.add_weight("bound", np.array([n], np.int64)) for n in (start, stop)]
            along = graph.add_weight("axis", np.array([axis], np.int64))
            ends.append(graph.fresh("border", border))
            new.append(Node("Slice", [tensor, *numbers, along], [ends[-1]]))
        else:
            ends.append("")
    first, last = ends
    shape[axis] += before + after
    parts = [first] * before + [tensor] + [last] * after
    return [*new, Node("Concat", parts, [graph.fresh("extended", shape)], {"axis": axis})]
