"""shuffle_patterns: rewrite data movement as a 1x1 convolution and DepthToSpace.

Exporters and authors write PixelShuffle, repeated channels and nearest-neighbour upscaling in many
ways: Reshape, Transpose of rank 6, Reshape; Tile or Expand between Unsqueeze and Reshape; Slice and
Concat; Gather; two shuffles in a row. No pattern has to be recognised. A group of such operators
over one tensor is run once on the indices of that tensor's elements, which gives for every element
of the result the source element of its value.

Why it is exact. Operators that move values move them alike, whatever they are. Where all elements
of a result follow one rule, "channel c at sub-pixel (i, j) is channel m of the source at the same
pixel", the group is a selection of channels followed by DepthToSpace; a selection is a 1x1
convolution with zeros and ones, and a permutation can be moved into the convolutions before it.
Where they follow no such rule, or read several tensors, the group is cut at its Concats: what leads
to one and what follows it are then groups of their own. A group that follows no rule even then is
left as it is.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

from converters.onnx_graph import native
from converters.onnx_graph.graph import Graph, Node
from converters.passes.convolution import make_conv, read_conv, set_conv
from converters.passes.depth_to_space import permute_channels
from edgesr.common.text import printable
from edgesr.errors import ConversionError

NAME = "shuffle_patterns"

_MOVES = {
    "Reshape", "Transpose", "Tile", "Expand", "Gather", "Slice", "Split", "Concat", "Squeeze",
    "Unsqueeze", "Flatten", "DepthToSpace", "SpaceToDepth", "Identity", "Resize", "Upsample",
}  # fmt: skip
# A group of these alone is left to the pass split_free, which needs no convolution for it.
_CUTS = {"Slice", "Split", "Identity"}
# Indices are split into two digits, since float32 is exact up to 16,777,216 only.
_BASE = 4096
#: The most weights of a selection: beyond, it would cost more than the rest of a network.
LARGEST_SELECTION = 2**20

Int64Array = NDArray[np.int64]


@dataclass(frozen=True)
class _Move:
    """A group of operators as channel selection and shuffle.

    Attributes:
        block: Sub-pixels along each axis; 1 where the size stays.
        channels: For each channel in DepthToSpace's CRD order the source's channel.
    """

    block: int
    channels: Int64Array

    def is_permutation(self, count: int) -> bool:
        """Whether each of the source's `count` channels is used once."""
        return sorted(self.channels.tolist()) == list(range(count))

    def is_identity(self, count: int) -> bool:
        """Whether the channels stay as they are."""
        return self.channels.tolist() == list(range(count))


def shuffle_patterns(model: onnx.ModelProto) -> onnx.ModelProto:
    """Rewrite groups of operators that only move values.

    Every DepthToSpace then has the convolution before it that `depth_to_space` requires.
    """
    graph = Graph(model)
    for node in list(graph.nodes):
        if node in graph.nodes and node.op in _MOVES and is_end(graph, node):
            _rewrite(graph, node)
    graph.remove_dead()
    for node in [n for n in graph.nodes if n.op == "DepthToSpace"]:
        if node.attributes.get("mode", b"DCR") == b"CRD":
            _feed(graph, node)
    return graph.to_model()


def _is_move(graph: Graph, node: Node | None) -> bool:
    """Whether an operator only moves values, by constant parameters."""
    if node is None or node.op not in _MOVES:
        return False
    if node.op == "Resize" and node.attributes.get("mode", b"nearest") != b"nearest":
        return False
    # Only Concat reads more than one tensor that is no parameter.
    return node.op == "Concat" or all(n in graph.weights for n in node.inputs[1:] if n)


def is_end(graph: Graph, node: Node) -> bool:
    """Whether a move's only result is the output or read by no move."""
    if len(node.outputs) != 1 or not _is_move(graph, node):
        return False
    readers = graph.consumers(node.output)
    return node.output == graph.output or any(not _is_move(graph, r) for r in readers)


def _rewrite(graph: Graph, end: Node) -> None:
    """Replace the group that ends in `end`; cut it at its Concats if it follows no rule."""
    group, sources = moves_to(graph, end)
    if _replace(graph, end, group, sources):
        return
    concats = [node for node in group if node.op == "Concat"]
    for name in (name for concat in concats for name in concat.inputs):
        inner = graph.producer(name)
        if inner is not None and len(inner.outputs) == 1 and _is_move(graph, inner):
            _replace(graph, inner, *moves_to(graph, inner))
    if concats and end.op != "Concat" and end in graph.nodes:
        _replace(graph, end, *moves_to(graph, end, cut=True))


def _replace(graph: Graph, end: Node, group: Sequence[Node], sources: Sequence[str]) -> bool:
    """Replace a group that ends in `end` if it follows one rule, and tell whether it does."""
    ops = {node.op for node in group}
    if len(sources) != 1 or not group:
        return False
    if ops <= _CUTS or (ops == {"DepthToSpace"} and len(group) == 1):
        return True  # as it is to be
    source = sources[0]
    move = _move(graph, group, source, end.output)
    if move is None:
        return False
    if move.block == 1 and fold_into_readers(graph, source, move.channels, end.output):
        return True
    count = graph.shape(source)[1]
    if not move.is_identity(count) and len(move.channels) * count > LARGEST_SELECTION:
        return True
    new = _written(graph, source, move)
    position = graph.nodes.index(end)
    graph.nodes[position + 1 : position + 1] = new
    graph.rename_uses(end.output, new[-1].output if new else source)
    if len(new) == 2 and move.is_permutation(graph.shape(source)[1]):
        graph.remove_dead()  # else the old group still reads the source
        _move_back(graph, source, move, new)
    return True


