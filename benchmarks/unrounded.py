"""PSNR and SSIM on unrounded Y, by scikit-image.

Some papers measure so; edgesr's own metrics round Y to 8 bits, as MATLAB does.
"""

import numpy as np
from numpy.typing import NDArray
from skimage.color import rgb2ycbcr
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from edgesr.images.metrics import Uint8Array


def psnr_y(upscaled: Uint8Array, original: Uint8Array, shave: int) -> float:
    """PSNR in dB; arguments as `edgesr.images.metrics.psnr_y`."""
    return peak_signal_noise_ratio(*_inner_y(original, upscaled, shave=shave), data_range=255)


def ssim_y(upscaled: Uint8Array, original: Uint8Array, shave: int) -> float:
    """SSIM; arguments and window as `edgesr.images.metrics.ssim_y`."""
    return structural_similarity(
        *_inner_y(original, upscaled, shave=shave),
        data_range=255,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )


def _inner_y(*rgb: Uint8Array, shave: int) -> list[NDArray[np.float64]]:
    inside = slice(shave, -shave)
    return [rgb2ycbcr(image)[inside, inside, 0] for image in rgb]
