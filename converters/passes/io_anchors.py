"""io_anchors: a convolution at the input and one at the output, where io_scale finds none.

Why it is exact. A 1x1 convolution with the identity as its kernel changes nothing.

Why it is wanted. A network of another range than [0, 1] may read its input by other operators than
convolutions, or end in others: a mean is taken off first and put back last, or the input is added
to the result. The range then goes into these two small convolutions.
"""

import numpy as np
import onnx

from converters.graph import Graph, Node
from converters.passes.convolution import make_conv, read_conv

NAME = "io_anchors"


def io_anchors(model: onnx.ModelProto) -> onnx.ModelProto:
    """Insert what io_scale needs; a graph that has it stays as it is."""
    graph = Graph(model)
    readers = graph.consumers(graph.input)
    if any(
        read_conv(graph, node) is None or node.inputs[1:].count(graph.input) for node in readers
    ):
        first = _identity(graph, graph.input)
        for node in readers:
            node.inputs = [first.output if n == graph.input else n for n in node.inputs]
        graph.nodes.insert(0, first)
    if not _ends_in_conv(graph):
        _append(graph)
    return graph.to_model()


def _ends_in_conv(graph: Graph) -> bool:
    """Whether the output is a convolution's result, shuffled or not, that serves nothing else."""
    last = graph.producer(graph.output)
    if last is not None and last.op == "DepthToSpace":
        if graph.only_consumer(last.inputs[0]) is not last:
            return False
        last = graph.producer(last.inputs[0])
    return read_conv(graph, last) is not None


def _append(graph: Graph) -> None:
    """Let a convolution make the output; what made it until now makes that one's input."""
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
