"""Open a fixed-size super-resolution `.tflite` on a backend.

Backends: `cpu` computes in the file's types; `cpu-fp16` computes every operator in FP16, as the GPU
of a phone does by default (XNNPACK's FORCE_FP16); `gpu` and `gpu-fp16` are LiteRT's GPU accelerator
in either precision, in a child process (edgesr/runtime/gpu.py).
"""

import contextlib
import math
import os
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgesr.common.compat import StrEnum
from edgesr.common.litert import require_litert
from edgesr.errors import ModelFileError
from edgesr.runtime.gpu import GpuDevice, GpuModel
from edgesr.runtime.integrity import check_shapes
from edgesr.runtime.interpreter import interpreter_class, native_reason
from edgesr.runtime.trial import try_elsewhere
from edgesr.tflite.facts import Facts, facts_in
from edgesr.tflite.resize import check_memory, resize
from edgesr.tflite.schema import read_model_bytes
from edgesr.tflite.shape import ModelShape, declared_shape, holds_grey_levels
from edgesr.tflite.validation import check_structure

Float32Array = NDArray[np.float32]

_XNNPACK_FORCE_FP16 = 4  # XNNPACK's XNN_FLAG_FORCE_FP16_INFERENCE


class Backend(StrEnum):
    """Runtime, device and precision of the arithmetic."""

    CPU = "cpu"
    CPU_FP16 = "cpu-fp16"
    GPU = "gpu"
    GPU_FP16 = "gpu-fp16"

    @property
    def is_gpu(self) -> bool:
        """Whether it is LiteRT's GPU accelerator."""
        return self in (Backend.GPU, Backend.GPU_FP16)


class Runner(Protocol):
    """A loaded `.tflite`.

    Attributes:
        shape: Its sizes.
        device: The GPU that computes all of it; None for this machine's CPU.
    """

    shape: ModelShape
    device: GpuDevice | None

    def run(self, lr_nhwc: Float32Array) -> Float32Array:
        """Upscale one image.

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
        """Release resources outside this process; it cannot run any more."""
        ...


@dataclass(frozen=True)
class ModelFile:
    """A super-resolution `.tflite` that was read and checked, to be opened at any size.

    Attributes:
        path: Where it lies.
        content: Its bytes.
        facts: What edgesr wrote into it; None where another tool made it.
        shape: Its own sizes.
    """

    path: Path
    content: bytes = field(repr=False)
    facts: Facts | None
    shape: ModelShape

    def open(
        self,
        backend: Backend = Backend.CPU,
        *,
        threads: int | None = None,
        size: tuple[int, int] | None = None,
    ) -> Runner:
        """Load it; see `open_model`."""
        if backend is not Backend.CPU:
            require_litert(f"the backend {backend}")
        threads, content = threads or available_threads(), self.content
        if size not in (None, (self.shape.height, self.shape.width)):
            resized = resize(content, *size, str(self.path))
            check_memory(resized, *size)
            content = resized.content
        trusted = self.facts is not None and self.facts.content_sha256 is not None
        # The accelerator has a process of its own anyway.
        if not backend.is_gpu and not trusted:
            try_elsewhere(content, str(self.path), backend, threads)
        return load_content(content, self.path, backend, threads)


def read_model_file(path: Path) -> ModelFile:
    """Read a super-resolution `.tflite`, which is not loaded yet.

    Raises:
        ModelFileError: As `open_model`.
    """
    content = read_model_bytes(path)
    check_structure(content, str(path))
    return ModelFile(path, content, facts_in(content, path), declared_shape(path, content))


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
    return read_model_file(path).open(backend, threads=threads, size=size)


def load_content(content: bytes, path: Path, backend: Backend, threads: int) -> Runner:
    """Load the bytes of a `.tflite` whose structure is sound.

    Args:
        content: The whole file.
        path: Its name, for messages.
        backend: What is to compute.
        threads: CPU threads.

    Raises:
        EdgeSRError: As `open_model`.
    """
    if backend is not Backend.CPU and holds_grey_levels(content):
        raise ModelFileError(
            f"{path} has uint8 at its input and output: got the backend {backend}, allowed "
            f"{Backend.CPU}; convert with --io float for others"
        )
    # The accelerator would run some damaged files to noise. What the CPU lacks is the accelerator's
    # to refuse.
    if not backend.is_gpu:
        check_shapes(content, str(path))
    shape = declared_shape(path, content)
    if backend.is_gpu:
        return _GpuRunner(shape, path.name, content, half=backend is Backend.GPU_FP16)
    runner = _InterpreterRunner if backend is Backend.CPU else _CompiledRunner
    with _native_errors(path):
        return runner(path, shape, content, threads)


def available_threads() -> int:
    """The number of CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def _native_errors(path: Path, verb: str = "load") -> Generator[None]:
    """Name the file where the bindings raise a bare ValueError or RuntimeError."""
    try:
        yield
    except (ValueError, RuntimeError) as error:
        raise ModelFileError(f"LiteRT cannot {verb} {path}: {native_reason(error)}") from error


class _InterpreterRunner:
    """The classic interpreter with XNNPACK, in FP32 arithmetic."""

    device: GpuDevice | None = None

    def __init__(self, path: Path, shape: ModelShape, content: bytes, threads: int) -> None:
        self.shape = shape
        self._path = path
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
        self._levels = source["dtype"] == np.uint8

    def run(self, lr_nhwc: Float32Array) -> Float32Array:
        # The interpreter refuses to run while a view of its memory is alive, and a caller may well
        # keep the last result: hence a copy, into memory that is allocated once.
        if self._levels:
            np.copyto(self._input(), np.rint(lr_nhwc * 255).clip(0, 255), casting="unsafe")
        else:
            np.copyto(self._input(), lr_nhwc)
        with _native_errors(self._path, "run"):
            self._interpreter.invoke()
        np.copyto(self._result, self._output())
        if self._levels:
            self._result /= 255
        return self._result

    def close(self) -> None:
        """Nothing is held outside this process."""


class _CompiledRunner:
    """LiteRT's CompiledModel on the CPU with every operator forced to FP16 arithmetic."""

    device: GpuDevice | None = None

    def __init__(self, path: Path, shape: ModelShape, content: bytes, threads: int) -> None:
        self.shape = shape
        self._path = path
        self._content = content  # the compiled model may read weights from it: keep it alive
        self._model: Any = compile_cpu(content, threads)
        self._inputs: Any = self._model.create_input_buffers(0)
        self._outputs: Any = self._model.create_output_buffers(0)

    def run(self, lr_nhwc: Float32Array) -> Float32Array:
        self._inputs[0].write(np.ascontiguousarray(lr_nhwc, dtype=np.float32))
        with _native_errors(self._path, "run"):
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
