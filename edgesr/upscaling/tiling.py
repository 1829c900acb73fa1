"""Cover an image of any size with tiles of a fixed size, without seams.

A convolution network with zero padding gives a pixel that depends on its distance to the border of
what it is fed, up to its receptive radius. A tile's own border is therefore wrong by up to that
radius - except where it is the image's border too. So the first tile starts where the image
starts, the last one ends where it ends, and everywhere else each pixel is taken from a tile in
which it lies at least the radius away from the tile's border. What is put together is the network's
output on the whole image, not an approximation of it.

An image smaller than a tile is continued by reflection, which the network would not see on the
image alone: it pads with zeros. So such an image is run twice along the axis, once at the tile's
start and once at its end, and each half is taken from the run in which it is next to a true border.
Only where the image is smaller than twice the radius does the reflection show; it is then
continued at its bottom and right end (repeatedly where it is tiny), and the result is cropped.

A network whose head halves the resolution takes sizes that are multiples, and treats the rows
between two multiples unlike each other. Its tiles begin at multiples of the image's rows and
columns. An image whose size is none counts as one of the next larger size, continued by reflection
at its bottom and right end; the result is cropped. Feeding the network that larger image whole
gives the same.

A network that draws statistics from all pixels gives a tile with those of the tile. Nothing makes
such tiles equal to the whole image; where two of them meet, the result goes over from one into
the other, over `blend` pixels in which both are as right as they get.
"""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from edgesr.errors import SizeError
from edgesr.tflite.facts import Reach
from edgesr.tflite.shape import ModelShape

_T = TypeVar("_T", bound=np.generic)

# More than the reach of the lightweight networks known here (22 to 34 pixels).
_GUESS = 48
# Pixels over which the tiles of a network of global receptive field blend.
_BLEND = 64


@dataclass(frozen=True)
class Overlap:
    """Constraints on the position of a network's tiles.

    Attributes:
        radius: Pixels next to a tile's inner border whose result is not to be used.
        multiple: What tiles begin at multiples of, in pixels of the image.
        blend: Pixels over which one tile goes over into the next; less where tiles are too small.
    """

    radius: int
    multiple: int = 1
    blend: int = 0


@dataclass(frozen=True)
class Span:
    """One tile along one axis, in pixels of the image.

    Attributes:
        start: First pixel that the tile reads; negative where the image is continued before it.
        keep_start: First pixel whose result is taken from this tile.
        keep_stop: One past the last such pixel.
        fade_in: How many of the first such pixels the tile before gives too.
        fade_out: How many of the last such pixels the tile behind gives too.
    """

    start: int
    keep_start: int
    keep_stop: int
    fade_in: int = 0
    fade_out: int = 0


@dataclass(frozen=True)
class Tile:
    """One tile: what it reads and which part of its result is kept."""

    rows: Span
    columns: Span


