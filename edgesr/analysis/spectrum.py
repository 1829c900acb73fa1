"""Power over spatial frequency: two-dimensional spectra, radial profiles. numpy only.

Frequencies are in cycles per pixel: 0.5 is Nyquist's, one period in two pixels, along rows and
columns; diagonals reach 0.71.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float64Array = NDArray[np.float64]

#: Nyquist's frequency along rows and columns.
NYQUIST = 0.5

_SMALLEST = 1e-12  # of the largest power: what is below counts as this in a logarithm


@dataclass(frozen=True, eq=False)
class RadialProfile:
    """Mean power over rings of equal frequency.

    Attributes:
        frequency: Middle of each ring, cycles per pixel, from just above 0 to Nyquist's.
        power: Mean of the power in each ring; NaN where no frequency of the picture lies in it.
    """

    frequency: Float64Array
    power: Float64Array


def power_spectrum(map_hw: NDArray[np.floating]) -> Float64Array:
    """Power of each frequency, the zero frequency in the middle (at height // 2, width // 2).

    Scaled so that the sum is the sum of the squares of `map_hw` (Parseval's theorem).
    """
    spectrum = np.fft.fftshift(np.fft.fft2(map_hw, norm="ortho"))
    return np.abs(spectrum) ** 2


def windowed(map_hw: NDArray[np.floating]) -> Float64Array:
    """The map without its mean, fading to zero towards its edges (a Hann window).

    A Fourier transform takes the map as one tile of an endless pattern. Without the window the
    jumps between one edge and the opposite one would count as high frequencies.
    """
    height, width = map_hw.shape
    window = np.outer(np.hanning(height + 2)[1:-1], np.hanning(width + 2)[1:-1])
    # The window's own mean, or else what is taken away would come back as its spectrum.
    mean = float((map_hw * window).sum() / window.sum())
    return (map_hw - mean) * window


def radial_frequency(height: int, width: int) -> Float64Array:
    """Frequency of each place of `power_spectrum`, height x width, whatever its direction."""
    rows, columns = (np.fft.fftshift(np.fft.fftfreq(side)) for side in (height, width))
    return np.hypot(rows[:, None], columns[None, :])


def radial_profile(power_hw: Float64Array, rings: int = 32) -> RadialProfile:
    """Mean power over direction; the zero frequency and the corners beyond Nyquist's are left out.

    Args:
        power_hw: What `power_spectrum` gives.
        rings: Into how many rings of equal width the frequencies up to Nyquist's are parted.
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
    """Share of the power that lies above half of Nyquist's frequency, corners included.

    The zero frequency counts on neither side; a map without any other gives 0.
    """
    frequency = radial_frequency(*power_hw.shape)
    everything = float(power_hw[frequency > 0].sum())
    high = float(power_hw[frequency > NYQUIST / 2].sum())
    return high / everything if everything > 0 else 0.0


def decibels(power: Float64Array) -> Float64Array:
    """Power in dB; what is more than 120 dB below the largest is raised to there."""
    largest = float(np.nanmax(power, initial=0.0))
    floor = _SMALLEST * largest if largest > 0 else _SMALLEST
    return 10 * np.log10(np.maximum(power, floor))
