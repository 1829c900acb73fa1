"""clean: what exporters leave around the operators of a network goes, and sizes become numbers.

Why it is exact. Once the input's size is fixed, everything that only depends on sizes is a number:
Shape, Gather and Cast chains in front of Reshape and Resize, constants that are added up, copies.
onnxruntime computes it and keeps the result; Identity, Dropout outside training and casts to the
same type go; a batch norm, a factor or a summand per channel behind a convolution goes into its
weights. That is its "basic" level of optimisation, which uses standard operators only.

Why it is wanted. A graph exported with dynamic sizes holds a dozen operators for one Reshape, and
no GPU takes a shape that is computed at run time.
"""

import copy
import tempfile
from pathlib import Path

import onnx
import onnx.inliner
import onnx.version_converter

from converters.graph import Graph
from edgesr.errors import ConversionError, OnnxFileError
from edgesr.files import temporary_file_errors

NAME = "clean"

# From 13 on operators take what the passes read of them as inputs: axes and sizes.
_OLDEST_READ = 13
_RAISED_TO = 17
_STANDARD = ("", "ai.onnx")
_LAST_WORDS = 160


def clean(
    model: onnx.ModelProto, height: int, width: int, input_name: str, output_name: str
) -> onnx.ModelProto:
    """Fix the size of a network's input and leave out what then has nothing to compute.

    Args:
        model: A network with one input N x C x H x W and one output.
        height: Rows of the input.
        width: Columns of the input.
        input_name: What the input is to be called.
        output_name: What the output is to be called.

    Raises:
        OnnxFileError: onnxruntime cannot load the graph at this size.
        ConversionError: A shape stays unknown, or an operator is no standard ONNX.
    """
    fixed = without_weights_as_inputs(with_size(model, height, width))
    fixed = onnx.inliner.inline_local_functions(fixed)
    if _opset(fixed) < _OLDEST_READ:
        fixed = onnx.version_converter.convert_version(fixed, _RAISED_TO)
    folded = _optimised(fixed)
    standard = [o for o in folded.opset_import if o.domain in _STANDARD]
    del folded.opset_import[:], folded.functions[:]
    folded.opset_import.extend(standard)
    named = _renamed(folded, input_name, output_name)
    try:
        # onnxruntime does not write down every shape that it found.
        inferred = onnx.shape_inference.infer_shapes(named, strict_mode=True, data_prop=True)
    except onnx.shape_inference.InferenceError as error:
        raise ConversionError(f"shapes do not fit: {' '.join(str(error).split())}") from error
    return Graph(inferred).to_model()


def with_size(model: onnx.ModelProto, height: int, width: int) -> onnx.ModelProto:
    """The same graph with an input of batch 1 and of this size; nothing in it is changed."""
    sized = copy.deepcopy(model)
    weights = {i.name for i in sized.graph.initializer}
    (source,) = [i for i in sized.graph.input if i.name not in weights]
    dims = source.type.tensor_type.shape.dim
    dims[0].dim_value, dims[2].dim_value, dims[3].dim_value = 1, height, width
    del sized.graph.value_info[:]
    sized.graph.output[0].type.tensor_type.ClearField("shape")
    return sized


def without_weights_as_inputs(model: onnx.ModelProto) -> onnx.ModelProto:
    """Weights that are inputs too, as old exporters list them, would be mere defaults."""
    weights = {i.name for i in model.graph.initializer}
    kept = [i for i in model.graph.input if i.name not in weights]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    return model


def _opset(model: onnx.ModelProto) -> int:
    return max((o.version for o in model.opset_import if o.domain in _STANDARD), default=1)


def _optimised(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph after onnxruntime's basic rewrites."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 4
    with temporary_file_errors(), tempfile.TemporaryDirectory(prefix="edgesr-") as scratch:
        file = Path(scratch, "optimised.onnx")
        options.optimized_model_filepath = str(file)
        try:
            onnxruntime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        # The bindings raise classes of their own, one per status, without a common base.
        except Exception as error:
            words = " ".join(str(error).split())[-_LAST_WORDS:]
            raise OnnxFileError(f"onnxruntime does not load the graph: {words}") from error
        return onnx.load(str(file))


def _renamed(model: onnx.ModelProto, input_name: str, output_name: str) -> onnx.ModelProto:
    """The graph with its input and output renamed, and tensors that had these names too."""
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
