"""The inputs on which a file must equal PyTorch, and those on which magnitudes are calibrated."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgesr.errors import PictureError

Float32Array = NDArray[np.float32]

_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp"}
_PICTURES_EACH = 2
_SEED = 20210801


#: Takes RGB 1 x H x W x 3 in [0, 1] and gives 1 x (scale H) x (scale W) x 3 in about [0, 1].
Reference = Callable[[Float32Array], Float32Array]

# As far as photographs drive the networks here: they overshoot black and white by up to a fifth.
_LOWEST, _HIGHEST = -0.25, 1.25
_LEAST_CONTRAST = 1 / 64


@dataclass(frozen=True)
class Probe:
    """One input.

    Attributes:
        name: For reports.
        lr_nhwc: RGB, 1 x height x width x 3, float32 in [0, 1].
        is_photo: Whether it is a photograph, which is taken as it is.
        is_periodic: Whether a few values repeat everywhere.
        contrast: 1.0, or the share of its contrast that is left.
    """

    name: str
    lr_nhwc: Float32Array
    is_photo: bool = False
    is_periodic: bool = False
    contrast: float = 1.0

    def weakened(self, factor: float) -> "Probe":
        """The same around mid-grey with `factor` times its contrast."""
        lr_nhwc = 0.5 + (self.lr_nhwc - 0.5) * np.float32(factor)
        return replace(self, lr_nhwc=lr_nhwc, contrast=self.contrast * factor)


def within_range(probe: Probe, reference: Reference) -> tuple[Probe, Float32Array]:
    """A drawn input at the largest contrast that the network can take, and the network's output.

    FMEN-S answers a checkerboard of full contrast with 33,000 where white is 1; even two FP32
    runtimes differ by 5,000 there. Nothing can be said of a conversion on such an input, so its
    contrast is halved until PyTorch's output lies in [-0.25, 1.25]. Only PyTorch decides, never
    the file. Photographs are never weakened, and nothing is where that does not help: a network
    without training leaves the range on any input.
    """
    wanted = reference(probe.lr_nhwc)
    weaker, answer = probe, wanted
    while not probe.is_photo and weaker.contrast > _LEAST_CONTRAST and _leaves_range(answer):
        weaker = weaker.weakened(0.5)
        answer = reference(weaker.lr_nhwc)
    return (probe, wanted) if _leaves_range(answer) else (weaker, answer)


def _leaves_range(hr_nhwc: Float32Array) -> bool:
    return not (hr_nhwc.min() >= _LOWEST and hr_nhwc.max() <= _HIGHEST)


def default_pictures() -> Path | None:
    """The photographs under EDGESR_SHARED, where that is set and holds them."""
    shared = os.environ.get("EDGESR_SHARED")
    folder = Path(shared, "train", "photos") if shared else None
    return folder if folder is not None and folder.is_dir() else None


def verification_probes(
    height: int, width: int, pictures: Path | None, contrasts: Mapping[str, float] | None = None
) -> list[Probe]:
    """Real pictures, the test card, noise, both constants, a checkerboard and an impulse.

    Args:
        height: Rows of the file's input.
        width: Columns of the file's input.
        pictures: A folder of photographs, the first two of which are used; None for none.
        contrasts: Name -> contrast known to be the most that the network takes.

    Raises:
        PictureError: The folder holds no picture, or one that cannot be read.
    """
    photos = _pictures(pictures, height, width, skip=0)
    drawn = _drawn(height, width, np.random.default_rng(_SEED))
    return [*photos, *(p.weakened((contrasts or {}).get(p.name, 1.0)) for p in drawn)]


def calibration_probes(
    height: int, width: int, pictures: Path | None, reference: Reference
) -> list[Probe]:
    """The same kinds of input with other photographs and other noise, within the network's range.

    Args:
        height: Rows.
        width: Columns.
        pictures: A folder of photographs; None for none.
        reference: The network.

    Raises:
        PictureError: The folder holds no picture, or one that cannot be read.
    """
    photos = _pictures(pictures, height, width, skip=_PICTURES_EACH)
    drawn = _drawn(height, width, np.random.default_rng(_SEED + 1))
    return [within_range(probe, reference)[0] for probe in [*photos, *drawn]]


def _pictures(folder: Path | None, height: int, width: int, *, skip: int) -> list[Probe]:
    if folder is None:
        return []
    if not folder.is_dir():
        raise PictureError(
            f"got --pictures {folder}, which is no folder; name one with photographs"
        )
    files = sorted(f for f in folder.iterdir() if f.suffix.lower() in _SUFFIXES)
    if not files:
        raise PictureError(f"{folder} holds no picture; allowed: {', '.join(sorted(_SUFFIXES))}")
    # With too few pictures for two disjoint sets the same ones serve both.
    chosen = files[skip : skip + _PICTURES_EACH] or files[:_PICTURES_EACH]
    return [Probe(f.name, _fit(f, height, width), is_photo=True) for f in chosen]


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


def _drawn(height: int, width: int, rng: np.random.Generator) -> Sequence[Probe]:
    """Inputs that reach where pictures do not: extremes, every frequency, a single pixel."""
    shape = (1, height, width, 3)
    rows, columns = np.indices((height, width))
    checkerboard = np.broadcast_to(((rows + columns) % 2)[None, :, :, None], shape)
    impulse = np.zeros(shape, np.float32)
    impulse[0, height // 2, width // 2] = 1.0
    return [
        Probe("test card", _test_card(height, width)),
        Probe("noise", rng.random(shape, dtype=np.float32)),
        Probe("constant 0", np.zeros(shape, np.float32), is_periodic=True),
        Probe("constant 1", np.ones(shape, np.float32), is_periodic=True),
        Probe("checkerboard", checkerboard.astype(np.float32), is_periodic=True),
        Probe("impulse", impulse),
    ]
