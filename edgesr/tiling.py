"""Covering a picture of any size with tiles of one fixed size, so that no seam exists.

A convolution network with zero padding gives a pixel that depends on its distance to the border of
what it is fed, up to its receptive radius. A tile's own border is therefore wrong by up to that
radius - except where it is the picture's border too. So the first tile starts where the picture
starts, the last one ends where it ends, and everywhere else each pixel is taken from a tile in
which it lies at least the radius away from the tile's border. What is put together is the network's
output on the whole picture, not an approximation of it.

A picture smaller than a tile is continued by reflection, which the network would not see on the
picture alone: it pads with zeros. So such a picture is run twice along the axis, once at the tile's
start and once at its end, and each half is taken from the run in which it is next to a true border.
Only where the picture is smaller than twice the radius does the reflection show; it is then
continued at its bottom and right end (repeatedly where it is tiny), and the result is cropped.
"""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from edgesr.errors import SizeError
from edgesr.runtime import ModelShape

_T = TypeVar("_T", bound=np.generic)


@dataclass(frozen=True)
class Span:
    """One tile along one axis, in pixels of the picture.

    Attributes:
        start: First pixel that the tile reads; negative where the picture is continued before it.
        keep_start: First pixel whose result is taken from this tile.
        keep_stop: One past the last such pixel.
    """

    start: int
    keep_start: int
    keep_stop: int


@dataclass(frozen=True)
class Tile:
    """One tile: what it reads and which part of its result is kept."""

    rows: Span
    columns: Span


def cover_axis(length: int, tile: int, radius: int) -> list[Span]:
    """Cover one axis with as few tiles as possible.

    Args:
        length: Pixels of the picture along the axis.
        tile: Pixels of the network's input along the axis.
        radius: Pixels next to a tile's inner border whose result is not to be used.

    Returns:
        The tiles in order. Their kept parts follow on one another from 0 to `length`. A tile
        reaches past an end only where the picture is shorter than one tile.

    Raises:
        SizeError: The picture is longer than a tile and the tile too short to keep any pixel.
    """
    if length <= tile:
        if length == tile or length < 2 * radius or radius == 0:
            return [Span(0, 0, length)]
        middle = length // 2
        return [Span(0, 0, middle), Span(length - tile, middle, length)]
    step = tile - 2 * radius
    if step < 1:
        raise SizeError(
            f"tiles of {tile} pixels with an overlap of {radius} on each side leave none, allowed "
            f"at least {2 * radius + 1} for a picture of {length}; convert for a larger --size"
        )
    starts = [*range(0, length - tile, step), length - tile]
    ends = [*(start + tile - radius for start in starts[:-1]), length]
    return [Span(s, k, e) for s, k, e in zip(starts, [0, *ends], ends, strict=False)]


def cover(height: int, width: int, shape: ModelShape, radius: int) -> list[Tile]:
    """Cover a picture with tiles, row by row.

    Args:
        height: Rows of the picture.
        width: Columns of the picture.
        shape: Sizes of the network's input.
        radius: The network's receptive radius in pixels of its input.

    Raises:
        SizeError: A tile is too small for the radius.
    """
    rows = cover_axis(height, shape.height, radius)
    columns = cover_axis(width, shape.width, radius)
    return [Tile(row, column) for row in rows for column in columns]


def reflect_indices(length: int, start: int, size: int) -> NDArray[np.intp]:
    """Indices that continue an axis by reflection at both ends, as `numpy.pad(mode="reflect")`.

    Args:
        length: Pixels there are, at least 1. A single pixel is repeated.
        start: First pixel wanted; negative ones lie before the picture.
        size: Pixels wanted.
    """
    if length == 1:
        return np.zeros(size, dtype=np.intp)
    period = 2 * (length - 1)
    position = np.arange(start, start + size) % period
    return np.minimum(position, period - position)


def read_tile(picture_hwc: NDArray[_T], tile: Tile, shape: ModelShape) -> NDArray[_T]:
    """Cut a tile out of a picture; a view where the picture is large enough."""
    height, width = picture_hwc.shape[:2]
    rows, columns = tile.rows.start, tile.columns.start
    if height < shape.height:
        cut = picture_hwc[reflect_indices(height, rows, shape.height)]
    else:
        cut = picture_hwc[rows : rows + shape.height]
    if width < shape.width:
        return cut[:, reflect_indices(width, columns, shape.width)]
    return cut[:, columns : columns + shape.width]


def kept_slices(tile: Tile, scale: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Where the kept part of a tile's result lies: in the upscaled tile, in the upscaled picture.

    Returns:
        (rows, columns) of the tile's result, (rows, columns) of the picture's result.
    """
    spans = (tile.rows, tile.columns)
    within = [
        slice(scale * (s.keep_start - s.start), scale * (s.keep_stop - s.start)) for s in spans
    ]
    whole = [slice(scale * s.keep_start, scale * s.keep_stop) for s in spans]
    return (within[0], within[1]), (whole[0], whole[1])
