"""Build the page as a static folder: the page, the runtime, the models and what they must give.

Each model comes in a few sizes of tiles, which LiteRT.js cannot change, and with a reference crop:
pixels, and the output that the file has for them on this machine's CPU.
"""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from converters.parity.gates import GATES
from edgesr import __version__
from edgesr.common.progress import ProgressCallback, silent
from edgesr.errors import ModelFileError, OutputError, SizeError
from edgesr.images.test_card import draw_test_card
from edgesr.runtime.session import Backend, ModelFile, read_model_file
from edgesr.tflite.resize import fits_any_size, resize
from edgesr.upscaling.tiling import choose_overlap
from edgesr.web.runtime import RUNTIME_NAME, runtime_files

_PAGE = Path(__file__).parent / "page"
Size = tuple[int, int]
#: Sizes of tiles, height and width: the page takes those that cost an image the fewest pixels.
TILES: tuple[Size, ...] = ((128, 128), (256, 256), (384, 512))
#: Present in every folder that was built, so that none but such a one is replaced.
CATALOG = "models.json"


@dataclass(frozen=True)
class BuiltPage:
    """A page that was built.

    Attributes:
        folder: Where it lies.
        files: Number of its files.
        size_bytes: Bytes of all of them.
        models: Names of its models.
    """

    folder: Path
    files: int
    size_bytes: int
    models: tuple[str, ...]


def build_page(
    out: Path,
    models: Sequence[Path],
    *,
    overwrite: bool = False,
    tiles: Sequence[Size] = TILES,
    cache_dir: Path | None = None,
    progress: ProgressCallback = silent,
) -> BuiltPage:
    """Build the page as a static folder, whole or not at all.

    Args:
        out: The folder. One that an earlier build made may be replaced.
        models: Super-resolution `.tflite` files.
        overwrite: Whether to replace it.
        tiles: Height and width of the tiles, the smallest first, which is the reference crop's too.
            A file that fits its own size only has one tile of that size.
        cache_dir: Where the runtime is cached; with downloaded weights by default.
        progress: Told how far it is.

    Raises:
        OutputError: The folder exists and is not to be replaced, or cannot be written.
        ModelFileError: A file is no super-resolution model, or cannot be run by tiles.
        SizeError: Tiles of those sizes are too small for a network.
        DownloadError: The runtime is not in the cache and cannot be fetched.
    """
    check_folder(out, overwrite=overwrite)
    opened = [read_model_file(path) for path in models]
    runtime = runtime_files(cache_dir, progress)
    try:
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as made:
            folder = Path(made) / "page"
            shutil.copytree(_PAGE, folder)
            for name, content in runtime.items():
                _write(folder / "runtime" / name, content)
            entries: list[dict[str, Any]] = []
            for index, model in enumerate(opened):
                progress("models", index, len(opened))
                entries.append(_add_model(folder, f"models/{index}", model, tiles))
            catalog = {"edgesr": __version__, "runtime": RUNTIME_NAME, "models": entries}
            _write(folder / CATALOG, json.dumps(catalog, indent=1).encode())
            if out.exists():
                out.rename(Path(made) / "old")
            folder.rename(out)
    except OSError as error:
        raise OutputError(f"cannot write the page {out}: {error.strerror or error}") from error
    files = [path for path in out.rglob("*") if path.is_file()]
    return BuiltPage(
        out,
        len(files),
        sum(path.stat().st_size for path in files),
        tuple(str(entry["name"]) for entry in entries),
    )


def check_folder(out: Path, *, overwrite: bool) -> None:
    """Refuse an output folder early.

    Raises:
        OutputError: Its parent does not exist, or it is there and not to be replaced.
    """
    if not out.parent.is_dir():
        raise OutputError(f"output folder {out}: {out.parent} does not exist")
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not (out / CATALOG).is_file():
        raise OutputError(f"output {out} exists and is no page of edgesr; choose another name")
    if not overwrite:
        raise OutputError(f"output folder {out} exists; choose another name or pass --force")


