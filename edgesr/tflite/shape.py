"""The fixed sizes of a super-resolution `.tflite`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgesr.errors import ModelFileError
from edgesr.tflite.schema import TENSOR_TYPES, Table, parse_model, read_model_bytes

_FLOAT32, _UINT8 = 0, 3  # TensorType of the schema
_SCALE_TOLERANCE = 1e-6


@dataclass(frozen=True)
class ModelShape:
    """The fixed sizes of a super-resolution file, height before width.

    Attributes:
        height: Rows of the input.
        width: Columns of the input.
        scale: Output rows per input row, and columns per column.
    """

    height: int
    width: int
    scale: int

    @property
    def lr_nhwc(self) -> tuple[int, int, int, int]:
        """Shape of the input."""
        return (1, self.height, self.width, 3)

    @property
    def hr_nhwc(self) -> tuple[int, int, int, int]:
        """Shape of the output."""
        return (1, self.scale * self.height, self.scale * self.width, 3)


def read_shape(path: Path) -> ModelShape:
    """The sizes of a super-resolution `.tflite`, which is not loaded.

    Raises:
        ModelFileError: The file is missing, not a `.tflite`, damaged, or of another kind.
    """
    return declared_shape(path, read_model_bytes(path))


def sr_shape(path: Path, input_shape: list[int], output_shape: list[int]) -> ModelShape:
    """The sizes of a super-resolution file from its tensors' NHWC shapes.

    Raises:
        ModelFileError: The shapes are not those of one fixed-size RGB super-resolution model.
    """
    problem = f"{path} is not a super-resolution model: "
    for name, shape in (("input", input_shape), ("output", output_shape)):
        if len(shape) != 4 or shape[0] != 1 or shape[3] != 3 or min(shape) < 1:
            raise ModelFileError(f"{problem}{name} shape {shape}, allowed [1, height, width, 3]")
    (_, height, width, _), (_, out_height, out_width, _) = input_shape, output_shape
    scale = out_height // height
    if scale < 1 or (out_height, out_width) != (scale * height, scale * width):
        raise ModelFileError(
            f"{problem}output {out_height}x{out_width} is no whole multiple of {height}x{width}"
        )
    return ModelShape(height, width, scale)


def declared_shape(path: Path, content: bytes) -> ModelShape:
    """The sizes of a super-resolution file: one tensor in, one out, of float32 or grey levels.

    Raises:
        ModelFileError: It is damaged, or of another kind.
    """
    graph = parse_model(content, str(path))["subgraphs"][0]
    inputs, outputs = ([graph["tensors"][i] for i in graph[key]] for key in ("inputs", "outputs"))
    if len(inputs) != 1 or len(outputs) != 1:
        raise ModelFileError(
            f"{path} is not a super-resolution model: {len(inputs)} inputs and {len(outputs)} "
            "outputs, allowed one of each"
        )
    for name, tensor in (("input", inputs[0]), ("output", outputs[0])):
        if tensor["type"] != _FLOAT32 and not _holds_grey_levels(tensor):
            raise ModelFileError(
                f"{path}: {name} of type {TENSOR_TYPES[tensor['type']][0]}, allowed float32, and "
                "uint8 in steps of 1/255"
            )
    if inputs[0]["type"] != outputs[0]["type"]:
        raise ModelFileError(f"{path}: input and output are of two types, allowed one")
    check_closed(path, inputs[0]["shape_signature"].tolist())
    return sr_shape(path, inputs[0]["shape"].tolist(), outputs[0]["shape"].tolist())


def holds_grey_levels(content: bytes) -> bool:
    """Whether a super-resolution file takes and gives uint8."""
    graph = parse_model(content, "the file")["subgraphs"][0]
    return graph["tensors"][graph["inputs"][0]]["type"] == _UINT8


def _holds_grey_levels(tensor: Table) -> bool:
    """Whether a tensor is uint8 with 0 for black and 255 for white."""
    quantization = tensor["quantization"] or {}
    scales, zeros = quantization.get("scale", ()), quantization.get("zero_point", ())
    return (
        tensor["type"] == _UINT8
        and len(scales) == 1
        and abs(float(scales[0]) * 255 - 1) < _SCALE_TOLERANCE
        and not any(zeros)
    )


def check_closed(path: Path, signature: Sequence[int]) -> None:
    """Refuse an input whose size is left open: the shapes in the file are stand-ins, often 1x1.

    Args:
        path: The file, for the message.
        signature: The input's `shape_signature`; empty where all of the shape is fixed.

    Raises:
        ModelFileError: A dimension other than the batch is open.
    """
    if any(side < 0 for side in signature[1:]):
        raise ModelFileError(
            f"{path} leaves the size of its input open: got {list(signature)}, allowed are fixed "
            "sizes; convert its network with a fixed height and width"
        )
