"""Luma and colour difference as video stores them, to RGB and back.

By the formulas of ITU-R BT.601, BT.709 and BT.2020, in float32 and rounded once. libswscale's
defaults are off by two to three levels.

Where colour differences are subsampled, they lie on every second column (as MPEG-2 and all that
came after place them, "left") and between two rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Uint16Array = NDArray[np.uint16]
Float32Array = NDArray[np.float32]
Plane = NDArray[Any]

#: Share of red and of blue in luma, by the number of the matrix in ITU-T H.273.
_SHARES = {
    1: (0.2126, 0.0722),  # BT.709
    4: (0.30, 0.11),  # FCC
    5: (0.299, 0.114),  # BT.601, 625 lines
    6: (0.299, 0.114),  # BT.601, 525 lines
    7: (0.212, 0.087),  # SMPTE 240M
    9: (0.2627, 0.0593),  # BT.2020
}
BT709, BT601 = 1, 6
#: Names of the matrices that are read.
MATRICES = {1: "BT.709", 4: "FCC", 5: "BT.601", 6: "BT.601", 7: "SMPTE 240M", 9: "BT.2020"}
# Videos of more rows are BT.709 to players, where they do not state it.
_MOST_SD_ROWS = 576
_WHITE = 65_535.0
# Rows are converted by so many, which stay in a core's cache; a multiple of those that share.
_BLOCK_ROWS = 16


@dataclass(frozen=True)
class Coding:
    """How colours are numbers.

    Attributes:
        matrix: Number of the matrix in ITU-T H.273, one of `MATRICES`.
        full_range: Whether black is 0 and white the largest number, not 16 and 235 of 255.
        bits: Bits of a number.
        columns_log2: Columns that share a colour difference: 0 for one, 1 for two, 2 for four.
        rows_log2: Rows that share one, likewise.
    """

    matrix: int
    full_range: bool
    bits: int
    columns_log2: int
    rows_log2: int

    @property
    def black(self) -> float:
        """The luma of black."""
        return 0.0 if self.full_range else 16.0 * 2 ** (self.bits - 8)

    @property
    def luma_range(self) -> float:
        """From black to white."""
        return 2.0**self.bits - 1 if self.full_range else 219.0 * 2 ** (self.bits - 8)

    @property
    def middle(self) -> float:
        """The colour difference of grey."""
        return 2.0 ** (self.bits - 1)

    @property
    def difference_range(self) -> float:
        """From the least to the greatest colour difference."""
        return 2.0**self.bits - 1 if self.full_range else 224.0 * 2 ** (self.bits - 8)

    def differences_size(self, height: int, width: int) -> tuple[int, int]:
        """Height, width of the planes of colour differences."""
        return -(-height >> self.rows_log2), -(-width >> self.columns_log2)


def usual_matrix(rows: int) -> int:
    """The matrix that players assume for a video of so many rows that does not state its own."""
    return BT601 if rows <= _MOST_SD_ROWS else BT709


def to_rgb(planes: Sequence[Plane], coding: Coding) -> Uint16Array:
    """Convert planes to RGB.

    Args:
        planes: Luma, height x width; for colour the differences of blue and of red too, of the
            size that `coding` gives. Of 8 bits as uint8, of more as uint16.
        coding: How colours are numbers.

    Returns:
        Height x width x 3, uint16; black is 0, white 65535. What lies outside is clipped.
    """
    height, width = planes[0].shape
    luma = planes[0].astype(np.float32)
    luma -= np.float32(coding.black)
    luma *= np.float32(_WHITE / coding.luma_range)
    luma += np.float32(0.5)  # so that the last step rounds
    rgb = np.empty((height, width, 3), np.uint16)
    if len(planes) == 1:
        np.copyto(rgb, np.clip(luma, 0, _WHITE)[..., None], casting="unsafe")
        return rgb
    red, blue = _SHARES[coding.matrix]
    green = 1 - red - blue
    to_white = _WHITE / coding.difference_range
    blue_difference, red_difference = (
        _spread(plane.astype(np.float32) - np.float32(coding.middle), coding, (height, width))
        for plane in planes[1:3]
    )
    blue_scale, red_scale = 2 * (1 - blue) * to_white, 2 * (1 - red) * to_white
    for channel, value in (
        (0, luma + np.float32(red_scale) * red_difference),
        (2, luma + np.float32(blue_scale) * blue_difference),
        (
            1,
            luma
            - np.float32(blue_scale * blue / green) * blue_difference
            - np.float32(red_scale * red / green) * red_difference,
        ),
    ):
        np.clip(value, 0, _WHITE, out=value)
        np.copyto(rgb[..., channel], value, casting="unsafe")
    return rgb


def from_rgb(rgb_hwc: Uint16Array, coding: Coding) -> list[Plane]:
    """Convert RGB to planes of luma and of both colour differences; see `to_rgb`."""
    height, width = rgb_hwc.shape[:2]
    kind = np.uint8 if coding.bits == 8 else np.uint16
    small = coding.differences_size(height, width)
    planes: list[Plane] = [np.empty(size, kind) for size in ((height, width), small, small)]
    luma_weights, *difference_weights = _weights(coding)
    for top in range(0, height, _BLOCK_ROWS):
        values = rgb_hwc[top : top + _BLOCK_ROWS].astype(np.float32)
        _round(values @ luma_weights, coding.black, planes[0][top : top + _BLOCK_ROWS], coding)
        few = _gathered(values, coding)
        rows = slice(top >> coding.rows_log2, (top >> coding.rows_log2) + len(few))
        for plane, weights in zip(planes[1:], difference_weights, strict=True):
            _round(few @ weights, coding.middle, plane[rows], coding)
    return planes


def _weights(coding: Coding) -> list[Float32Array]:
    """Weights of red, green and blue in luma and in both differences."""
    red, blue = _SHARES[coding.matrix]
    shares = np.array([red, 1 - red - blue, blue], np.float64)
    found = [shares * (coding.luma_range / _WHITE)]
    for channel, share in ((2, blue), (0, red)):
        weights = -shares
        weights[channel] += 1
        found.append(weights * (coding.difference_range / _WHITE / (2 * (1 - share))))
    return [weights.astype(np.float32) for weights in found]


def _round(values: Float32Array, zero: float, target: Plane, coding: Coding) -> None:
    values += np.float32(zero + 0.5)
    np.clip(values, 0, 2**coding.bits - 1, out=values)
    np.copyto(target, values, casting="unsafe")


def _spread(plane: Float32Array, coding: Coding, size: tuple[int, int]) -> Float32Array:
    """Interpolate colour differences linearly for all pixels."""
    middle = ((1 << coding.rows_log2) - 1) / 2
    for axis, log2, first in ((0, coding.rows_log2, middle), (1, coding.columns_log2, 0.0)):
        if log2:
            plane = _interpolated(plane, axis, log2, first, size[axis])
    return plane


def _interpolated(
    plane: Float32Array, axis: int, log2: int, first: float, length: int
) -> Float32Array:
    """Interpolate along an axis; the plane's values lie at `first` and every 2**log2 on."""
    at = (np.arange(length) - first) / 2**log2
    at = at.clip(0, plane.shape[axis] - 1)
    before = np.floor(at).astype(np.intp)
    after = np.minimum(before + 1, plane.shape[axis] - 1)
    share = (at - before).astype(np.float32)
    share = share[:, None] if axis == 0 else share
    low = plane.take(before, axis)
    return low + share * (plane.take(after, axis) - low)


def _gathered(values_hwc: Float32Array, coding: Coding) -> Float32Array:
    """Average pixels around the places of colour differences."""
    for _ in range(coding.rows_log2):
        values_hwc = _even(values_hwc, 0)
        values_hwc = (values_hwc[0::2] + values_hwc[1::2]) * np.float32(0.5)
    for _ in range(coding.columns_log2):
        values_hwc = _even(values_hwc, 1)
        odd = values_hwc[:, 1::2] * np.float32(0.25)
        kept = values_hwc[:, 0::2] * np.float32(0.5)
        kept += odd
        kept[:, 1:] += odd[:, :-1]
        kept[:, :1] += values_hwc[:, :1] * np.float32(0.25)  # the border is repeated
        values_hwc = kept
    return values_hwc


def _even(values: Float32Array, axis: int) -> Float32Array:
    """Repeat the last row or column of an odd number."""
    if values.shape[axis] % 2 == 0:
        return values
    return np.concatenate((values, values.take([-1], axis)), axis)
