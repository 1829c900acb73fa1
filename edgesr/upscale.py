"""Upscaling a picture of any size through a network of one fixed input size.

Pixels go through the network as float32 in [0, 1] and are rounded once, at the end. Grey goes
through as RGB with three equal channels, and the result's channels are averaged. Alpha goes through
as a grey picture of its own (not at all where it is constant). Colours under fully transparent
pixels mean nothing - often they are black - but the network would spread them into the visible
edge: they are replaced by their neighbours' before (`fill_transparent`).

A result that cannot be right is an error and is never returned. The rules, for each tile's kept
part:

- NaN or infinity anywhere.
- Any value outside [-8, 9], where [0, 1] is the range of black to white.
- Black: the input's mean is 8/255 or more and the result's is less than a quarter of it. Networks
  keep an area's brightness to a few grey levels, so this needs a broken one. Parts smaller than
  1024 input pixels are judged together with the rest of the picture only, since the undershoot
  beside one bright edge may fill them. A picture that is black itself is never an error.
"""

from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edgesr.errors import PictureError
from edgesr.images import Picture, Pixels
from edgesr.progress import ProgressCallback, silent
from edgesr.runtime import Float32Array, ModelShape, Runner
from edgesr.tiling import (
    Overlap,
    Tile,
    cover,
    fresh_share,
    kept_slices,
    next_multiple,
    read_tile,
)

# Results are rounded in blocks of this many values, which stay in a core's cache.
_BLOCK_VALUES = 1 << 18

_LOWEST, _HIGHEST = -8.0, 9.0
_DARK = 8 / 255
_KEPT_BRIGHTNESS = 0.25
_JUDGED_PIXELS = 1024
_REMEDY = "try --backend cpu, or convert the model again with --fp32"


class PictureUpscaler(Protocol):
    """What upscales pictures: by tiles (`Upscaler`) or as a whole (edgesr/whole.py)."""

    @property
    def scale(self) -> int:
        """Rows of the result per row of the picture."""
        ...

    def count_tiles(self, picture: Picture) -> int:
        """How often the network is run for a picture."""
        ...

    def is_one_tile(self, picture: Picture) -> bool:
        """Whether the network sees all of a picture at once, and nothing else."""
        ...

    def upscale(self, picture: Picture, progress: ProgressCallback = silent) -> Picture:
        """Upscale a picture."""
        ...


