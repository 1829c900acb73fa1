"""PSNR and SSIM as the super-resolution literature measures them."""

import math
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from edgesr.errors import ImageError, SizeError

Uint8Array = NDArray[np.uint8]
Float64Array = NDArray[np.float64]

# ITU-R BT.601, as MATLAB's rgb2ycbcr has it: Y of 8-bit RGB lies in [16, 235].
_LUMA_WEIGHTS = np.array([65.481, 128.553, 24.966]) / 255
_LUMA_OFFSET = 16

# The window and the constants of SSIM as its authors published them.
_SSIM_SIDE, _SSIM_DEVIATION = 11, 1.5
_SSIM_MEAN_CONSTANT, _SSIM_VARIANCE_CONSTANT = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def luma(rgb_hwc_u8: Uint8Array) -> Uint8Array:
    """The Y channel of an image: BT.601, rounded to 8 bits, as MATLAB's rgb2ycbcr.

    Args:
        rgb_hwc_u8: RGB, height x width x 3.

    Returns:
        Height x width, in [16, 235].

    Raises:
        ImageError: The array is not 8-bit RGB.
    """
    _check_rgb(rgb_hwc_u8)
    # MATLAB rounds halves up, numpy's rint to even.
    return np.floor(rgb_hwc_u8 @ _LUMA_WEIGHTS + _LUMA_OFFSET + 0.5).astype(np.uint8)


def _check_rgb(image_hwc_u8: Uint8Array) -> None:
    if image_hwc_u8.dtype != np.uint8 or image_hwc_u8.ndim != 3 or image_hwc_u8.shape[2] != 3:
        raise ImageError(
            f"got an image of type {image_hwc_u8.dtype} and shape {image_hwc_u8.shape}, "
            "allowed uint8 of height x width x 3; convert it to 8-bit RGB"
        )


def psnr_y(a_hwc_u8: Uint8Array, b_hwc_u8: Uint8Array, shave: int) -> float:
    """Peak signal-to-noise ratio of two images' Y channels.

    Args:
        a_hwc_u8: RGB, height x width x 3.
        b_hwc_u8: RGB of the same size.
        shave: Pixels left out along each edge; by convention the upscaling factor.

    Returns:
        Decibels (peak 255); infinity where Y is equal.

    Raises:
        ImageError: An array is not 8-bit RGB.
        SizeError: The sizes differ, `shave` is negative or leaves nothing.
    """
    return _psnr(*_inner(luma(a_hwc_u8), luma(b_hwc_u8), shave, smallest=1))


def psnr_rgb(a_hwc_u8: Uint8Array, b_hwc_u8: Uint8Array, shave: int) -> float:
    """Peak signal-to-noise ratio over all values of the three channels together.

    Arguments, result and errors are those of `psnr_y`.
    """
    _check_rgb(a_hwc_u8)
    _check_rgb(b_hwc_u8)
    return _psnr(*_inner(a_hwc_u8, b_hwc_u8, shave, smallest=1))


def ssim_y(a_hwc_u8: Uint8Array, b_hwc_u8: Uint8Array, shave: int) -> float:
    """Structural similarity of two images' Y channels, averaged over all whole windows.

    Windows are Gaussian, 11x11 with a deviation of 1.5 pixels, as in the authors' own program,
    which the super-resolution literature uses.

    Source: Wang et al., "Image Quality Assessment: From Error Visibility to Structural Similarity",
    IEEE Transactions on Image Processing 13(4), 2004, section III.

    Args:
        a_hwc_u8: RGB, height x width x 3.
        b_hwc_u8: RGB of the same size.
        shave: Pixels left out along each edge; by convention the upscaling factor.

    Returns:
        At most 1, which equal images have.

    Raises:
        ImageError: An array is not 8-bit RGB.
        SizeError: The sizes differ, `shave` is negative or leaves less than a window.
    """
    return _ssim(*_inner(luma(a_hwc_u8), luma(b_hwc_u8), shave, smallest=_SSIM_SIDE))


def ssim_rgb(a_hwc_u8: Uint8Array, b_hwc_u8: Uint8Array, shave: int) -> float:
    """The mean over the three channels of their structural similarity.

    Arguments, result and errors are those of `ssim_y`.
    """
    _check_rgb(a_hwc_u8)
    _check_rgb(b_hwc_u8)
    a_hwc, b_hwc = _inner(a_hwc_u8, b_hwc_u8, shave, smallest=_SSIM_SIDE)
    return float(np.mean([_ssim(a_hwc[..., c], b_hwc[..., c]) for c in range(3)]))


