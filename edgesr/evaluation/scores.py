"""How alike two pictures are, by every measure that papers print. Only numpy."""

from dataclasses import dataclass
from statistics import fmean

import numpy as np

from edgesr.metrics import (
    _SSIM_MEAN_CONSTANT,  # pyright: ignore[reportPrivateUsage]
    _SSIM_VARIANCE_CONSTANT,  # pyright: ignore[reportPrivateUsage]
    Float64Array,
    Uint8Array,
    _window_means,  # pyright: ignore[reportPrivateUsage]
    psnr_y,
    ssim_y,
)


@dataclass(frozen=True)
class Scores:
    """What two pictures, or the mean of several pairs, are measured at.

    Attributes:
        psnr_y: On Y (BT.601, rounded to 8 bits), in dB; infinity where Y is equal.
        ssim_y: On Y, with Gaussian windows of 11x11.
        psnr_rgb: Over all values of R, G and B together, in dB.
        ssim_rgb: The mean of the three channels' SSIM.
    """

    psnr_y: float
    ssim_y: float
    psnr_rgb: float
    ssim_rgb: float

    @classmethod
    def mean(cls, scores: "list[Scores]") -> "Scores":
        """Each measure's mean over several pairs."""
        names = ("psnr_y", "ssim_y", "psnr_rgb", "ssim_rgb")
        return cls(*(fmean(getattr(score, name) for score in scores) for name in names))


def compare(a_hwc_u8: Uint8Array, b_hwc_u8: Uint8Array, shave: int) -> Scores:
    """Measure two pictures by everything.

    Args:
        a_hwc_u8: RGB, height x width x 3.
        b_hwc_u8: RGB of the same size.
        shave: Pixels left out along each edge.

    Raises:
        PictureError: An array is not 8-bit RGB.
        SizeError: The sizes differ, `shave` is negative or leaves less than 11x11 pixels.
    """
    return Scores(
        psnr_y(a_hwc_u8, b_hwc_u8, shave),
        ssim_y(a_hwc_u8, b_hwc_u8, shave),  # refuses everything that the next two cannot take
        psnr_rgb(a_hwc_u8, b_hwc_u8, shave),
        ssim_rgb(a_hwc_u8, b_hwc_u8, shave),
    )


def psnr_rgb(a_hwc_u8: Uint8Array, b_hwc_u8: Uint8Array, shave: int) -> float:
    """Peak signal-to-noise ratio over all values of three channels (peak 255).

    Args:
        a_hwc_u8: RGB, height x width x 3.
        b_hwc_u8: RGB of the same size.
        shave: Pixels left out along each edge; fewer than half of the shorter side.

    Returns:
        Decibels; infinity where the pictures are equal.
    """
    a_hwc, b_hwc = _inner(a_hwc_u8, shave), _inner(b_hwc_u8, shave)
    mean_square = float(np.mean((a_hwc - b_hwc) ** 2))
    return float("inf") if mean_square == 0 else float(10 * np.log10(255**2 / mean_square))


def ssim_rgb(a_hwc_u8: Uint8Array, b_hwc_u8: Uint8Array, shave: int) -> float:
    """Structural similarity of each channel, with the windows of `ssim_y`; their mean.

    Args:
        a_hwc_u8: RGB, height x width x 3.
        b_hwc_u8: RGB of the same size.
        shave: Pixels left out along each edge; at least 11x11 stay.

    Returns:
        At most 1, which equal pictures have.
    """
    a_hwc, b_hwc = _inner(a_hwc_u8, shave), _inner(b_hwc_u8, shave)
    return fmean(_ssim(a_hwc[..., channel], b_hwc[..., channel]) for channel in range(3))


def _inner(picture_hwc_u8: Uint8Array, shave: int) -> Float64Array:
    height, width = picture_hwc_u8.shape[:2]
    return picture_hwc_u8[shave : height - shave, shave : width - shave].astype(np.float64)


def _ssim(a_hw: Float64Array, b_hw: Float64Array) -> float:
    """Of one channel, averaged over all whole windows (Wang et al., 2004, equation 13)."""
    mean_a, mean_b = _window_means(a_hw), _window_means(b_hw)
    variance = _window_means(a_hw**2 + b_hw**2) - mean_a**2 - mean_b**2
    covariance = _window_means(a_hw * b_hw) - mean_a * mean_b
    brightness = (2 * mean_a * mean_b + _SSIM_MEAN_CONSTANT) / (
        mean_a**2 + mean_b**2 + _SSIM_MEAN_CONSTANT
    )
    structure = (2 * covariance + _SSIM_VARIANCE_CONSTANT) / (variance + _SSIM_VARIANCE_CONSTANT)
    return float(np.mean(brightness * structure))
