"""depth_to_space: turn PixelShuffle into TFLite's DEPTH_TO_SPACE, at no cost.

Why it is exact. PixelShuffle reads output channel c of sub-pixel (i, j) from channel
c b^2 + i b + j (ONNX: DepthToSpace in CRD order); TFLite's DEPTH_TO_SPACE reads it from
(i b + j) C + c (DCR order). The two differ by a permutation of the channels, and permuting the
output channels of the convolution that makes them is permuting the rows of its weights. Operators
between the two that treat every channel alike leave the permutation as it is.
"""

import numpy as np
import onnx

from converters.onnx_graph.graph import Graph, Node, Weight
from converters.passes.convolution import Conv, need_conv, set_conv
from edgesr.errors import ConversionError

NAME = "depth_to_space"

# Operators of one input that treat every channel alike.
_CHANNELWISE = {
    "Clip", "Gelu", "HardSwish", "Identity", "LeakyRelu", "Relu", "Sigmoid", "Tanh",
}  # fmt: skip


def depth_to_space(model: onnx.ModelProto) -> onnx.ModelProto:
    """Turn every DepthToSpace of mode CRD into mode DCR.

    Raises:
        ConversionError: The permutation cannot be moved into convolutions that nothing else reads.
    """
    graph = Graph(model)
    for node in graph.nodes:
        if node.op == "DepthToSpace" and node.attributes.get("mode", b"DCR") == b"CRD":
            block = int(node.attributes["blocksize"])
            order = crd_to_dcr(graph.shape(node.inputs[0])[1], block)
            permute_channels(graph, node.inputs[0], node, order)
            node.attributes["mode"] = b"DCR"
    return graph.to_model()


def crd_to_dcr(channels: int, block: int) -> Weight:
    """Channel in CRD order for each channel in DCR order."""
    return np.arange(channels).reshape(channels // block**2, block**2).T.reshape(-1)


def permute_channels(graph: Graph, tensor: str, reader: Node, order: Weight) -> None:
    """Permute the channels of `tensor` in the convolutions that make it.

    Args:
        graph: The graph; unchanged if an error is raised.
        tensor: Its name.
        reader: The one operator that may read it.
        order: For each new channel the old one.

    Raises:
        ConversionError: The permutation cannot be moved into convolutions that nothing else reads.
    """
    for conv in _sources(graph, tensor, reader):
        set_conv(graph, conv, conv.kernel[order], conv.bias[order])


def _sources(graph: Graph, tensor: str, reader: Node) -> list[Conv]:
    """The convolutions whose sum, through operators that treat channels alike, is `tensor`."""
    if graph.only_consumer(tensor) is not reader:
        raise ConversionError(
            f"the input of {reader.op} is read by other operators too, so its channels cannot be "
            "permuted for TFLite's DEPTH_TO_SPACE; give PixelShuffle a convolution of its own"
        )
    producer = graph.producer(tensor)
    if producer is not None and producer.op in _CHANNELWISE:
        return _sources(graph, producer.inputs[0], producer)
    if producer is not None and producer.op == "Add" and _same_shapes(graph, producer):
        return [conv for name in producer.inputs for conv in _sources(graph, name, producer)]
    conv = need_conv(graph, producer, "PixelShuffle needs a convolution before it")
    if conv.group != 1:
        raise ConversionError("PixelShuffle behind a grouped convolution is not supported")
    return [conv]


def _same_shapes(graph: Graph, add: Node) -> bool:
    return graph.shape(add.inputs[0]) == graph.shape(add.inputs[1])
