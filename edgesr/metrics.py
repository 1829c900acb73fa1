"""How alike two pictures are, as the super-resolution literature measures it. Only numpy."""

import numpy as np
from numpy.typing import NDArray

from edgesr.errors import PictureError, SizeError

Uint8Array = NDArray[np.uint8]
Float64Array = NDArray[np.float64]

# ITU-R BT.601, as MATLAB's rgb2ycbcr has it: Y of 8-bit RGB lies in [16, 235].
_LUMA_WEIGHTS = np.array([65.481, 128.553, 24.966]) / 255
_LUMA_OFFSET = 16

# The window and the constants of SSIM as its authors published them.
_SSIM_SIDE, _SSIM_DEVIATION = 11, 1.5
_SSIM_MEAN_CONSTANT, _SSIM_VARIANCE_CONSTANT = (0.01 * 255) ** 2, (0.03 * 255) ** 2


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
    a_hw, b_hw = _inner_luma(a_hwc_u8, b_hwc_u8, shave, smallest=1)
    mean_square = float(np.mean((a_hw - b_hw) ** 2))
    return float("inf") if mean_square == 0 else float(10 * np.log10(255**2 / mean_square))


def ssim_y(a_hwc_u8: Uint8Array, b_hwc_u8: Uint8Array, shave: int) -> float:
    """Structural similarity of two pictures' Y channels, averaged over all whole windows.

    Windows are Gaussian, 11x11 with a deviation of 1.5 pixels, as in the authors' own program,
    which the super-resolution literature uses.

    Source: Wang et al., "Image Quality Assessment: From Error Visibility to Structural Similarity",
    IEEE Transactions on Image Processing 13(4), 2004, section III.

    Args:
        a_hwc_u8: RGB, height x width x 3.
        b_hwc_u8: RGB of the same size.
        shave: Pixels left out along each edge; by convention the upscaling factor.

    Returns:
        At most 1, which equal pictures have.

    Raises:
        PictureError: An array is not 8-bit RGB.
        SizeError: The sizes differ, `shave` is negative or leaves less than a window.
    """
    a, b = _inner_luma(a_hwc_u8, b_hwc_u8, shave, smallest=_SSIM_SIDE)
    mean_a, mean_b = _window_means(a), _window_means(b)
    variances = _window_means(a * a) + _window_means(b * b) - mean_a**2 - mean_b**2
    covariance = _window_means(a * b) - mean_a * mean_b
    alike = (2 * mean_a * mean_b + _SSIM_MEAN_CONSTANT) * (2 * covariance + _SSIM_VARIANCE_CONSTANT)
    most = (mean_a**2 + mean_b**2 + _SSIM_MEAN_CONSTANT) * (variances + _SSIM_VARIANCE_CONSTANT)
    return float(np.mean(alike / most))


def _inner_luma(
    a_hwc_u8: Uint8Array, b_hwc_u8: Uint8Array, shave: int, *, smallest: int
) -> tuple[Float64Array, Float64Array]:
    """The Y channels without their edges, of equal sizes and at least `smallest` on each side."""
    a_hw, b_hw = luma(a_hwc_u8), luma(b_hwc_u8)
    if a_hw.shape != b_hw.shape:
        raise SizeError(
            f"got pictures of {a_hw.shape[0]}x{a_hw.shape[1]} and {b_hw.shape[0]}x{b_hw.shape[1]}, "
            "allowed equal sizes; crop one"
        )
    height, width = a_hw.shape
    most = (min(height, width) - smallest) // 2
    if not 0 <= shave <= most:
        allowed = f"0 to {most}" if most >= 0 else f"none: {smallest}x{smallest} pixels are needed"
        raise SizeError(
            f"got shave {shave} for a picture of {height}x{width}, allowed {allowed}; compare "
            "larger pictures or shave less"
        )
    inside = slice(shave, height - shave), slice(shave, width - shave)
    return a_hw[inside].astype(np.float64), b_hw[inside].astype(np.float64)


def _window_means(values_hw: Float64Array) -> Float64Array:
    """Gaussian means over every whole window, axis by axis."""
    distance = np.arange(_SSIM_SIDE) - _SSIM_SIDE // 2
    weights = np.exp(-(distance**2) / (2 * _SSIM_DEVIATION**2))
    weights /= weights.sum()
    for axis in (0, 1):
        windows = np.lib.stride_tricks.sliding_window_view(values_hw, _SSIM_SIDE, axis=axis)
        values_hw = windows @ weights
    return values_hw
