"""EXIF blocks and ICC profiles of image files.

EXIF is patched in place instead of being parsed and written anew, so that every tag that edgesr has
no business with (maker notes too) stays as it is, byte for byte.
"""

import re
import struct
from typing import Any

_EXIF_PREFIX = b"Exif\0\0"
_ORIENTATION = 0x0112
_EXIF_FOLDER = 0x8769
_PIXEL_WIDTH = 0xA002
_PIXEL_HEIGHT = 0xA003
_XMP_ORIENTATION = re.compile(rb"(tiff:Orientation(?:>|=[\"']))\d")
# Of the first folder of a TIFF: what describes the photograph and not the file. Description, make,
# model, orientation, software, date, artist, copyright; the folders of EXIF and GPS.
_TIFF_TAGS = (270, 271, 272, _ORIENTATION, 305, 306, 315, 33432)
_TIFF_FOLDERS = (_EXIF_FOLDER, 0x8825)
_FIELD_CODES = {3: "H", 4: "I"}  # EXIF's types SHORT and LONG, as struct names them


class ExifBlock:
    """An EXIF block (TIFF structure) whose fields can be read and set in place."""

    def __init__(self, raw: bytes) -> None:
        """Take raw EXIF data, with or without the prefix that JPEG and Pillow put before it.

        Raises:
            ValueError: It is no EXIF block.
        """
        self._data = bytearray(raw.removeprefix(_EXIF_PREFIX))
        order = {b"II*\0": "<", b"MM\0*": ">"}.get(bytes(self._data[:4]))
        if order is None or len(self._data) < 8:
            raise ValueError("no EXIF block: it begins with neither II nor MM")
        self._order = order
        self._first_folder = self._unpack("I", 4)

    def __bytes__(self) -> bytes:
        return bytes(self._data)

    @property
    def orientation(self) -> int:
        """1 (upright) to 8; 1 where the tag is missing or malformed."""
        value = self._get(self._first_folder, _ORIENTATION)
        return value if value is not None and 1 <= value <= 8 else 1

    def set_upright(self) -> None:
        """Set the orientation to upright and drop the thumbnail, which is not."""
        self._set(self._first_folder, _ORIENTATION, 1)
        link = self._first_folder + 2 + 12 * self._unpack("H", self._first_folder)
        if link + 4 <= len(self._data):
            struct.pack_into(f"{self._order}I", self._data, link, 0)

    def set_size(self, height: int, width: int) -> None:
        """Set the image's size in the fields that hold it."""
        folder = self._get(self._first_folder, _EXIF_FOLDER)
        if folder is not None:
            self._set(folder, _PIXEL_HEIGHT, height)
            self._set(folder, _PIXEL_WIDTH, width)

    def _unpack(self, code: str, offset: int) -> int:
        """One number; 0 where the block ends before it."""
        end = offset + struct.calcsize(code)
        return (
            struct.unpack_from(self._order + code, self._data, offset)[0]
            if end <= len(self._data)
            else 0
        )

    def _field(self, folder: int, tag: int) -> tuple[str, int] | None:
        """Type code and offset of a tag's value, if it is a single number."""
        for index in range(self._unpack("H", folder)):
            entry = folder + 2 + 12 * index
            if entry + 12 > len(self._data):
                return None
            if self._unpack("H", entry) == tag:
                code = _FIELD_CODES.get(self._unpack("H", entry + 2))
                return (code, entry + 8) if code and self._unpack("I", entry + 4) == 1 else None
        return None

    def _get(self, folder: int, tag: int) -> int | None:
        field = self._field(folder, tag)
        return None if field is None else self._unpack(*field)

    def _set(self, folder: int, tag: int, value: int) -> None:
        field = self._field(folder, tag)
        if field is not None and (field[0] == "I" or value <= 0xFFFF):
            struct.pack_into(self._order + field[0], self._data, field[1], value)


def profile_fits(icc_profile: bytes, channels: int) -> bool:
    """Whether an ICC profile may describe an image: grey (1, 2 channels) or RGB (3, 4)."""
    space = icc_profile[16:20] if icc_profile[36:40] == b"acsp" else b""
    return space == (b"GRAY" if channels <= 2 else b"RGB ")


def upright_xmp(packet: bytes) -> bytes:
    """An XMP packet whose orientation, if it states one, is upright."""
    return _XMP_ORIENTATION.sub(rb"\g<1>1", packet)


def tiff_exif(image: Any) -> Any:  # noqa: ANN401
    """What of a TIFF's tags makes an EXIF block, as Pillow's `Exif`.

    Args:
        image: Opened by Pillow, not loaded yet.
    """
    from PIL import Image

    made = Image.Exif()
    for tag, value in kept_fields(image.getexif()).items():
        made[tag] = value
    return made


def kept_fields(exif: Any) -> dict[int, Any]:  # noqa: ANN401
    """Fields of Pillow's `Exif` that describe the photograph and not the file, by their tags."""
    kept: dict[int, Any] = {tag: exif[tag] for tag in _TIFF_TAGS if tag in exif}
    for tag in _TIFF_FOLDERS:
        if fields := exif.get_ifd(tag):
            kept[tag] = dict(fields)
    return kept
