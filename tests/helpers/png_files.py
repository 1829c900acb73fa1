"""PNG files written from their samples, of every kind that the format has."""

import struct
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgesr.images.png import SIGNATURE
from helpers.image_files import png_chunk

#: Colour type -> its allowed bit depths.
DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
#: Colour type -> samples per pixel.
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
# Adam7: first row, first column, step down, step across (PNG, section 8.2).
_PASSES = (
    (0, 0, 8, 8),
    (0, 4, 8, 8),
    (4, 0, 8, 4),
    (0, 2, 4, 4),
    (2, 0, 4, 2),
    (0, 1, 2, 2),
    (1, 0, 2, 1),
)


def pixel_data(samples_hwc: NDArray[np.integer], depth: int, *, interlaced: bool = False) -> bytes:
    """Pack samples as PNG's pixel data before it is compressed, without filters."""
    parts = [samples_hwc]
    if interlaced:
        parts = [samples_hwc[top::down, left::across] for top, left, down, across in _PASSES]
    rows = [row.reshape(-1) for part in parts if part.size for row in part]
    return b"".join(b"\0" + _packed(row, depth) for row in rows)


def png_of(
    samples_hwc: NDArray[np.integer],
    depth: int,
    colour: int,
    *,
    interlaced: bool = False,
    before: Sequence[tuple[bytes, bytes]] = (),
    after: Sequence[tuple[bytes, bytes]] = (),
    raw: bytes | None = None,
) -> bytes:
    """Write a PNG.

    Args:
        samples_hwc: Height x width x channels of the colour type, below 2**depth.
        depth: Bits per sample.
        colour: PNG's colour type.
        interlaced: Whether by Adam7.
        before: Chunks before the pixels: name and body.
        after: Chunks behind them.
        raw: The pixel data, uncompressed, in place of that of the samples.
    """
    height, width = samples_hwc.shape[:2]
    if raw is None:
        raw = pixel_data(samples_hwc, depth, interlaced=interlaced)
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, int(interlaced))
    chunks = [
        (b"IHDR", head),
        *before,
        (b"IDAT", zlib.compress(raw)),
        *after,
        (b"IEND", b""),
    ]
    return SIGNATURE + b"".join(png_chunk(*chunk) for chunk in chunks)


def _packed(row: NDArray[np.integer], depth: int) -> bytes:
    if depth == 16:
        return row.astype(">u2").tobytes()
    bits = row.astype(np.uint8)[:, None] >> np.arange(depth - 1, -1, -1) & 1
    return np.packbits(bits.astype(np.uint8).reshape(-1)).tobytes()
