"""What `edgesr eval` evaluates: a name, a checkpoint, an `.onnx` or a `.tflite`, made ready."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgesr.errors import SizeError
from edgesr.evaluation.contestants import (
    Contestant,
    by_tiles,
    digest_of,
    network,
    on_multiples,
    whole_tflite,
)
from edgesr.evaluation.contestants import tflite as tflite_by_tiles
from edgesr.metrics import Uint8Array
from edgesr.overlap import StatedFacts, choose_overlap
from edgesr.runtime import Backend, Float32Array, ModelShape

if TYPE_CHECKING:
    from converters.onnx_file import OnnxFile
    from converters.probes import Reference
    from converters.traits import Reach
    from edgesr.checkpoints import LoadedCheckpoint
    from edgesr.gpu import GpuDevice
    from edgesr.progress import ProgressCallback
    from edgesr.quality import Upscale

_PROBE_SIDE = 64  # fits every network that takes pictures of any size


def open_targets(
    targets: Sequence[str],
    scale: int | None,
    backend: Backend,
    threads: int,
    value_range: float,
    progress: "ProgressCallback",
    *,
    whole: bool = False,
) -> list[Contestant]:
    """Make every target ready, in order.

    Args:
        targets: As the user named them.
        scale: What the user says it is, and which member of a network with several scales is meant.
        backend: What computes a `.tflite`.
        threads: CPU threads.
        value_range: An `.onnx` takes and gives [0, value_range].
        progress: Told of downloads.
        whole: Whether a `.tflite` takes each picture in one piece.

    Raises:
        SizeError: A target has another scale than the user says, or than the first one.
        EdgeSRError: One cannot be read, or there is no such network.
    """
    opened: list[Contestant] = []
    for target in targets:
        path = Path(target)
        match path.suffix.lower():
            case ".tflite":
                tflite = whole_tflite if whole else tflite_by_tiles
                made = tflite(target, path, backend, threads)
            case ".onnx":
                made = _onnx(target, path, value_range)
            case _:
                made = network(target, _load(target, scale, progress))
        wanted = scale or (opened[0].scale if opened else made.scale)
        if made.scale != wanted:
            source = "--scale" if scale else f"the scale of {opened[0].name},"
            raise SizeError(
                f"{target} enlarges {made.scale} times, allowed here {wanted} ({source} {wanted}); "
                "evaluate networks of one scale together"
            )
        opened.append(made)
    return opened


def _load(target: str, scale: int | None, progress: "ProgressCallback") -> "LoadedCheckpoint":
    """A checkpoint, or a network's bundled weights, else its published ones."""
    from edgesr.bundled import bundled_checkpoint, bundled_weights
    from edgesr.checkpoints import load
    from edgesr.cli.needs import require
    from edgesr.download import published_checkpoint
    from edgesr.registry import all_specs, find_spec

    require("evaluating a network in PyTorch", ("torch",), "convert")
    path = Path(target)
    named = any(target in (spec.name, *spec.aliases) for spec in all_specs())
    if path.is_file() or (not named and (path.suffix or len(path.parts) > 1)):
        return load(path)
    spec = find_spec(target, scale)
    return load(
        bundled_checkpoint(spec) if bundled_weights(spec) else published_checkpoint(spec, progress)
    )


def _onnx(target: str, path: Path, value_range: float) -> Contestant:
    """An `.onnx` in onnxruntime: whole pictures if it takes any size, else by tiles."""
    from converters.complexity import sized_graph
    from converters.onnx_file import read_onnx
    from converters.traits import reach
    from edgesr.cli.needs import require

    require("evaluating an ONNX file", ("onnx", "onnxruntime"), "convert")
    file = read_onnx(path)
    height, width = file.height or _PROBE_SIDE, file.width or _PROBE_SIDE
    graph = sized_graph(file.model, height, width)
    seen, after = reach(graph), graph.shape(graph.output)
    scale = after[2] // height if len(after) == 4 else 0
    if scale < 1 or after != (1, 3, scale * height, scale * width):
        raise SizeError(
            f"{path} is no super-resolution network: it makes {list(after)} of "
            f"{[1, 3, height, width]}, allowed [1, 3, scale x height, scale x width]"
        )
    upscale, how, note = _onnx_upscale(file, ModelShape(height, width, scale), seen, value_range)
    digest = digest_of("onnx", file.sha256, file.weights_sha256(), value_range)
    return Contestant(target, how, scale, digest, upscale, note)


def _onnx_upscale(
    file: "OnnxFile", shape: ModelShape, seen: "Reach", value_range: float
) -> "tuple[Upscale, str, str]":
    """How it upscales, the same for people, and what they should know."""
    run = file.reference(value_range)
    if file.is_open:
        upscale = on_multiples(_whole(run), seen.size_multiple, shape.scale)
        return upscale, "onnxruntime, whole pictures", ""
    facts = None
    if seen.radius is not None:
        facts = StatedFacts("", shape.scale, seen.radius, seen.size_multiple, seen.whole_picture)
    overlap, warning = choose_overlap(facts, None, shape)
    how = f"onnxruntime, tiles of {shape.height}x{shape.width}"
    return by_tiles(_OnnxRunner(run, shape), overlap), how, warning or ""


def _whole(run: "Reference") -> "Upscale":
    def upscale(lr_hwc_u8: Uint8Array) -> Uint8Array:
        lr_nhwc = lr_hwc_u8[None].astype(np.float32) / np.float32(255)
        return np.rint(run(lr_nhwc)[0] * 255).clip(0, 255).astype(np.uint8)

    return upscale


class _OnnxRunner:
    """An ONNX file of one size, as the tiler takes it."""

    def __init__(self, run: "Reference", shape: ModelShape) -> None:
        self.shape = shape
        self.device: GpuDevice | None = None
        self._run = run

    def run(self, lr_nhwc: Float32Array) -> Float32Array:
        """Upscale one tile."""
        return self._run(lr_nhwc)

    def close(self) -> None:
        """Nothing is held."""
