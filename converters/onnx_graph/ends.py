"""Input and output of a third-party graph, brought to RGB, channels first, float32.

Each rewrite keeps the function. The one that adds colour extends it: a network that was trained on
luma alone gets luma, and what is missing of each colour is upscaled bicubically, as everyone does
who runs such a network on photographs.
"""

import copy

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from converters.onnx_graph import native

#: Red's, green's and blue's parts in luma, of ITU-R BT.601.
LUMA = (0.299, 0.587, 0.114)

_TO_LAST, _TO_FIRST = (0, 2, 3, 1), (0, 3, 1, 2)
_HALF = (TensorProto.FLOAT16, TensorProto.BFLOAT16)
# From 11 on there is a bicubic Resize.
_OPSET = 17
_STANDARD = ("", "ai.onnx")


def has_half_ends(model: onnx.ModelProto) -> bool:
    """Whether input or output is of a 16-bit floating-point type."""
    return any(end.type.tensor_type.elem_type in _HALF for end in _ends(model))


def with_float32_ends(model: onnx.ModelProto) -> onnx.ModelProto:
    """Declare 16-bit floating-point ends as float32; the graph between is for `in_float32`."""
    widened = copy.deepcopy(model)
    for end in _ends(widened):
        if end.type.tensor_type.elem_type in _HALF:
            end.type.tensor_type.elem_type = TensorProto.FLOAT
    return widened


def with_channels_first(model: onnx.ModelProto) -> onnx.ModelProto:
    """Put a transposition behind the input, and one before the output, where that is like it.

    Args:
        model: A graph with input N x H x W x C.
    """
    turned = copy.deepcopy(model)
    source, output = _input(turned), turned.graph.output[0]
    inner, outer = source.name, output.name
    source.name = f"{inner}/channels_first"
    _turn(source, _TO_FIRST)
    turned.graph.node.insert(
        0, helper.make_node("Transpose", [source.name], [inner], perm=_TO_LAST)
    )
    if not _is_channels_first(output):
        output.name = f"{outer}/channels_first"
        _turn(output, _TO_FIRST)
        turned.graph.node.append(
            helper.make_node("Transpose", [outer], [output.name], perm=_TO_FIRST)
        )
    return turned


def with_colour(model: onnx.ModelProto, scale: int) -> onnx.ModelProto:
    """Let a network of luma upscale RGB: luma by itself, each colour's rest bicubically.

    With luma y, the colours' parts in it adding up to 1: hr = net(y(lr)) + bicubic(lr - y(lr)).

    Args:
        model: A graph with input N x 1 x H x W and output N x 1 x (scale H) x (scale W).
        scale: Its upscaling factor.

    Raises:
        GraphError: The graph cannot be brought to a version that has a bicubic Resize.
    """
    version = max(o.version for o in model.opset_import if o.domain in _STANDARD)
    coloured = copy.deepcopy(model if version >= _OPSET else native.at_opset(model, _OPSET))
    graph = coloured.graph
    source, output = _input(coloured), graph.output[0]
    luma, luma_hr = source.name, output.name
    lr, rest, rest_hr, grey_hr, hr = (
        f"colour/{name}" for name in ("lr", "rest", "rest_hr", "grey_hr", "hr")
    )
    parts = np.array(LUMA, np.float32)
    weights = {
        "colour/parts": parts.reshape(1, 3, 1, 1),
        "colour/others": (np.eye(3, dtype=np.float32) - parts).reshape(3, 3, 1, 1),
        "colour/each": np.ones((3, 1, 1, 1), np.float32),
        "colour/factors": np.array([1, 1, scale, scale], np.float32),
    }
    graph.initializer.extend(numpy_helper.from_array(v, name) for name, v in weights.items())
    source.name, output.name = lr, hr
    source.type.tensor_type.shape.dim[1].dim_value = 3
    output.type.tensor_type.ClearField("shape")
    del graph.value_info[:]
    graph.node.insert(0, helper.make_node("Conv", [lr, "colour/parts"], [luma]))
    resize = helper.make_node(
        "Resize", [rest, "", "colour/factors"], [rest_hr], mode="cubic",
        coordinate_transformation_mode="half_pixel",
    )  # fmt: skip
    graph.node.extend(
        [
            helper.make_node("Conv", [lr, "colour/others"], [rest]),
            resize,
            helper.make_node("Conv", [luma_hr, "colour/each"], [grey_hr]),
            helper.make_node("Add", [grey_hr, rest_hr], [hr]),
        ]
    )
    return coloured


def _ends(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    return [_input(model), *model.graph.output]


def _input(model: onnx.ModelProto) -> onnx.ValueInfoProto:
    """The input that is no weight; old exporters list these too."""
    weights = {tensor.name for tensor in model.graph.initializer}
    return next(i for i in model.graph.input if i.name not in weights)


def _is_channels_first(end: onnx.ValueInfoProto) -> bool:
    dims = end.type.tensor_type.shape.dim
    return len(dims) == 4 and dims[1].dim_value in (1, 3) and dims[3].dim_value not in (1, 3)


def _turn(end: onnx.ValueInfoProto, order: tuple[int, ...]) -> None:
    dims = [copy.deepcopy(dim) for dim in end.type.tensor_type.shape.dim]
    del end.type.tensor_type.shape.dim[:]
    if len(dims) == len(order):
        end.type.tensor_type.shape.dim.extend(dims[place] for place in order)
    else:
        end.type.tensor_type.ClearField("shape")