def psnr_of_mse(mean_square: float, peak: float = 1.0) -> float:
    """Peak signal-to-noise ratio of a mean square difference.

    Args:
        mean_square: Of values whose largest is `peak`.
        peak: Above 0.

    Returns:
        Decibels; infinity where nothing differs, minus infinity where the mean is not finite.
    """
    if not math.isfinite(mean_square):
        return -math.inf
    return math.inf if mean_square == 0 else 10 * math.log10(peak**2 / mean_square)


def _psnr(a: Float64Array, b: Float64Array) -> float:
    return psnr_of_mse(float(np.mean((a - b) ** 2)), peak=255)


def _ssim(a: Float64Array, b: Float64Array) -> float:
    """Of two channels, height x width."""
    mean_a, mean_b = _window_means(a), _window_means(b)
    variances = _window_means(a * a) + _window_means(b * b) - mean_a**2 - mean_b**2
    covariance = _window_means(a * b) - mean_a * mean_b
    alike = (2 * mean_a * mean_b + _SSIM_MEAN_CONSTANT) * (2 * covariance + _SSIM_VARIANCE_CONSTANT)
    most = (mean_a**2 + mean_b**2 + _SSIM_MEAN_CONSTANT) * (variances + _SSIM_VARIANCE_CONSTANT)
    return float(np.mean(alike / most))


def _inner(
    a: Uint8Array, b: Uint8Array, shave: int, *, smallest: int
) -> tuple[Float64Array, Float64Array]:
    """Images without their edges, of equal sizes and at least `smallest` on each side."""
    if a.shape != b.shape:
        raise SizeError(
            f"got images of {a.shape[0]}x{a.shape[1]} and {b.shape[0]}x{b.shape[1]}, "
            "allowed equal sizes; crop one"
        )
    height, width = a.shape[:2]
    most = (min(height, width) - smallest) // 2
    if not 0 <= shave <= most:
        allowed = f"0 to {most}" if most >= 0 else f"none: {smallest}x{smallest} pixels are needed"
        raise SizeError(
            f"got shave {shave} for an image of {height}x{width}, allowed {allowed}; compare "
            "larger images or shave less"
        )
    inside = slice(shave, height - shave), slice(shave, width - shave)
    return a[inside].astype(np.float64), b[inside].astype(np.float64)


def _window_means(values_hw: Float64Array) -> Float64Array:
    """Gaussian means over every whole window, axis by axis."""
    distance = np.arange(_SSIM_SIDE) - _SSIM_SIDE // 2
    weights = np.exp(-(distance**2) / (2 * _SSIM_DEVIATION**2))
    weights /= weights.sum()
    for axis in (0, 1):
        windows = np.lib.stride_tricks.sliding_window_view(values_hw, _SSIM_SIDE, axis=axis)
        values_hw = windows @ weights
    return values_hw


@dataclass(frozen=True)
class Bounds:
    """Limits on the difference of an output; NaN and infinity exceed them.

    Attributes:
        max_abs: Largest allowed absolute difference, of values in [0, 1].
        psnr_db: Smallest allowed PSNR with peak 1.0.
    """

    max_abs: float | None = None
    psnr_db: float | None = None

    def __str__(self) -> str:
        bounds: list[str] = []
        if self.psnr_db is not None:
            bounds.append(f"PSNR >= {self.psnr_db:g} dB")
        if self.max_abs is not None:
            bounds.append(f"max abs <= {self.max_abs:g}")
        return ", ".join(bounds)

    def is_low(self, psnr_db: float | None) -> bool:
        """Whether a PSNR is not enough; None is that of equal outputs."""
        return self.psnr_db is not None and psnr_db is not None and not psnr_db >= self.psnr_db

    def is_far(self, max_abs: float) -> bool:
        """Whether a difference is too large."""
        return self.max_abs is not None and not max_abs <= self.max_abs


@dataclass(frozen=True)
class Scores:
    """PSNR and SSIM of two images, or the means over several pairs.

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
    """Compute PSNR and SSIM on Y and on RGB.

    Args:
        a_hwc_u8: RGB, height x width x 3.
        b_hwc_u8: RGB of the same size.
        shave: Pixels left out along each edge.

    Raises:
        ImageError: An array is not 8-bit RGB.
        SizeError: The sizes differ, `shave` is negative or leaves less than 11x11 pixels.
    """
    return Scores(
        psnr_y(a_hwc_u8, b_hwc_u8, shave),
        ssim_y(a_hwc_u8, b_hwc_u8, shave),
        psnr_rgb(a_hwc_u8, b_hwc_u8, shave),
        ssim_rgb(a_hwc_u8, b_hwc_u8, shave),
    )
