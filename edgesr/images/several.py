"""Files of several images: animated GIF, WebP and PNG, and TIFF of several pages.

The frames of an animation are read as they are shown, each whole: what a frame keeps of those
before it, and how they are disposed of, is in its pixels then.
"""

import io
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgesr.common.inputs import read_regular
from edgesr.errors import ImageError
from edgesr.images import png
from edgesr.images.encoding import DEFAULT_QUALITY, encode_image, fitted, pillow_options
from edgesr.images.files import (
    HEAD_BYTES,
    MAX_BYTES,
    MAX_PIXELS,
    Format,
    ImageData,
    decode_image,
    describe_png,
    format_by_suffix,
    from_pillow,
    open_by_pillow,
    read_tiff_page,
    sniff_format,
)

_ANIMATED = (Format.GIF, Format.WEBP, Format.PNG)
# Of RFC 9649: flags of the chunk VP8X, and of a frame.
_ANIMATION, _ALPHA, _FLAGS = 0x02, 0x10, {b"ICCP": 0x20, b"EXIF": 0x08, b"XMP ": 0x04}
_NO_BLENDING = 0x02
_PIXEL_CHUNKS = (b"ALPH", b"VP8 ", b"VP8L")
# The longest that a WebP's or an APNG's frame can last, in milliseconds.
_LONGEST_MS = 65_535


@dataclass(frozen=True, eq=False)
class ImageSeries:
    """What an image file holds: one image, the frames of an animation, or pages.

    Attributes:
        images: The images in order; frames are all of one size and kind.
        durations_ms: How long each frame is shown; empty where there is one image, and of pages.
        plays: How often the animation is played; 0 for ever.
    """

    images: tuple[ImageData, ...]
    durations_ms: tuple[float, ...] = ()
    plays: int = 1

    @property
    def first(self) -> ImageData:
        """The first image."""
        return self.images[0]

    @property
    def is_animated(self) -> bool:
        """Whether the images are shown one after the other."""
        return bool(self.durations_ms)


def read_series(path: Path, *, max_pixels: int = MAX_PIXELS) -> ImageSeries:
    """Read all images of a file.

    Args:
        path: The file.
        max_pixels: More, of all images together, are refused before they are decoded.

    Raises:
        ImageError: See `read_image`; frames of other formats than GIF, WebP and PNG are refused.
    """
    content = read_regular(path, ImageError, limit=MAX_BYTES)
    kind = sniff_format(content[:HEAD_BYTES])
    count = _count(path, content, kind)
    if count == 1:
        return ImageSeries((decode_image(path, content, max_pixels),))
    try:
        return _decode(path, content, kind, count, max_pixels)
    except ImageError:
        raise
    except MemoryError as error:
        raise ImageError(f"{path} does not fit into memory") from error
    except Exception as error:  # Pillow raises a dozen types on a damaged file
        raise ImageError(
            f"{path} is damaged or truncated: not all of its {count} images can be read"
        ) from error


def _count(path: Path, content: bytes, kind: Format | None) -> int:
    """How many images a file holds that can hold several; 1 where that cannot be told."""
    if kind not in (*_ANIMATED, Format.TIFF):
        return 1
    try:
        if kind is Format.PNG:  # without Pillow's plugins, which take longer to load than to ask
            return png.read_header(content).frames
        return int(getattr(open_by_pillow(path, content, kind), "n_frames", 1))
    except Exception:  # what is wrong with it is told when it is decoded
        return 1


def _decode(
    path: Path, content: bytes, kind: Format | None, count: int, max_pixels: int
) -> ImageSeries:
    opened = open_by_pillow(path, content, kind)
    pages: list[ImageData] = []
    durations: list[float] = []
    # The still image that viewers without animation show is no frame.
    start = 1 if getattr(opened, "default_image", False) else 0
    total = 0
    for index in range(start, count):
        opened.seek(index)
        total += opened.height * opened.width
        if total > max_pixels or not opened.height * opened.width:
            raise ImageError(
                f"{path} may be a decompression bomb: got {count} images of "
                f"{opened.height}x{opened.width} and more, allowed {max_pixels} pixels in all; "
                "pass --max-pixels if it is none"
            )
        if kind is Format.TIFF:
            pages.append(read_tiff_page(opened, content, index))
            continue
        if kind is not Format.PNG:
            opened.load()
            pages.append(from_pillow(opened))
        durations.append(float(opened.info.get("duration") or 0))
    if kind is Format.TIFF:
        return ImageSeries(tuple(pages))
    if kind is Format.PNG:  # Pillow lets damaged frames pass
        header = png.read_header(content)
        decoded = png.decode_frames(content, count - start)
        pages = [describe_png(frame, header) for frame in decoded]
    frames = tuple(replace(pages[0], pixels_hwc=p) for p in _alike([f.pixels_hwc for f in pages]))
    if len(frames) == 1:
        return ImageSeries(frames)
    return ImageSeries(frames, tuple(durations), _plays(opened, kind))


def _plays(opened: Any, kind: Format | None) -> int:  # noqa: ANN401
    """How often it is played: a GIF states repetitions, and without a statement plays once."""
    stated = opened.info.get("loop")
    if kind is not Format.GIF:
        return int(stated or 0)
    if stated is None:
        return 1
    return int(stated) + 1 if stated else 0


