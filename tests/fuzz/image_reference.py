"""What must come out of an image, by another decoder than edgesr's: libraries of the formats."""

import io
import json
import math
import struct
from functools import partial
from pathlib import Path

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.generic]
_ORIENTATION = 0x0112
#: In grey levels of 255. JPEG's and WebP's decoders may round otherwise.
_LOSSY_LEVELS = 3


class NoReferenceError(Exception):
    """Nothing is known of how the image is to look."""


def decode(content: bytes) -> Pixels:
    """Decode an image: height x width x 4 in [0, 1], RGBA, upright.

    Raises:
        ValueError: The decoder refuses the file.
        NoReferenceError: Colours have no one right reading, as those of CMYK.
    """
    if content.startswith((b"II", b"MM")):
        if _pillow_mode(content) not in ("L", "RGB", "RGBA"):
            raise NoReferenceError  # libtiff gives a palette's numbers, and other types as they are
        decoder = partial(imagecodecs.tiff_decode, index=0)
    elif content.startswith(b"GIF8"):
        if _pillow_mode(content) not in ("L", "P") or "transparency" in _pillow_info(content):
            raise NoReferenceError
        decoder = partial(imagecodecs.gif_decode, index=0)
    elif content.startswith(b"RIFF"):
        decoder = imagecodecs.webp_decode
    elif content[4:8] == b"ftyp":
        if content[8:12] not in (b"avif", b"avis"):
            raise NoReferenceError  # of HEIC, imagecodecs has no decoder of its own
        decoder = partial(imagecodecs.avif_decode, index=0)
    elif content.startswith(b"BM"):
        decoder = imagecodecs.bmp_decode
        # The last row's padding may be missing. What is no padding shows in the pixels. The size
        # that the file states of itself matters to nobody but this decoder.
        content = content[:2] + struct.pack("<I", len(content) + 3) + content[6:] + b"\xa5" * 3
        if content[28:29] in (b"\x18", b"\x20"):  # no palette: how many of its colours count
            content = content[:46] + bytes(8) + content[54:]
    elif content.startswith(b"\x89PNG"):
        decoder = imagecodecs.png_decode
    elif content.startswith(b"\xff\xd8"):
        decoder = imagecodecs.jpeg8_decode
        if _pillow_mode(content) == "CMYK":
            raise NoReferenceError
    else:
        raise ValueError(f"got {content[:4]!r}, allowed PNG, JPEG, WebP, AVIF, BMP, TIFF and GIF")
    try:
        pixels = np.asarray(decoder(content))
    except IndexError as error:  # libtiff refuses the directory for any tag, also one of no pixels
        raise NoReferenceError from error
    except (ValueError, RuntimeError) as error:  # imagecodecs' own errors are RuntimeErrors
        if "Wrong record type" in str(error):  # behind a GIF's first image, which is whole
            raise NoReferenceError from error
        raise ValueError(str(error)) from error
    return _upright(_rgba(pixels), content)


def _pillow_mode(content: bytes) -> str:
    try:
        return Image.open(io.BytesIO(content)).mode
    except Exception:
        return ""


def _pillow_info(content: bytes) -> dict[str | tuple[int, int], object]:
    try:
        return dict(Image.open(io.BytesIO(content)).info)
    except Exception:
        return {}


def _rgba(pixels: Pixels) -> Pixels:
    """RGBA in [0, 1] of whatever has 1 to 4 channels."""
    if pixels.ndim == 2:
        pixels = pixels[..., np.newaxis]
    values = pixels / np.iinfo(pixels.dtype).max
    channels = values.shape[2]
    colours = values[..., :1].repeat(3, 2) if channels < 3 else values[..., :3]
    alpha = values[..., -1:] if channels in (2, 4) else np.ones_like(values[..., :1])
    return np.concatenate((colours, alpha), axis=2)


def _upright(values: Pixels, content: bytes) -> Pixels:
    """Turned as EXIF tells, which Pillow reads here."""
    if content.startswith(b"\x89PNG") and content.count(b"eXIf") > 1:
        # PNG 3 (11.3.4.5) allows one at most; libpng takes the first, Pillow the last.
        raise NoReferenceError
    if content.startswith(b"\x89PNG") and b"IEND" not in content:
        raise NoReferenceError  # Pillow takes the EXIF of a chunk that the file's end has cut
    try:
        orientation = Image.open(io.BytesIO(content)).getexif().get(_ORIENTATION, 1)
    except Exception as error:
        raise NoReferenceError from error
    if orientation in (5, 6, 7, 8):
        values = values.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        values = values[:, ::-1]
    if orientation in (3, 4, 7, 8):
        values = values[::-1]
    return values


def _tolerance(content: bytes) -> float:
    lossless = content.startswith(b"\x89PNG") or b"VP8L" in content[:40]
    return (0.6 if lossless else _LOSSY_LEVELS) / 255


def check_upscaled(content: bytes, folder: Path, _: str) -> list[str]:
    """Compare `out.png` with what a network must give that makes 2x2 equal pixels of each."""
    try:
        wanted = decode(content)
    except ValueError as error:
        return [f"upscaled what another decoder refuses: {error}"]
    except NoReferenceError:
        return []
    got = _rgba(np.asarray(imagecodecs.png_decode((folder / "out.png").read_bytes())))
    wanted = wanted.repeat(2, 0).repeat(2, 1)
    if got.shape != wanted.shape:
        return [f"got {got.shape[:2]}, another decoder has {wanted.shape[:2]}"]
    difference = np.abs(got - wanted)
    difference[..., :3][wanted[..., 3] == 0] = 0  # no colour is right where nothing is seen
    worst = float(difference.max())
    if worst <= _tolerance(content):
        return []
    place = np.unravel_index(int(difference.argmax()), difference.shape)
    at = tuple(map(int, place))
    return [f"off by {255 * worst:.1f} of 255 at {at}: {got[place]:.4f}, not {wanted[place]:.4f}"]


def check_metrics(a: bytes, b: bytes, _: Path, out: str) -> list[str]:
    """Compare the PSNR over R, G and B with one of another decoder and plain arithmetic."""
    try:
        images = [np.rint(255 * decode(content)[..., :3]) for content in (a, b)]
    except ValueError as error:
        return [f"measured what another decoder refuses: {error}"]
    except NoReferenceError:
        return []
    mse = float(np.mean((images[0] - images[1]) ** 2))
    got = json.loads(out)["mean"]["psnr_rgb"]
    wanted = 10 * math.log10(255**2 / mse) if mse else None
    if got is None or wanted is None:
        return [] if got == wanted else [f"PSNR {got}, not {wanted}"]
    allowed = 0.01 if _tolerance(a) < 1 / 255 else 0.5
    return [] if abs(got - wanted) <= allowed else [f"PSNR {got:.3f} dB, not {wanted:.3f}"]
