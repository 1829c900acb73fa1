"""How alike two pictures are, as the super-resolution literature measures it. Only numpy."""

import numpy as np
from numpy.typing import NDArray

from edgesr.errors import PictureError, SizeError

Uint8Array = NDArray[np.uint8]

# ITU-R BT.601, as MATLAB's rgb2ycbcr has it: Y of 8-bit RGB lies in [16, 235].
_LUMA_WEIGHTS = np.array([65.481, 128.553, 24.966]) / 255
_LUMA_OFFSET = 16


def luma(rgb_hwc_u8: Uint8Array) -> Uint8Array:
    """The Y channel of a picture: BT.601, rounded to 8 bits, as MATLAB's rgb2ycbcr.

    Args:
        rgb_hwc_u8: RGB, height x width x 3.

    Returns:
        Height x width, in [16, 235].

    Raises:
        PictureError: The array is not 8-bit RGB.
    """
    if rgb_hwc_u8.dtype != np.uint8 or rgb_hwc_u8.ndim != 3 or rgb_hwc_u8.shape[2] != 3:
        raise PictureError(
            f"got a picture of type {rgb_hwc_u8.dtype} and shape {rgb_hwc_u8.shape}, allowed uint8 "
            "of height x width x 3; convert it to 8-bit RGB"
        )
    # MATLAB rounds halves up, numpy's rint to even.
    return np.floor(rgb_hwc_u8 @ _LUMA_WEIGHTS + _LUMA_OFFSET + 0.5).astype(np.uint8)


def psnr_y(a_hwc_u8: Uint8Array, b_hwc_u8: Uint8Array, shave: int) -> float:
    """Peak signal-to-noise ratio of two pictures' Y channels.

    Args:
        a_hwc_u8: RGB, height x width x 3.
        b_hwc_u8: RGB of the same size.
        shave: Pixels left out along each edge; by convention the upscaling factor.

    Returns:
        Decibels (peak 255); infinity where Y is equal.

    Raises:
        PictureError: An array is not 8-bit RGB.
        SizeError: The sizes differ, `shave` is negative or leaves nothing.
    """
    a_hw, b_hw = luma(a_hwc_u8), luma(b_hwc_u8)
    if a_hw.shape != b_hw.shape:
        raise SizeError(
            f"got pictures of {a_hw.shape[0]}x{a_hw.shape[1]} and {b_hw.shape[0]}x{b_hw.shape[1]}, "
            "allowed equal sizes; crop one"
        )
    height, width = a_hw.shape
    if not 0 <= 2 * shave < min(height, width):
        raise SizeError(
            f"got shave {shave} for a picture of {height}x{width}, allowed 0 to "
            f"{(min(height, width) - 1) // 2}; compare larger pictures or shave less"
        )
    inside = slice(shave, height - shave), slice(shave, width - shave)
    difference = a_hw[inside].astype(np.float64) - b_hw[inside]
    mean_square = float(np.mean(difference**2))
    return float("inf") if mean_square == 0 else float(10 * np.log10(255**2 / mean_square))
