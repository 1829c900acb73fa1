"""Images as files, with what each format can hold of the metadata."""

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edgesr.errors import ImageError
from edgesr.images import png
from edgesr.images.files import Format, ImageData, Pixels, format_by_suffix
from edgesr.images.metadata import ExifBlock, kept_fields

DEFAULT_QUALITY = 95

_JPEG_MAX_EXIF = 65_527  # one segment, less its length and the prefix
_JPEG_MAX_XMP = 65_504
_MAX_SIDE = {
    Format.PNG: png.MAX_SIDE,
    Format.JPEG: 65_500,
    Format.WEBP: 16_383,
    Format.AVIF: 65_536,
    Format.TIFF: png.MAX_SIDE,
}
_SRGB_GAMMA = (45_455).to_bytes(4, "big")


def check_storable(image: ImageData, target: Path, size: tuple[int, int] | None = None) -> None:
    """Refuse early what `encode_image` could not store.

    Args:
        image: The image before upscaling.
        target: The file to be written; its suffix is its format.
        size: Height, width that it is going to have; its own by default.

    Raises:
        ImageError: The format has no alpha, or no images that large, or is unknown.
    """
    kind = format_by_suffix(target)
    if kind is Format.JPEG and image.has_alpha and not _opaque(image.pixels_hwc):
        raise ImageError(f"{target}: the image is transparent and JPEG is not; use .png or .webp")
    height, width = size or (image.height, image.width)
    if max(height, width) > _MAX_SIDE[kind]:
        raise ImageError(
            f"{target}: got {height}x{width} pixels, allowed {_MAX_SIDE[kind]} a side in "
            f"{kind}; {'upscale a part of it' if kind is Format.PNG else 'use .png'}"
        )


def encode_image(
    image: ImageData, target: Path, *, quality: int = DEFAULT_QUALITY
) -> tuple[bytes, tuple[str, ...]]:
    """Encode an image in the format that `target`'s suffix stands for.

    Args:
        image: What to encode.
        target: Its name.
        quality: 1 to 100, of JPEG (never with subsampled colours), WebP and AVIF.

    Returns:
        The file's content, and notes on what it does not keep.

    Raises:
        ImageError: See `check_storable`; or the encoder failed.
    """
    check_storable(image, target)
    kind = format_by_suffix(target)
    fit, notes = fitted(image, kind)
    try:
        if kind is Format.PNG:
            chunks = fit.png_chunks + png.metadata_chunks(
                fit.icc_profile, fit.exif, fit.xmp, fit.dpi
            )
            return png.encode_png(fit.pixels_hwc, chunks), notes
        return _encode_pillow(fit, kind, quality), notes
    except (OSError, RuntimeError, ValueError) as error:  # what encoders raise
        raise ImageError(f"{target}: {kind} cannot hold the image; use another format") from error


def _opaque(pixels_hwc: Pixels) -> bool:
    return bool((pixels_hwc[..., -1] == np.iinfo(pixels_hwc.dtype).max).all())


def fitted(image: ImageData, kind: Format) -> tuple[ImageData, tuple[str, ...]]:
    """Reduce an image to what a format can hold; notes list the losses."""
    notes: list[str] = []
    pixels, profile, exif = image.pixels_hwc, image.icc_profile, image.exif
    if exif:
        block = ExifBlock(exif)
        block.set_size(image.height, image.width)
        exif = bytes(block)
    xmp, chunks = image.xmp, image.png_chunks
    if kind is not Format.PNG and (b"cICP" in chunks or _unusual_gamma(chunks)):
        notes.append(f"{kind} has no place for the PNG's gamma and primaries; they are left out")
    deep = kind is Format.PNG or (kind is Format.TIFF and pixels.shape[2] == 1)
    if pixels.dtype == np.uint16 and not deep:
        holds = "TIFF is written with" if kind is Format.TIFF else f"{kind} holds"
        notes.append(f"{holds} 8 bits per channel; the image's 16 are rounded")
        pixels = ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if kind is Format.JPEG and image.has_alpha:
        pixels = pixels[..., :-1]  # opaque: see check_storable
    if kind in (Format.WEBP, Format.AVIF) and pixels.shape[2] <= 2:
        pixels = np.concatenate([pixels[..., :1]] * 3 + [pixels[..., 1:]], axis=2)
        if profile:
            profile = None
            notes.append(f"{kind} has no grey; the grey ICC profile is left out")
    if kind is Format.JPEG and exif and len(exif) > _JPEG_MAX_EXIF:
        exif = None
        notes.append("the EXIF block is too large for JPEG; it is left out")
    if kind is Format.JPEG and xmp and len(xmp) > _JPEG_MAX_XMP:
        xmp = None
        notes.append("the XMP packet is too large for JPEG; it is left out")
    fit = replace(image, pixels_hwc=pixels, icc_profile=profile, exif=exif, xmp=xmp)
    return fit, tuple(notes)


def _unusual_gamma(chunks: bytes) -> bool:
    """Whether PNG chunks state another gamma than sRGB's."""
    at = chunks.find(b"gAMA")
    return at >= 0 and chunks[at + 4 : at + 8] != _SRGB_GAMMA


def _encode_pillow(image: ImageData, kind: Format, quality: int) -> bytes:
    from PIL import Image

    pixels = image.pixels_hwc
    encoded = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    file = io.BytesIO()
    options = pillow_options(image, kind, quality)
    encoded.save(file, format=kind.value.upper(), **options)
    return file.getvalue()


def pillow_options(image: ImageData, kind: Format, quality: int) -> dict[str, Any]:
    """What Pillow's encoder is to be told of an image: its metadata, and how to compress."""
    options: dict[str, Any] = {"quality": quality}
    if kind is Format.JPEG:
        options["subsampling"] = "4:4:4"
    if image.icc_profile:
        options["icc_profile"] = image.icc_profile
    if image.exif:
        options["exif"] = b"Exif\0\0" + image.exif
    if image.xmp and kind is not Format.TIFF:
        options["xmp"] = image.xmp
    if image.dpi and kind in (Format.JPEG, Format.TIFF):
        options["dpi"] = image.dpi
    if kind is Format.TIFF:
        options = {**_tiff_options(image), **options, "compression": "tiff_adobe_deflate"}
        options.pop("exif", None)
        del options["quality"]
    return options


def _tiff_options(image: ImageData) -> dict[str, Any]:
    """Tags of a TIFF: EXIF's fields and the XMP packet."""
    from PIL import Image, TiffImagePlugin

    tags = TiffImagePlugin.ImageFileDirectory_v2()
    if image.exif:
        exif = Image.Exif()
        exif.load(b"Exif\0\0" + image.exif)
        for tag, value in kept_fields(exif).items():
            tags[tag] = value
    if image.xmp:
        tags[700] = image.xmp
        tags.tagtype[700] = 1
    return {"tiffinfo": tags}
