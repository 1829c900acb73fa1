"""Bundled weights of edgesr's own training, and their `.tflite` files.

`edgesr/weights/<model>_x<scale>.safetensors` has a record (`.json`) and a model card (`.md`) beside
it, the `.tflite` files lie in the package `tflite_models`. A network has bundled weights if its
record is there: a new one needs no line of code. Only the standard library is imported.
"""

import importlib.util
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgesr.errors import CheckpointError, ModelFileError
from edgesr.networks.spec import ArchSpec, all_specs, specs_named

#: The folder of weights, records and cards.
WEIGHTS_FOLDER = Path(__file__).parent

#: PSNR and SSIM of published checkpoints, by sha256; beside the records.
PUBLISHED_QUALITY = "published.json"

#: How near tiles come to the whole image where networks look at all of it; beside the records.
TILED_QUALITY = "tiled.json"

#: The network whose file `edgesr upscale` uses unless told otherwise.
DEFAULT_MODEL = "imdn-rtc"

_SHIPPED_PACKAGE = "tflite_models"


@dataclass(frozen=True)
class BundledWeights:
    """Weights that edgesr's authors trained.

    Attributes:
        path: The file.
        sha256: Digest that it must have.
        weights_sha256: Digest of its names, shapes and values, which `.tflite` files state.
        licence: Their licence, and what binds the training data.
        psnr_db: Name of a benchmark set -> mean PSNR on Y in PyTorch.
    """

    path: Path
    sha256: str
    weights_sha256: str
    licence: str
    psnr_db: dict[str, float]

    @property
    def source(self) -> str:
        """Where they come from, in the words of a `.tflite`."""
        return source_of(self.path.stem)


def source_of(stem: str) -> str:
    """Where bundled weights of that name come from, in the words of a `.tflite`."""
    return f"trained by edgesr's authors and part of edgesr: edgesr/weights/{stem}.safetensors"


def stem(spec: ArchSpec) -> str:
    """What the names of a network's weights, record and card begin with."""
    return f"{spec.name}_x{spec.scale}"


def bundled_weights(spec: ArchSpec) -> BundledWeights | None:
    """A network's bundled weights, or None if it has none.

    Raises:
        CheckpointError: The record is damaged.
    """
    record = WEIGHTS_FOLDER / f"{stem(spec)}.json"
    if not record.is_file():
        return None
    try:
        found = json.loads(record.read_bytes())
        return BundledWeights(
            path=record.with_suffix(".safetensors"),
            sha256=str(found["sha256"]),
            weights_sha256=str(found["weights_sha256"]),
            licence=str(found["licence"]),
            psnr_db=_psnr(found["quality"]["pytorch"]),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{record} is damaged ({error!r}); install edgesr again") from error


def bundled_checkpoint(spec: ArchSpec) -> Path:
    """The file of a network's bundled weights.

    Raises:
        CheckpointError: There are none, or the file is missing or not the recorded one.
    """
    from edgesr.weights.download import file_sha256

    weights = bundled_weights(spec)
    if weights is None:
        other = "pass --weights published or" if spec.published else "pass"
        raise CheckpointError(f"{spec.name} has no bundled weights; {other} --checkpoint FILE")
    if (got := file_sha256(weights.path)) != weights.sha256:
        what = f"has sha256 {got}, recorded is {weights.sha256}" if got else "cannot be read"
        raise CheckpointError(f"{weights.path} {what}; install edgesr again")
    return weights.path


def published_psnr(sha256: str) -> dict[str, float]:
    """PSNR of a published checkpoint, measured as for the bundled ones; empty if it was not."""
    try:
        found = json.loads((WEIGHTS_FOLDER / PUBLISHED_QUALITY).read_bytes())
        return _psnr(found[sha256]["pytorch"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _psnr(entries: Any) -> dict[str, float]:  # noqa: ANN401 - what JSON holds
    return {str(entry["name"]): float(entry["psnr_db"]) for entry in entries}


@dataclass(frozen=True)
class TiledQuality:
    """Fidelity of tiled to untiled upscaling for networks of global receptive field.

    Attributes:
        psnr_db: Of the tiled result on Y against the untiled one;
            mean over images.
        lowest_db: The worst image's.
        images: How many.
        set_name: The benchmark set, whose images were fed at half their size.
        height: Rows of the tiles.
        width: Columns of the tiles.
    """

    psnr_db: float
    lowest_db: float
    images: int
    set_name: str
    height: int
    width: int


def tiled_quality(model: str, scale: int) -> TiledQuality | None:
    """The measurement for a network's published weights; None without one."""
    try:
        found = json.loads((WEIGHTS_FOLDER / TILED_QUALITY).read_bytes())[f"{model}_x{scale}"]
        return TiledQuality(
            psnr_db=float(found["psnr_db"]),
            lowest_db=float(found["lowest_db"]),
            images=len(found["images"]),
            set_name=str(found["set"]),
            height=int(found["tile"]["height"]),
            width=int(found["tile"]["width"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def shipped_folder() -> Path | None:
    """Where the `.tflite` files lie that come with edgesr; None if they were not installed."""
    found = importlib.util.find_spec(_SHIPPED_PACKAGE)
    places = found.submodule_search_locations if found else None
    return Path(next(iter(places))) if places else None


def shipped_file(spec: ArchSpec) -> Path | None:
    """A network's FP16 file, or None if none comes with edgesr."""
    folder = shipped_folder()
    found = sorted(folder.glob(f"{stem(spec)}_*_fp16.tflite")) if folder else []
    return found[0] if found else None


def model_file(text: str | None) -> Path:
    """The `.tflite` that a user means.

    Args:
        text: A path, or a network's name or alias for the file that comes with edgesr; a file that
            is there goes first. None for the default network's.

    Raises:
        ModelFileError: No file comes with edgesr for that network, or it is neither a path nor a
            network.
    """
    specs = specs_named(DEFAULT_MODEL)
    if text is not None:
        path = Path(text)
        # A folder is no model: one called like a network does not hide its file.
        if os.path.exists(path) and not os.path.isdir(path):
            return path
        specs = tuple(spec for spec in all_specs() if text in (spec.name, *spec.aliases))
        if not specs:
            return _as_path(text)
    file = next((file for spec in specs if (file := shipped_file(spec))), None)
    if file is None:
        name = specs[0].name
        raise ModelFileError(
            f"no .tflite of {name} comes with this edgesr (there are: {_shipped_names()}); make "
            f"one with `edgesr convert --model {name}` and name it with -m"
        )
    return file


def _as_path(text: str) -> Path:
    """A path that does not exist, unless it looks like the name of a network."""
    path = Path(text)
    if path.suffix or len(path.parts) > 1 or os.path.isdir(path):
        return path  # opening it raises the error
    raise ModelFileError(
        f"got -m {text}, which is neither a file nor a network whose file comes with edgesr, "
        f"allowed a .tflite or: {_shipped_names()}"
    )


def _shipped_names() -> str:
    names = [label for s in all_specs() if shipped_file(s) for label in (s.name, *s.aliases)]
    return ", ".join(names) or "none"
