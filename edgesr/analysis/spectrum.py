"""Spatial power spectra and their radial profiles, in numpy.

Frequencies are in cycles per pixel: Nyquist's is 0.5 (a period of two pixels) along rows and
columns; diagonals reach 0.71.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float64Array = NDArray[np.float64]

#: Nyquist's frequency along rows and columns.
NYQUIST = 0.5

_SMALLEST = 1e-12  # of the largest power: smaller values are raised to this before a logarithm


@dataclass(frozen=True, eq=False)
class RadialProfile:
    """Mean power over rings of equal frequency.

    Attributes:
        frequency: Middle of each ring, cycles per pixel, from just above 0 to Nyquist's.
        power: Mean power in each ring; NaN where it holds no frequency of the image.
    """

    frequency: Float64Array
    power: Float64Array


def power_spectrum(map_hw: NDArray[np.floating]) -> Float64Array:
    """Power of each frequency, the zero frequency at (height // 2, width // 2).

    Scaled so that the sum is the sum of the squares of `map_hw` (Parseval's theorem).
    """
    spectrum = np.fft.fftshift(np.fft.fft2(map_hw, norm="ortho"))
    return np.abs(spectrum) ** 2


def windowed(map_hw: NDArray[np.floating]) -> Float64Array:
    """Subtract the mean and apply a Hann window.

    A Fourier transform treats the map as periodic. Without the window the jumps between opposite
    edges would count as high frequencies.
    """
    height, width = map_hw.shape
    window = np.outer(np.hanning(height + 2)[1:-1], np.hanning(width + 2)[1:-1])
    # The mean under the window: with the plain mean the window's own spectrum would remain.
    mean = float((map_hw * window).sum() / window.sum())
    return (map_hw - mean) * window


def radial_frequency(height: int, width: int) -> Float64Array:
    """Magnitude of the frequency at each place of `power_spectrum`, height x width."""
    rows, columns = (np.fft.fftshift(np.fft.fftfreq(side)) for side in (height, width))
    return np.hypot(rows[:, None], columns[None, :])


def radial_profile(power_hw: Float64Array, rings: int = 32) -> RadialProfile:
    """Mean power by frequency, without the zero frequency and those beyond Nyquist's.

    Args:
        power_hw: From `power_spectrum`.
        rings: Number of rings of equal width up to Nyquist's frequency.
    """
    frequency = radial_frequency(*power_hw.shape)
    counted = (frequency > 0) & (frequency <= NYQUIST)
    ring = np.minimum((frequency[counted] * rings / NYQUIST).astype(int), rings - 1)
    sums = np.bincount(ring, power_hw[counted], rings)
    counts = np.bincount(ring, minlength=rings)
    with np.errstate(invalid="ignore"):
        means = sums / counts
    return RadialProfile((np.arange(rings) + 0.5) * NYQUIST / rings, means)


def high_share(power_hw: Float64Array) -> float:
    """Share of the power above half of Nyquist's frequency, corners included.

    The zero frequency is ignored; 0 for a map that has no other.
    """
    frequency = radial_frequency(*power_hw.shape)
    everything = float(power_hw[frequency > 0].sum())
    high = float(power_hw[frequency > NYQUIST / 2].sum())
    return high / everything if everything > 0 else 0.0


def decibels(power: Float64Array) -> Float64Array:
    """Power in dB, clipped at 120 dB below the largest value."""
    largest = float(np.nanmax(power, initial=0.0))
    floor = _SMALLEST * largest if largest > 0 else _SMALLEST
    return 10 * np.log10(np.maximum(power, floor))
