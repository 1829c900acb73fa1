"""PSNR and SSIM on a Y that is not rounded to 8 bits, by scikit-image.

Some papers' figures are such; edgesr's own metrics round, as MATLAB does.
"""

import numpy as np
from numpy.typing import NDArray
from skimage.color import rgb2ycbcr
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from edgesr.metrics import Uint8Array


def psnr_y(made: Uint8Array, original: Uint8Array, shave: int) -> float:
    """Decibels; arguments as `edgesr.metrics.psnr_y`."""
    return peak_signal_noise_ratio(*_inner_y(original, made, shave=shave), data_range=255)


def ssim_y(made: Uint8Array, original: Uint8Array, shave: int) -> float:
    """At most 1; arguments as `edgesr.metrics.ssim_y`, and the same window."""
    return structural_similarity(
        *_inner_y(original, made, shave=shave),
        data_range=255,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )


def _inner_y(*rgb: Uint8Array, shave: int) -> list[NDArray[np.float64]]:
    inside = slice(shave, -shave)
    return [rgb2ycbcr(picture)[inside, inside, 0] for picture in rgb]