def _add_model(
    folder: Path, place: str, model: ModelFile, wanted: Sequence[Size]
) -> dict[str, Any]:
    """Write a model's tiles and its reference crop; what the page must know of it."""
    facts, shape = model.facts, model.shape
    radius, multiple, sizes = _tiles(model, wanted)
    tiles: list[dict[str, Any]] = []
    for height, width in sizes:
        own = (height, width) == (shape.height, shape.width)
        content = model.content if own else resize(model.content, height, width).content
        name = f"{place}/{height}x{width}.tflite"
        _write(folder / name, content)
        tiles.append({"height": height, "width": width, "file": name} | _digest(content))
    partial = 0 if len(sizes) == 1 else radius
    gates = GATES[facts.precision if facts else "fp16"]
    return {
        "name": facts.model if facts else model.path.stem,
        "scale": shape.scale,
        "precision": facts.precision if facts else None,
        "radius": radius,
        "multiple": multiple,
        "file": {"name": model.path.name} | _digest(model.content),
        "tiles": tiles,
        "reference": _add_reference(folder, place, model, sizes[0], partial),
        "gates": {
            "wasm": _gate(gates[Backend.CPU].max_abs, gates[Backend.CPU].psnr_db),
            "webgpu": _gate(gates[Backend.GPU].max_abs_to_cpu, gates[Backend.GPU].psnr_db),
        },
    }


def _tiles(model: ModelFile, wanted: Sequence[Size]) -> tuple[int, int, list[Size]]:
    """Radius, multiple and sizes of the tiles.

    Raises:
        ModelFileError: The network sees the whole image.
        SizeError: No tile of those sizes would leave a pixel.
    """
    own = (model.shape.height, model.shape.width)
    reach = model.facts.reach if model.facts else None
    if reach is None:
        # Its reach is a guess: only the file's own size has an output that is known to the end.
        return choose_overlap(None, None, model.shape)[0].radius, 1, [own]
    if reach.radius is None or reach.whole_image:
        raise ModelFileError(
            f"{model.path} sees the whole image: the page's tiles would not give what the network "
            "gives; use `edgesr upscale`"
        )
    if not fits_any_size(model.content):
        return reach.radius, reach.size_multiple, [own]
    least = 2 * reach.radius + reach.size_multiple
    sizes = [
        size
        for size in wanted
        if min(size) > least and not any(side % reach.size_multiple for side in size)
    ]
    if not sizes and wanted is not TILES:
        given = ", ".join(f"{height}x{width}" for height, width in wanted)
        raise SizeError(
            f"got {given}, allowed for {model.path.name} are multiples of {reach.size_multiple} "
            f"above {least}"
        )
    return reach.radius, reach.size_multiple, sizes or [own]


def _add_reference(
    folder: Path, place: str, model: ModelFile, size: tuple[int, int], partial: int
) -> dict[str, Any]:
    """Write the reference crop and its output on this CPU.

    Fed as the corner of a larger tile, the output is the same but for the last `partial` pixels.
    """
    height, width = size
    crop_hwc_u8 = draw_test_card(height, width)
    runner = model.open(size=size)
    hr_nhwc = runner.run((crop_hwc_u8[None] / np.float32(255)).astype(np.float32))
    if not np.isfinite(hr_nhwc).all():
        raise ModelFileError(f"{model.path} gives values that are not finite on the test card")
    _write(folder / place / "input.bin", crop_hwc_u8.tobytes())
    _write(folder / place / "expected.bin", hr_nhwc.astype("<f4").tobytes())
    runner.close()
    return {
        "height": height,
        "width": width,
        "valid_height": height - partial,
        "valid_width": width - partial,
        "input": f"{place}/input.bin",
        "expected": f"{place}/expected.bin",
    }


def _gate(max_abs: float | None, psnr_db: float | None) -> dict[str, float]:
    return {"max_abs": max_abs or 1.0, "psnr_db": psnr_db or 0.0}


def _digest(content: bytes) -> dict[str, Any]:
    return {"sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)}


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
