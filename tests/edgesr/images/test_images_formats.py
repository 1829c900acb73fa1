"""AVIF, TIFF, GIF, HEIC and the metadata XMP and DPI, beyond what every format has in common."""

import io
import struct
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin

from edgesr.errors import ImageError
from edgesr.images.encoding import encode_image
from edgesr.images.files import ImageData, read_image
from helpers.image_files import save_image, smooth_pixels, write_file

_XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><r tiff:Orientation="6" a="kept"/></x:xmpmeta>'


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16", "I;16B"])
def test_a_tiff_is_read_to_the_bit(tmp_path: Path, mode: str) -> None:
    pixels = smooth_pixels(3)
    if mode.startswith("I;16"):
        deep = pixels[..., 0].astype(np.uint16) * 200 + 7
        image = Image.frombytes(
            mode, deep.shape[::-1], deep.astype(">u2" if mode == "I;16B" else "<u2").tobytes()
        )
        wanted = deep[..., None]
    else:
        image = Image.fromarray(pixels).convert(mode)
        kind = {"1": "L", "P": "RGB"}.get(mode, mode)
        wanted = np.asarray(image.convert(kind)).reshape(*pixels.shape[:2], -1)
    got = read_image(save_image(tmp_path / "in.tif", image)).pixels_hwc
    assert got.dtype == wanted.dtype
    assert np.array_equal(got, wanted)


@pytest.mark.parametrize("channels", [1, 3])
def test_all_16_bits_of_a_tiff_are_read(tmp_path: Path, channels: int) -> None:
    pixels = smooth_pixels(channels).astype(np.uint16) * 200 + 7
    path = write_file(tmp_path / "in.tif", bytes(imagecodecs.tiff_encode(pixels.squeeze())))
    read = read_image(path)
    assert read.pixels_hwc.dtype == np.uint16
    assert np.array_equal(read.pixels_hwc, pixels)


def test_a_tiff_whose_white_is_zero_is_not_a_negative(tmp_path: Path) -> None:
    pixels = smooth_pixels(1)[..., 0].astype(np.uint16) * 200
    content = save_image(tmp_path / "a.tif", Image.fromarray(pixels)).read_bytes()
    place = content.index(b"\x06\x01\x03\x00\x01\x00\x00\x00\x01\x00")  # the tag, SHORT, one, 1
    changed = content[: place + 8] + b"\0\0" + content[place + 10 :]
    got = read_image(write_file(tmp_path / "in.tif", changed)).pixels_hwc[..., 0]
    assert np.array_equal(got, 65535 - pixels)


@pytest.mark.parametrize(
    ("channels", "dtype"), [(1, "u1"), (2, "u1"), (3, "u1"), (4, "u1"), (1, "u2")]
)
def test_a_tiff_keeps_every_kind_to_the_bit(tmp_path: Path, channels: int, dtype: str) -> None:
    pixels = smooth_pixels(channels).astype(dtype) * (200 if dtype == "u2" else 1)
    content, notes = encode_image(ImageData(pixels), tmp_path / "x.tiff")
    assert notes == ()
    got = read_image(write_file(tmp_path / "x.tiff", content)).pixels_hwc
    assert np.array_equal(got, pixels)


def test_16_bit_colour_in_a_tiff_is_rounded_with_a_note(tmp_path: Path) -> None:
    pixels = smooth_pixels(3).astype(np.uint16) * 257
    content, notes = encode_image(ImageData(pixels), tmp_path / "x.tiff")
    assert "the image's 16 are rounded" in notes[0]
    got = read_image(write_file(tmp_path / "x.tiff", content)).pixels_hwc
    assert np.array_equal(got, smooth_pixels(3))


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_avif_takes_every_kind(tmp_path: Path, channels: int) -> None:
    pixels = smooth_pixels(channels)
    content, notes = encode_image(ImageData(pixels), tmp_path / "x.avif")
    assert notes == ()
    got = read_image(write_file(tmp_path / "x.avif", content)).pixels_hwc.astype(int)
    assert got.shape[2] == max(3, channels)
    error = np.abs(got - (pixels if channels > 1 else pixels.repeat(3, axis=2)))
    assert error.mean() < 2, f"off by {error.mean():.2f} grey levels on average"


@pytest.mark.parametrize("transparent", [False, True])
def test_a_gif_of_one_frame_is_read(tmp_path: Path, transparent: bool) -> None:
    image = Image.fromarray(smooth_pixels(3)).quantize(200)
    options = {"transparency": 3} if transparent else {}
    path = save_image(tmp_path / "in.gif", image, **options)
    with Image.open(path) as opened:
        wanted = np.asarray(opened.convert("RGBA" if transparent else "RGB"))
    assert np.array_equal(read_image(path).pixels_hwc, wanted)