def cover_axis(length: int, tile: int, overlap: Overlap) -> list[Span]:
    """Cover one axis with as few tiles as possible.

    Args:
        length: Pixels of the image along the axis.
        tile: Pixels of the network's input along the axis.
        overlap: How the tiles must lie.

    Returns:
        The tiles in order. Their kept parts follow on one another from 0 to `length`, or overlap by
        what is blended; no pixel is kept of more than two. A tile reaches past an end where the
        image is shorter than one tile, or its length is no multiple.

    Raises:
        SizeError: The image is longer than a tile and the tile too short to keep any pixel, or
            the tile's length is no multiple.
    """
    radius, multiple = overlap.radius, overlap.multiple
    if tile % multiple:
        raise SizeError(
            f"got tiles of {tile} pixels, allowed multiples of {multiple} for this network; "
            "convert it again"
        )
    fed = next_multiple(length, multiple)
    if fed <= tile:
        if fed == tile or length < 2 * radius or radius == 0:
            return [Span(0, 0, length)]
        blend = min(overlap.blend, length - 2 * radius)
        meet = length // 2 - blend // 2
        return _linked([0, fed - tile], [meet + blend, length], blend)
    blend = min(overlap.blend, max(0, (tile - 2 * radius - multiple + 1) // 2))
    step = (tile - 2 * radius - blend) // multiple * multiple
    if step < 1:
        raise SizeError(
            f"tiles of {tile} pixels with an overlap of {radius} on each side leave none, allowed "
            f"at least {next_multiple(2 * radius + multiple, multiple)} for an image of {length}; "
            "take larger ones, or convert for a larger --size"
        )
    starts = [*range(0, fed - tile, step), fed - tile]
    return _linked(starts, [*(start + tile - radius for start in starts[:-1]), length], blend)


def next_multiple(length: int, multiple: int) -> int:
    """The smallest multiple that is not below a length."""
    return length + -length % multiple


def _linked(starts: list[int], stops: list[int], blend: int) -> list[Span]:
    """Tiles of which each takes over from the one before within its last `blend` kept pixels."""
    last = len(starts) - 1
    return [
        Span(
            start,
            stops[index - 1] - blend if index else 0,
            stop,
            blend if index else 0,
            blend if index < last else 0,
        )
        for index, (start, stop) in enumerate(zip(starts, stops, strict=True))
    ]


def cover(height: int, width: int, shape: ModelShape, overlap: Overlap) -> list[Tile]:
    """Cover an image with tiles, row by row.

    Args:
        height: Rows of the image.
        width: Columns of the image.
        shape: Sizes of the network's input.
        overlap: How the tiles must lie.

    Raises:
        SizeError: A tile is too small for the network's reach, or no multiple of what it needs.
    """
    rows = cover_axis(height, shape.height, overlap)
    columns = cover_axis(width, shape.width, overlap)
    return [Tile(row, column) for row in rows for column in columns]


def reflect_indices(length: int, start: int, size: int) -> NDArray[np.intp]:
    """Indices that continue an axis by reflection at both ends, as `numpy.pad(mode="reflect")`.

    Args:
        length: Pixels there are, at least 1. A single pixel is repeated.
        start: First pixel wanted; negative ones lie before the image.
        size: Pixels wanted.
    """
    if length == 1:
        return np.zeros(size, dtype=np.intp)
    period = 2 * (length - 1)
    position = np.arange(start, start + size) % period
    return np.minimum(position, period - position)


def read_tile(image_hwc: NDArray[_T], tile: Tile, shape: ModelShape) -> NDArray[_T]:
    """Cut a tile out of an image; a view where the image is large enough."""
    rows = _read_axis(image_hwc, tile.rows.start, shape.height)
    columns = _read_axis(rows.swapaxes(0, 1), tile.columns.start, shape.width)
    return columns.swapaxes(0, 1)


def _read_axis(image: NDArray[_T], start: int, size: int) -> NDArray[_T]:
    """Pixels of the first axis; a view where there are as many."""
    if start < 0 or start + size > len(image):
        return image[reflect_indices(len(image), start, size)]
    return image[start : start + size]


def kept_slices(tile: Tile, scale: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Where the kept part of a tile's result lies: in the upscaled tile, in the upscaled image.

    Returns:
        (rows, columns) of the tile's result, (rows, columns) of the image's result.
    """
    spans = (tile.rows, tile.columns)
    within = [
        slice(scale * (s.keep_start - s.start), scale * (s.keep_stop - s.start)) for s in spans
    ]
    whole = [slice(scale * s.keep_start, scale * s.keep_stop) for s in spans]
    return (within[0], within[1]), (whole[0], whole[1])


def fresh_share(tile: Tile, scale: int) -> NDArray[np.float32] | None:
    """How much a tile changes what the tiles before it have left, where their kept parts overlap.

    Along an axis the weights of two tiles add up to 1 and change linearly; a pixel's weight in a
    tile is the product along both. Tiles come row by row, and each moves the weighted mean of those
    before it towards itself by its own weight over the sum of the weights so far. So a value that
    all tiles agree on stays as it is, whatever the type that it is stored in.

    Args:
        tile: One of what `cover` returns, in its order.
        scale: Rows of the result per row of the image.

    Returns:
        Rows x columns of the kept part of the result, above 0 and up to 1; None where the tile
        takes over all of it.
    """
    if not tile.rows.fade_in and not tile.columns.fade_in:
        return None
    rows_before, rows = (weights[:, None] for weights in _weights(tile.rows, scale))
    columns_before, columns = _weights(tile.columns, scale)
    own = rows * columns
    return (own / (rows_before + rows * columns_before + own)).astype(np.float32)


def _weights(span: Span, scale: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Along the kept part of a tile's result: the weight of the tile before it, and its own."""
    own = np.ones(scale * (span.keep_stop - span.keep_start), np.float32)
    before = np.zeros_like(own)
    fade_in, fade_out = scale * span.fade_in, scale * span.fade_out
    if fade_in:
        own[:fade_in] = _ramp(fade_in)
        before[:fade_in] = 1 - own[:fade_in]
    if fade_out:
        own[-fade_out:] = 1 - _ramp(fade_out)
    return before, own


def _ramp(count: int) -> NDArray[np.float32]:
    """From just above 0 to just below 1."""
    return (np.arange(count, dtype=np.float32) + np.float32(0.5)) / np.float32(count)


def choose_overlap(
    reach: Reach | None, wanted: int | None, shape: ModelShape
) -> tuple[Overlap, str | None]:
    """Decide how far tiles overlap on each inner side, and how they must lie.

    Without a statement in the file, and without a wish, it is 48 pixels, or a quarter of the tile's
    shorter side where that is less, so that at least half of a tile is kept.

    Args:
        reach: How far the network sees; None where the file does not state it.
        wanted: Pixels that the user sets, which take precedence.
        shape: Sizes of the file.

    Returns:
        How tiles must lie, and a warning where seams are possible.
    """
    radius, warning = _choose_radius(reach and reach.radius, wanted, shape)
    if reach is None:
        return Overlap(radius), warning
    blend = _BLEND if reach.whole_image else 0
    return Overlap(radius, reach.size_multiple, blend), warning


def _choose_radius(
    stated: int | None, wanted: int | None, shape: ModelShape
) -> tuple[int, str | None]:
    if wanted is not None:
        if stated is not None and wanted < stated:
            return wanted, (
                f"overlap {wanted} is less than the network's receptive radius {stated}: "
                "seams are possible"
            )
        return wanted, None
    if stated is not None:
        return stated, None
    guess = min(_GUESS, min(shape.height, shape.width) // 4)
    return guess, (
        f"the model file does not state how far its network reaches; tiles overlap by {guess} "
        "pixels: if seams show, pass a larger --overlap"
    )
