"""Images that integers are calibrated on, and those that their file is judged by."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgesr.errors import ImageError
from edgesr.images.datasets import find_images, read_rgb
from edgesr.images.imresize import imresize
from edgesr.images.scenes import draw_leaves

Float32Array = NDArray[np.float32]

_COUNT = 32
_PARTS = 4
_SEED = 20261127
#: Images of a folder that judge and do not calibrate.
JUDGES = 2
# Of 255; below it an image is one colour.
_LEAST_DEVIATION = 1.0


def calibration_images(height: int, width: int, folder: Path | None) -> list[Float32Array]:
    """Parts of photographs at half their size, as sharp as what is upscaled.

    Half of them have their colours stretched to the whole range.

    Args:
        height: Rows of each.
        width: Columns of each.
        folder: The photographs, of which the first two are left to `judging_images` where there
            are more; None for synthetic scenes in their place.

    Returns:
        Each 1 x height x width x 3, in [0, 1].

    Raises:
        ImageError: The folder holds no image, or its images are all of one colour or all alike.
    """
    rng = np.random.default_rng(_SEED)
    if folder is None:
        parts = [_scene(100 + n, height, width) for n in range(_COUNT)]
    else:
        files = find_images(folder)
        chosen = files[JUDGES:] or files
        parts = [
            _part(read_rgb(chosen[n % len(chosen)]), height, width, rng) for n in range(_COUNT)
        ]
        if np.std(np.stack(parts)) < _LEAST_DEVIATION or _all_alike(parts):
            raise ImageError(
                f"the images in {folder} are all alike: integers are fitted to what they show; "
                "give a folder of different photographs by --images"
            )
    half = _COUNT // 2
    return [_from_u8(part) for part in [*parts[:half], *map(_stretched, parts[half:])]]


def _from_u8(hwc_u8: NDArray[np.uint8]) -> Float32Array:
    return (hwc_u8.astype(np.float32) / np.float32(255))[np.newaxis]


def _stretched(hwc_u8: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Every colour from 0 to 255: a few photographs do not hold all colours that there are.

    What they lack would be cut off in the first layers: on Set5 the head alone then cost 2 dB.
    """
    low = hwc_u8.min(axis=(0, 1)).astype(np.float64)
    high = hwc_u8.max(axis=(0, 1)).astype(np.float64)
    return np.rint((hwc_u8 - low) / np.maximum(high - low, 16) * 255).clip(0, 255).astype(np.uint8)


def judging_images(
    height: int, width: int, scale: int, folder: Path | None
) -> list[NDArray[np.uint8]]:
    """High-resolution images of which `height` x `width` is the reduced size.

    Args:
        height: Rows of the reduced size.
        width: Columns of it.
        scale: How many times larger they are.
        folder: The photographs, of which the first two give four parts each; None for synthetic
            scenes.

    Raises:
        ImageError: The folder holds no image.
    """
    rows, columns = scale * height, scale * width
    rng = np.random.default_rng(_SEED + 1)
    if folder is None:
        return [_scene(n, rows, columns) for n in range(1, JUDGES + 1)]
    return [
        _part(image, rows, columns, rng)
        for image in map(read_rgb, find_images(folder)[:JUDGES])
        for _ in range(_PARTS)
    ]


def _all_alike(parts: list[NDArray[np.uint8]]) -> bool:
    return all(np.array_equal(part, parts[0]) for part in parts)


def _scene(number: int, height: int, width: int) -> NDArray[np.uint8]:
    from numpy.random import RandomState

    return draw_leaves(max(height, width), RandomState(number))[:height, :width]


def _part(
    image_hwc_u8: NDArray[np.uint8], height: int, width: int, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """A random part of an image at half its size; a small image goes on by reflection."""
    missing = [
        max(2 * side - have, 0)
        for side, have in zip((height, width), image_hwc_u8.shape, strict=False)
    ]
    if any(missing):
        image_hwc_u8 = np.pad(
            image_hwc_u8, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="symmetric"
        )
    top = int(rng.integers(image_hwc_u8.shape[0] - 2 * height + 1))
    left = int(rng.integers(image_hwc_u8.shape[1] - 2 * width + 1))
    part = image_hwc_u8[top : top + 2 * height, left : left + 2 * width]
    return to_u8(imresize(part.astype(np.float32), 0.5))


def to_u8(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Grey levels, rounded and clipped, of values in [0, 255]."""
    return np.clip(np.floor(values + np.float32(0.5)), 0, 255).astype(np.uint8)
