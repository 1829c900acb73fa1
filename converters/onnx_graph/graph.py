"""An editable view of an ONNX graph for the exact passes."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from converters.onnx_graph import native
from edgesr.common.text import printable
from edgesr.errors import ConversionError

Weight = NDArray[Any]

_DOMAINS = ("", "ai.onnx")


@dataclass(eq=False)
class Node:
    """One operator.

    Attributes:
        op: ONNX operator type.
        inputs: Names of the tensors it reads; an omitted optional input is "".
        outputs: Names of the tensors it makes.
        attributes: Its attributes as Python values.
    """

    op: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def output(self) -> str:
        """The tensor made by an operator that makes one."""
        return self.outputs[0]


class Graph:
    """An ONNX graph with static shapes, as plain lists and dictionaries.

    Nodes stay in topological order: `to_model` sorts them, keeping the given order where it may.

    Attributes:
        nodes: The operators.
        weights: Constant tensors by name; `Constant` operators are among them.
        input: Name of the one input tensor.
        output: Name of the one output tensor.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        """Read `model`, which is not changed.

        Raises:
            ConversionError: The graph has several inputs or outputs, a dynamic shape, damaged
                constants or attributes, or operators that are not standard ONNX.
        """
        graph = native.with_shapes(model).graph
        self._model = model
        self.weights: dict[str, Weight] = {
            i.name: native.tensor_value(i) for i in graph.initializer
        }
        self.nodes: list[Node] = []
        for proto in graph.node:
            self._read_node(proto)
        inputs = [i.name for i in graph.input if i.name not in self.weights]
        outputs = [o.name for o in graph.output]
        if len(inputs) != 1 or len(outputs) != 1:
            raise ConversionError(
                f"got a graph with inputs {inputs} and outputs {outputs}; allowed is one of each"
            )
        self.input, self.output = inputs[0], outputs[0]
        self._shapes = _static_shapes(graph)
        self._next_name = 0
        self._drop_identities()

    @property
    def opset(self) -> int:
        """Version of ONNX's standard operators that the graph uses."""
        return max(o.version for o in self._model.opset_import if o.domain in _DOMAINS)

    def model_of(self, nodes: Sequence[Node], source: str, result: str) -> onnx.ModelProto:
        """Extract some of the operators as a float32 model of their own.

        Args:
            nodes: The operators, in order; besides constants they read `source` alone.
            source: The input tensor.
            result: The output tensor.
        """
        used = {name for node in nodes for name in node.inputs if name in self.weights}
        ends = [
            helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, self.shape(name))
            for name in (source, result)
        ]
        graph = helper.make_graph(
            [helper.make_node(n.op, n.inputs, n.outputs, **n.attributes) for n in nodes],
            "part",
            ends[:1],
            ends[1:],
            [numpy_helper.from_array(self.weights[name], name) for name in sorted(used)],
        )
        opset = helper.make_opsetid("", self.opset)
        return helper.make_model(graph, opset_imports=[opset], ir_version=self._model.ir_version)

    def _drop_identities(self) -> None:
        """Remove the Identity operators of exporters, which would hide patterns."""
        for node in [n for n in self.nodes if n.op == "Identity"]:
            if node.inputs[0] in self.weights:
                self.weights[node.output] = self.weights[node.inputs[0]]
            elif node.output == self.output and self.producer(node.inputs[0]) is None:
                continue
            else:
                self.rename_uses(node.output, node.inputs[0])
            self.nodes.remove(node)

    def _read_node(self, proto: onnx.NodeProto) -> None:
        if proto.domain not in _DOMAINS:
            raise ConversionError(
                printable(f"operator {proto.domain}.{proto.op_type} is no standard ONNX")
            )
        with native.one_line_errors(f"operator {_shown(proto)} has a malformed attribute"):
            attributes = {a.name: helper.get_attribute_value(a) for a in proto.attribute}
        if proto.op_type == "Constant" and "value" in attributes:
            self.weights[proto.output[0]] = native.tensor_value(attributes["value"])
        else:
            node = Node(proto.op_type, list(proto.input), list(proto.output), attributes)
            self.nodes.append(node)

    def shape(self, tensor: str) -> tuple[int, ...]:
        """The static shape of a tensor, as read from the model.

        Raises:
            ConversionError: The shape is unknown or dynamic.
        """
        if tensor in self.weights:
            return self.weights[tensor].shape
        if tensor not in self._shapes:
            maker = self.producer(tensor)
            of = f" of {maker.op}" if maker else ""
            raise ConversionError(
                f"tensor {printable(tensor)}{of} has no static shape; export at a fixed size"
            )
        return self._shapes[tensor]

    def producer(self, tensor: str) -> Node | None:
        """The operator that makes `tensor`, or None for an input or a constant."""
        return next((n for n in self.nodes if tensor in n.outputs), None)

    def consumers(self, tensor: str) -> list[Node]:
        """The operators that read `tensor`."""
        return [n for n in self.nodes if tensor in n.inputs]

    def only_consumer(self, tensor: str) -> Node | None:
        """The single operator that reads `tensor`, if nothing else does, the output included."""
        readers = self.consumers(tensor)
        if tensor == self.output or len(readers) != 1 or readers[0].inputs.count(tensor) != 1:
            return None
        return readers[0]

    def fresh(self, like: str, shape: Sequence[int]) -> str:
        """Register a new tensor of the given shape and return its unused name."""
        used = set(self._shapes) | set(self.weights)
        while (name := f"{like}_{self._next_name}") in used:
            self._next_name += 1
        self._shapes[name] = tuple(shape)
        return name

    def add_weight(self, like: str, value: Weight) -> str:
        """Add a constant and return its name."""
        name = self.fresh(like, value.shape)
        self.weights[name] = np.ascontiguousarray(value)
        return name

    def rename_uses(self, old: str, new: str) -> None:
        """Make every reader of `old`, the graph's output included, read `new`."""
        for node in self.nodes:
            node.inputs = [new if name == old else name for name in node.inputs]
        if self.output == old != new:
            producer = self.producer(new)
            if producer is None:
                raise ConversionError("a graph whose output is its input cannot be rewritten")
            # The output's name is part of the contract: the new tensor gets it.
            self._forget_maker(old)
            producer.outputs = [old if name == new else name for name in producer.outputs]
            for node in self.nodes:
                node.inputs = [old if name == new else name for name in node.inputs]

    def _forget_maker(self, tensor: str) -> None:
        """Give the operator that makes `tensor` an unused output in its place."""
        for node in self.nodes:
            if tensor in node.outputs:
                unused = self.fresh("unused", self.shape(tensor))
                node.outputs = [unused if name == tensor else name for name in node.outputs]

    def remove_dead(self) -> None:
        """Drop operators and constants that nothing reads."""
        needed = {self.output}
        live: list[Node] = []
        for node in reversed(self.sorted_nodes()):
            if needed.intersection(node.outputs):
                live.append(node)
                needed.update(node.inputs)
        self.nodes = live[::-1]
        self.weights = {name: value for name, value in self.weights.items() if name in needed}

    def sorted_nodes(self) -> list[Node]:
        """The operators, each as early as its inputs and its list position allow.

        Raises:
            ConversionError: The graph has a cycle, or reads a tensor that nothing makes.
        """
        known = {self.input, "", *self.weights}
        left, result = list(self.nodes), list[Node]()
        while left:
            ready = next((n for n in left if known.issuperset(n.inputs)), None)
            if ready is None:
                raise ConversionError(
                    f"operators {[n.op for n in left]} form a cycle, or read a tensor that no "
                    "operator makes"
                )
            left.remove(ready)
            result.append(ready)
            known.update(ready.outputs)
        return result

    def to_model(self) -> onnx.ModelProto:
        """Build a checked ONNX model with the same opset, input and output."""
        self.remove_dead()
        model = copy.deepcopy(self._model)
        graph = model.graph
        for repeated in (graph.node, graph.initializer, graph.value_info):
            del repeated[:]
        for node in self.sorted_nodes():
            name = f"{node.op}:{node.output}"
            graph.node.append(
                helper.make_node(node.op, node.inputs, node.outputs, name, **node.attributes)
            )
        graph.initializer.extend(numpy_helper.from_array(w, n) for n, w in self.weights.items())
        native.check(model)
        return model


def _shown(proto: onnx.NodeProto) -> str:
    """Type and name of an operator, for messages."""
    return printable(f"{proto.op_type} {proto.name or next(iter(proto.output), '')}".strip())


def _static_shapes(graph: onnx.GraphProto) -> dict[str, tuple[int, ...]]:
    """Every tensor whose dimensions are all known."""
    shapes: dict[str, tuple[int, ...]] = {}
    for info in [*graph.input, *graph.output, *graph.value_info]:
        dims = info.type.tensor_type.shape.dim
        if all(d.HasField("dim_value") for d in dims):
            shapes[info.name] = tuple(d.dim_value for d in dims)
    return shapes
