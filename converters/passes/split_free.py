"""split_free: remove Splits, and cuts through 4-channel slices, around convolutions.

Why it is exact. A convolution is linear in its input channels. One that reads a slice of a tensor
equals one that reads the whole tensor with zero weights for the channels outside the slice. One
that reads a Concat of parts equals the sum of convolutions, each over one part with that part's
weights; the bias goes to one of them. Two parts of the same tensor share one convolution.

Why it is needed. Cutting 12 channels into 3 and 9 repacks every 4-channel slice of a mobile GPU's
tensors, and onnx2tf turns a Split into an operator that the GPU delegate refuses; it accepts a
Slice. A 1x1 convolution over six tensors of 64 channels needs no tensor of 384, which would be a
texture of 69,120 rows for an image of 720; a sum needs no such tensor, and frees each one early.

A cut between 4-channel slices stays, as a Slice: it is a plain copy, while zero weights in its
place are arithmetic (of IMDN's 64 channels 48 go on: a third more in each 3x3). The challenge's
baseline took 0.82 of the time so (180x160, one busy x86-64 core, LiteRT 2.3.0, medians of 14
interleaved rounds).
"""

from dataclasses import dataclass

import numpy as np
import onnx

from converters.onnx_graph.graph import Graph, Node, Weight
from converters.passes.convolution import Conv, make_conv, read_conv, set_conv
from converters.passes.linear_chains import SLICE

NAME = "split_free"


@dataclass(frozen=True)
class _Part:
    """A range of channels of a tensor."""

    tensor: str
    start: int
    channels: int

    @property
    def is_aligned(self) -> bool:
        """Whether it begins and ends at a 4-channel slice of a GPU's tensor."""
        return self.start % SLICE == 0 and self.channels % SLICE == 0


def split_free(model: onnx.ModelProto, *, sums: bool = True) -> onnx.ModelProto:
    """Make convolutions read whole tensors, and turn other Splits into Slices.

    Args:
        model: The graph.
        sums: Whether a convolution over a Concat of parts becomes a sum of convolutions. Integers
            cannot afford it, as every term is rounded to 8 bits: there the convolution reads a
            Concat of the whole tensors.
    """
    graph = Graph(model)
    slices = _channel_slices(graph)
    for node in list(graph.nodes):
        conv = read_conv(graph, node)
        if conv is None or conv.group != 1:
            continue
        concat = graph.producer(conv.source)
        if conv.source in slices:
            if not slices[conv.source].is_aligned:
                _read_whole(graph, conv, slices[conv.source])
        elif conv.is_same and concat is not None and _is_channel_concat(graph, concat):
            parts = [slices.get(name, _whole(graph, name)) for name in concat.inputs]
            sliced = [slices[name] for name in concat.inputs if name in slices]
            cuts_through = any(not part.is_aligned for part in sliced)
            if sums and (cuts_through or (conv.is_pointwise and not sliced)):
                _sum_of_convs(graph, conv, parts)
            elif cuts_through:
                _whole_concat(graph, conv, concat, parts)
    _splits_to_slices(graph)
    return graph.to_model()


def _splits_to_slices(graph: Graph) -> None:
    for node in [n for n in graph.nodes if n.op == "Split" and _axis(graph, n) == 1]:
        position = graph.nodes.index(node)
        start, new = 0, list[Node]()
        for output in node.outputs:
            end = start + graph.shape(output)[1]
            bounds = [graph.add_weight("bound", np.array([at], np.int64)) for at in (start, end, 1)]
            if graph.consumers(output) or output == graph.output:
                new.append(Node("Slice", [node.inputs[0], *bounds], [output]))
            start = end
        graph.nodes[position : position + 1] = new


def _whole(graph: Graph, tensor: str) -> _Part:
    return _Part(tensor, 0, graph.shape(tensor)[1])


def _channel_slices(graph: Graph) -> dict[str, _Part]:
    """Every tensor that is a range of another's channels, by name."""
    slices: dict[str, _Part] = {}
    for node in graph.nodes:
        if node.op == "Split" and _axis(graph, node) == 1:
            start = 0
            for output in node.outputs:
                channels = graph.shape(output)[1]
                slices[output] = _Part(node.inputs[0], start, channels)
                start += channels
        elif node.op == "Slice" and (part := _channel_slice(graph, node)) is not None:
            slices[node.output] = part
    return {name: _trace(part, slices) for name, part in slices.items()}


