"""Image files as pixels and metadata: PNG, JPEG, WebP, AVIF, TIFF; for reading BMP, GIF, HEIC too.

Whatever a file holds becomes one of four kinds of pixels: grey, grey with alpha, RGB, RGB with
alpha, of 8 or 16 bits. 1-bit and palette images have no place for the values in between that
upscaling makes: they become 8-bit grey, RGB, or RGB with alpha. CMYK becomes RGB, through its ICC
profile (then sRGB, without a profile) if it has one.
"""

import io
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgesr.common.compat import StrEnum
from edgesr.common.inputs import read_regular
from edgesr.errors import ImageError
from edgesr.images import png
from edgesr.images.jpeg import decode_jpeg, lacks_end
from edgesr.images.metadata import ExifBlock, profile_fits, tiff_exif, upright_xmp

if TYPE_CHECKING:
    from PIL import Image

Pixels = NDArray[np.uint8 | np.uint16]

#: Pillow's own limit, above which it suspects a decompression bomb.
MAX_PIXELS = 89_478_485

# Tags of TIFF.
_WIDTH, _HEIGHT, _BITS, _PHOTOMETRIC, _ORIENTATION, _EXTRA = 256, 257, 258, 262, 274, 338
#: Longer files are refused.
MAX_BYTES = 2**31  # more than twice what MAX_PIXELS are in 16-bit RGBA


class Format(StrEnum):
    """A kind of image file."""

    PNG = "PNG"
    JPEG = "JPEG"
    WEBP = "WebP"
    AVIF = "AVIF"
    TIFF = "TIFF"
    BMP = "BMP"
    GIF = "GIF"
    HEIC = "HEIC"


#: So many bytes tell a format.
HEAD_BYTES = 64

_SIGNATURES = {
    png.SIGNATURE: Format.PNG,
    b"\xff\xd8\xff": Format.JPEG,
    b"BM": Format.BMP,
    b"GIF87a": Format.GIF,
    b"GIF89a": Format.GIF,
    b"II*\0": Format.TIFF,
    b"MM\0*": Format.TIFF,
}

#: File name suffixes of the formats that can be written.
SUFFIXES = {
    ".png": Format.PNG,
    ".jpg": Format.JPEG,
    ".jpeg": Format.JPEG,
    ".jpe": Format.JPEG,
    ".jfif": Format.JPEG,
    ".webp": Format.WEBP,
    ".avif": Format.AVIF,
    ".tif": Format.TIFF,
    ".tiff": Format.TIFF,
}

#: File name suffixes of the formats that can be read.
IMAGE_SUFFIXES = (*SUFFIXES, ".bmp", ".gif", ".heic", ".heif")


