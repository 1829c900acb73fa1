"""Videos whose end is missing, which FFmpeg reads as shorter ones without a word."""

import struct
from pathlib import Path
from typing import BinaryIO

from edgesr.errors import VideoError

_EBML, _SEGMENT = 0x1A45DFA3, 0x18538067


def check_whole(path: Path) -> None:
    """Refuse an MP4, MOV, AVI, Matroska or WebM file that is shorter than its headers tell.

    A recording that was broken off before its headers were finished tells no size, and passes.

    Raises:
        VideoError: A part of it reaches past the end of the file.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        if start[4:] == b"ftyp":
            told = _movie_size(file, size)
        elif start[:4] == b"RIFF":
            told = _riff_size(file, size)
        elif start[:4] == _EBML.to_bytes(4, "big"):
            told = _matroska_size(file, size)
        else:
            return
    if told > size:
        raise VideoError(f"{path} is truncated: got {size} bytes, and its header tells of {told}")


def _movie_size(file: BinaryIO, size: int) -> int:
    """Where the last box of an MP4 or MOV ends; 0 where it does not tell."""
    at, latest = 0, b""
    while at + 8 <= size:
        file.seek(at)
        head = file.read(16)
        length, latest = struct.unpack(">I4s", head[:8])
        if length == 1 and len(head) == 16:
            (length,) = struct.unpack(">Q", head[8:])
        if length < 8:  # 0: up to the end
            return 0
        at += length
    return at if latest in (b"moov", b"mdat", b"moof") else 0


def _riff_size(file: BinaryIO, size: int) -> int:
    """Where the last RIFF chunk of an AVI ends, of which large files have several."""
    at = end = 0
    while at + 8 <= size:
        file.seek(at)
        name, length = struct.unpack("<4sI", file.read(8))
        if name != b"RIFF":
            break
        end = at + 8 + length
        at = end + length % 2
    return end


def _matroska_size(file: BinaryIO, size: int) -> int:
    """Where the segment of a Matroska or WebM file ends; 0 where it does not tell."""
    at = 0
    while at < size:
        file.seek(at)
        head = file.read(12)
        name_bytes = _number_bytes(head[:1])
        length_bytes = _number_bytes(head[name_bytes : name_bytes + 1])
        body = name_bytes + length_bytes
        if not (name_bytes and length_bytes) or body > len(head):
            return 0
        unknown = (1 << 7 * length_bytes) - 1
        length = int.from_bytes(head[name_bytes:body], "big") & unknown
        if length == unknown:
            return 0
        at += body + length
        if int.from_bytes(head[:name_bytes], "big") == _SEGMENT:
            return at
    return 0


def _number_bytes(first: bytes) -> int:
    """How many bytes a number of EBML has: as many as zeros before the first one, and one."""
    count = 9 - first[0].bit_length() if first else 0
    return count if count <= 8 else 0
