"""Bicubic resizing that equals MATLAB's `imresize`, which makes the low-resolution images.

The literature's LR images were made by it, and a network is only comparable when its training
images were made in the same way. Other libraries' bicubics differ: in the kernel (a = -0.75), by
not widening it when they shrink, or in rounding. Only numpy.
"""

import math
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from edgesr.errors import ImageError, SizeError

_Pixel = TypeVar("_Pixel", np.uint8, np.float32)

_SUPPORT = 4  # the width of the cubic kernel, in input pixels when enlarging
_BLOCK_ROWS = 16  # so many rows of a photograph in float64 stay inside the cache of a core


def imresize(image_hwc: NDArray[_Pixel], scale_or_size: float | tuple[int, int]) -> NDArray[_Pixel]:
    """Resize by bicubic interpolation with antialiasing, as MATLAB does.

    The kernel is Keys' cubic with a = -0.5 (Keys, "Cubic convolution interpolation for digital
    image processing", 1981), widened by 1/scale where the image shrinks. The dimension that
    shrinks more goes first, height first among equals. Each of the two steps gives values of the
    image's own type, so that uint8 is rounded twice, halves away from zero. Beyond the border the
    outermost pixels go on. That is how the published test sets were made, to the bit; MATLAB's
    newer versions mirror the image there, and differ in the outermost rows and columns.

    Args:
        image_hwc: Height x width x channels, uint8 or float32 of any range.
        scale_or_size: One factor for both dimensions, rounding sizes up, or height and width.

    Returns:
        The resized image in the same type. Float values are not clipped.

    Raises:
        ImageError: The array is no such image.
        SizeError: The factor is not above zero, or a size is below 1.
    """
    _check_image(image_hwc)
    size = height, width = image_hwc.shape[:2]
    if isinstance(scale_or_size, tuple):
        target = scale_or_size
        if min(target) < 1:
            raise SizeError(f"got size {target[0]}x{target[1]}, allowed 1x1 and more; ask for more")
        scales = target[0] / height, target[1] / width
    else:
        if not 0 < scale_or_size < math.inf:
            raise SizeError(f"got scale {scale_or_size}, allowed above 0; 0.5 halves the size")
        scales = (float(scale_or_size),) * 2
        target = math.ceil(scales[0] * height), math.ceil(scales[1] * width)
    resized = image_hwc
    for axis in sorted((0, 1), key=lambda axis: scales[axis]):
        indices, weights = _contributions(size[axis], target[axis], scales[axis])
        rows = np.ascontiguousarray(resized.swapaxes(0, axis))
        resized = _weighted_rows(rows, indices, weights).swapaxes(0, axis)
    return np.ascontiguousarray(resized)


def _check_image(image_hwc: NDArray[Any]) -> None:
    usable = image_hwc.dtype.name in ("uint8", "float32")
    if not usable or image_hwc.ndim != 3 or not image_hwc.size:
        raise ImageError(
            f"got an image of type {image_hwc.dtype} and shape {image_hwc.shape}, allowed "
            "uint8 or float32 of height x width x channels, not empty; convert it"
        )


def _contributions(
    length: int, target: int, scale: float
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Which input pixels make each output pixel, and with which weights.

    Args:
        length: Pixels along the dimension.
        target: Pixels wanted.
        scale: The factor that places them, which is not always target / length.

    Returns:
        Indices and weights, each target x taps; the weights of a pixel add up to 1.
    """
    narrow = min(scale, 1.0)
    reach = _SUPPORT / narrow
    # MATLAB counts pixels from 1 and puts the centre of pixel x at x.
    centre = np.arange(1, target + 1) / scale + 0.5 * (1 - 1 / scale)
    first = np.floor(centre - reach / 2)
    positions = first[:, None] + np.arange(math.ceil(reach) + 2)
    weights = _cubic(narrow * (centre[:, None] - positions))
    weights /= weights.sum(axis=1, keepdims=True)
    used = weights.any(axis=0)
    indices = np.clip(positions[:, used].astype(np.intp) - 1, 0, length - 1)
    return indices, weights[:, used]


def _cubic(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    x = np.abs(distance)
    near = (1.5 * x - 2.5) * x**2 + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x <= 1, near, np.where(x < 2, far, 0))


def _weighted_rows(
    image_hwc: NDArray[_Pixel], indices: NDArray[np.intp], weights: NDArray[np.float64]
) -> NDArray[_Pixel]:
    """Sum rows by weight, always in the same order, so that every machine gets the same bits."""
    height, *rest = image_hwc.shape
    rows = image_hwc.reshape(height, -1)
    made = np.empty((len(indices), rows.shape[1]), image_hwc.dtype)
    for start in range(0, len(indices), _BLOCK_ROWS):
        block = slice(start, start + _BLOCK_ROWS)
        total = np.zeros(made[block].shape)
        for tap in range(weights.shape[1]):
            total += weights[block, tap, None] * rows[indices[block, tap]]
        if made.dtype == np.uint8:
            # Below zero everything becomes zero, so away from zero is up.
            total = np.clip(np.floor(total + 0.5), 0, 255)
        made[block] = total
    return made.reshape(len(indices), *rest)
