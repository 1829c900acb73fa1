"""shuffle_patterns: whatever only moves values becomes a 1x1 convolution and a DepthToSpace.

Exporters and authors write PixelShuffle, repeated channels and nearest-neighbour upscaling in many
ways: Reshape, Transpose of rank 6, Reshape; Tile or Expand between Unsqueeze and Reshape; Slice and
Concat; Gather; two shuffles in a row. They need not be recognised by their look. A group of such
operators over one tensor is run once on the numbers of that tensor's places, which tells for every
place of the result where its value comes from.

Why it is exact. Operators that move values move them alike, whatever they are. Where all of a
result's places follow one rule, "channel c at sub-pixel (i, j) is channel m of the source at the
same pixel", the group is a selection of channels followed by DepthToSpace; a selection is a 1x1
convolution with zeros and ones, and a permutation can be carried back into the convolutions before
it. Where they do not follow such a rule, the group is left as it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

from converters.graph import Graph, Node
from converters.passes.convolution import make_conv, read_conv, set_conv
from converters.passes.depth_to_space import permute_channels
from edgesr.errors import ConversionError

NAME = "shuffle_patterns"

_MOVES = {
    "Reshape", "Transpose", "Tile", "Expand", "Gather", "Slice", "Split", "Concat", "Squeeze",
    "Unsqueeze", "Flatten", "DepthToSpace", "SpaceToDepth", "Identity", "Resize", "Upsample",
}  # fmt: skip
# Of these alone a group is left to the pass split_free, which needs no convolution for it.
_CUTS = {"Slice", "Split", "Identity"}
# Places are numbered in two digits, since float32 counts to 16,777,216 only.
_BASE = 4096

Int64Array = NDArray[np.int64]


@dataclass(frozen=True)
class _Move:
    """What a group of operators does.

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
    """Rewrite groups of operators that only move values, and give every shuffle a convolution.

    After it, `depth_to_space` finds what it needs before every DepthToSpace.
    """
    graph = Graph(model)
    for node in list(graph.nodes):
        if node in graph.nodes and node.op in _MOVES and _is_end(graph, node):
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


def _is_end(graph: Graph, node: Node) -> bool:
    """Whether an operator's only result is read by one that computes, or is the output."""
    if len(node.outputs) != 1 or not _is_move(graph, node):
        return False
    readers = graph.consumers(node.output)
    return node.output == graph.output or any(not _is_move(graph, r) for r in readers)


def _rewrite(graph: Graph, end: Node) -> None:
    """Replace what leads to the result of `end`, if it follows one rule."""
    group, sources = _group(graph, end)
    ops = {node.op for node in group}
    if len(sources) != 1 or ops <= _CUTS or (ops == {"DepthToSpace"} and len(group) == 1):
        return
    source = sources[0]
    move = _move(graph, group, source, end.output)
    if move is None or _into_readers(graph, source, move, end.output):
        return
    new = _written(graph, source, move)
    position = graph.nodes.index(end)
    graph.nodes[position + 1 : position + 1] = new
    graph.rename_uses(end.output, new[-1].output if new else source)
    if len(new) == 2 and move.is_permutation(graph.shape(source)[1]):
        graph.remove_dead()  # else the old group still reads the source
        _carry_back(graph, source, move, new)


def _into_readers(graph: Graph, source: str, move: _Move, result: str) -> bool:
    """Let dense convolutions, if nothing else reads the result, read the source instead."""
    convs = [read_conv(graph, reader) for reader in graph.consumers(result)]
    dense = [conv for conv in convs if conv is not None and conv.group == 1]
    if move.block > 1 or result == graph.output or len(dense) < len(convs):
        return False
    count = graph.shape(source)[1]
    for conv in dense:
        kernel = np.zeros((len(conv.kernel), count, *conv.size), conv.kernel.dtype)
        for channel, chosen in enumerate(move.channels):
            kernel[:, chosen] += conv.kernel[:, channel]
        set_conv(graph, conv, kernel, conv.bias)
        conv.node.inputs[0] = source
    return True


def _group(graph: Graph, end: Node) -> tuple[list[Node], list[str]]:
    """The operators that lead to a result by moves alone, in order, and what they start from."""
    wanted, sources, found = [end.output], list[str](), list[Node]()
    while wanted:
        tensor = wanted.pop()
        node = graph.producer(tensor)
        if node is None or not _is_move(graph, node):
            if tensor not in sources:
                sources.append(tensor)
        elif node not in found:
            found.append(node)
            wanted += node.inputs if node.op == "Concat" else node.inputs[:1]
    return [node for node in graph.sorted_nodes() if node in found], sources


def _move(graph: Graph, group: Sequence[Node], source: str, result: str) -> _Move | None:
    """The rule that the places of a result follow; None where there is none of the kind."""
    before, after = graph.shape(source), graph.shape(result)
    if len(before) != 4 or len(after) != 4 or before[0] != 1 or after[0] != 1:
        return None
    (_, _, height, width), (_, channels, tall, wide) = before, after
    block = tall // height
    if block < 1 or (tall, wide) != (block * height, block * width):
        return None
    places = _places(graph, group, source, result)
    split = places.reshape(channels, height, block, width, block).transpose(0, 2, 4, 1, 3)
    rows = split.reshape(channels * block**2, height * width)
    chosen = rows[:, 0] // (height * width)
    here = np.arange(height * width)
    if not np.array_equal(rows, chosen[:, None] * (height * width) + here):
        return None
    return _Move(block, chosen)


def _places(graph: Graph, group: Sequence[Node], source: str, result: str) -> Int64Array:
    """For every place of a result the place in the source that its value comes from."""
    import onnxruntime

    session = onnxruntime.InferenceSession(
        graph.model_of(group, source, result).SerializeToString(),
        providers=["CPUExecutionProvider"],
    )
    shape = graph.shape(source)
    numbers = np.arange(int(np.prod(shape)), dtype=np.int64).reshape(shape)
    high, low = (
        np.asarray(session.run([result], {source: digit.astype(np.float32)})[0]).astype(np.int64)
        for digit in divmod(numbers, _BASE)
    )
    return high * _BASE + low


def _written(graph: Graph, source: str, move: _Move) -> list[Node]:
    """A move as a 1x1 convolution of zeros and ones, and DepthToSpace; each where it is needed."""
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
    """A 1x1 convolution whose every output is one of the input's channels."""
    _, count, height, width = graph.shape(source)
    kernel = np.zeros((len(channels), count, 1, 1), np.float32)
    kernel[np.arange(len(channels)), channels] = 1.0
    shape = (1, len(channels), height, width)
    return make_conv(graph, source, kernel, np.zeros(len(channels), np.float32), shape)


def _carry_back(graph: Graph, source: str, move: _Move, new: Sequence[Node]) -> None:
    """Spare the convolution of a permutation, if those before it can take the permutation."""
    selection, shuffle = new
    try:
        permute_channels(graph, source, selection, move.channels)
    except ConversionError:
        return
    shuffle.inputs[0] = source
    graph.nodes.remove(selection)


def _feed(graph: Graph, shuffle: Node) -> None:
    """Put a 1x1 convolution before a shuffle whose channels cannot be permuted at their source."""
    source = shuffle.inputs[0]
    channels = np.arange(graph.shape(source)[1])
    try:
        permute_channels(graph, source, shuffle, channels)
    except ConversionError:
        selection = _selection(graph, source, channels)
        graph.nodes.insert(graph.nodes.index(shuffle), selection)
        shuffle.inputs[0] = selection.output