@dataclass(frozen=True, eq=False)
class ImageData:
    """A decoded image, upright.

    Attributes:
        pixels_hwc: Height x width x channels, uint8 or uint16 over its whole range; 1 channel is
            grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha. Alpha is straight, not premultiplied.
        icc_profile: The ICC profile that the numbers are to be read with.
        exif: The EXIF block, without prefix, its orientation reset.
        png_chunks: Raw PNG chunks on gamma and primaries, kept when a PNG becomes a PNG.
        xmp: The XMP packet, its orientation reset.
        dpi: Pixels per inch, across and down; they stay, so that a larger result prints larger.
        notes: What could not be kept, one sentence each.
    """

    pixels_hwc: Pixels
    icc_profile: bytes | None = None
    exif: bytes | None = None
    png_chunks: bytes = b""
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None
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
        ImageError: It stands for none that edgesr writes.
    """
    found = SUFFIXES.get(path.suffix.lower())
    if found is None:
        raise ImageError(
            f"{path}: got suffix {path.suffix or '(none)'}, allowed {', '.join(SUFFIXES)}"
        )
    return found


def sniff_format(head: bytes) -> Format | None:
    """Detect the format from a file's first `HEAD_BYTES` bytes; None for others."""
    for signature, kind in _SIGNATURES.items():
        if head.startswith(signature):
            return kind
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return Format.WEBP
    if head[4:8] == b"ftyp":
        size = int.from_bytes(head[:4], "big")
        brands = {head[start : start + 4] for start in (8, *range(16, min(size, len(head)), 4))}
        if brands & {b"avif", b"avis"}:
            return Format.AVIF
        if brands & {b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1"}:
            return Format.HEIC
    return None


def read_image(path: Path, *, max_pixels: int = MAX_PIXELS) -> ImageData:
    """Read an image file; its content decides on the format.

    Args:
        path: A file of one of the formats.
        max_pixels: Larger images are refused before their pixels are decoded.

    Raises:
        ImageError: The file is missing, unreadable, no such image, damaged, animated or larger
            than allowed.
    """
    content = read_regular(path, ImageError, limit=MAX_BYTES)
    return decode_image(path, content, max_pixels)


def decode_image(path: Path, content: bytes, max_pixels: int = MAX_PIXELS) -> ImageData:
    """Decode the bytes of an image file; see `read_image`.

    Args:
        path: Its name, for messages.
        content: Its bytes.
        max_pixels: Larger images are refused before their pixels are decoded.

    Raises:
        ImageError: It is no such image, damaged, animated or larger than allowed.
    """
    found = sniff_format(content[:HEAD_BYTES])
    if found is None:
        raise ImageError(
            f"{path} is no image that edgesr reads (got {len(content)} bytes beginning with "
            f"{content[:8]!r}), allowed {', '.join(Format)}; convert it first"
        )
    try:
        return (_read_png if found is Format.PNG else _read_by_pillow)(path, content, max_pixels)
    except ImageError:
        raise
    except MemoryError as error:
        raise ImageError(f"{path} does not fit into memory") from error
    except Exception as error:  # decoders raise a dozen types on a damaged file
        # Others are Python's own words, and so are those that Pillow passes on.
        known = type(error) in (OSError, SyntaxError, ValueError) and error.__cause__ is None
        reason = (str(error).strip() if known else "").split("\n")[0] or "its structure is broken"
        raise ImageError(f"{path} is damaged or truncated: {reason}") from error


def _read_png(path: Path, content: bytes, max_pixels: int) -> ImageData:
    header = png.read_header(content)
    _check_still_and_size(path, (header.height, header.width), header.frames, max_pixels)
    return describe_png(png.decode_png(content, header), header)


def describe_png(pixels: Pixels, header: png.PngHeader) -> ImageData:
    """An upright image of a PNG's pixels, with what its chunks say of them."""
    image = _with_metadata(pixels, header.icc_profile, header.exif, [])
    xmp = upright_xmp(header.xmp) if header.xmp else None
    return replace(image, png_chunks=header.colour_chunks, xmp=xmp, dpi=header.dpi)


def _read_by_pillow(path: Path, content: bytes, max_pixels: int) -> ImageData:
    """Decode any format but PNG by the format's own plugin.

    `Image.open` would apply a limit on pixels that is one global number; ours is an argument.
    """
    kind = sniff_format(content[:HEAD_BYTES])
    image = open_by_pillow(path, content, kind)
    # A JPEG's or HEIC's further frames are a preview, the other eye's view, or other photographs.
    frames = 1 if kind in (Format.JPEG, Format.HEIC) else getattr(image, "n_frames", 1)
    what = "pages" if kind is Format.TIFF else "frames"
    _check_still_and_size(path, (image.height, image.width), frames, max_pixels, what)
    if kind is Format.TIFF:
        return read_tiff_page(image, content, 0)
    if kind is not Format.JPEG:
        image.load()
        read = from_pillow(image)
        bits = _bits_of_box(content) if kind in (Format.AVIF, Format.HEIC) else 8
        note = f"of {kind}'s {bits} bits per channel 8 are read"
        return read if bits <= 8 else replace(read, notes=(*read.notes, note))
    pixels = decode_jpeg(content)
    read = from_pillow(image) if image.mode == "CMYK" else _described(pixels, image, [])
    if lacks_end(content):
        read = replace(read, notes=(*read.notes, "the JPEG has no end marker; it is complete"))
    return read


def open_by_pillow(path: Path, content: bytes, kind: Format | None) -> Any:  # noqa: ANN401
    """Read the header of an image by Pillow's plugin for its format.

    Raises:
        ImageError: It is HEIC, and the library for that is not installed.
    """
    from PIL import (
        AvifImagePlugin,
        BmpImagePlugin,
        GifImagePlugin,
        JpegImagePlugin,
        PngImagePlugin,
        TiffImagePlugin,
        WebPImagePlugin,
    )

    if kind is Format.HEIC:
        try:
            from pillow_heif.as_plugin import (  # type: ignore[import-not-found,unused-ignore]
                HeifImageFile,
            )
        except ImportError as error:
            raise ImageError(f"{path} is HEIC; install edgesr[heif] to read it") from error
        return HeifImageFile(io.BytesIO(content))
    openers: dict[Format | None, Any] = {
        Format.JPEG: JpegImagePlugin.jpeg_factory,  # knows phones' two-images-in-one files
        Format.WEBP: WebPImagePlugin.WebPImageFile,
        Format.AVIF: AvifImagePlugin.AvifImageFile,
        Format.TIFF: TiffImagePlugin.TiffImageFile,
        Format.BMP: BmpImagePlugin.BmpImageFile,
        Format.GIF: GifImagePlugin.GifImageFile,
        Format.PNG: PngImagePlugin.PngImageFile,
    }
    return openers[kind](io.BytesIO(content))


def _bits_of_box(content: bytes) -> int:
    """Bits per channel, of the first box that states them (ISO/IEC 23008-12, 6.5.6)."""
    at = content.find(b"pixi")
    return content[at + 9] if 0 <= at < len(content) - 9 else 8


def _check_still_and_size(
    path: Path, size: tuple[int, int], frames: int, max_pixels: int, what: str = "frames"
) -> None:
    height, width = size
    if width * height == 0:
        raise ImageError(f"{path} is empty: got {height}x{width} pixels, allowed 1x1 and more")
    if width * height > max_pixels:
        raise ImageError(
            f"{path} may be a decompression bomb: got {height}x{width} = {height * width} pixels, "
            f"allowed {max_pixels}; pass --max-pixels if it is none"
        )
    if frames > 1 and what == "pages":
        raise ImageError(f"{path} has several pages: got {frames}, allowed one; split it first")
    if frames > 1:
        raise ImageError(f"{path} is animated: got {frames} frames, allowed one; extract it first")


def from_pillow(image: "Image.Image") -> ImageData:
    """Pixels and metadata of an image that Pillow opened or made, upright.

    Args:
        image: Any mode but the 32-bit ones, I and F; 16-bit grey stays 16-bit.

    Raises:
        ImageError: The mode has 32 bits, or the image is empty.
    """
    if image.mode in ("I", "F"):
        raise ImageError(
            f"got a Pillow image of mode {image.mode}, whose white is not known, allowed modes of "
            "8 bits and I;16; convert it first, or pass a float32 array in [0, 1]"
        )
    if not (image.width and image.height):
        raise ImageError(f"got an image of {image.height}x{image.width} pixels, allowed 1x1 and up")
    notes: list[str] = []
    icc_profile: bytes | None = image.info.get("icc_profile")
    if image.mode.startswith("I;16"):
        return _described(np.asarray(image).astype(np.uint16), image, notes)
    if image.mode == "CMYK":
        info = image.info
        image, icc_profile = _cmyk_to_rgb(image, icc_profile, notes)
        image.info = {**info, "icc_profile": icc_profile}
    return _described(np.asarray(image.convert(_target_mode(image))), image, notes)


def read_tiff_page(image: Any, content: bytes, index: int) -> ImageData:  # noqa: ANN401
    """Decode a page of a TIFF that Pillow's plugin opened; of 16-bit colour Pillow keeps 8.

    Args:
        image: The plugin, at that page.
        content: The file.
        index: The page's number, from 0 on.

    Raises:
        ValueError: It is damaged, or of a kind that is not read.
    """
    tags, exif = image.tag_v2, tiff_exif(image)
    deep = image.mode in ("RGB", "RGBA") and 16 in tuple(tags.get(_BITS, ()))
    inverted = image.mode.startswith("I;16") and tags.get(_PHOTOMETRIC) == 0
    if deep:
        import imagecodecs

        pixels = np.asarray(imagecodecs.tiff_decode(content, index=index))
        # The image's own sizes are those after it was turned.
        stored = (tags.get(_HEIGHT), tags.get(_WIDTH), len(image.mode))
        premultiplied = tags.get(_EXTRA) == (1,)
        if pixels.shape != stored or pixels.dtype != np.uint16 or premultiplied:
            raise ValueError("its 16-bit colours are of no layout that is read")
        image.info["exif"] = exif.tobytes()
        return _described(pixels, image, [])
    exif.pop(_ORIENTATION, None)  # Pillow turns it upright
    image.load()
    image.info["exif"] = exif.tobytes() if len(exif) else None
    read = from_pillow(image)
    return replace(read, pixels_hwc=65535 - read.pixels_hwc) if inverted else read


def to_pillow(image: ImageData) -> "Image.Image":
    """The image for Pillow, its ICC profile and EXIF block in `info`.

    Args:
        image: 8 bits, or 16-bit grey without alpha: Pillow has no other 16-bit modes.
    """
    from PIL import Image

    pixels = image.pixels_hwc
    made = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    if image.icc_profile:
        made.info["icc_profile"] = image.icc_profile
    if image.exif:
        block = ExifBlock(image.exif)
        block.set_size(image.height, image.width)
        made.info["exif"] = b"Exif\0\0" + bytes(block)
    if image.xmp:
        made.info["xmp"] = image.xmp
    if image.dpi:
        made.info["dpi"] = image.dpi
    return made


def _described(pixels: Pixels, image: "Image.Image", notes: list[str]) -> ImageData:
    """An upright image of pixels that were decoded, with the metadata that Pillow found."""
    info = image.info
    read = _with_metadata(pixels, info.get("icc_profile"), info.get("exif") or None, notes)
    xmp, dpi = info.get("xmp"), info.get("dpi")
    if isinstance(xmp, str):
        xmp = xmp.encode()
    if dpi is not None:
        across, down = float(dpi[0]), float(dpi[1])
        dpi = (across, down) if 0 < across < 1e6 and 0 < down < 1e6 else None
    return replace(read, xmp=upright_xmp(xmp) if xmp else None, dpi=dpi)


def _with_metadata(
    pixels: Pixels, icc_profile: bytes | None, raw_exif: bytes | None, notes: list[str]
) -> ImageData:
    """An upright image of decoded pixels, with what of its metadata can be kept."""
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    if icc_profile is not None and not profile_fits(icc_profile, pixels.shape[2]):
        icc_profile = None
        notes.append("the ICC profile does not fit the pixels; it is left out")
    exif = _read_exif(raw_exif, notes)
    if exif is not None:
        pixels = _upright(pixels, exif.orientation)
        exif.set_upright()
    return ImageData(
        np.ascontiguousarray(pixels),
        icc_profile,
        bytes(exif) if exif is not None else None,
        notes=tuple(notes),
    )


def _target_mode(image: Any) -> str:  # noqa: ANN401
    """Pillow mode that keeps all values of an 8-bit image."""
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
    """Inks to sRGB through the image's profile; by plain arithmetic without a usable one."""
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
    if raw is None:
        return None
    try:
        return ExifBlock(raw)
    except ValueError:
        notes.append("the EXIF block is malformed; it is left out")
        return None


def _upright(pixels_hwc: Pixels, orientation: int) -> Pixels:
    """Apply EXIF's orientation (EXIF 2.32, section 4.6.4, tag 0x0112)."""
    if orientation in (5, 6, 7, 8):
        pixels_hwc = pixels_hwc.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels_hwc = pixels_hwc[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels_hwc = pixels_hwc[::-1]
    return pixels_hwc
