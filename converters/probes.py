"""The inputs on which a file must equal PyTorch, and those on which magnitudes are calibrated."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgesr.errors import PictureError

Float32Array = NDArray[np.float32]

_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp"}
_PICTURES_EACH = 2
_SEED = 20210801


@dataclass(frozen=True)
class Probe:
    """One input.

    Attributes:
        name: For reports.
        lr_nhwc: RGB, 1 x height x width x 3, float32 in [0, 1].
        is_picture: Whether it looks like what users upscale; else it is a pattern that drives the
            network to its extremes.
    """

    name: str
    lr_nhwc: Float32Array
    is_picture: bool = False


def default_pictures() -> Path | None:
    """The photographs under EDGESR_SHARED, where that is set and holds them."""
    shared = os.environ.get("EDGESR_SHARED")
    folder = Path(shared, "train", "photos") if shared else None
    return folder if folder is not None and folder.is_dir() else None


def verification_probes(height: int, width: int, pictures: Path | None) -> list[Probe]:
    """Real pictures (or the test card), noise, both constants, a checkerboard and an impulse.

    Args:
        height: Rows of the file's input.
        width: Columns of the file's input.
        pictures: A folder of photographs, the first two of which are used; None for the test card.

    Raises:
        PictureError: The folder holds no picture, or one that cannot be read.
    """
    real = _pictures(pictures, height, width, skip=0)
    return [*real, *_synthetic(height, width, np.random.default_rng(_SEED))]


def calibration_probes(height: int, width: int, pictures: Path | None) -> list[Probe]:
    """The same kinds of input with other photographs and other noise."""
    real = _pictures(pictures, height, width, skip=_PICTURES_EACH)
    return [*real, *_synthetic(height, width, np.random.default_rng(_SEED + 1))]


def _pictures(folder: Path | None, height: int, width: int, *, skip: int) -> list[Probe]:
    card = Probe("test card", _test_card(height, width), is_picture=True)
    if folder is None:
        return [card]
    if not folder.is_dir():
        raise PictureError(
            f"got --pictures {folder}, which is no folder; name one with photographs"
        )
    files = sorted(f for f in folder.iterdir() if f.suffix.lower() in _SUFFIXES)
    if not files:
        raise PictureError(f"{folder} holds no picture; allowed: {', '.join(sorted(_SUFFIXES))}")
    # With too few pictures for two disjoint sets the same ones serve both.
    chosen = files[skip : skip + _PICTURES_EACH] or files[:_PICTURES_EACH]
    return [Probe(f.name, _fit(f, height, width), is_picture=True) for f in chosen] + [card]


def _fit(file: Path, height: int, width: int) -> Float32Array:
    """The centre of a picture, reduced to just cover the input."""
    from PIL import Image, ImageOps

    try:
        with Image.open(file) as picture:
            rgb = ImageOps.fit(picture.convert("RGB"), (width, height), Image.Resampling.BICUBIC)
    except (OSError, ValueError, SyntaxError) as error:
        raise PictureError(f"cannot read {file}: {error}") from error
    return _from_u8(np.asarray(rgb))


def _test_card(height: int, width: int) -> Float32Array:
    from edgesr.testcard import draw_test_card

    return _from_u8(draw_test_card(height, width))


def _from_u8(hwc_u8: NDArray[np.uint8]) -> Float32Array:
    return (hwc_u8.astype(np.float32) / np.float32(255))[np.newaxis]


def _synthetic(height: int, width: int, rng: np.random.Generator) -> Sequence[Probe]:
    """Inputs that reach where pictures do not: extremes, every frequency, a single pixel."""
    shape = (1, height, width, 3)
    rows, columns = np.indices((height, width))
    checkerboard = np.broadcast_to(((rows + columns) % 2)[None, :, :, None], shape)
    impulse = np.zeros(shape, np.float32)
    impulse[0, height // 2, width // 2] = 1.0
    return [
        Probe("noise", rng.random(shape, dtype=np.float32)),
        Probe("constant 0", np.zeros(shape, np.float32)),
        Probe("constant 1", np.ones(shape, np.float32)),
        Probe("checkerboard", checkerboard.astype(np.float32)),
        Probe("impulse", impulse),
    ]
