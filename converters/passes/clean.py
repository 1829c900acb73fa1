"""clean: remove the leftovers of exporters and fold sizes into constants.

Why it is exact. Once the input's size is fixed, everything that only depends on sizes is a number:
Shape, Gather and Cast chains in front of Reshape and Resize, sums of constants, copies. onnxruntime
folds these into constants; it removes Identity, Dropout outside training and casts to the same
type; it folds a batch norm, a factor or a summand per channel behind a convolution into its
weights. That is its "basic" level of optimisation, which uses standard operators only.

Why it is needed. A graph exported with dynamic sizes holds a dozen operators for one Reshape, and
the GPU delegate accepts no shape that is computed at run time.
"""

import copy

import onnx

from converters.onnx_graph import native
from converters.onnx_graph.graph import Graph
from edgesr.common.text import printable
from edgesr.errors import ConversionError

NAME = "clean"

# From 13 on operators have axes and sizes as inputs, which is where the passes read them.
_OLDEST_READ = 13
_RAISED_TO = 17
_STANDARD = ("", "ai.onnx")
_CONVOLUTIONS = ("Conv", "ConvTranspose")
# The first version whose weights need not be listed as inputs too.
_WEIGHTS_ALONE = 4


def clean(
    model: onnx.ModelProto, height: int, width: int, input_name: str, output_name: str
) -> onnx.ModelProto:
    """Fix the size of a network's input and fold what depends on it.

    Args:
        model: A network with one input N x C x H x W and one output.
        height: Rows of the input.
        width: Columns of the input.
        input_name: New name of the input.
        output_name: New name of the output.

    Raises:
        ConversionError: onnxruntime cannot load the graph at this size, a shape stays unknown, or
            an operator is not standard ONNX.
    """
    fixed = without_weights_as_inputs(with_size(model, height, width))
    fixed = native.without_functions(fixed)
    if _opset(fixed) < _OLDEST_READ:
        fixed = native.at_opset(fixed, _RAISED_TO)
    folded = native.optimised(fixed)
    standard = [o for o in folded.opset_import if o.domain in _STANDARD]
    del folded.opset_import[:], folded.functions[:]
    folded.opset_import.extend(standard)
    named = _renamed(folded, input_name, output_name)
    # onnxruntime does not store every shape that it inferred.
    graph = Graph(native.with_shapes(named))
    _check_parameters(graph)
    return graph.to_model()


def _check_parameters(graph: Graph) -> None:
    """Refuse kernels and biases that are computed: onnx2tf fails on those, and leaves these out."""
    for node in graph.nodes:
        if node.op not in _CONVOLUTIONS:
            continue
        kernel, bias, *_ = [*node.inputs[1:], ""]
        for what, tensor, instead in (
            ("kernel", kernel, "write the network with fixed kernels"),
            ("bias", bias, "add it by an Add behind the convolution"),
        ):
            if tensor and tensor not in graph.weights:
                raise ConversionError(
                    f"{node.op} that makes {printable(node.output)} computes its {what} "
                    f"{printable(tensor)}, allowed a constant; {instead}"
                )


def with_size(model: onnx.ModelProto, height: int, width: int) -> onnx.ModelProto:
    """Set the input to batch 1 and this size, nothing else."""
    sized = copy.deepcopy(model)
    weights = {i.name for i in sized.graph.initializer}
    (source,) = [i for i in sized.graph.input if i.name not in weights]
    dims = source.type.tensor_type.shape.dim
    dims[0].dim_value, dims[2].dim_value, dims[3].dim_value = 1, height, width
    del sized.graph.value_info[:]
    sized.graph.output[0].type.tensor_type.ClearField("shape")
    return sized


def without_weights_as_inputs(model: onnx.ModelProto) -> onnx.ModelProto:
    """Remove the weights that old exporters also list as inputs (as mere defaults)."""
    weights = {i.name for i in model.graph.initializer}
    kept = [i for i in model.graph.input if i.name not in weights]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    model.ir_version = max(model.ir_version, _WEIGHTS_ALONE)
    return model


def _opset(model: onnx.ModelProto) -> int:
    return max((o.version for o in model.opset_import if o.domain in _STANDARD), default=1)


def _renamed(model: onnx.ModelProto, input_name: str, output_name: str) -> onnx.ModelProto:
    """Rename the input and the output, and tensors that already had these names."""
    graph = model.graph
    if graph.input[0].name == graph.output[0].name:
        raise ConversionError("a graph whose output is its input cannot be rewritten")
    names = {input_name: f"{input_name}/other", output_name: f"{output_name}/other"}
    names |= {graph.input[0].name: input_name, graph.output[0].name: output_name}
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for named in (*graph.initializer, *graph.input, *graph.output):
        named.name = names.get(named.name, named.name)
    del graph.value_info[:]
    return model
