"""Reading, editing and creating ONNX convolutions, for the passes."""

from dataclasses import dataclass

import numpy as np

from converters.onnx_graph.graph import Graph, Node, Weight
from edgesr.errors import ConversionError


@dataclass(frozen=True)
class Conv:
    """A convolution with constant weights, read out of a graph.

    Attributes:
        node: The operator.
        source: The tensor it reads, N x I x H x W.
        kernel: Its weights, O x I/group x kernel height x kernel width (OIHW).
        bias: Its bias, O; zeros if the operator has none.
    """

    node: Node
    source: str
    kernel: Weight
    bias: Weight

    @property
    def size(self) -> tuple[int, int]:
        """Kernel height and width."""
        return self.kernel.shape[2], self.kernel.shape[3]

    @property
    def group(self) -> int:
        """Number of groups."""
        return int(self.node.attributes.get("group", 1))

    @property
    def is_pointwise(self) -> bool:
        """Whether it is a dense 1x1 with stride 1 and no padding."""
        return self.size == (1, 1) and self.is_same and self.group == 1

    @property
    def is_same(self) -> bool:
        """Whether stride and dilation are 1 and zero padding keeps the size."""
        attributes = self.node.attributes
        height, width = self.size
        around = [height // 2, width // 2]
        return (
            height % 2 == 1
            and width % 2 == 1
            and list(attributes.get("strides", [1, 1])) == [1, 1]
            and list(attributes.get("dilations", [1, 1])) == [1, 1]
            and list(attributes.get("pads", [0, 0, 0, 0])) == around * 2
            and attributes.get("auto_pad", b"NOTSET") == b"NOTSET"
        )


def read_conv(graph: Graph, node: Node | None) -> Conv | None:
    """Read `node` as a convolution over height and width with constant weights, if it is one."""
    if node is None or node.op != "Conv" or node.inputs[1] not in graph.weights:
        return None
    kernel = graph.weights[node.inputs[1]]
    if kernel.ndim != 4:
        return None  # over one or three dimensions
    has_bias = len(node.inputs) > 2 and node.inputs[2]
    if has_bias and node.inputs[2] not in graph.weights:
        return None
    bias = graph.weights[node.inputs[2]] if has_bias else np.zeros(len(kernel), kernel.dtype)
    return Conv(node, node.inputs[0], kernel, bias)


def need_conv(graph: Graph, node: Node | None, why: str) -> Conv:
    """Read `node` as a convolution with constant weights.

    Args:
        graph: The graph.
        node: The operator; None where there is none.
        why: What requires a convolution, for the message.

    Raises:
        ConversionError: It is not one.
    """
    conv = read_conv(graph, node)
    if conv is None:
        found = "nothing" if node is None else node.op
        raise ConversionError(f"{why}: got {found}, allowed a Conv with constant weights")
    return conv


def output_conv(graph: Graph) -> Conv | None:
    """The convolution that makes the output, shuffled or not, if one does.

    A tensor that is shuffled into the output may have no other reader.
    """
    producer = graph.producer(graph.output)
    if producer is not None and producer.op == "DepthToSpace":
        if graph.only_consumer(producer.inputs[0]) is not producer:
            return None
        producer = graph.producer(producer.inputs[0])
    return read_conv(graph, producer)


def set_conv(graph: Graph, conv: Conv, kernel: Weight, bias: Weight) -> None:
    """Replace a convolution's weights and bias, keeping their type.

    The number of channels may change.
    The bias is written out even where it is zero: TFLite's convolution requires one.
    """
    like = conv.node.inputs[1]
    dtype = conv.kernel.dtype
    names = [
        graph.add_weight(like, kernel.astype(dtype)),
        graph.add_weight(like, bias.astype(dtype)),
    ]
    conv.node.inputs = [conv.node.inputs[0], *names]


def make_conv(
    graph: Graph, source: str, kernel: Weight, bias: Weight, shape: tuple[int, ...]
) -> Node:
    """Create a dense stride-1 convolution with size-keeping zero padding.

    It is not inserted into the graph.

    Args:
        graph: The graph for which it is created.
        source: The tensor it reads.
        kernel: Weights, OIHW, odd sizes.
        bias: Bias, O.
        shape: Shape of its output, NCHW.
    """
    height, width = kernel.shape[2:]
    around = [height // 2, width // 2]
    node = Node(
        "Conv",
        [source, graph.add_weight("kernel", kernel), graph.add_weight("bias", bias)],
        [graph.fresh("conv", shape)],
        {"kernel_shape": [height, width], "pads": around * 2, "strides": [1, 1], "group": 1},
    )
    return node
