"""Pictures in, pictures out: PNG, JPEG and WebP, with what they carry beside their pixels.

Whatever a file holds becomes one of four kinds of pixels: grey, grey with alpha, RGB, RGB with
alpha, of 8 or 16 bits. 1-bit and palette pictures have no place for the values in between that
upscaling makes: they become 8-bit grey, RGB, or RGB with alpha. CMYK becomes RGB, through its ICC
profile (then sRGB, without a profile) if it has one.
"""

import enum
import io
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesr import png
from edgesr.errors import PictureError
from edgesr.picture_metadata import ExifBlock, profile_fits

Pixels = NDArray[np.uint8 | np.uint16]

#: Pillow's own limit, above which it suspects a decompression bomb.
MAX_PIXELS = 89_478_485
DEFAULT_QUALITY = 95

_JPEG_MAX_EXIF = 65_527  # one segment, less its length and the prefix


class Format(enum.StrEnum):
    """A kind of picture file."""

    PNG = "PNG"
    JPEG = "JPEG"
    WEBP = "WebP"


#: File name suffixes, and what they stand for; the first of each format is its usual one.
SUFFIXES = {
    ".png": Format.PNG,
    ".jpg": Format.JPEG,
    ".jpeg": Format.JPEG,
    ".webp": Format.WEBP,
}
_MAX_SIDE = {Format.PNG: 2**31 - 1, Format.JPEG: 65_500, Format.WEBP: 16_383}


@dataclass(frozen=True, eq=False)
class Picture:
    """A decoded picture, upright.

    Attributes:
        pixels_hwc: Height x width x channels, uint8 or uint16 over its whole range; 1 channel is
            grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha. Alpha is straight, not premultiplied.
        icc_profile: The ICC profile that the numbers are to be read with.
        exif: The EXIF block, without prefix, its orientation reset.
        png_chunks: Raw PNG chunks on gamma and primaries, kept when a PNG becomes a PNG.
        notes: What could not be kept, one sentence each.
    """

    pixels_hwc: Pixels
    icc_profile: bytes | None = None
    exif: bytes | None = None
    png_chunks: bytes = b""
    notes: tuple[str, ...] = ()

    @property
    def height(self) -> int:
        """Rows."""
        return self.pixels_hwc.shape[0]

    @property
    def width(self) -> int:
        """Columns."""
        return self.pixels_hwc.shape[1]

    @property
    def has_alpha(self) -> bool:
        """Whether the last channel is alpha."""
        return self.pixels_hwc.shape[2] in (2, 4)


def format_by_suffix(path: Path) -> Format:
    """The format that a file name stands for.

    Raises:
        PictureError: It stands for none that edgesr writes.
    """
    found = SUFFIXES.get(path.suffix.lower())
    if found is None:
        raise PictureError(
            f"{path}: got suffix {path.suffix or '(none)'}, allowed {', '.join(SUFFIXES)}"
        )
    return found


def sniff_format(head: bytes) -> Format | None:
    """The format that a file's first bytes (12 are enough) stand for, whatever its name."""
    if head.startswith(png.SIGNATURE):
        return Format.PNG
    if head.startswith(b"\xff\xd8\xff"):
        return Format.JPEG
    return Format.WEBP if head[:4] == b"RIFF" and head[8:12] == b"WEBP" else None


