"""scatter: write assignments to a range of channels as Slices and a Concat.

Why it is exact. `x[:, :n] = f(x[:, :n])` is exported as ScatterND. Its constant indices determine
for every element of the result which element of the old or the new tensor it is. Where each channel
of the result is one channel of either at the same pixels, the result is those channels side by
side.

Why it is needed. Neither the GPU delegate nor LiteRT's accelerator has a scatter.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import onnx
from numpy.typing import NDArray

from converters.onnx_graph.graph import Graph, Node

NAME = "scatter"

_RESHAPES = {"Reshape", "Squeeze", "Unsqueeze", "Flatten"}

Int64Array = NDArray[np.int64]


def scatter(model: onnx.ModelProto) -> onnx.ModelProto:
    """Replace every ScatterND that overwrites whole channels."""
    if not any(node.op_type == "ScatterND" for node in model.graph.node):
        return model
    graph = Graph(model)
    for node in [n for n in graph.nodes if n.op == "ScatterND"]:
        _rewrite(graph, node)
    return graph.to_model()


def _rewrite(graph: Graph, node: Node) -> None:
    data, indices, updates = node.inputs
    reduces = node.attributes.get("reduction", b"none") != b"none"
    if reduces or indices not in graph.weights or data in graph.weights or updates in graph.weights:
        return
    end = _last_of_order(graph, node)
    sources = [_first_of_order(graph, name) for name in (data, updates)]
    shapes = [graph.shape(name) for name in (*sources, end.output)]
    if any(len(shape) != 4 or shape[0] != 1 or shape[2:] != shapes[0][2:] for shape in shapes):
        return
    channels = _channels(graph, node, graph.weights[indices])
    if channels is None:
        return
    new = _written(graph, sources, channels)
    position = graph.nodes.index(end)
    graph.nodes[position + 1 : position + 1] = new
    graph.rename_uses(end.output, new[-1].output)
    graph.remove_dead()


def _keeps_order(graph: Graph, node: Node | None) -> bool:
    """Whether an operator gives its first input's elements in their order, in another shape."""
    if node is None or len(node.outputs) != 1:
        return False
    if node.op != "Transpose":
        return node.op in _RESHAPES
    shape = graph.shape(node.inputs[0])
    order = [axis for axis in node.attributes.get("perm", []) if shape[axis] > 1]
    return "perm" in node.attributes and order == sorted(order)


def _first_of_order(graph: Graph, tensor: str) -> str:
    """The tensor whose elements `tensor` holds in the same order."""
    while (node := graph.producer(tensor)) is not None and _keeps_order(graph, node):
        tensor = node.inputs[0]
    return tensor


def _last_of_order(graph: Graph, node: Node) -> Node:
    """The last operator whose result holds this one's elements in the same order."""
    while (reader := graph.only_consumer(node.output)) is not None and _keeps_order(graph, reader):
        node = reader
    return node


def _channels(graph: Graph, node: Node, indices: Int64Array) -> Int64Array | None:
    """The source of each channel of a result, numbered through old and new ones.

    None where a channel is not one channel of either at the same pixels.
    """
    old_shape, new_shape = graph.shape(node.inputs[0]), graph.shape(node.inputs[2])
    old = np.arange(int(np.prod(old_shape)), dtype=np.int64).reshape(old_shape)
    new = old.size + np.arange(int(np.prod(new_shape)), dtype=np.int64).reshape(new_shape)
    result = old.copy()
    result[tuple(np.moveaxis(indices, -1, 0))] = new
    source = _first_of_order(graph, node.inputs[0])
    pixels = int(np.prod(graph.shape(source)[2:]))
    rows = result.reshape(-1, pixels)
    chosen = rows[:, 0] // pixels
    whole = np.array_equal(rows, chosen[:, None] * pixels + np.arange(pixels))
    return chosen if whole else None


def _written(graph: Graph, sources: Sequence[str], channels: Int64Array) -> list[Node]:
    """Slices of the sources for each run of channels, and their Concat."""
    old, new = sources
    _, count, height, width = graph.shape(old)
    is_old = channels < count
    breaks = np.flatnonzero((np.diff(channels) != 1) | (is_old[1:] != is_old[:-1])) + 1
    nodes, parts = list[Node](), list[str]()
    for begin, end in pairwise([0, *breaks.tolist(), len(channels)]):
        source, offset = (old, 0) if is_old[begin] else (new, count)
        start, stop = int(channels[begin]) - offset, int(channels[end - 1]) - offset + 1
        if (start, stop) == (0, graph.shape(source)[1]):
            parts.append(source)
            continue
        bounds = [graph.add_weight("bound", np.array([at], np.int64)) for at in (start, stop, 1)]
        part = graph.fresh("part", (1, stop - start, height, width))
        nodes.append(Node("Slice", [source, *bounds], [part]))
        parts.append(part)
    joined = graph.fresh("assigned", (1, len(channels), height, width))
    return [*nodes, Node("Concat", parts, [joined], {"axis": 1})]
