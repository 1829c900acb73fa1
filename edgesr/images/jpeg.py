"""The pixels of a JPEG, if it holds all of them.

libjpeg fills what is missing of a scan with grey, and no binding of it passes the warning on. Bytes
put behind the end of a scan tell: where the scan is complete a decoder skips them, where it ends
early they are decoded as pixels.
"""

import re
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

_FIRST_SEGMENT = 2
_START_OF_SCAN = 0xDA
_END_OF_IMAGE = 0xD9
_RESTART_INTERVAL = 0xDD
_RESTARTS = range(0xD0, 0xD8)
_ARITHMETIC = range(0xC9, 0xCC)  # its coder may leave out zeros at the end of a scan
# What ends coded data: no escaped 0xFF, and none that fills up before another marker.
_MARKER = re.compile(rb"\xff[\x01-\xfe]")
# Many changes of the bits and no 0xFF: no codes of grey blocks.
_FILLER = bytes((37 * i * i + 11 * i + 5) % 251 for i in range(64))


def decode_jpeg(content: bytes) -> NDArray[np.uint8]:
    """Decode the first image of a JPEG, twice: as it is, and with more data behind its scans.

    Args:
        content: The whole file.

    Returns:
        Height x width (grey), or height x width x 3 (RGB) or 4 (CMYK).

    Raises:
        ValueError: A scan, or the part of it before a restart marker, holds less than its pixels,
            or the file is damaged otherwise.
    """
    import imagecodecs

    pieces: list[bytes] = []
    last = 0
    for end, more in _ends_of_coded_data(content):
        pieces += (content[last:end], more)
        last = end
    filled = b"".join((*pieces, content[last:]))
    try:
        pixels, other = map(np.asarray, map(imagecodecs.jpeg8_decode, (content, filled)))
    except MemoryError:
        raise
    except Exception:  # of several types, in libjpeg's words
        raise ValueError("its pixel data is damaged or ends early") from None
    if not np.array_equal(pixels, other):
        raise ValueError("its pixel data ends early")
    return pixels


def lacks_end(content: bytes) -> bool:
    """Whether no end marker follows the last scan of a JPEG."""
    return content.rfind(b"\xff\xd9") < content.rfind(b"\xff\xda")


def _ends_of_coded_data(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Find where coded data ends, up to the end of the first image.

    Yields:
        The offset of a marker, and what to put before it: more data, and at the end of a scan with
        restart markers more of those.
    """
    position, restarts = _FIRST_SEGMENT, False
    while position + 4 <= len(content):
        kind = content[position + 1]
        if content[position] != 0xFF or kind == _END_OF_IMAGE or kind in _ARITHMETIC:
            return
        if kind == 0xFF:
            position += 1
            continue
        if kind == _RESTART_INTERVAL:
            restarts = any(content[position + 4 : position + 6])
        position += 2 + int.from_bytes(content[position + 2 : position + 4], "big")
        if kind != _START_OF_SCAN:
            continue
        for count, found in enumerate(_MARKER.finditer(content, position)):
            position = found.start()
            if content[position + 1] in _RESTARTS:
                yield position, _FILLER
                continue
            yield position, _FILLER + (_more_intervals(count) if restarts else b"")
            break
        else:
            yield len(content), _FILLER + (_more_intervals(0) if restarts else b"")
            return


def _more_intervals(count: int) -> bytes:
    """Restart markers behind the `count` that a scan has, with other data behind each."""
    return b"".join(
        bytes((0xFF, _RESTARTS[(count + more) % 8])) + _FILLER[more:] + _FILLER[:more]
        for more in range(8)
    )