def read_picture(path: Path, *, max_pixels: int = MAX_PIXELS) -> Picture:
    """Read a picture file, told by its content and not by its name.

    Args:
        path: A PNG, JPEG or WebP file.
        max_pixels: Larger pictures are refused before their pixels are decoded.

    Raises:
        PictureError: The file is missing, unreadable, no such picture, damaged, animated or larger
            than allowed.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise PictureError(f"cannot read {path}: {error.strerror or error}") from error
    found = sniff_format(content[:12])
    if found is None:
        raise PictureError(
            f"{path} is no picture that edgesr reads (got {len(content)} bytes beginning with "
            f"{content[:8]!r}), allowed PNG, JPEG and WebP; convert it first"
        )
    try:
        image = _open(content, found)
        _check_still_and_size(path, image, max_pixels)
        image.load()
        return _decode(image, content)
    except PictureError:
        raise
    except MemoryError as error:
        raise PictureError(f"{path} does not fit into memory") from error
    except Exception as error:  # decoders raise a dozen types on a damaged file
        reason = (str(error).strip() or "no reason given").splitlines()[0]
        raise PictureError(f"{path} is damaged or truncated: {reason}") from error


def check_storable(picture: Picture, target: Path, size: tuple[int, int] | None = None) -> None:
    """Refuse early what `encode_picture` could not store.

    Args:
        picture: The picture before upscaling.
        target: The file to be written; its suffix is its format.
        size: Height, width that it is going to have; its own by default.

    Raises:
        PictureError: The format has no alpha, or no pictures that large, or is unknown.
    """
    kind = format_by_suffix(target)
    if kind is Format.JPEG and picture.has_alpha and not _opaque(picture.pixels_hwc):
        raise PictureError(
            f"{target}: the picture is transparent and JPEG is not; use .png or .webp"
        )
    height, width = size or (picture.height, picture.width)
    if max(height, width) > _MAX_SIDE[kind]:
        raise PictureError(
            f"{target}: got {height}x{width} pixels, allowed {_MAX_SIDE[kind]} a side in "
            f"{kind}; use .png"
        )


def encode_picture(
    picture: Picture, target: Path, *, quality: int = DEFAULT_QUALITY, threads: int = 1
) -> tuple[bytes, tuple[str, ...]]:
    """Encode a picture in the format that `target`'s suffix stands for.

    Args:
        picture: What to encode.
        target: Its name.
        quality: 1 to 100, of JPEG (never with subsampled colours) and WebP.
        threads: How many cores a PNG may take.

    Returns:
        The file's content, and notes on what it does not keep.

    Raises:
        PictureError: See `check_storable`.
    """
    check_storable(picture, target)
    kind = format_by_suffix(target)
    fit, notes = _fit(picture, kind)
    if kind is Format.PNG:
        chunks = fit.png_chunks + png.metadata_chunks(fit.icc_profile, fit.exif)
        return png.encode_png(fit.pixels_hwc, chunks, threads=threads), notes
    return _encode_pillow(fit, kind, quality), notes


def _open(content: bytes, kind: Format) -> Any:  # noqa: ANN401 - Pillow's plugins are untyped
    """Read the header by the format's own plugin.

    `Image.open` would apply a limit on pixels that is one global number; ours is an argument.
    """
    from PIL import JpegImagePlugin, PngImagePlugin, WebPImagePlugin

    openers: dict[Format, Any] = {
        Format.PNG: PngImagePlugin.PngImageFile,
        Format.JPEG: JpegImagePlugin.jpeg_factory,  # knows phones' two-pictures-in-one files
        Format.WEBP: WebPImagePlugin.WebPImageFile,
    }
    return openers[kind](io.BytesIO(content))


def _check_still_and_size(path: Path, image: Any, max_pixels: int) -> None:  # noqa: ANN401
    width, height = image.size
    if width * height == 0:
        raise PictureError(f"{path} is empty: got {height}x{width} pixels, allowed 1x1 and more")
    if width * height > max_pixels:
        raise PictureError(
            f"{path} may be a decompression bomb: got {height}x{width} = {height * width} pixels, "
            f"allowed {max_pixels}; pass --max-pixels if it is none"
        )
    # A JPEG's further frames are a preview or the other eye's view.
    frames = 1 if image.format in ("JPEG", "MPO") else getattr(image, "n_frames", 1)
    if frames > 1:
        raise PictureError(
            f"{path} is animated: got {frames} frames, allowed one; extract it first"
        )


def _decode(image: Any, content: bytes) -> Picture:  # noqa: ANN401
    """Pixels and metadata of a loaded Pillow image."""
    notes: list[str] = []
    icc_profile: bytes | None = image.info.get("icc_profile")
    if png.bit_depth(content) == 16:
        import imagecodecs

        # Pillow keeps 8 of the 16 bits of RGB.
        pixels: Pixels = np.asarray(imagecodecs.png_decode(content))
    else:
        if image.mode == "CMYK":
            image, icc_profile = _cmyk_to_rgb(image, icc_profile, notes)
        pixels = np.asarray(image.convert(_target_mode(image)))
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    if icc_profile and not profile_fits(icc_profile, pixels.shape[2]):
        icc_profile = None
        notes.append("the ICC profile does not fit the pixels; it is left out")
    exif = _read_exif(image.info.get("exif"), notes)
    if exif is not None:
        pixels = _upright(pixels, exif.orientation)
        exif.set_upright()
    return Picture(
        np.ascontiguousarray(pixels),
        icc_profile,
        bytes(exif) if exif is not None else None,
        png.colour_chunks(content) if content.startswith(png.SIGNATURE) else b"",
        tuple(notes),
    )


def _target_mode(image: Any) -> str:  # noqa: ANN401
    """The Pillow mode that keeps all that an 8-bit image of this mode says."""
    grey = image.mode in ("1", "L", "LA", "La")
    alpha = image.has_transparency_data
    if grey:
        return "LA" if alpha else "L"
    return "RGBA" if alpha else "RGB"


def _cmyk_to_rgb(
    image: Any,  # noqa: ANN401
    icc_profile: bytes | None,
    notes: list[str],
) -> tuple[Any, bytes | None]:
    """Inks to sRGB through the picture's profile; by plain arithmetic without a usable one."""
    from PIL import ImageCms

    if icc_profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(icc_profile))
            srgb = ImageCms.createProfile("sRGB")
            return ImageCms.profileToProfile(image, source, srgb, outputMode="RGB"), None
        except (ImageCms.PyCMSError, OSError):
            notes.append("the CMYK profile is unusable; colours are converted without it")
    return image.convert("RGB"), None


