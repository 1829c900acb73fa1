"""Checks of a network's output: finite, in range, and not black.

A result that cannot be right is an error and is never returned. The rules, for each tile's kept
part:

- NaN or infinity anywhere.
- Any value outside [-8, 9], where [0, 1] is the range of black to white.
- Black: the input's mean is 8/255 or more and the result's is less than a quarter of it. Networks
  keep an area's brightness to a few grey levels, so this needs a broken one. Parts smaller than
  1024 input pixels are judged together with the rest of the image only, since the undershoot
  beside one bright edge may fill them. An image that is black itself is never an error.
"""

import numpy as np

from edgesr.errors import ImageError
from edgesr.runtime.session import Backend, Float32Array
from edgesr.tflite.facts import Facts
from edgesr.upscaling.tiling import Tile

_LOWEST, _HIGHEST = -8.0, 9.0
_DARK = 8 / 255
_KEPT_BRIGHTNESS = 0.25
_JUDGED_PIXELS = 1024
_OTHER_BACKEND = "try --backend cpu"
_OTHER_PRECISION = "convert the model again with --fp32"
_OTHER_WEIGHTS = "the model file is damaged, or takes no images in [0, 1]: convert it again"
#: The remedies where it is not known which of them were used.
ANY_REMEDY = f"{_OTHER_BACKEND}, or {_OTHER_PRECISION}"


def remedy_for(backend: Backend, facts: Facts | None) -> str:
    """The remedies that a run on a backend has not used yet.

    Args:
        backend: The backend that ran the file.
        facts: The file's facts; None where another tool made it.
    """
    remedies: list[str] = []
    if backend is not Backend.CPU:
        remedies.append(_OTHER_BACKEND)
    if facts is None or facts.precision != "fp32":
        remedies.append(_OTHER_PRECISION)
    return ", or ".join(remedies) or _OTHER_WEIGHTS


class BrightnessCheck:
    """Watches that the result is not black where the input is not."""

    def __init__(self, remedy: str = ANY_REMEDY) -> None:
        self._remedy = remedy
        self._input = self._result = 0.0
        self._pixels = 0

    def add(self, tile: Tile, input_sum: float, result_sum: float) -> None:
        """Add a tile's kept part, and judge it if it is large enough.

        Raises:
            ImageError: It is black.
        """
        rows, columns = tile.rows, tile.columns
        pixels = (rows.keep_stop - rows.keep_start) * (columns.keep_stop - columns.keep_start)
        if pixels >= _JUDGED_PIXELS:
            where = f"rows from {rows.keep_start}, columns from {columns.keep_start}"
            _judge(f"the tile at {where}", input_sum / pixels, result_sum / pixels, self._remedy)
        self._input += input_sum
        self._result += result_sum
        self._pixels += pixels

    def judge_whole(self) -> None:
        """Judge everything taken in.

        Raises:
            ImageError: It is black.
        """
        before, after = self._input / self._pixels, self._result / self._pixels
        _judge("the image", before, after, self._remedy)


def _judge(what: str, input_sum: float, result_sum: float, remedy: str) -> None:
    """Both of three channels."""
    before, after = input_sum / 3, result_sum / 3
    if before >= _DARK and after < _KEPT_BRIGHTNESS * before:
        raise ImageError(
            f"the network makes {what} black: mean {255 * after:.1f} of 255, allowed "
            f"{_KEPT_BRIGHTNESS:.0%} of the input's {255 * before:.1f} and more; {remedy}"
        )


def check_values(result: Float32Array, remedy: str = ANY_REMEDY) -> None:
    """Refuse NaN, infinity and values far from [0, 1]."""
    lowest, highest = float(result.min()), float(result.max())
    if lowest >= _LOWEST and highest <= _HIGHEST:  # false for NaN, which min and max pass on
        return
    if not (np.isfinite(lowest) and np.isfinite(highest)):
        raise ImageError(f"the network gives NaN or infinity, allowed finite numbers; {remedy}")
    raise ImageError(
        f"the network gives values from {lowest:.3g} to {highest:.3g}, allowed {_LOWEST:g} to "
        f"{_HIGHEST:g} (black is 0, white is 1); {remedy}"
    )
