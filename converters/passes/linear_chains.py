"""linear_chains: merge consecutive convolutions where that is cheaper.

Why it is exact. A KxK convolution followed by a 1x1 is a KxK whose kernel is the matrix product of
the two over the channels between them; the first one's bias goes through the second's matrix. The
1x1 needs no padding, so the border is exact too. Two size-keeping convolutions of the same tensor
whose results are added are one whose kernel is the sum, the smaller kernel in the larger's centre.

The cost of a graph decides (see `graph_cost`): merging 9->3->12 channels alone would cost more
arithmetic than it saves, but together with the 1x1 over the same tensor that it is added to it
saves two operators and their memory traffic.
"""

from collections.abc import Iterator

import numpy as np
import onnx

from converters.onnx_graph.graph import Graph, Node, Weight
from converters.passes.convolution import Conv, make_conv, read_conv

NAME = "linear_chains"

#: GPU tensors hold channels in slices of four, and so do the arithmetic units.
SLICE = 4
# Multiply-accumulates done while one number moves to or from memory: an estimate for a desktop
# core; no device was measured. RTC's chains are merged from 16 up and kept at 14; merged, its file
# took 0.93 of the time on two x86-64 cores (medians of 15 interleaved rounds, LiteRT 2.3.0).
_MACS_PER_MOVED = 20


def linear_chains(model: onnx.ModelProto) -> onnx.ModelProto:
    """Merge chains and sums of convolutions while that lowers the cost."""
    best = _merge_sums(model)
    cost = graph_cost(best)
    refused: set[str] = set()
    while (candidate := _merge_one_chain(best, refused)) is not None:
        candidate = _merge_sums(candidate)
        if graph_cost(candidate) < cost:
            best, cost = candidate, graph_cost(candidate)
    return best


def graph_cost(model: onnx.ModelProto) -> float:
    """Estimated cost of a graph, in numbers moved to or from memory.

    Every operator reads its inputs and writes its outputs once; a convolution's arithmetic is
    counted in whole 4-channel slices. An Add of a convolution's output is free of the read of that
    output, since GPU delegates compute it inside the convolution.
    """
    graph = Graph(model)
    return sum(_node_cost(graph, node) for node in graph.nodes)


def _node_cost(graph: Graph, node: Node) -> float:
    if node.op == "Slice":  # reads no more than it writes
        return 2.0 * _numbers(graph.shape(node.output))
    moved = sum(
        _numbers(graph.shape(name))
        for name in [*node.inputs, *node.outputs]
        if name and name not in graph.weights
    )
    conv = read_conv(graph, node)
    if conv is None:
        fused = node.op == "Add" and any(_fusable(graph, name) for name in node.inputs)
        return float(moved - 2 * _numbers(graph.shape(node.output)) if fused else moved)
    height, width = graph.shape(node.output)[2:]
    out_channels, in_channels = conv.kernel.shape[:2]
    taps = conv.size[0] * conv.size[1]
    macs = _padded(out_channels) * _padded(in_channels) * taps * height * width
    return moved + macs / _MACS_PER_MOVED


def _fusable(graph: Graph, tensor: str) -> bool:
    return read_conv(graph, graph.producer(tensor)) is not None and (
        graph.only_consumer(tensor) is not None
    )


def _padded(channels: int) -> int:
    return -(-channels // SLICE) * SLICE


def _numbers(shape: tuple[int, ...]) -> int:
    if len(shape) != 4:
        return int(np.prod(shape))
    return shape[0] * _padded(shape[1]) * shape[2] * shape[3]


def _merge_one_chain(model: onnx.ModelProto, refused: set[str]) -> onnx.ModelProto | None:
    """Merge the first chain that was not yet tried, if there is one."""
    graph = Graph(model)
    for node in graph.nodes:
        first = read_conv(graph, node)
        if first is None or node.output in refused:
            continue
        second = read_conv(graph, graph.only_consumer(node.output))
        if second is None or not second.is_pointwise or first.group != 1:
            continue
        refused.add(node.output)
        _compose(graph, first, second)
        return graph.to_model()
    return None


def _compose(graph: Graph, first: Conv, second: Conv) -> None:
    """Merge a KxK and the 1x1 behind it into one KxK."""
    matrix = second.kernel[:, :, 0, 0].astype(np.float64)
    kernel = np.einsum("om,mihw->oihw", matrix, first.kernel.astype(np.float64))
    bias = matrix @ first.bias.astype(np.float64) + second.bias
    names = _weights(graph, kernel, bias, first.kernel.dtype)
    merged = Node("Conv", [first.source, *names], second.node.outputs, first.node.attributes)
    graph.nodes[graph.nodes.index(first.node)] = merged
    graph.nodes.remove(second.node)


def _weights(graph: Graph, kernel: Weight, bias: Weight, dtype: np.dtype[np.generic]) -> list[str]:
    return [
        graph.add_weight("kernel", kernel.astype(dtype)),
        graph.add_weight("bias", bias.astype(dtype)),
    ]


def _merge_sums(model: onnx.ModelProto) -> onnx.ModelProto:
    """Merge every pair of convolutions of one tensor whose results are added."""
    graph = Graph(model)
    while (pair := next(_pairs(graph), None)) is not None:
        _merge_pair(graph, *pair)
    return graph.to_model()


def _pairs(graph: Graph) -> Iterator[tuple[Conv, Conv]]:
    """Two terms of one sum that are size-keeping convolutions of the same tensor."""
    for node in graph.nodes:
        if node.op != "Add" or _feeds_only_add(graph, node.output):
            continue
        terms = [read_conv(graph, graph.producer(name)) for name in _terms(graph, node)]
        convs = [c for c in terms if c is not None and c.is_same and c.group == 1]
        for index, first in enumerate(convs):
            for second in convs[index + 1 :]:
                if first.source == second.source:
                    yield first, second


def _feeds_only_add(graph: Graph, tensor: str) -> bool:
    reader = graph.only_consumer(tensor)
    return reader is not None and reader.op == "Add"


def _terms(graph: Graph, add: Node) -> list[str]:
    """The terms of a tree of Adds; sums read only here are expanded."""
    terms: list[str] = []
    for name in add.inputs:
        inner = graph.producer(name)
        if inner is not None and inner.op == "Add" and graph.only_consumer(name) is add:
            terms += _terms(graph, inner)
        elif name not in graph.weights and graph.only_consumer(name) is add:
            terms.append(name)
    return terms


def _merge_pair(graph: Graph, first: Conv, second: Conv) -> None:
    """Merge two terms of a sum into the first."""
    height, width = (max(a, b) for a, b in zip(first.size, second.size, strict=True))
    kernel = _centred(first.kernel, height, width) + _centred(second.kernel, height, width)
    shape = graph.shape(first.node.output)
    merged = make_conv(graph, first.source, kernel, first.bias + second.bias, shape)
    merged.outputs = list(first.node.outputs)
    graph.nodes[graph.nodes.index(first.node)] = merged
    graph.nodes.remove(second.node)
    add = graph.consumers(second.node.output)[0]
    kept = next(name for name in add.inputs if name != second.node.output)
    graph.nodes.remove(add)
    graph.rename_uses(add.output, kept)


def _centred(kernel: Weight, height: int, width: int) -> Weight:
    """A kernel of odd sizes in the centre of a larger one."""
    rows, columns = (height - kernel.shape[2]) // 2, (width - kernel.shape[3]) // 2
    return np.pad(kernel, ((0, 0), (0, 0), (rows, rows), (columns, columns)))