def _read_exif(raw: bytes | None, notes: list[str]) -> ExifBlock | None:
    if not raw:
        return None
    try:
        return ExifBlock(raw)
    except ValueError:
        notes.append("the EXIF block is malformed; it is left out")
        return None


def _upright(pixels_hwc: Pixels, orientation: int) -> Pixels:
    """Turn and mirror as EXIF's orientation says (EXIF 2.32, section 4.6.4, tag 0x0112)."""
    if orientation in (5, 6, 7, 8):
        pixels_hwc = pixels_hwc.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels_hwc = pixels_hwc[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels_hwc = pixels_hwc[::-1]
    return pixels_hwc


def _opaque(pixels_hwc: Pixels) -> bool:
    return bool((pixels_hwc[..., -1] == np.iinfo(pixels_hwc.dtype).max).all())


def _fit(picture: Picture, kind: Format) -> tuple[Picture, tuple[str, ...]]:
    """What of a picture a format can hold, and notes on what is lost."""
    notes: list[str] = []
    pixels, profile, exif = picture.pixels_hwc, picture.icc_profile, picture.exif
    if exif:
        block = ExifBlock(exif)
        block.set_size(picture.height, picture.width)
        exif = bytes(block)
    if kind is not Format.PNG and pixels.dtype == np.uint16:
        notes.append(f"{kind} holds 8 bits per channel; the picture's 16 are rounded")
        pixels = ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if kind is Format.JPEG and picture.has_alpha:
        pixels = pixels[..., :-1]  # opaque: see check_storable
    if kind is Format.WEBP and pixels.shape[2] <= 2:
        pixels = np.concatenate([pixels[..., :1]] * 3 + [pixels[..., 1:]], axis=2)
        if profile:
            profile = None
            notes.append("WebP has no grey; the grey ICC profile is left out")
    if kind is Format.JPEG and exif and len(exif) > _JPEG_MAX_EXIF:
        exif = None
        notes.append("the EXIF block is too large for JPEG; it is left out")
    return replace(picture, pixels_hwc=pixels, icc_profile=profile, exif=exif), tuple(notes)


def _encode_pillow(picture: Picture, kind: Format, quality: int) -> bytes:
    from PIL import Image

    pixels = picture.pixels_hwc
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    options: dict[str, Any] = {"quality": quality}
    if kind is Format.JPEG:
        options["subsampling"] = "4:4:4"
    if picture.icc_profile:
        options["icc_profile"] = picture.icc_profile
    if picture.exif:
        options["exif"] = b"Exif\0\0" + picture.exif
    file = io.BytesIO()
    image.save(file, format=kind.value.upper(), **options)
    return file.getvalue()
