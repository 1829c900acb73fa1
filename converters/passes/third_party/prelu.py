"""prelu: write every PReLU in the form that the GPU delegate accepts.

Why it is exact. One slope for all channels that lies between 0 and 1 is LeakyReLU; a slope of 0 is
ReLU. Any other slope that is the same at every pixel is written out once per channel, as a tensor
of the image's rank: onnx2tf reads [C, 1, 1] as rows where the image has C of them.

Why it is needed. The GPU delegate accepts PRELU with one slope per channel and no other number: one
slope for all, as torch's `nn.PReLU()` has it, is refused.
"""

import numpy as np
import onnx

from converters.onnx_graph.graph import Graph, Node

NAME = "prelu"


def prelu(model: onnx.ModelProto) -> onnx.ModelProto:
    """Rewrite every PReLU whose slopes are equal at every pixel."""
    graph = Graph(model)
    for node in graph.nodes:
        if node.op == "PRelu" and node.inputs[1] in graph.weights:
            _rewrite(graph, node)
    return graph.to_model()


def _rewrite(graph: Graph, node: Node) -> None:
    shape = graph.shape(node.inputs[0])
    slopes = graph.weights[node.inputs[1]]
    # Slopes are laid out from the last dimension: [C, 1, 1] is one per channel.
    aligned = slopes.reshape((1,) * (len(shape) - slopes.ndim) + slopes.shape)
    if len(shape) != 4 or aligned.shape[2:] != (1, 1):
        return
    first = float(aligned.reshape(-1)[0])
    if 0 <= first <= 1 and bool((aligned == first).all()):
        node.op, node.inputs = ("Relu" if first == 0 else "LeakyRelu"), node.inputs[:1]
        node.attributes = {"alpha": first} if first else {}
        return
    per_channel = np.broadcast_to(aligned, (1, shape[1], 1, 1))
    node.inputs = [node.inputs[0], graph.add_weight("slopes", per_channel)]
