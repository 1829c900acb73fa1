"""What can be evaluated: anything that makes a large 8-bit picture of a small one."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from edgesr import __version__
from edgesr.checkpoints import LoadedCheckpoint
from edgesr.metrics import Uint8Array
from edgesr.overlap import Overlap, choose_overlap, stated_facts
from edgesr.quality import Upscale, by_bicubic, by_network, by_upscaler
from edgesr.runtime import Backend, Runner, open_model, read_model_bytes
from edgesr.tiling import next_multiple, reflect_indices
from edgesr.upscale import Upscaler
from edgesr.whole import whole_upscaler

BICUBIC = "bicubic"


@dataclass(frozen=True)
class Contestant:
    """One way of upscaling.

    Attributes:
        name: What the user calls it.
        how: What computes it, for people.
        scale: Upscaling factor.
        digest: Changes with everything that its results depend on.
        upscale: Does it.
        note: What the user should know of it; empty if nothing.
        close: Lets go of what it holds outside this process.
    """

    name: str
    how: str
    scale: int
    digest: str
    upscale: Upscale
    note: str = ""
    close: Callable[[], None] = field(default=lambda: None)


def digest_of(*parts: object) -> str:
    """A digest of what results depend on; the version of edgesr is always part of it."""
    return hashlib.sha256("\n".join([__version__, *map(str, parts)]).encode()).hexdigest()


def bicubic(scale: int) -> Contestant:
    """MATLAB's bicubic, the floor that every network must be above."""
    how = "MATLAB's imresize"
    return Contestant(BICUBIC, how, scale, digest_of(BICUBIC, scale), by_bicubic(scale))


def network(name: str, loaded: LoadedCheckpoint) -> Contestant:
    """A checkpoint in PyTorch, folded, on the CPU, the whole picture at once."""
    from edgesr.reparam import fold

    spec = loaded.spec
    upscale = by_network(fold(loaded.net), spec.value_range)
    return Contestant(
        name=name,
        how="PyTorch, whole pictures",
        scale=spec.scale,
        digest=digest_of("torch", loaded.sha256),
        upscale=on_multiples(upscale, spec.size_multiple, spec.scale),
    )


def tflite(name: str, path: Path, backend: Backend, threads: int) -> Contestant:
    """A `.tflite`, as `edgesr upscale` runs it: by tiles.

    Raises:
        EdgeSRError: It cannot be loaded, or not on this backend.
    """
    sha256 = hashlib.sha256(read_model_bytes(path)).hexdigest()
    facts = stated_facts(path)
    runner = open_model(path, backend, threads=threads)
    overlap, warning = choose_overlap(facts, None, runner.shape)
    size = f"{runner.shape.height}x{runner.shape.width}"
    if facts is not None and facts.whole_picture:
        warning = f"{name} looks at the whole picture, and tiles are not exact: see --whole"
    return Contestant(
        name=name,
        how=f"LiteRT on {backend}, tiles of {size}",
        scale=runner.shape.scale,
        digest=digest_of("tflite", backend, overlap, sha256),
        upscale=by_tiles(runner, overlap),
        note=warning or "",
        close=runner.close,
    )


def whole_tflite(name: str, path: Path, backend: Backend, threads: int) -> Contestant:
    """A `.tflite`, as `edgesr upscale --whole` runs it: each picture in one piece.

    Raises:
        EdgeSRError: It is no super-resolution file.
    """
    upscaler = whole_upscaler(path, backend, threads)
    sha256 = hashlib.sha256(read_model_bytes(path)).hexdigest()
    return Contestant(
        name=name,
        how=f"LiteRT on {backend}, whole pictures",
        scale=upscaler.scale,
        digest=digest_of("tflite", backend, "whole", sha256),
        upscale=by_upscaler(upscaler),
        close=upscaler.close,
    )


def by_tiles(runner: Runner, overlap: Overlap) -> Upscale:
    """A network of one fixed size on pictures of any size."""
    return by_upscaler(Upscaler(runner, overlap))


def on_multiples(upscale: Upscale, multiple: int, scale: int) -> Upscale:
    """Continue pictures by reflection to a multiple, as the tiler does, and crop the result."""

    def continued(lr_hwc_u8: Uint8Array) -> Uint8Array:
        height, width = lr_hwc_u8.shape[:2]
        rows, columns = (
            reflect_indices(side, 0, next_multiple(side, multiple)) for side in (height, width)
        )
        return upscale(lr_hwc_u8[rows][:, columns])[: scale * height, : scale * width]

    return upscale if multiple == 1 else continued
