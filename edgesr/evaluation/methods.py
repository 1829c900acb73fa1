"""Methods of upscaling that can be evaluated: bicubic, PyTorch networks, `.tflite` files."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from edgesr import __version__
from edgesr.evaluation.benchmark_sets import Upscale, by_bicubic, by_network, by_upscaler
from edgesr.images.metrics import Uint8Array
from edgesr.runtime.session import Backend, Runner, open_model
from edgesr.tflite.facts import read_facts
from edgesr.tflite.resize import fits_any_size
from edgesr.tflite.schema import read_model_bytes
from edgesr.upscaling.tiling import Overlap, choose_overlap, next_multiple, reflect_indices
from edgesr.upscaling.upscaler import Upscaler, whole_upscaler
from edgesr.weights.checkpoints import LoadedCheckpoint

BICUBIC = "bicubic"


@dataclass(frozen=True)
class Method:
    """A method of upscaling 8-bit RGB images.

    Attributes:
        name: As the user named it.
        how: Backend and tiling, for people.
        scale: Upscaling factor.
        digest: SHA-256 of everything that its results depend on.
        upscale: RGB uint8, height x width x 3 -> the same, `scale` times as high and wide.
        note: Warning to the user; empty without one.
        close: Releases what it holds outside this process.
    """

    name: str
    how: str
    scale: int
    digest: str
    upscale: Upscale
    note: str = ""
    close: Callable[[], None] = field(default=lambda: None)


def digest_of(*parts: object) -> str:
    """SHA-256 of what results depend on; the version of edgesr is always part of it."""
    return hashlib.sha256("\n".join([__version__, *map(str, parts)]).encode()).hexdigest()


def bicubic(scale: int) -> Method:
    """MATLAB's bicubic, the baseline of every network."""
    how = "MATLAB's imresize"
    return Method(BICUBIC, how, scale, digest_of(BICUBIC, scale), by_bicubic(scale))


def network(name: str, loaded: LoadedCheckpoint, threads: int | None = None) -> Method:
    """A checkpoint in PyTorch, folded, on the CPU, untiled.

    Args:
        name: As the user named it.
        loaded: The checkpoint.
        threads: CPU threads of PyTorch, for the whole process; None leaves them as they are.
    """
    from edgesr.networks.reparam import fold

    if threads is not None:
        import torch

        torch.set_num_threads(threads)
    spec = loaded.spec
    upscale = by_network(fold(loaded.net), spec.value_range)
    return Method(
        name=name,
        how="PyTorch, whole images",
        scale=spec.scale,
        digest=digest_of("torch", loaded.sha256),
        upscale=on_multiples(upscale, spec.size_multiple, spec.scale),
    )


def tflite(name: str, path: Path, backend: Backend, threads: int) -> Method:
    """A `.tflite` as `edgesr upscale` runs it: tiled.

    Raises:
        EdgeSRError: It cannot be loaded, or not on this backend.
    """
    content = read_model_bytes(path)
    sha256 = hashlib.sha256(content).hexdigest()
    facts = read_facts(path)
    runner = open_model(path, backend, threads=threads)
    overlap, warning = choose_overlap(facts and facts.reach, None, runner.shape)
    size = f"{runner.shape.height}x{runner.shape.width}"
    if facts is not None and facts.whole_image:
        warning = f"{name} has a global receptive field, tiles are not exact"
        warning += ": see --whole" if fits_any_size(content) else ""
    return Method(
        name=name,
        how=f"LiteRT on {backend}, tiles of {size}",
        scale=runner.shape.scale,
        digest=digest_of("tflite", backend, overlap, sha256),
        upscale=by_tiles(runner, overlap),
        note=warning or "",
        close=runner.close,
    )


def whole_tflite(name: str, path: Path, backend: Backend, threads: int) -> Method:
    """A `.tflite` as `edgesr upscale --whole` runs it: untiled.

    Raises:
        EdgeSRError: It is no super-resolution model.
    """
    upscaler = whole_upscaler(path, backend, threads)
    sha256 = hashlib.sha256(read_model_bytes(path)).hexdigest()
    return Method(
        name=name,
        how=f"LiteRT on {backend}, whole images",
        scale=upscaler.scale,
        digest=digest_of("tflite", backend, "whole", sha256),
        upscale=by_upscaler(upscaler),
        close=upscaler.close,
    )


def by_tiles(runner: Runner, overlap: Overlap) -> Upscale:
    """Upscale images of any size by tiles of a runner's fixed size."""
    return by_upscaler(Upscaler(runner, overlap))


def on_multiples(upscale: Upscale, multiple: int, scale: int) -> Upscale:
    """Pad images by reflection to a multiple, as tiling does, and crop the result."""

    def padded(lr_hwc_u8: Uint8Array) -> Uint8Array:
        height, width = lr_hwc_u8.shape[:2]
        rows, columns = (
            reflect_indices(side, 0, next_multiple(side, multiple)) for side in (height, width)
        )
        return upscale(lr_hwc_u8[rows][:, columns])[: scale * height, : scale * width]

    return upscale if multiple == 1 else padded
