"""channels_last: compute in NCHW what a network computes with the channels last.

Layer norms and linear layers want the channels last, so networks transpose an image, apply them,
and transpose it back. Every operator between the two transposes is written anew for the layout
before them: a linear layer as a 1x1 convolution, a layer norm over the last axis as means over the
channels.

Why it is exact. A pointwise operator computes the same in any layout; the others get the same axis
under its new number. A layer norm is written out as it is defined.

Why it is needed. onnx2tf writes a layer norm such that two constants meet, which the GPU delegate
refuses, and it keeps transposes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx

from converters.onnx_graph.graph import Graph, Node
from converters.onnx_graph.receptive_field import POINTWISE
from converters.passes.convolution import make_conv

NAME = "channels_last"

_TO_LAST, _TO_FIRST = [0, 2, 3, 1], [0, 3, 1, 2]
# For each axis of a tensor with the channels last, its number in NCHW.
_AXES = (0, 2, 3, 1)
_WITH_AXIS = {"Concat", "Split", "Softmax"}
# The first version of ONNX's operators whose ReduceMean reads its axes as an input.
_AXES_AS_INPUT = 18


def channels_last(model: onnx.ModelProto) -> onnx.ModelProto:
    """Write operators between a transpose to NHWC and one back in NCHW."""
    if not any(node.op_type == "Transpose" for node in model.graph.node):
        return model
    graph = Graph(model)
    region = _Region(graph)
    for node in graph.sorted_nodes():
        region.follow(node)
    region.close()
    return graph.to_model()


@dataclass
class _Region:
    """The operators between transposes.

    Attributes:
        graph: The graph that is rewritten.
        nchw: For each tensor with the channels last, the same in NCHW.
        made: Operators that were written anew; the output of each of the old ones is in `nchw`.
        ends: The transposes back.
        convs: The convolutions in place of linear layers, by their output.
    """

    graph: Graph
    nchw: dict[str, str] = field(default_factory=dict[str, str])
    made: list[Node] = field(default_factory=list[Node])
    ends: list[Node] = field(default_factory=list[Node])
    convs: dict[str, Node] = field(default_factory=dict[str, Node])

    def follow(self, node: Node) -> None:
        """Write an operator in NCHW, if it reads tensors with the channels last alone."""
        graph = self.graph
        runtime = [name for name in node.inputs if name and name not in graph.weights]
        order = list(node.attributes.get("perm", []))
        if node.op == "Transpose" and order == _TO_LAST:
            self.nchw[node.output] = node.inputs[0]
        elif not runtime or not all(name in self.nchw for name in runtime):
            return
        elif node.op == "Transpose" and order == _TO_FIRST:
            self.ends.append(node)
        elif node.op == "Reshape" and self._is_flattening(node):
            self.nchw[node.output] = self.nchw[node.inputs[0]]
        elif node.op == "Gemm":
            conv = self._gemm(node)
            if conv is not None:
                graph.nodes.insert(graph.nodes.index(node) + 1, conv)
        elif all(len(graph.shape(name)) == 4 for name in (*runtime, *node.outputs)):
            new = self._written(node)
            if new is None:
                return
            position = graph.nodes.index(node)
            graph.nodes[position + 1 : position + 1] = new
            self.made.append(node)

    def close(self) -> None:
        """Let everything else read the new tensors."""
        graph = self.graph
        for node in self.made:
            for tensor in node.outputs:
                readers = [
                    n for n in graph.consumers(tensor) if n not in self.made and n not in self.ends
                ]
                if readers or tensor == graph.output:
                    self._transpose_back(tensor, readers)
        # The graph's output gets its name last: no other name then changes.
        for node in sorted(self.ends, key=lambda n: n.output == graph.output):
            source = self.nchw[node.inputs[0]]
            if source != graph.input or node.output != graph.output:
                graph.rename_uses(node.output, source)
        graph.remove_dead()

    def _transpose_back(self, tensor: str, readers: Sequence[Node]) -> None:
        """Give readers that stay as they are the tensor with the channels last."""
        graph = self.graph
        if tensor == graph.output:
            return  # the old operators stay
        name = graph.fresh("channels_last", graph.shape(tensor))
        node = Node("Transpose", [self.nchw[tensor]], [name], {"perm": _TO_LAST})
        graph.nodes.insert(min(map(graph.nodes.index, readers)), node)
        for reader in readers:
            reader.inputs = [name if n == tensor else n for n in reader.inputs]

    def _written(self, node: Node) -> list[Node] | None:
        """The operators that compute the same in NCHW; None if it is not known how."""
        if node.op == "LayerNormalization":
            return self._layer_norm(node)
        if node.op == "MatMul":
            return self._linear(node)
        if node.op == "ReduceMean":
            return self._mean(node)
        if node.op in _WITH_AXIS and not (node.op == "Softmax" and self.graph.opset < 13):
            default = -1 if node.op == "Softmax" else 0
            axis = _AXES[int(node.attributes.get("axis", default)) % 4]
            weights = node.op == "Split"  # its sizes
            return self._copy(node, {**node.attributes, "axis": axis}, keep_weights=weights)
        if node.op not in POINTWISE:
            return None
        if node.op == "Add" and self._into_bias(node):
            return []
        return self._copy(node, node.attributes)

    def _copy(
        self, node: Node, attributes: dict[str, object], *, keep_weights: bool = False
    ) -> list[Node]:
        inputs = [
            self.nchw.get(n) or (n if keep_weights or not n else self._weight(n))
            for n in node.inputs
        ]
        new = Node(node.op, inputs, [self._fresh(name) for name in node.outputs], dict(attributes))
        return [new]

    def _fresh(self, tensor: str) -> str:
        """A new tensor for one with the channels last."""
        name = self.graph.fresh("nchw", _nchw(self.graph.shape(tensor)))
        self.nchw[tensor] = name
        return name

    def _weight(self, name: str) -> str:
        """A constant operand in NCHW."""
        value = self.graph.weights[name]
        if value.size == 1:
            return name
        aligned = value.reshape((1,) * (4 - value.ndim) + value.shape)
        return self.graph.add_weight(name, aligned.transpose(_TO_FIRST))

    def _into_bias(self, node: Node) -> bool:
        """Fold the sum of a linear layer's result and a vector into its bias."""
        graph = self.graph
        computed = [n for n in node.inputs if n not in graph.weights]
        if len(computed) != 1:
            return False
        (runtime,), (constant,) = computed, [n for n in node.inputs if n in graph.weights]
        conv = self.convs.get(self.nchw[runtime])
        if conv is None or graph.only_consumer(runtime) is not node:
            return False
        channels = graph.shape(runtime)[-1]
        value = graph.weights[constant]
        if value.size not in (1, channels) or value.shape[-1:] not in ((), (1,), (channels,)):
            return False
        bias = np.broadcast_to(value.reshape(-1), (channels,))
        conv.inputs[2] = graph.add_weight("bias", graph.weights[conv.inputs[2]] + bias)
        self.nchw[node.output] = conv.output
        return True

    def _linear(self, node: Node) -> list[Node] | None:
        graph = self.graph
        matrix = graph.weights.get(node.inputs[1])
        if node.inputs[0] not in self.nchw or matrix is None or matrix.ndim != 2:
            return None
        kernel = matrix.T[:, :, np.newaxis, np.newaxis]
        bias = np.zeros(len(kernel), kernel.dtype)
        shape = _nchw(graph.shape(node.output))
        conv = make_conv(graph, self.nchw[node.inputs[0]], kernel, bias, shape)
        self.nchw[node.output] = conv.output
        self.convs[conv.output] = conv
        return [conv]

    def _is_flattening(self, node: Node) -> bool:
        """Whether a Reshape makes a list of pixels of an image, or an image of such a list.

        onnxruntime puts these around a linear layer with a bias. They stay, for other readers.
        """
        _, _, height, width = self.graph.shape(self.nchw[node.inputs[0]])
        before, after = (self.graph.shape(name) for name in (node.inputs[0], node.output))
        image, pixels = (1, height, width, before[-1]), (height * width, before[-1])
        return {before, after} == {image, pixels}

    def _gemm(self, node: Node) -> Node | None:
        """A linear layer on a list of pixels, as a convolution of the image."""
        graph = self.graph
        plain = {"alpha": 1.0, "beta": 1.0, "transA": 0}
        matrix = graph.weights.get(node.inputs[1])
        vector = graph.weights.get(node.inputs[2]) if len(node.inputs) > 2 else np.zeros(1, "f4")
        if any(node.attributes.get(name, number) != number for name, number in plain.items()) or (
            node.inputs[0] not in self.nchw or matrix is None or vector is None
        ):
            return None
        kernel = matrix if node.attributes.get("transB", 0) else matrix.T
        if vector.size not in (1, len(kernel)) or vector.shape[-1:] not in ((1,), (len(kernel),)):
            return None
        bias = np.broadcast_to(vector.reshape(-1), (len(kernel),)).astype(kernel.dtype)
        source = self.nchw[node.inputs[0]]
        shape = (1, len(kernel), *graph.shape(source)[2:])
        conv = make_conv(graph, source, kernel[:, :, np.newaxis, np.newaxis], bias, shape)
        self.nchw[node.output] = conv.output
        return conv

    def _mean(self, node: Node) -> list[Node] | None:
        given = node.attributes.get("axes")
        if given is None and len(node.inputs) > 1 and node.inputs[1] in self.graph.weights:
            given = self.graph.weights[node.inputs[1]].reshape(-1)
        if given is None or node.attributes.get("keepdims", 1) != 1:
            return None
        axes = sorted(_AXES[int(axis) % 4] for axis in given)
        return [self._reduced(self.nchw[node.inputs[0]], axes, self._fresh(node.output))]

    def _reduced(self, source: str, axes: Sequence[int], output: str) -> Node:
        if self.graph.opset >= _AXES_AS_INPUT:
            names = [self.graph.add_weight("axes", np.array(axes, np.int64))]
            return Node("ReduceMean", [source, *names], [output], {"keepdims": 1})
        return Node("ReduceMean", [source], [output], {"axes": list(axes), "keepdims": 1})

    def _layer_norm(self, node: Node) -> list[Node] | None:
        graph = self.graph
        if int(node.attributes.get("axis", -1)) % 4 != 3 or any(node.outputs[1:]):
            return None
        whole = _nchw(graph.shape(node.output))
        single = (1, 1, *whole[2:])
        epsilon = np.array(node.attributes.get("epsilon", 1e-5), np.float32)
        steps: list[Node] = []

        def step(op: str, *inputs: str, shape: tuple[int, ...] = whole) -> str:
            output = graph.fresh("norm", shape)
            mean = op == "ReduceMean"
            steps.append(
                self._reduced(inputs[0], [1], output) if mean else Node(op, [*inputs], [output])
            )
            return output

        source = self.nchw[node.inputs[0]]
        centred = step("Sub", source, step("ReduceMean", source, shape=single))
        variance = step("ReduceMean", step("Mul", centred, centred), shape=single)
        safe = step("Add", variance, graph.add_weight("epsilon", epsilon), shape=single)
        result = step("Div", centred, step("Sqrt", safe, shape=single))
        for op, name in zip(("Mul", "Add"), [n for n in node.inputs[1:] if n], strict=False):
            result = step(op, result, self._weight(name))
        self.nchw[node.output] = result
        return steps


def _nchw(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of a tensor with the channels last, in NCHW."""
    return tuple(shape[axis] for axis in _TO_FIRST)
