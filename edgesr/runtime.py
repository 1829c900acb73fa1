"""One face over the LiteRT runtime: a fixed-size super-resolution `.tflite`, ready to run.

Backends: `cpu` computes as the file says; `cpu-fp16` computes every operator in FP16, as a phone's
GPU does by default (XNNPACK's FORCE_FP16); `gpu` and `gpu-fp16` are LiteRT's GPU accelerator in
either precision, in a child process (edgesr/gpu.py).
"""

import contextlib
import enum
import math
import os
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgesr.errors import ModelFileError
from edgesr.gpu import GpuDevice, GpuModel
from edgesr.interpreter import interpreter_class, native_reason, require_litert
from edgesr.resizing import check_memory, resize
from edgesr.tflite_check import check_integrity
from edgesr.tflite_schema import TENSOR_TYPES, parse_model

Float32Array = NDArray[np.float32]

_XNNPACK_FORCE_FP16 = 4  # XNNPACK's XNN_FLAG_FORCE_FP16_INFERENCE
_TFLITE_IDENTIFIER = b"TFL3"
_FLOAT32 = 0  # TensorType of the schema


class Backend(enum.StrEnum):
    """What computes."""

    CPU = "cpu"
    CPU_FP16 = "cpu-fp16"
    GPU = "gpu"
    GPU_FP16 = "gpu-fp16"

    @property
    def is_gpu(self) -> bool:
        """Whether it is LiteRT's GPU accelerator."""
        return self in (Backend.GPU, Backend.GPU_FP16)


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


class Runner(Protocol):
    """A loaded `.tflite`.

    Attributes:
        shape: Its sizes.
        device: The GPU that computes all of it; None for this machine's CPU.
    """

    shape: ModelShape
    device: GpuDevice | None

    def run(self, lr_nhwc: Float32Array) -> Float32Array:
        """Upscale one picture.

        Args:
            lr_nhwc: RGB, 1 x height x width x 3, float32 in [0, 1].

        Returns:
            RGB, 1 x (scale height) x (scale width) x 3, float32, about [0, 1] but not clipped.
            The array holds until the next `run`, which may write over it.

        Raises:
            AcceleratorError: The GPU accelerator crashed, or ran out of memory or time.
        """
        ...

    def close(self) -> None:
        """Let go of what is held outside this process; it cannot run any more."""
        ...


def open_model(
    path: Path,
    backend: Backend = Backend.CPU,
    *,
    threads: int | None = None,
    size: tuple[int, int] | None = None,
) -> Runner:
    """Load a super-resolution `.tflite`.

    Args:
        path: The file.
        backend: What is to compute.
        threads: CPU threads; by default all that this process may use.
        size: Height, width of the input, for another than the file's.

    Raises:
        SizeError: Running that size needs more memory than is free.
        ModelFileError: The file is missing, not a `.tflite`, truncated, or not a super-resolution
            model (one NHWC RGB float32 input, one such output a whole number of times as large), or
            an operator of it fits the file's own size only.
        NoGpuError: There is no GPU for LiteRT here, or it has not that precision.
        GpuRefusalError: The GPU accelerator does not take every operator.
        AcceleratorError: The GPU accelerator crashed, or ran out of memory or time.
        MissingDependencyError: No runtime is installed, or not the one for this backend.
    """
    content = read_model_bytes(path)
    if backend is not Backend.CPU:
        require_litert(f"the backend {backend}")
    # Native code would crash on some damaged files, and the accelerator run others to noise. What
    # the CPU has not is the accelerator's to refuse.
    check_integrity(content, str(path), shapes=not backend.is_gpu)
    if size is not None:
        resized = resize(content, *size, str(path))
        check_memory(resized, *size)
        content = resized.content
    shape = _declared_shape(path, content)
    if backend.is_gpu:
        return _GpuRunner(shape, path.name, content, half=backend is Backend.GPU_FP16)
    runner = _InterpreterRunner if backend is Backend.CPU else _CompiledRunner
    with _native_errors(path):
        return runner(shape, content, threads or available_threads())


def read_shape(path: Path) -> ModelShape:
    """The sizes of a super-resolution `.tflite`, which is not loaded.

    Raises:
        ModelFileError: The file is missing, not a `.tflite`, damaged, or of another kind.
    """
    return _declared_shape(path, read_model_bytes(path))


