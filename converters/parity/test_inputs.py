"""Inputs of a parity run, and those on which magnitudes are calibrated."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgesr.images.datasets import find_images, read_rgb

Float32Array = NDArray[np.float32]

_IMAGES_EACH = 2
_LARGEST_SCENE = 256
_SEED = 20210801

#: Maps RGB 1 x H x W x 3 in [0, 1] to 1 x (scale H) x (scale W) x 3 in about [0, 1].
ReferenceNetwork = Callable[[Float32Array], Float32Array]

# On photographs the networks here overshoot black and white by up to a fifth.
_LOWEST, _HIGHEST = -0.25, 1.25
_LEAST_CONTRAST = 1 / 64
_FP32_STEP = 2.0**-23


@dataclass(frozen=True)
class InputImage:
    """An input image of parity or calibration runs.

    Attributes:
        name: Its name in reports.
        lr_nhwc: RGB, 1 x height x width x 3, float32 in [0, 1].
        is_natural: Whether it is a photograph, or stands for one: its contrast is never reduced.
        is_periodic: Whether a few values repeat everywhere.
        contrast: Share of its full contrast, at most 1.0.
    """

    name: str
    lr_nhwc: Float32Array
    is_natural: bool = False
    is_periodic: bool = False
    contrast: float = 1.0

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.lr_nhwc.shape[1], self.lr_nhwc.shape[2]

    def with_contrast(self, factor: float) -> "InputImage":
        """The image with `factor` times its contrast around mid-grey."""
        lr_nhwc = 0.5 + (self.lr_nhwc - 0.5) * np.float32(factor)
        return replace(self, lr_nhwc=lr_nhwc, contrast=self.contrast * factor)


def reduce_contrast(
    image: InputImage, reference: ReferenceNetwork
) -> tuple[InputImage, Float32Array]:
    """Halve a synthetic input's contrast until the network stays in range.

    FMEN-S answers a checkerboard of full contrast with 33,000 where white is 1; even two FP32
    runtimes differ by 5,000 there. Such an input tells nothing about a conversion, so its contrast
    is halved until the reference output lies in [-0.25, 1.25]. Only the reference decides, never
    the file. Natural images keep their contrast, and so does every input where halving does not
    help: a network without training leaves the range on any input.

    Returns:
        The input, and the reference output for it.
    """
    full, wanted = image, reference(image.lr_nhwc)
    reduced, output = full, wanted
    while not full.is_natural and reduced.contrast > _LEAST_CONTRAST and _leaves_range(output):
        reduced = reduced.with_contrast(0.5)
        output = reference(reduced.lr_nhwc)
    return (full, wanted) if _leaves_range(output) else (reduced, output)


def _leaves_range(hr_nhwc: Float32Array) -> bool:
    return not (hr_nhwc.min() >= _LOWEST and hr_nhwc.max() <= _HIGHEST)


def rounding_of(
    reference: ReferenceNetwork, image: InputImage, output: Float32Array
) -> Float32Array:
    """How much rounding in FP32 alone changes a reference's output.

    The input is changed by less than half a step of FP32 at white, so that every operator rounds
    otherwise. Measured for IMDN_RTC, FMEN-S and imdn-plus on all inputs, at both contrasts:
    PyTorch and LiteRT in FP32 differ by 0.2 to 2.1 times that (root mean square), from 1e-7 up to
    5e-5 on a checkerboard; FP16 arithmetic by 2^6.5 to 2^11.5 times, FP16 weights by 2^6 to 2^10.3.

    Args:
        reference: The network in FP32.
        image: The input.
        output: The reference's output for it.

    Returns:
        The difference of the outputs.
    """
    change = np.random.default_rng(_SEED).uniform(-1, 1, image.lr_nhwc.shape) * _FP32_STEP
    return reference((image.lr_nhwc + change).astype(np.float32)) - output


def shared_photos() -> Path | None:
    """The folder of photographs under EDGESR_SHARED, if there is one."""
    shared = os.environ.get("EDGESR_SHARED")
    folder = Path(shared, "train", "photos") if shared else None
    return folder if folder is not None and folder.is_dir() else None


def parity_inputs(
    height: int,
    width: int,
    images: Path | None,
    contrasts: Mapping[str, float] | None = None,
    small: tuple[int, int] | None = None,
) -> list[InputImage]:
    """Natural images, test card, noise, both constants, checkerboard and impulse.

    Args:
        height: Rows of the file's input.
        width: Columns of the file's input.
        images: A folder of photographs, of which the first two are used; None for synthetic scenes
            in their place.
        contrasts: Name -> the largest contrast at which the network is known to stay in range.
        small: Height and width of all inputs but the first; None for those of the file.

    Raises:
        ImageError: The folder holds no image, or one that cannot be read.
    """
    rows, columns = small or (height, width)
    natural = _natural(images, [(height, width), (rows, columns)], first=0)
    synthetic = _synthetic(rows, columns, np.random.default_rng(_SEED))
    return [*natural, *(i.with_contrast((contrasts or {}).get(i.name, 1.0)) for i in synthetic)]


def calibration_inputs(
    height: int, width: int, images: Path | None, reference: ReferenceNetwork
) -> list[InputImage]:
    """Inputs of the same kinds, with other natural images and other noise.

    Their contrast is reduced as far as the network requires.

    Args:
        height: Rows of each input.
        width: Columns of each input.
        images: A folder of photographs; None for synthetic scenes in their place.
        reference: The network.

    Raises:
        ImageError: The folder holds no image, or one that cannot be read.
    """
    natural = _natural(images, [(height, width)] * _IMAGES_EACH, first=_IMAGES_EACH)
    synthetic = _synthetic(height, width, np.random.default_rng(_SEED + 1))
    return [reduce_contrast(image, reference)[0] for image in [*natural, *synthetic]]


def _natural(
    folder: Path | None, sizes: Sequence[tuple[int, int]], *, first: int
) -> list[InputImage]:
    """Photographs, or scenes with their statistics, from the one of that number on."""
    if folder is None:
        return [
            InputImage(f"dead leaves {number}", _leaves(*size, number), is_natural=True)
            for number, size in enumerate(sizes, first + 1)
        ]
    files = find_images(folder)
    # With too few images for two disjoint sets the same ones serve both.
    chosen = files[first : first + _IMAGES_EACH] or files[:_IMAGES_EACH]
    return [
        InputImage(f.name, _fit(f, *size), is_natural=True)
        for f, size in zip(chosen, sizes, strict=False)  # a folder may hold one alone
    ]


def _leaves(height: int, width: int, number: int) -> Float32Array:
    """A scene of at most 256 pixels a side, which goes on by reflection in larger inputs."""
    from numpy.random import RandomState

    from edgesr.images.scenes import draw_leaves

    side = min(max(height, width), _LARGEST_SCENE)
    drawn = draw_leaves(side, RandomState(number))[:height, :width]
    missing = (height - drawn.shape[0], width - drawn.shape[1])
    return _from_u8(np.pad(drawn, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="reflect"))


def _fit(file: Path, height: int, width: int) -> Float32Array:
    """The centre of an image, upright, resized to just cover the input."""
    from PIL import Image, ImageOps

    image = Image.fromarray(read_rgb(file))
    return _from_u8(np.asarray(ImageOps.fit(image, (width, height), Image.Resampling.BICUBIC)))


def _test_card(height: int, width: int) -> Float32Array:
    from edgesr.images.test_card import draw_test_card

    return _from_u8(draw_test_card(height, width))


def _from_u8(hwc_u8: NDArray[np.uint8]) -> Float32Array:
    return (hwc_u8.astype(np.float32) / np.float32(255))[np.newaxis]


def _synthetic(height: int, width: int, rng: np.random.Generator) -> Sequence[InputImage]:
    """Inputs beyond what photographs hold: extremes, every frequency, a single pixel."""
    shape = (1, height, width, 3)
    rows, columns = np.indices((height, width))
    checkerboard = np.broadcast_to(((rows + columns) % 2)[None, :, :, None], shape)
    impulse = np.zeros(shape, np.float32)
    impulse[0, height // 2, width // 2] = 1.0
    return [
        InputImage("test card", _test_card(height, width)),
        InputImage("noise", rng.random(shape, dtype=np.float32)),
        InputImage("constant 0", np.zeros(shape, np.float32), is_periodic=True),
        InputImage("constant 1", np.ones(shape, np.float32), is_periodic=True),
        InputImage("checkerboard", checkerboard.astype(np.float32), is_periodic=True),
        InputImage("impulse", impulse),
    ]
