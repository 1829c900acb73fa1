"""Analysis of a third-party network's graph: what fits one image size only."""

from converters.onnx_graph.graph import Graph, Node
from converters.onnx_graph.receptive_field import (
    POINTWISE,
    is_along_channels,
    is_plain_transposed,
)

_FREE = {
    "Conv", "MaxPool", "GlobalAveragePool", "GlobalMaxPool", "DepthToSpace", "SpaceToDepth",
}  # fmt: skip


def size_bound(graph: Graph) -> Node | None:
    """The first operator that fits one image size only, if any."""
    return next((node for node in graph.nodes if not _is_free(graph, node)), None)


def _is_free(graph: Graph, node: Node) -> bool:
    """Whether an operator computes the same per pixel at another image size."""
    if node.op in POINTWISE:
        return all(_is_flat(graph, name) for name in node.inputs)
    if node.op in _FREE:
        return True
    if node.op == "AveragePool":
        # A window as large as the image is a global mean.
        window, size = node.attributes["kernel_shape"], graph.shape(node.inputs[0])[2:]
        return all(a < b for a, b in zip(window, size, strict=True))
    if node.op == "ReduceMean":
        return node.attributes.get("keepdims", 1) == 1
    if node.op == "Resize":
        return len(node.inputs) < 4 or not node.inputs[3]
    if node.op == "ConvTranspose":
        return is_plain_transposed(graph, node)
    return is_along_channels(graph, node)


def _is_flat(graph: Graph, tensor: str) -> bool:
    """Whether a tensor is computed, or a constant equal at every pixel."""
    return tensor not in graph.weights or all(n == 1 for n in graph.weights[tensor].shape[-2:])
