"""Export of a PyTorch network to ONNX at a fixed size."""

import copy
import io
import warnings
from typing import TYPE_CHECKING, Any

import onnx

from converters.onnx_graph import native
from edgesr.errors import ConversionError

if TYPE_CHECKING:
    from torch import nn

_OPSET = 17
INPUT_NAME = "lr"
OUTPUT_NAME = "hr"


def export(net: "nn.Module", height: int, width: int) -> onnx.ModelProto:
    """Export a plain network with an input of fixed size.

    Args:
        net: A folded network in eval mode, RGB in and out, NCHW, in its own value range.
        height: Rows of the input.
        width: Columns of the input.

    Returns:
        A model with one float32 input `lr`, 1 x 3 x height x width, and one output `hr`.
    """
    import torch

    buffer: Any = io.BytesIO()  # torch accepts file objects, which its annotation leaves out
    with warnings.catch_warnings():
        # The TorchScript exporter writes Split, Concat and DepthToSpace one to one and needs
        # 0.3 s where its successor needs 4 s and another dependency (onnxscript).
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            net.eval(),
            (torch.zeros(1, 3, height, width),),
            buffer,
            input_names=[INPUT_NAME],
            output_names=[OUTPUT_NAME],
            opset_version=_OPSET,
            do_constant_folding=True,
            dynamo=False,
        )
    return onnx.load_model_from_string(buffer.getvalue())


def with_input_size(model: onnx.ModelProto, height: int, width: int) -> onnx.ModelProto:
    """Change the input size of a graph.

    Export and calibration at a small size cost a fraction of the same at the final one, and
    convolutions, activations and shuffles do not depend on the size.

    Raises:
        ConversionError: An operator of the graph fits only the size that it was exported at.
    """
    resized = copy.deepcopy(model)
    del resized.graph.value_info[:]
    sizes = resized.graph.input[0].type.tensor_type.shape.dim
    sizes[2].dim_value, sizes[3].dim_value = height, width
    resized.graph.output[0].type.tensor_type.ClearField("shape")
    try:
        return native.with_shapes(resized)
    except ConversionError as error:
        raise ConversionError(
            f"the network cannot be resized to {height}x{width}: {error}"
        ) from error
