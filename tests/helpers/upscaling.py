"""What the tests of upscaling draw, and how they compare pixels with a network's exact values."""

import numpy as np
from numpy.typing import NDArray

from edgesr.runtime.session import Float32Array

Pixels = NDArray[np.uint8 | np.uint16]
_ROUNDING = 0.5 + 1e-3  # grey levels; float32 may fall on the other side of a half


def noise(height: int, width: int, channels: int = 3, dtype: type = np.uint8) -> Pixels:
    """The same of one size every time, over the whole range of the type."""
    peak = int(np.iinfo(dtype).max)
    shape = (height, width, channels)
    return np.random.RandomState(3).randint(0, peak + 1, shape).astype(dtype)


def assert_rounded(got: Pixels, exact: Float32Array) -> None:
    """Equal to the exact values in [0, 1], clipped and rounded."""
    wanted = exact.clip(0, 1).astype(np.float64) * np.iinfo(got.dtype).max
    error = np.abs(got - wanted)
    place = np.unravel_index(error.argmax(), error.shape)
    # 16 bits are finer than float32's error in the network.
    limit = _ROUNDING if got.dtype == np.uint8 else 1.0
    assert error.max() <= limit, f"off by {error.max():.3f} grey levels at {place} of {got.shape}"
