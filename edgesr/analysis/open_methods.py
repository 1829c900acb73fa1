"""Open what a user names (a network, a checkpoint, an `.onnx`, a `.tflite`) as methods."""

import contextlib
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgesr.errors import SizeError
from edgesr.evaluation.methods import (
    Method,
    by_tiles,
    digest_of,
    network,
    on_multiples,
    whole_tflite,
)
from edgesr.evaluation.methods import tflite as tiled_tflite
from edgesr.images.metrics import Uint8Array
from edgesr.runtime.session import Backend, Float32Array, available_threads
from edgesr.tflite.shape import ModelShape
from edgesr.upscaling.tiling import choose_overlap

if TYPE_CHECKING:
    from converters.onnx_graph.third_party import OnnxFile
    from converters.parity.test_inputs import ReferenceNetwork
    from edgesr.common.progress import ProgressCallback
    from edgesr.evaluation.benchmark_sets import Upscale
    from edgesr.runtime.gpu import GpuDevice
    from edgesr.tflite.facts import Reach

_ANALYSIS_SIDE = 64  # at which an `.onnx` of any size is analysed; fits every network


@dataclass(frozen=True)
class MethodOptions:
    """How methods are opened.

    Attributes:
        scale: Upscaling factor of all; None for that of the first.
        backend: Of every `.tflite`.
        threads: CPU threads; None for all.
        value_range: Images of every `.onnx` lie in [0, value_range].
        whole: Whether every `.tflite` runs untiled.
    """

    scale: int | None = None
    backend: Backend = Backend.CPU
    threads: int | None = None
    value_range: float = 1.0
    whole: bool = False


@contextlib.contextmanager
def open_methods(
    targets: Sequence[str], options: MethodOptions, progress: "ProgressCallback"
) -> Generator[list[Method]]:
    """Open every target as a method, in order; the methods are closed when the block ends.

    Args:
        targets: As the user named them.
        options: How they are opened.
        progress: Reports downloads.

    Yields:
        One method per target, all of one scale.

    Raises:
        SizeError: A target has another scale than the options or the first one.
        EdgeSRError: One cannot be read, or there is no such network.
    """
    with contextlib.ExitStack() as stack:
        methods: list[Method] = []
        for target in targets:
            method = _open(target, options, progress)
            stack.callback(method.close)
            wanted = options.scale or (methods[0].scale if methods else method.scale)
            if method.scale != wanted:
                of = "--scale" if options.scale else f"the scale of {methods[0].name},"
                raise SizeError(
                    f"{target} upscales {method.scale} times, allowed here {wanted} "
                    f"({of} {wanted}); evaluate networks of one scale together"
                )
            methods.append(method)
        yield methods


def _open(target: str, options: MethodOptions, progress: "ProgressCallback") -> Method:
    from edgesr.common.requirements import require
    from edgesr.weights.sources import load_named

    path = Path(target)
    match path.suffix.lower():
        case ".tflite":
            tflite = whole_tflite if options.whole else tiled_tflite
            return tflite(target, path, options.backend, options.threads or available_threads())
        case ".onnx":
            return _onnx(target, path, options.value_range)
        case _:
            require("evaluating a network in PyTorch", ("torch",), "convert")
            return network(target, load_named(target, progress, options.scale), options.threads)


def _onnx(target: str, path: Path, value_range: float) -> Method:
    """An `.onnx` in onnxruntime: untiled if it accepts any size, else tiled.

    Raises:
        SizeError: Its output is not a whole number of times its input.
        EdgeSRError: It cannot be read.
    """
    from converters.onnx_graph.complexity import sized_graph
    from converters.onnx_graph.receptive_field import reach
    from converters.onnx_graph.third_party import read_onnx
    from edgesr.common.requirements import require

    require("evaluating an ONNX file", ("onnx", "onnxruntime"), "convert")
    file = read_onnx(path)
    height, width = file.height or _ANALYSIS_SIDE, file.width or _ANALYSIS_SIDE
    with file.errors(height, width):
        graph = sized_graph(file.model, height, width)
        seen, after = reach(graph), graph.shape(graph.output)
    scale = after[2] // height if len(after) == 4 else 0
    if scale < 1 or after != (1, 3, scale * height, scale * width):
        raise SizeError(
            f"{path} is no super-resolution network: got {list(after)} from the input "
            f"{[1, 3, height, width]}, allowed [1, 3, scale x height, scale x width]"
        )
    upscale, how, note = _onnx_upscale(file, ModelShape(height, width, scale), seen, value_range)
    digest = digest_of("onnx", file.sha256, file.weights_sha256(), value_range)
    return Method(target, how, scale, digest, upscale, note)


def _onnx_upscale(
    file: "OnnxFile", shape: ModelShape, seen: "Reach", value_range: float
) -> "tuple[Upscale, str, str]":
    """The upscaling function, its description, and a warning or nothing."""
    run = file.reference(value_range)
    if file.is_open:
        upscale = on_multiples(_whole(run), seen.size_multiple, shape.scale)
        return upscale, "onnxruntime, whole images", ""
    overlap, warning = choose_overlap(seen if seen.radius is not None else None, None, shape)
    how = f"onnxruntime, tiles of {shape.height}x{shape.width}"
    return by_tiles(_OnnxRunner(run, shape), overlap), how, warning or ""


def _whole(run: "ReferenceNetwork") -> "Upscale":
    def upscale(lr_hwc_u8: Uint8Array) -> Uint8Array:
        lr_nhwc = lr_hwc_u8[None].astype(np.float32) / np.float32(255)
        return np.rint(run(lr_nhwc)[0] * 255).clip(0, 255).astype(np.uint8)

    return upscale


class _OnnxRunner:
    """An ONNX file of one size, as a runner for tiling."""

    def __init__(self, run: "ReferenceNetwork", shape: ModelShape) -> None:
        self.shape = shape
        self.device: GpuDevice | None = None
        self._run = run

    def run(self, lr_nhwc: Float32Array) -> Float32Array:
        """Upscale one tile."""
        return self._run(lr_nhwc)

    def close(self) -> None:
        """Do nothing: there is nothing to release."""