class Upscaler:
    """Upscales pictures through one loaded network. Not to be shared between threads."""

    def __init__(self, runner: Runner, overlap: Overlap) -> None:
        """Take a network.

        Args:
            runner: The loaded network.
            overlap: How its tiles must lie.
        """
        self._runner = runner
        self._overlap = overlap
        shape = runner.shape
        width = shape.scale * shape.width
        self._input: Float32Array = np.empty((1, shape.height, shape.width, 3), np.float32)
        self._block: Float32Array = np.empty((max(1, _BLOCK_VALUES // (3 * width)), width, 3), "f4")

    @property
    def shape(self) -> ModelShape:
        """The network's sizes."""
        return self._runner.shape

    @property
    def scale(self) -> int:
        """Rows of the result per row of the picture."""
        return self.shape.scale

    def count_tiles(self, picture: Picture) -> int:
        """How often the network is run for a picture.

        Raises:
            SizeError: The network's input is too small for its receptive radius.
        """
        tiles = cover(picture.height, picture.width, self.shape, self._overlap)
        return len(tiles) * len(_planes(picture))

    def is_one_tile(self, picture: Picture) -> bool:
        """Whether the network sees all of a picture at once, and nothing else.

        Up to the rows and columns that complete a multiple, where it needs one.
        """
        size, shape = (picture.height, picture.width), self.shape
        fed = tuple(next_multiple(side, self._overlap.multiple) for side in size)
        return fed == (shape.height, shape.width)

    def upscale(self, picture: Picture, progress: ProgressCallback = silent) -> Picture:
        """Upscale a picture; bit depth, kind of channels and metadata stay.

        Args:
            picture: Any size from 1x1 up.
            progress: Told of every tile done, as stage "tiles".

        Raises:
            SizeError: The network's input is too small for its receptive radius.
            PictureError: The result cannot be right, or does not fit into memory.
        """
        tiles = cover(picture.height, picture.width, self.shape, self._overlap)
        planes = _planes(picture)
        pixels = picture.pixels_hwc
        result = self._allocate(pixels)
        if picture.has_alpha:
            result[..., -1] = pixels[0, 0, -1]  # right where alpha is constant, else overwritten
            pixels = fill_transparent(pixels)
        total, done = len(planes) * len(tiles), 0
        progress("tiles", done, total)
        for plane in planes:
            brightness = _Brightness()
            for tile in tiles:
                self._load(read_tile(pixels[..., plane], tile, self.shape))
                brightness.add(*self._compute(tile, result[..., plane]))
                done += 1
                progress("tiles", done, total)
            brightness.judge_whole()
        return replace(picture, pixels_hwc=result)

    def _allocate(self, pixels_hwc: Pixels) -> Pixels:
        scale, (height, width, channels) = self.shape.scale, pixels_hwc.shape
        try:
            return np.empty((scale * height, scale * width, channels), pixels_hwc.dtype)
        except MemoryError as error:
            raise PictureError(
                f"the result of {scale * height}x{scale * width} pixels does not fit into memory"
            ) from error

    def _load(self, tile_hwc: Pixels) -> None:
        """Bring a tile of 1 or 3 channels into [0, 1]."""
        peak = np.float32(np.iinfo(tile_hwc.dtype).max)
        if tile_hwc.shape[2] == 3:
            np.divide(tile_hwc, peak, out=self._input[0])
        else:
            for channel in range(3):
                np.divide(tile_hwc[..., 0], peak, out=self._input[0, ..., channel])

    def _compute(self, tile: Tile, result_hwc: Pixels) -> tuple[Tile, float, float]:
        """Run the network and store what is kept of the tile.

        Args:
            tile: The tile that `_load` has brought in.
            result_hwc: The whole result, of 1 or 3 channels.

        Returns:
            The tile; sums over its kept part, one value per input pixel and channel: of the input,
            of the result, with black as 0 and white as 1.
        """
        within, whole = kept_slices(tile, self.shape.scale)
        before = kept_slices(tile, 1)[0]
        # The runtime's own memory: no reference to it may be left at the next run.
        kept = self._runner.run(self._input)[0][within]
        share = fresh_share(tile, self.shape.scale)
        target = result_hwc[whole]
        peak = float(np.iinfo(target.dtype).max)
        total = 0.0
        for top in range(0, len(kept), len(self._block)):
            part = slice(top, top + len(self._block))
            rows = kept[part]
            _check_values(rows)
            block = self._block[: len(rows), : rows.shape[1]]
            blend = None if share is None else share[part, :, None]
            total += _round(rows, target[part], block, peak, blend)
        scale_squared = self.shape.scale**2
        return tile, float(self._input[0][before].sum()), total / scale_squared


def fill_transparent(pixels_hwc: Pixels) -> Pixels:
    """Give fully transparent pixels the colour of what lies around them.

    Each takes the mean of the visible pixels in the smallest square of a pyramid (sides 2, 4, 8...)
    that holds any ("pull-push", Gortler et al., The Lumigraph, 1996, without its blending: only the
    nearest ring of filled pixels is ever seen, by the network).

    Args:
        pixels_hwc: Grey and alpha, or RGB and alpha.

    Returns:
        The same array if nothing is to be filled, else a new one. Alpha stays.
    """
    visible = pixels_hwc[..., -1:] > 0
    if visible.all() or not visible.any():
        return pixels_hwc
    colour = pixels_hwc[..., :-1].astype(np.float32)
    filled = _pull_push(colour, visible.astype(np.float32))
    return np.concatenate((np.rint(filled).astype(pixels_hwc.dtype), pixels_hwc[..., -1:]), axis=2)


def _pull_push(colour_hwc: Float32Array, weight_hw1: Float32Array) -> Float32Array:
    """Fill colours of weight 0 from the next coarser level."""
    if weight_hw1.all():
        return colour_hwc
    height, width = weight_hw1.shape[:2]
    weight = _halve(weight_hw1)
    colour = np.divide(_halve(colour_hwc * weight_hw1), weight.clip(1), dtype=np.float32)
    coarse = _pull_push(colour, weight.clip(0, 1))
    near = coarse.repeat(2, axis=0).repeat(2, axis=1)[:height, :width]
    return np.where(weight_hw1 > 0, colour_hwc, near)


def _halve(values_hwc: Float32Array) -> Float32Array:
    """Sums of squares of 2x2; a missing row or column counts as 0."""
    height, width = values_hwc.shape[:2]
    even: Float32Array = np.pad(values_hwc, ((0, height % 2), (0, width % 2), (0, 0)))
    return even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]


class _Brightness:
    """Watches that the result is not black where the input is not."""

    def __init__(self) -> None:
        self._input = self._result = 0.0
        self._pixels = 0

    def add(self, tile: Tile, input_sum: float, result_sum: float) -> None:
        """Take in a tile's kept part and judge it, if it is large enough.

        Raises:
            PictureError: It is black.
        """
        rows, columns = tile.rows, tile.columns
        pixels = (rows.keep_stop - rows.keep_start) * (columns.keep_stop - columns.keep_start)
        if pixels >= _JUDGED_PIXELS:
            where = f"rows from {rows.keep_start}, columns from {columns.keep_start}"
            _judge(f"the tile at {where}", input_sum / pixels, result_sum / pixels)
        self._input += input_sum
        self._result += result_sum
        self._pixels += pixels

    def judge_whole(self) -> None:
        """Judge everything taken in.

        Raises:
            PictureError: It is black.
        """
        _judge("the picture", self._input / self._pixels, self._result / self._pixels)


def _judge(what: str, input_sum: float, result_sum: float) -> None:
    """Both of three channels."""
    before, after = input_sum / 3, result_sum / 3
    if before >= _DARK and after < _KEPT_BRIGHTNESS * before:
        raise PictureError(
            f"the network makes {what} black: mean {255 * after:.1f} of 255, allowed "
            f"{_KEPT_BRIGHTNESS:.0%} of the input's {255 * before:.1f} and more; {_REMEDY}"
        )


def _check_values(result: Float32Array) -> None:
    """Refuse NaN, infinity and values far from [0, 1]."""
    lowest, highest = float(result.min()), float(result.max())
    if lowest >= _LOWEST and highest <= _HIGHEST:  # false for NaN, which min and max pass on
        return
    if not (np.isfinite(lowest) and np.isfinite(highest)):
        raise PictureError(f"the network gives NaN or infinity, allowed finite numbers; {_REMEDY}")
    raise PictureError(
        f"the network gives values from {lowest:.3g} to {highest:.3g}, allowed {_LOWEST:g} to "
        f"{_HIGHEST:g} (black is 0, white is 1); {_REMEDY}"
    )


def _round(
    values: Float32Array,
    target: Pixels,
    block: Float32Array,
    peak: float,
    share: Float32Array | None,
) -> float:
    """Clip to [0, 1], scale to [0, peak], blend, round to the nearest and store.

    Args:
        values: Rows x columns x 3.
        target: Rows x columns x 1 or 3; a single channel takes the mean.
        block: Scratch space, shaped as `values`.
        peak: Largest value of the target's type.
        share: Rows x columns x 1: how far to go from what is stored to these values; None where
            they replace it.

    Returns:
        The sum of all values over 3 channels, as clipped, of white 1.
    """
    np.multiply(values, np.float32(peak), out=block)
    if target.shape[2] == 1:
        mean = block[..., :1]
        mean += block[..., 1:2]
        mean += block[..., 2:3]
        mean *= np.float32(1 / 3)
        block = mean
    np.clip(block, 0, peak, out=block)
    total = float(block.sum(dtype=np.float32))
    if share is not None:
        stored = target.astype(np.float32)
        block -= stored
        block *= share
        block += stored
    block += np.float32(0.5)
    np.copyto(target, block, casting="unsafe")
    return total * (3 / target.shape[2]) / peak


def _planes(picture: Picture) -> list[slice]:
    """Which channels go through the network together."""
    channels = picture.pixels_hwc.shape[2]
    if not picture.has_alpha:
        return [slice(0, channels)]
    alpha: NDArray[np.generic] = picture.pixels_hwc[..., -1]
    constant = bool((alpha == alpha[0, 0]).all())
    colours = slice(0, channels - 1)
    return [colours] if constant else [colours, slice(channels - 1, channels)]