def _alike(frames: Sequence[np.ndarray]) -> list[np.ndarray]:
    """All frames as RGB, or as RGBA where one of them is transparent."""
    kinds = {frame.shape[2] for frame in frames}
    if len(kinds) == 1:
        return list(frames)
    alpha = bool(kinds & {2, 4})
    return [_as_colour(frame, alpha=alpha) for frame in frames]


def _as_colour(frame: np.ndarray, *, alpha: bool) -> np.ndarray:
    channels = frame.shape[2]
    colours = frame[..., :1].repeat(3, 2) if channels < 3 else frame[..., :3]
    if not alpha:
        return colours
    opacity = frame[..., -1:] if channels in (2, 4) else np.full_like(frame[..., :1], 255)
    return np.concatenate((colours, opacity), axis=2)


def check_series(series: ImageSeries, target: Path) -> None:
    """Refuse early what `encode_series` could not store.

    Raises:
        ImageError: The format holds one image, or no animation.
    """
    kind = format_by_suffix(target)
    if series.is_animated and kind not in _ANIMATED:
        raise ImageError(
            f"{target}: the image is animated ({len(series.images)} frames) and {kind} is not; use "
            ".png (APNG) or .webp"
        )
    if len(series.images) > 1 and not series.is_animated and kind is not Format.TIFF:
        raise ImageError(
            f"{target}: the file has {len(series.images)} pages and {kind} holds one; use .tiff"
        )


def encode_series(
    series: ImageSeries, target: Path, *, quality: int = DEFAULT_QUALITY
) -> tuple[bytes, tuple[str, ...]]:
    """Encode all images in the format that `target`'s suffix stands for.

    Args:
        series: What to encode.
        target: Its name.
        quality: 1 to 100, of JPEG, WebP and AVIF.

    Returns:
        The file's content, and notes on what it does not keep.

    Raises:
        ImageError: See `check_series` and `encode_image`.
    """
    if len(series.images) == 1:
        return encode_image(series.first, target, quality=quality)
    check_series(series, target)
    kind = format_by_suffix(target)
    fit = [fitted(image, kind) for image in series.images]
    notes = tuple(dict.fromkeys(note for _, of_image in fit for note in of_image))
    images = [image for image, _ in fit]
    if any(ms > _LONGEST_MS for ms in series.durations_ms):
        notes += (f"{kind} shows a frame for {_LONGEST_MS / 1000:.0f} s at most",)
    durations = [round(min(ms, _LONGEST_MS)) for ms in series.durations_ms]
    try:
        if kind is Format.WEBP:
            return _animated_webp(images, durations, series.plays, quality), notes
        options = pillow_options(images[0], kind, quality)
        if kind is Format.PNG:
            del options["quality"]
            options |= {"duration": durations, "loop": series.plays}
        file = io.BytesIO()
        first, *others = map(_as_pillow, images)
        first.save(file, format=kind.value.upper(), save_all=True, append_images=others, **options)
    except (OSError, RuntimeError, ValueError) as error:  # what encoders raise
        raise ImageError(f"{target}: {kind} cannot hold the images; use another format") from error
    return file.getvalue(), notes


def _animated_webp(
    images: Sequence[ImageData], durations_ms: Sequence[int], plays: int, quality: int
) -> bytes:
    """Put still WebPs into an animation: Pillow's own encoder (13.0) drops the transparency.

    Source: RFC 9649, section 2.7. Every frame is whole, and replaces what was there.
    """
    first = images[0]
    size = _three_bytes(first.width - 1) + _three_bytes(first.height - 1)
    plain = [replace(image, icc_profile=None, exif=None, xmp=None) for image in images]
    frames = b""
    for image, duration in zip(plain, durations_ms, strict=True):
        content, _ = encode_image(image, Path("frame.webp"), quality=quality)
        chunks = b"".join(c for name, c in _chunks(content) if name in _PIXEL_CHUNKS)
        head = 2 * _three_bytes(0) + size + _three_bytes(duration) + bytes([_NO_BLENDING])
        frames += _chunk(b"ANMF", head + chunks)
    about = [(b"ICCP", first.icc_profile), (b"EXIF", first.exif), (b"XMP ", first.xmp)]
    flags = _ANIMATION | (_ALPHA if any(image.has_alpha for image in images) else 0)
    flags |= sum(_FLAGS[name] for name, value in about if value)
    body = _chunk(b"VP8X", bytes([flags, 0, 0, 0]) + size)
    body += _chunk(b"ICCP", first.icc_profile) if first.icc_profile else b""
    body += _chunk(b"ANIM", bytes(4) + struct.pack("<H", min(plays, 2**16 - 1)))
    body += frames
    body += b"".join(_chunk(name, value) for name, value in about[1:] if value)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def _three_bytes(number: int) -> bytes:
    return number.to_bytes(3, "little")


def _chunk(name: bytes, body: bytes) -> bytes:
    return name + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)


def _chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Name and whole of the chunks of a WebP."""
    at = 12
    while at + 8 <= len(content):
        (length,) = struct.unpack_from("<I", content, at + 4)
        end = at + 8 + length + length % 2
        yield content[at : at + 4], content[at:end]
        at = end


def _as_pillow(image: ImageData) -> Any:  # noqa: ANN401
    from PIL import Image

    pixels = image.pixels_hwc
    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
