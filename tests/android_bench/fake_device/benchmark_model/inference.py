"""The model's true outputs, computed on the host, for checks of fidelity on the device."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from edgesr.runtime.session import Backend, open_model


class InputError(Exception):
    """An input file does not fit: the tool aborts with this message."""


@dataclass(frozen=True)
class InputFile:
    """`--input_layer_value_files` for one input.

    Attributes:
        name: Of the tensor.
        path: On the host.
        shown: Its path on the device, for messages.
    """

    name: str
    path: Path
    shown: str


def check_inputs(files: list[InputFile], layers: list[str], model: Path) -> None:
    """The checks that benchmark_model makes before it runs.

    Args:
        files: Those that were given.
        layers: The names in --input_layer.
        model: The `.tflite`.

    Raises:
        InputError: A name is unknown, a file is missing or of the wrong size.
    """
    interpreter = Interpreter(model_path=str(model))
    details = {detail["name"]: detail for detail in interpreter.get_input_details()}
    for file in files:
        if file.name not in layers:
            raise InputError(
                f"Cannot find the corresponding input_layer name({file.name}) in --input_layer as "
                f"{','.join(layers)}"
            )
        if not file.path.is_file():
            raise InputError(f"Failed to read the input_layer_value_file:{file.shown}")
        if file.name not in details:
            raise InputError(f"Cannot find the input tensor {file.name}")
        detail = details[file.name]
        wanted = int(np.prod(detail["shape"])) * np.dtype(detail["dtype"]).itemsize
        found = file.path.stat().st_size
        if found != wanted:
            raise InputError(
                f"The size of {file.shown} is {found} bytes. It should be {wanted} bytes."
            )


def outputs(model: Path, files: list[InputFile], *, half: bool) -> bytes:
    """The output tensor's bytes, from these inputs or from random ones.

    Args:
        model: A super-resolution `.tflite`.
        files: At most one.
        half: In FP16 arithmetic, as a GPU computes where the loss is allowed.
    """
    runner = open_model(model, Backend.CPU_FP16 if half else Backend.CPU, threads=1)
    try:
        shape = runner.shape.lr_nhwc
        if files:
            lr_nhwc = np.fromfile(files[0].path, dtype=np.float32).reshape(shape)
        else:
            lr_nhwc = np.random.default_rng(0).random(shape, dtype=np.float32)
        return np.ascontiguousarray(runner.run(lr_nhwc), dtype=np.float32).tobytes()
    finally:
        runner.close()