def _trace(part: _Part, slices: dict[str, _Part]) -> _Part:
    """Resolve a slice of a slice to a slice of the first tensor."""
    while part.tensor in slices:
        outer = slices[part.tensor]
        part = _Part(outer.tensor, outer.start + part.start, part.channels)
    return part


def _channel_slice(graph: Graph, node: Node) -> _Part | None:
    """Read a Slice with constant bounds along the channels and step 1."""
    constants = [graph.weights.get(name) for name in node.inputs[1:]]
    if len(constants) < 3 or any(c is None or c.size != 1 for c in constants):
        return None
    start, _, axis, *step = [int(c.reshape(-1)[0]) for c in constants if c is not None]
    if axis != 1 or step not in ([], [1]):
        return None
    total = graph.shape(node.inputs[0])[1]
    return _Part(node.inputs[0], start % total, graph.shape(node.output)[1])


def _axis(graph: Graph, node: Node) -> int:
    return int(node.attributes.get("axis", 0)) % len(graph.shape(node.outputs[0]))


def _is_channel_concat(graph: Graph, node: Node) -> bool:
    return node.op == "Concat" and _axis(graph, node) == 1


def _embed(kernel: Weight, part: _Part, channels: int) -> Weight:
    """Extend a kernel over a part to the whole tensor by zeros."""
    whole = np.zeros((kernel.shape[0], channels, *kernel.shape[2:]), kernel.dtype)
    whole[:, part.start : part.start + part.channels] = kernel
    return whole


def _read_whole(graph: Graph, conv: Conv, part: _Part) -> None:
    channels = graph.shape(part.tensor)[1]
    set_conv(graph, conv, _embed(conv.kernel, part, channels), conv.bias)
    conv.node.inputs[0] = part.tensor


def _kernels_by_tensor(graph: Graph, kernel: Weight, parts: list[_Part]) -> dict[str, Weight]:
    """Split a kernel over a Concat into one per distinct tensor."""
    kernels: dict[str, Weight] = {}
    start = 0
    for part in parts:
        piece = kernel[:, start : start + part.channels]
        embedded = _embed(piece, part, graph.shape(part.tensor)[1])
        kernels[part.tensor] = kernels.get(part.tensor, np.zeros_like(embedded)) + embedded
        start += part.channels
    return kernels


def _sum_of_convs(graph: Graph, conv: Conv, parts: list[_Part]) -> None:
    """Replace a convolution over a Concat by a sum.

    Each term stands near the tensor that it reads.
    """
    shape = graph.shape(conv.node.output)
    bias, total = conv.bias, ""
    for tensor, kernel in _kernels_by_tensor(graph, conv.kernel, parts).items():
        term = make_conv(graph, tensor, kernel, bias, shape)
        bias = np.zeros_like(conv.bias)
        new = [term]
        if total:
            new.append(Node("Add", [total, term.output], [graph.fresh("sum", shape)]))
        total = new[-1].output
        _insert_after(graph, tensor, new)
    graph.rename_uses(conv.node.output, total)
    graph.nodes.remove(conv.node)


def _whole_concat(graph: Graph, conv: Conv, concat: Node, parts: list[_Part]) -> None:
    """Let a convolution over a Concat of parts read a Concat of the whole tensors."""
    kernels = _kernels_by_tensor(graph, conv.kernel, parts)
    kernel = np.concatenate(list(kernels.values()), axis=1)
    batch, _, *sides = graph.shape(concat.output)
    joined = graph.fresh("joined", (batch, kernel.shape[1], *sides))
    position = graph.nodes.index(conv.node)
    graph.nodes.insert(position, Node("Concat", list(kernels), [joined], {"axis": 1}))
    set_conv(graph, conv, kernel, conv.bias)
    conv.node.inputs[0] = joined


def _insert_after(graph: Graph, tensor: str, new: list[Node]) -> None:
    """Insert operators right behind `tensor`, so that memory is freed early."""
    producer = graph.producer(tensor)
    position = 0 if producer is None else graph.nodes.index(producer) + 1
    graph.nodes[position:position] = new