def test_a_heic_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heif = pytest.importorskip("pillow_heif", reason="needs edgesr[heif]")
    pixels = smooth_pixels(3)
    file = io.BytesIO()
    heif.from_pillow(Image.fromarray(pixels)).save(file, quality=95)
    path = write_file(tmp_path / "in.heic", file.getvalue())
    error = np.abs(read_image(path).pixels_hwc.astype(int) - pixels)
    assert error.mean() < 2, f"off by {error.mean():.2f} grey levels on average"
    monkeypatch.setitem(__import__("sys").modules, "pillow_heif.as_plugin", None)
    with pytest.raises(ImageError, match=r"is HEIC; install edgesr\[heif\]"):
        read_image(path)


# Metadata ------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["png", "jpg", "webp", "avif", "tiff"])
@pytest.mark.parametrize("target", ["png", "jpg", "webp", "avif", "tiff"])
def test_exif_xmp_profile_and_dpi_are_kept(tmp_path: Path, source: str, target: str) -> None:
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[271] = "maker"
    pixels = smooth_pixels(3)
    original = ImageData(pixels, profile, exif.tobytes()[6:], xmp=_XMP, dpi=(300.0, 150.0))
    content, notes = encode_image(original, Path(f"x.{source}"))
    assert notes == ()
    read = read_image(write_file(tmp_path / f"x.{source}", content))
    content, notes = encode_image(read, Path(f"y.{target}"))
    assert notes == ()
    again = read_image(write_file(tmp_path / f"y.{target}", content))
    assert again.icc_profile == profile
    assert again.xmp is not None
    assert b'a="kept"' in again.xmp
    assert b'Orientation="6"' not in again.xmp  # set upright, or left out by Pillow
    assert again.exif is not None
    found = Image.Exif()
    found.load(b"Exif\0\0" + again.exif)
    assert found[271] == "maker"
    if {source, target} <= {"png", "jpg", "tiff"}:
        assert again.dpi == pytest.approx((300, 150), abs=0.5)


def _deep_tiff(pixels: NDArray[np.uint16], orientation: int) -> bytes:
    """A TIFF of 16-bit RGB, which Pillow does not write."""
    height, width, _ = pixels.shape
    raw = pixels.astype("<u2").tobytes()
    fields = [  # tag, type, count, value
        (256, 3, 1, width), (257, 3, 1, height), (258, 3, 3, 8 + len(raw)), (259, 3, 1, 1),
        (262, 3, 1, 2), (273, 4, 1, 8), (274, 3, 1, orientation), (277, 3, 1, 3),
        (278, 3, 1, height), (279, 4, 1, len(raw)),
    ]  # fmt: skip
    folder = struct.pack("<H", len(fields)) + b"".join(struct.pack("<HHII", *f) for f in fields)
    start = struct.pack("<2sHI", b"II", 42, 8 + len(raw) + 6)
    return start + raw + struct.pack("<3H", 16, 16, 16) + folder + bytes(4)


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_the_orientation_of_a_tiff_is_applied_once(
    tmp_path: Path, orientation: int, deep: bool
) -> None:
    pixels = smooth_pixels(3)
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[274] = orientation
    path = save_image(tmp_path / "in.tif", Image.fromarray(pixels), tiffinfo=tags)
    wanted = {1: pixels, 3: pixels[::-1, ::-1], 6: pixels.swapaxes(0, 1)[:, ::-1]}[orientation]
    if deep:
        write_file(path, _deep_tiff(pixels.astype(np.uint16) * 257, orientation))
        wanted = wanted.astype(np.uint16) * 257
    read = read_image(path)
    assert np.array_equal(read.pixels_hwc, wanted)
    content, _ = encode_image(read, Path("x.tiff"))
    assert np.array_equal(
        read_image(write_file(tmp_path / "x.tiff", content)).pixels_hwc,
        wanted if not deep else (wanted // 257).astype(np.uint8),
    )


def test_gamma_that_a_format_cannot_hold_is_noted(tmp_path: Path) -> None:
    from helpers.image_files import png_chunk

    chunk = png_chunk(b"gAMA", (100_000).to_bytes(4, "big"))
    for target, noted in (("x.png", False), ("x.jpg", True), ("x.avif", True)):
        _, notes = encode_image(ImageData(smooth_pixels(3), png_chunks=chunk), tmp_path / target)
        assert ("gamma and primaries" in " ".join(notes)) == noted
