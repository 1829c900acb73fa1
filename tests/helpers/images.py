"""Images of noise, to train on and to upscale."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

#: Of the training images: how much smaller LR is, and the sizes of HR.
SCALE = 2
SIZES = [(40, 61), (32, 32), (77, 50)]  # height and width; some are no multiples of the scale


def noise_image(height: int = 30, width: int = 40, seed: int = 0) -> NDArray[np.uint8]:
    """RGB, height x width x 3."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def save_image(path: Path, pixels: NDArray[np.uint8]) -> Path:
    """Write an image, its folder too; the suffix is the format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path
