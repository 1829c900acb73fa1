"""The fixed sizes of a super-resolution `.tflite`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgesr.errors import ModelFileError
from edgesr.tflite.schema import TENSOR_TYPES, parse_model, read_model_bytes

_FLOAT32 = 0  # TensorType of the schema


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
    """The sizes of a super-resolution file: one float32 tensor in, one out.

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
        if tensor["type"] != _FLOAT32:
            raise ModelFileError(
                f"{path}: {name} of type {TENSOR_TYPES[tensor['type']][0]}, allowed float32"
            )
    check_closed(path, inputs[0]["shape_signature"].tolist())
    return sr_shape(path, inputs[0]["shape"].tolist(), outputs[0]["shape"].tolist())


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