def available_threads() -> int:
    """The number of CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def read_model_bytes(path: Path) -> bytes:
    """Read a `.tflite`, checking no more than that it may be one.

    Raises:
        ModelFileError: The file is missing, unreadable, or lacks the TFLite identifier.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelFileError(f"cannot read {path}: {error.strerror or error}") from error
    if content[4:8] != _TFLITE_IDENTIFIER:
        raise ModelFileError(
            f"{path} is not a .tflite file (got {len(content)} bytes without the TFL3 identifier); "
            "make one with `edgesr convert`"
        )
    return content


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


def _declared_shape(path: Path, content: bytes) -> ModelShape:
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
    return sr_shape(path, inputs[0]["shape"].tolist(), outputs[0]["shape"].tolist())


@contextlib.contextmanager
def _native_errors(path: Path) -> Generator[None]:
    """The bindings raise bare ValueError and RuntimeError for files they cannot take."""
    try:
        yield
    except (ValueError, RuntimeError) as error:
        raise ModelFileError(f"LiteRT cannot load {path}: {native_reason(error)}") from error


class _InterpreterRunner:
    """The classic interpreter with XNNPACK: what the file says, in FP32 arithmetic."""

    device: GpuDevice | None = None

    def __init__(self, shape: ModelShape, content: bytes, threads: int) -> None:
        self.shape = shape
        interpreter = interpreter_class()
        self._interpreter: Any = interpreter(model_content=content, num_threads=threads)
        self._interpreter.allocate_tensors()
        source, result = (
            details()[0]
            for details in (
                self._interpreter.get_input_details,
                self._interpreter.get_output_details,
            )
        )
        self._input = self._interpreter.tensor(source["index"])
        self._output = self._interpreter.tensor(result["index"])
        self._result = np.empty(result["shape"], np.float32)

    def run(self, lr_nhwc: Float32Array) -> Float32Array:
        # The interpreter refuses to run while a view of its memory is alive, and a caller may well
        # keep the last result: hence a copy, into memory that is allocated once.
        np.copyto(self._input(), lr_nhwc)
        self._interpreter.invoke()
        np.copyto(self._result, self._output())
        return self._result

    def close(self) -> None:
        """Nothing is held outside this process."""


class _CompiledRunner:
    """LiteRT's CompiledModel on the CPU with every operator forced to FP16 arithmetic."""

    device: GpuDevice | None = None

    def __init__(self, shape: ModelShape, content: bytes, threads: int) -> None:
        self.shape = shape
        self._content = content  # the compiled model may read weights from it: keep it alive
        self._model: Any = compile_cpu(content, threads)
        self._inputs: Any = self._model.create_input_buffers(0)
        self._outputs: Any = self._model.create_output_buffers(0)

    def run(self, lr_nhwc: Float32Array) -> Float32Array:
        self._inputs[0].write(np.ascontiguousarray(lr_nhwc, dtype=np.float32))
        self._model.run_by_index(0, self._inputs, self._outputs)
        flat = self._outputs[0].read(math.prod(self.shape.hr_nhwc), np.float32)
        return flat.reshape(self.shape.hr_nhwc)

    def close(self) -> None:
        """Nothing is held outside this process."""


def compile_cpu(content: bytes, threads: int) -> Any:  # noqa: ANN401 - the binding has no types
    """A CompiledModel on the CPU that computes every operator in FP16.

    Args:
        content: A whole `.tflite`; it must live as long as what is made of it.
        threads: CPU threads.

    Raises:
        RuntimeError: LiteRT does not take it.
    """
    from ai_edge_litert.compiled_model import CompiledModel
    from ai_edge_litert.cpu_options import CpuOptions
    from ai_edge_litert.hardware_accelerator import HardwareAccelerator
    from ai_edge_litert.options import Options

    return CompiledModel.from_buffer(
        content,
        options=Options(
            hardware_accelerators=HardwareAccelerator.CPU,
            cpu_options=CpuOptions(num_threads=threads, xnnpack_flags=_XNNPACK_FORCE_FP16),
        ),
    )


class _GpuRunner:
    """LiteRT's GPU accelerator."""

    def __init__(self, shape: ModelShape, name: str, content: bytes, *, half: bool) -> None:
        self.shape = shape
        self._model = GpuModel(name, content, shape.lr_nhwc, shape.hr_nhwc, half=half)
        self.device: GpuDevice | None = self._model.device

    def run(self, lr_nhwc: Float32Array) -> Float32Array:
        return self._model.run(lr_nhwc)

    def close(self) -> None:
        """End the accelerator's process."""
        self._model.close()
