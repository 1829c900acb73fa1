"""space_to_depth: write PixelUnshuffle as TFLite's SPACE_TO_DEPTH, or as a strided convolution.

Exporters write PixelUnshuffle as Reshape, Transpose of rank 6, Reshape. As in shuffle_patterns no
pattern is recognised: a group of operators that only move values is run on the indices of its
source's elements.

Why it is exact. Where all elements of a result follow one rule, "channel k is channel c of the
source at sub-pixel (i, j) of each block", the group is SpaceToDepth, whose channel (i b + j) C + c
is that one, and a permutation of channels. The permutation goes into the weights of the
convolutions that read the result. Where something else reads it, a convolution of b x b with stride
b and one weight of 1 per channel does both, at the cost of the permutation alone.

Why it is needed. The GPU delegate has no tensors of rank 6.
"""

import numpy as np
import onnx
from numpy.typing import NDArray

from converters.onnx_graph.graph import Graph, Node
from converters.passes.convolution import make_conv
from converters.passes.third_party.shuffle_patterns import (
    LARGEST_SELECTION,
    fold_into_readers,
    is_end,
    moves_to,
    source_indices,
)

NAME = "space_to_depth"

Int64Array = NDArray[np.int64]


def space_to_depth(model: onnx.ModelProto) -> onnx.ModelProto:
    """Rewrite groups of operators that gather the pixels of a block in its channels."""
    graph = Graph(model)
    for node in list(graph.nodes):
        if node in graph.nodes and is_end(graph, node):
            _rewrite(graph, node)
    return graph.to_model()


def _rewrite(graph: Graph, end: Node) -> None:
    """Replace the group that ends in `end`, if it follows the rule."""
    group, sources = moves_to(graph, end)
    if len(sources) != 1 or [node.op for node in group] == ["SpaceToDepth"]:
        return
    (source,) = sources
    before, after = graph.shape(source), graph.shape(end.output)
    block = _block(before, after)
    if not block:
        return
    order = _order(source_indices(graph, group, source, end.output), before, after, block)
    if order is None:
        return
    whole = Node("SpaceToDepth", [source], [graph.fresh("unshuffled", after)], {"blocksize": block})
    if np.array_equal(order, np.arange(len(order))):
        graph.rename_uses(end.output, whole.output)
    elif not fold_into_readers(graph, whole.output, order, end.output):
        if len(order) ** 2 > LARGEST_SELECTION:
            return
        whole = _strided(graph, source, order, block, after)
        graph.rename_uses(end.output, whole.output)
    graph.nodes.insert(graph.nodes.index(end) + 1, whole)
    graph.remove_dead()


def _block(before: tuple[int, ...], after: tuple[int, ...]) -> int:
    """Pixels along each side of a block; 0 where a result is no smaller image."""
    if len(before) != 4 or len(after) != 4 or not before[0] == after[0] == 1 or after[2] == 0:
        return 0
    block = before[2] // after[2]
    fits = before[2:] == (block * after[2], block * after[3])
    return block if block > 1 and fits and after[1] == before[1] * block**2 else 0


def _order(
    indices: Int64Array, before: tuple[int, ...], after: tuple[int, ...], block: int
) -> Int64Array | None:
    """For each channel SpaceToDepth's, if the elements follow the rule."""
    channel, row, column = np.unravel_index(indices.reshape(after[1:]), before[1:])
    i = row - block * np.arange(after[2])[:, np.newaxis]
    j = column - block * np.arange(after[3])
    inside = (i >= 0) & (i < block) & (j >= 0) & (j < block)
    numbers = (i * block + j) * before[1] + channel
    order = numbers[:, 0, 0]
    if not inside.all() or not (numbers == order[:, np.newaxis, np.newaxis]).all():
        return None
    return order if np.array_equal(np.sort(order), np.arange(len(order))) else None


def _strided(
    graph: Graph, source: str, order: Int64Array, block: int, shape: tuple[int, ...]
) -> Node:
    """A convolution that gathers blocks in channels of a given order."""
    count = graph.shape(source)[1]
    sub_pixel, channel = np.divmod(order, count)
    kernel = np.zeros((len(order), count, block, block), np.float32)
    kernel[np.arange(len(order)), channel, sub_pixel // block, sub_pixel % block] = 1.0
    node = make_conv(graph, source, kernel, np.zeros(len(order), np.float32), shape)
    node.attributes |= {"pads": [0, 0, 0, 0], "strides": [block, block]}
    return node