def fold_into_readers(graph: Graph, source: str, channels: Int64Array, result: str) -> bool:
    """Fold a selection of channels into the dense convolutions that alone read its result.

    Args:
        graph: The graph; unchanged if there are other readers.
        source: The tensor whose channels are selected.
        channels: For each channel of the result the source's.
        result: The tensor that is no longer read.

    Returns:
        Whether it was folded.
    """
    convs = [read_conv(graph, reader) for reader in graph.consumers(result)]
    dense = [conv for conv in convs if conv is not None and conv.group == 1]
    if result == graph.output or len(dense) < len(convs):
        return False
    count = graph.shape(source)[1]
    for conv in dense:
        kernel = np.zeros((len(conv.kernel), count, *conv.size), conv.kernel.dtype)
        for channel, chosen in enumerate(channels):
            kernel[:, chosen] += conv.kernel[:, channel]
        set_conv(graph, conv, kernel, conv.bias)
        conv.node.inputs[0] = source
    return True


def moves_to(graph: Graph, end: Node, *, cut: bool = False) -> tuple[list[Node], list[str]]:
    """The moves that lead to a result, in order, and their source tensors.

    Args:
        graph: The graph.
        end: The last of them.
        cut: Whether a Concat is a source instead of one of them.
    """
    wanted, sources, found = [end.output], list[str](), list[Node]()
    while wanted:
        tensor = wanted.pop()
        node = graph.producer(tensor)
        if node is None or not _is_move(graph, node) or (cut and node.op == "Concat"):
            if tensor not in sources:
                sources.append(tensor)
        elif node not in found:
            found.append(node)
            wanted += node.inputs if node.op == "Concat" else node.inputs[:1]
    return [node for node in graph.sorted_nodes() if node in found], sources


def _move(graph: Graph, group: Sequence[Node], source: str, result: str) -> _Move | None:
    """The rule that the elements of a result follow, if there is one."""
    before, after = graph.shape(source), graph.shape(result)
    if len(before) != 4 or len(after) != 4 or before[0] != 1 or after[0] != 1:
        return None
    (_, _, height, width), (_, channels, tall, wide) = before, after
    block = tall // height
    if block < 1 or (tall, wide) != (block * height, block * width):
        return None
    indices = source_indices(graph, group, source, result)
    split = indices.reshape(channels, height, block, width, block).transpose(0, 2, 4, 1, 3)
    rows = split.reshape(channels * block**2, height * width)
    chosen = rows[:, 0] // (height * width)
    here = np.arange(height * width)
    if not np.array_equal(rows, chosen[:, None] * (height * width) + here):
        return None
    return _Move(block, chosen)


def source_indices(graph: Graph, group: Sequence[Node], source: str, result: str) -> Int64Array:
    """Index of the source element for every element of a result."""
    session = native.Session(graph.model_of(group, source, result))
    shape = graph.shape(source)
    numbers = np.arange(int(np.prod(shape)), dtype=np.int64).reshape(shape)
    high, low = (
        session.run([result], digit.astype(np.float32))[0].astype(np.int64)
        for digit in divmod(numbers, _BASE)
    )
    return high * _BASE + low


def _written(graph: Graph, source: str, move: _Move) -> list[Node]:
    """Write a move as 1x1 convolution and DepthToSpace, as far as needed."""
    _, count, height, width = graph.shape(source)
    new: list[Node] = []
    if not move.is_identity(count):
        new.append(_selection(graph, source, move.channels))
    if move.block > 1:
        shape = (1, len(move.channels) // move.block**2, height * move.block, width * move.block)
        inner = new[-1].output if new else source
        attributes = {"blocksize": move.block, "mode": b"CRD"}
        new.append(Node("DepthToSpace", [inner], [graph.fresh("shuffled", shape)], attributes))
    return new


def _selection(graph: Graph, source: str, channels: Int64Array) -> Node:
    """Create a 1x1 convolution whose outputs are channels of its input."""
    _, count, height, width = graph.shape(source)
    kernel = np.zeros((len(channels), count, 1, 1), np.float32)
    kernel[np.arange(len(channels)), channels] = 1.0
    shape = (1, len(channels), height, width)
    return make_conv(graph, source, kernel, np.zeros(len(channels), np.float32), shape)


def _move_back(graph: Graph, source: str, move: _Move, new: Sequence[Node]) -> None:
    """Move a permutation into the convolutions before it, if possible."""
    selection, shuffle = new
    try:
        permute_channels(graph, source, selection, move.channels)
    except ConversionError:
        return
    shuffle.inputs[0] = source
    graph.nodes.remove(selection)


def _feed(graph: Graph, shuffle: Node) -> None:
    """Insert a 1x1 convolution before a shuffle that depth_to_space cannot handle."""
    source = shuffle.inputs[0]
    channels = np.arange(graph.shape(source)[1])
    try:
        permute_channels(graph, source, shuffle, channels)
    except ConversionError as error:
        if len(channels) ** 2 > LARGEST_SELECTION:
            raise ConversionError(
                f"PixelShuffle of {len(channels)} channels has no convolution of its own before "
                f"it: got {printable(source)}, allowed at most {math.isqrt(LARGEST_SELECTION)} "
                "channels there; put a convolution before PixelShuffle"
            ) from error
        selection = _selection(graph, source, channels)
        graph.nodes.insert(graph.nodes.index(shuffle), selection)
        shuffle.inputs[0] = selection.output
