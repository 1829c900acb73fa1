"""io_anchors: insert convolutions at the input and the output for io_scale.

Why it is exact. A 1x1 convolution with the identity as its kernel changes nothing.

Why it is needed. A network of another range than [0, 1] may read its input by other operators than
convolutions, or end in others: a mean is subtracted first and added last, or the input is added to
the result. The range is then folded into these two small convolutions.
"""

import numpy as np
import onnx

from converters.onnx_graph.graph import Graph, Node
from converters.passes.convolution import make_conv, output_conv, read_conv

NAME = "io_anchors"


def io_anchors(model: onnx.ModelProto) -> onnx.ModelProto:
    """Insert identity convolutions where io_scale finds none."""
    graph = Graph(model)
    readers = graph.consumers(graph.input)
    if any(
        read_conv(graph, node) is None or node.inputs[1:].count(graph.input) for node in readers
    ):
        first = _identity(graph, graph.input)
        for node in readers:
            node.inputs = [first.output if n == graph.input else n for n in node.inputs]
        graph.nodes.insert(0, first)
    if output_conv(graph) is None:
        _append(graph)
    return graph.to_model()


def _append(graph: Graph) -> None:
    """Append an identity convolution that makes the output."""
    maker = graph.producer(graph.output)
    if maker is None:
        return
    inner = graph.fresh("unscaled", graph.shape(graph.output))
    maker.outputs = [inner if name == graph.output else name for name in maker.outputs]
    for node in graph.nodes:
        node.inputs = [inner if name == graph.output else name for name in node.inputs]
    last = _identity(graph, inner)
    last.outputs = [graph.output]
    graph.nodes.append(last)


def _identity(graph: Graph, source: str) -> Node:
    shape = graph.shape(source)
    kernel = np.eye(shape[1], dtype=np.float32)[:, :, None, None]
    return make_conv(graph, source, kernel, np.zeros(shape[1], np.float32), shape)
