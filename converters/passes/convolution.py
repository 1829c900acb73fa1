"""What the passes need to know of an ONNX convolution."""

from dataclasses import dataclass

import numpy as np

from converters.graph import Graph, Node, Weight
from edgesr.errors import ConversionError


@dataclass(frozen=True)
class Conv:
    """A convolution with constant weights, read out of a graph.

    Attributes:
        node: The operator.
        source: The tensor it reads, N x I x H x W.
        kernel: Its weights, O x I/group x kernel height x kernel width (OIHW).
        bias: Its bias, O; zeros where the operator has none.
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
    """`node` as a convolution with constant weights, or None if it is none."""
    if node is None or node.op != "Conv" or node.inputs[1] not in graph.weights:
        return None
    kernel = graph.weights[node.inputs[1]]
    has_bias = len(node.inputs) > 2 and node.inputs[2]
    if has_bias and node.inputs[2] not in graph.weights:
        return None
    bias = graph.weights[node.inputs[2]] if has_bias else np.zeros(len(kernel), kernel.dtype)
    return Conv(node, node.inputs[0], kernel, bias)


def need_conv(graph: Graph, node: Node | None, why: str) -> Conv:
    """`node` as a convolution.

    Raises:
        ConversionError: It is none; `why` says what needs one.
    """
    conv = read_conv(graph, node)
    if conv is None:
        found = "nothing" if node is None else node.op
        raise ConversionError(f"{why}: got {found}, allowed a Conv with constant weights")
    return conv


def set_conv(graph: Graph, conv: Conv, kernel: Weight, bias: Weight) -> None:
    """Give a convolution new weights of any number of channels, in the old ones' type.

    The bias is written out even where it is zero: TFLite's convolution wants one.
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
    """A new dense stride-1 convolution with size-keeping zero padding; not yet in the graph.

    Args:
        graph: The graph that will hold it.
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
