"""Cost of an ONNX file or a `.tflite`, counted over its graph."""

import math
from typing import TYPE_CHECKING

from converters.gpu.audit import Audit, OperatorFacts
from edgesr.evaluation.complexity import Complexity, Kind, Layer, Peak, count, peak_activations

if TYPE_CHECKING:
    import onnx

    from converters.onnx_graph.graph import Graph, Node

_ONNX_CONVOLUTIONS = ("Conv", "ConvTranspose")
_ONNX_MATRIX_PRODUCTS = ("Gemm", "MatMul")
_ONNX_RECTIFIERS = ("Relu", "LeakyRelu", "PRelu", "Elu")
# Operators whose constants are parameters; those of others are sizes, axes and factors.
_ONNX_HOLDERS = (
    *_ONNX_CONVOLUTIONS,
    *_ONNX_MATRIX_PRODUCTS,
    "PRelu",
    "BatchNormalization",
    "InstanceNormalization",
)
_TFLITE_CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV")
_TFLITE_RECTIFIERS = ("RELU", "RELU6", "RELU_N1_TO_1", "LEAKY_RELU", "PRELU", "ELU")
# An operator that only widens FP16 constants is no layer.
_TFLITE_CASTS = ("DEQUANTIZE",)
_FLOAT32_BYTES = 4


def sized_graph(model: "onnx.ModelProto", height: int, width: int) -> "Graph":
    """The graph of an ONNX model at one size.

    It is the file's own graph if its shapes can be inferred. Where they cannot, because a shape is
    computed at run time, the graph is cleaned first (converters/passes/clean.py): what depends on
    sizes alone is then a number.

    Raises:
        ConversionError: onnxruntime cannot load the graph at this size, or it has operators that
            are no standard ONNX.
    """
    from converters.onnx_graph import native
    from converters.onnx_graph.export import INPUT_NAME, OUTPUT_NAME
    from converters.onnx_graph.graph import Graph
    from converters.passes.clean import clean, with_size
    from edgesr.errors import ConversionError

    try:
        sized = with_size(model, height, width)
        native.check(sized)
        graph = Graph(sized)
        for name in (name for node in graph.nodes for name in node.outputs if name):
            graph.shape(name)
        return graph
    except ConversionError:
        return Graph(clean(model, height, width, INPUT_NAME, OUTPUT_NAME))


def onnx_complexity(graph: "Graph") -> Complexity:
    """Count an ONNX graph, every operator with float32 tensors of its own."""
    layers = [_onnx_layer(graph, node) for node in graph.sorted_nodes()]
    names = {name for layer in layers for name in (*layer.inputs, *layer.outputs)}
    sizes = {name: _FLOAT32_BYTES * math.prod(graph.shape(name)) for name in names}
    used = {name for node in graph.nodes for name in node.inputs if name in graph.weights}
    return count(
        layers,
        parameters=sum(layer.parameters for layer in layers),
        weight_bytes=sum(graph.weights[name].nbytes for name in used),
        peak=peak_activations(layers, sizes, graph.input, graph.output),
    )


def _onnx_layer(graph: "Graph", node: "Node") -> Layer:
    weights = [graph.weights[name] for name in node.inputs if name in graph.weights]
    return Layer(
        name=node.output,
        op=node.op,
        kind=_kind(node.op, _ONNX_CONVOLUTIONS, _ONNX_RECTIFIERS),
        shape=graph.shape(node.output),
        parameters=sum(w.size for w in weights) if node.op in _ONNX_HOLDERS else 0,
        macs=_onnx_macs(graph, node),
        inputs=tuple(name for name in node.inputs if name and name not in graph.weights),
        outputs=tuple(name for name in node.outputs if name),
    )


def _onnx_macs(graph: "Graph", node: "Node") -> int:
    if node.op in _ONNX_CONVOLUTIONS:
        fed = node.inputs[0] if node.op == "ConvTranspose" else node.output
        return math.prod(graph.shape(fed)) * math.prod(graph.shape(node.inputs[1])[1:])
    if node.op in _ONNX_MATRIX_PRODUCTS:
        turned = node.op == "Gemm" and node.attributes.get("transA", 0)
        inner = graph.shape(node.inputs[0])[0 if turned else -1]
        return math.prod(graph.shape(node.output)) * inner
    return 0


def tflite_complexity(found: Audit) -> Complexity:
    """Count a `.tflite` by its audit.

    The passes have changed the graph: these are the file's own counts, stored zeros among them. An
    activation that is fused into another operator counts as rectified, not as a layer.
    """
    operators = [o for o in found.operators if o.name not in _TFLITE_CASTS or o.macs]
    return count(
        [_tflite_layer(operator) for operator in operators],
        parameters=found.parameters,
        weight_bytes=sum(found.constant_bytes.values()),
        peak=Peak(found.peak_activation_bytes),
        rectified=sum(
            math.prod(operator.outputs[0])
            for operator in operators
            if operator.activation in _TFLITE_RECTIFIERS and operator.outputs
        ),
    )


def _tflite_layer(operator: OperatorFacts) -> Layer:
    kind = _kind(operator.name, _TFLITE_CONVOLUTIONS, _TFLITE_RECTIFIERS)
    held = operator.inputs[1:] if kind is Kind.CONVOLUTION else ()
    return Layer(
        name=f"#{operator.index}",
        op=operator.name,
        kind=kind,
        shape=operator.outputs[0] if operator.outputs else (),
        parameters=sum(math.prod(shape) for shape in held),
        macs=operator.macs,
    )


def _kind(op: str, convolutions: tuple[str, ...], rectifiers: tuple[str, ...]) -> Kind:
    if op in convolutions:
        return Kind.CONVOLUTION
    return Kind.RECTIFIER if op in rectifiers else Kind.OTHER
