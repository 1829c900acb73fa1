"""Reading and writing images: kinds of pixels, metadata, and every damaged or unfit file."""

import io
import struct
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from edgesr.errors import ImageError
from edgesr.images import png
from edgesr.images.encoding import check_storable, encode_image
from edgesr.images.files import ImageData, read_image
from helpers.image_files import HEIGHT, WIDTH, png_chunk, save_image, smooth_pixels, write_file

# Kinds of pixels -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "channels"),
    [("1", 1), ("L", 1), ("LA", 2), ("RGB", 3), ("RGBA", 4), ("P", 3)],
)
def test_every_8_bit_png_is_read_as_its_kind(tmp_path: Path, mode: str, channels: int) -> None:
    image = Image.fromarray(smooth_pixels(3 if mode == "P" else 4)).convert(mode)
    decoded = read_image(save_image(tmp_path / "in.png", image))
    expected = np.asarray(image.convert({1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[channels]))
    assert decoded.pixels_hwc.shape == (HEIGHT, WIDTH, channels)
    assert np.array_equal(decoded.pixels_hwc, expected.reshape(HEIGHT, WIDTH, channels))


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_all_16_bits_of_a_png_are_read(tmp_path: Path, channels: int) -> None:
    pixels = smooth_pixels(channels, np.uint16)
    path = tmp_path / "in.png"
    path.write_bytes(imagecodecs.png_encode(pixels))
    assert np.array_equal(read_image(path).pixels_hwc, pixels)


@pytest.mark.parametrize(
    ("mode", "options", "channels"),
    [
        ("P", {"transparency": bytes([0, 128, 255])}, 4),
        ("P", {"transparency": 1}, 4),
        ("L", {"transparency": 65}, 2),
        ("1", {"transparency": 0}, 2),
        ("RGB", {"transparency": (9, 9, 9)}, 4),
    ],
    ids=["palette-alphas", "palette-index", "grey-key", "1-bit-key", "RGB-key"],
)
def test_transparency_without_an_alpha_channel_becomes_one(
    tmp_path: Path, mode: str, options: dict[str, object], channels: int
) -> None:
    image = Image.fromarray(smooth_pixels(3)).convert(mode)
    path = save_image(tmp_path / "in.png", image, **options)
    decoded = read_image(path)
    assert decoded.pixels_hwc.shape[2] == channels
    with Image.open(path) as reopened:
        expected = np.asarray(reopened.convert("RGBA"))[..., 3]
    assert np.array_equal(decoded.pixels_hwc[..., -1], expected)


def test_a_colour_key_of_16_bits_becomes_alpha(tmp_path: Path) -> None:
    pixels = smooth_pixels(3, np.uint16)
    content = imagecodecs.png_encode(pixels)
    key = png_chunk(b"tRNS", struct.pack(">3H", *(int(v) for v in pixels[3, 4])))
    path = tmp_path / "in.png"
    path.write_bytes(content[:33] + key + content[33:])
    alpha = read_image(path).pixels_hwc[..., 3]
    assert alpha[3, 4] == 0
    assert alpha.max() == 65535


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_jpeg_is_read_as_grey_or_colour(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(smooth_pixels(3)).convert(mode)
    decoded = read_image(save_image(tmp_path / "in.jpg", image, quality=95))
    assert decoded.pixels_hwc.shape[2] == len(image.getbands())


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_webp_is_read(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(smooth_pixels(4)).convert(mode)
    decoded = read_image(save_image(tmp_path / "in.webp", image, lossless=True, exact=True))
    assert np.array_equal(decoded.pixels_hwc, np.asarray(image))


def test_cmyk_without_a_profile_becomes_rgb(tmp_path: Path) -> None:
    cmyk = Image.new("CMYK", (8, 8), (0, 255, 255, 0))  # red
    decoded = read_image(save_image(tmp_path / "in.jpg", cmyk, quality=100))
    red, green, blue = (int(v) for v in decoded.pixels_hwc[4, 4])
    assert (red > 250, green < 5, blue < 5) == (True, True, True), (red, green, blue)


def test_cmyk_with_an_unusable_profile_becomes_rgb_with_a_note(tmp_path: Path) -> None:
    cmyk = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    decoded = read_image(save_image(tmp_path / "in.jpg", cmyk, icc_profile=b"\0" * 200))
    assert decoded.icc_profile is None
    assert any("CMYK profile" in note for note in decoded.notes)
    assert decoded.pixels_hwc.shape[2] == 3


def test_the_content_counts_and_not_the_name(tmp_path: Path) -> None:
    path = tmp_path / "really-a-png.jpg"
    Image.fromarray(smooth_pixels(3)).save(path, format="PNG")
    assert np.array_equal(read_image(path).pixels_hwc, smooth_pixels(3))


def test_a_phones_two_images_in_one_file_give_the_first(tmp_path: Path) -> None:
    first, second = Image.new("RGB", (8, 6), (200, 0, 0)), Image.new("RGB", (4, 3))
    path = tmp_path / "phone.jpg"
    first.save(path, format="MPO", save_all=True, append_images=[second], quality=95)
    assert read_image(path).pixels_hwc.shape == (6, 8, 3)


# Writing -------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_png_keeps_every_kind_to_the_bit(tmp_path: Path, channels: int, dtype: type) -> None:
    pixels = smooth_pixels(channels, dtype)
    path = tmp_path / "out.png"
    content, notes = encode_image(ImageData(pixels), path)
    path.write_bytes(content)
    again = read_image(path)
    assert again.pixels_hwc.dtype == pixels.dtype
    assert np.array_equal(again.pixels_hwc, pixels)
    assert notes == ()


@pytest.mark.parametrize("rows", [1, 2, 700], ids=["one row", "two rows", "many rows"])
def test_png_is_what_other_decoders_read(rows: int) -> None:
    pixels = np.random.RandomState(0).randint(0, 256, (rows, 1111, 3)).astype(np.uint8)
    content = png.encode_png(pixels)
    assert np.array_equal(imagecodecs.png_decode(content), pixels)
    with Image.open(io.BytesIO(content)) as image:
        assert np.array_equal(np.asarray(image), pixels)


def test_png_checksums_are_right() -> None:
    """Decoders pass over the checksum of the whole stream; zlib does not."""
    pixels = np.random.RandomState(0).randint(0, 256, (700, 1111, 3)).astype(np.uint8)
    content = png.encode_png(pixels, png_chunk(b"gAMA", struct.pack(">I", 45455)))
    position, stream = 8, b""
    while position < len(content):
        (length,) = struct.unpack_from(">I", content, position)
        name, body = content[position + 4 : position + 8], content[position + 8 :][:length]
        assert content[position : position + 12 + length] == png_chunk(name, body)
        stream += body if name == b"IDAT" else b""
        position += 12 + length
    assert len(zlib.decompress(stream)) == 700 * (1 + 3 * 1111)


def test_a_very_long_row_is_encoded() -> None:
    pixels = np.random.RandomState(0).randint(0, 65536, (3, 200_000, 3)).astype(np.uint16)
    assert np.array_equal(imagecodecs.png_decode(png.encode_png(pixels)), pixels)


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_keeps_grey_and_does_not_subsample_colours(tmp_path: Path, channels: int) -> None:
    content, _ = encode_image(ImageData(smooth_pixels(channels)), tmp_path / "out.jpg")
    with Image.open(io.BytesIO(content)) as image:
        assert len(image.getbands()) == channels
        sampling = {(h, v) for _, h, v, _ in image.layer}  # type: ignore[attr-defined]
        worst = np.abs(
            np.asarray(image).reshape(HEIGHT, WIDTH, -1) - smooth_pixels(channels).astype(int)
        )
    assert sampling == {(1, 1)}
    assert worst.max() <= 8, f"off by {worst.max()} of 255"


def test_quality_makes_jpeg_smaller(tmp_path: Path) -> None:
    noise = ImageData(np.random.RandomState(0).randint(0, 256, (64, 64, 3)).astype(np.uint8))
    sizes = [len(encode_image(noise, tmp_path / "x.jpg", quality=q)[0]) for q in (30, 95)]
    assert sizes[0] < sizes[1] / 2


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_webp_takes_every_kind(tmp_path: Path, channels: int) -> None:
    pixels = smooth_pixels(channels)
    content, _ = encode_image(ImageData(pixels), tmp_path / "out.webp")
    with Image.open(io.BytesIO(content)) as image:
        assert image.mode == ("RGBA" if channels in (2, 4) else "RGB")
        if channels in (2, 4):
            assert np.array_equal(np.asarray(image)[..., 3], pixels[..., -1])


@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
def test_16_bits_become_8_with_a_note_where_the_format_has_no_more(
    tmp_path: Path, suffix: str
) -> None:
    content, notes = encode_image(ImageData(smooth_pixels(3, np.uint16)), tmp_path / f"x{suffix}")
    with Image.open(io.BytesIO(content)) as image:
        worst = np.abs(np.asarray(image).astype(int) - smooth_pixels(3)).max()
    assert worst <= 12, f"off by {worst} of 255"
    assert any("8 bits" in note for note in notes)


def test_16_bits_are_rounded_not_cut(tmp_path: Path) -> None:
    grey = ImageData(np.full((16, 16, 1), 257 * 100 + 200, np.uint16))
    content, _ = encode_image(grey, tmp_path / "x.jpg", quality=100)
    with Image.open(io.BytesIO(content)) as image:
        assert image.getpixel((8, 8)) == 101


def test_transparency_into_jpeg_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"transparent and JPEG is not; use \.png or \.webp"):
        check_storable(ImageData(smooth_pixels(4)), tmp_path / "x.jpg")


def test_opaque_alpha_into_jpeg_is_no_loss(tmp_path: Path) -> None:
    pixels = smooth_pixels(4)
    pixels[..., 3] = 255
    content, _ = encode_image(ImageData(pixels), tmp_path / "x.jpg")
    assert read_image(write_file(tmp_path / "x.jpg", content)).pixels_hwc.shape[2] == 3


def test_a_image_too_large_for_webp_is_refused_before_the_work(tmp_path: Path) -> None:
    wide = ImageData(np.zeros((1, 9000, 3), np.uint8))
    check_storable(wide, tmp_path / "x.webp")
    with pytest.raises(ImageError, match=r"got 2x18000 pixels, allowed 16383 a side in WebP"):
        check_storable(wide, tmp_path / "x.webp", (2, 18000))


@pytest.mark.parametrize("name", ["x.bmp", "x", "x.gif"])
def test_other_formats_are_not_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(ImageError, match=r"got suffix .*, allowed \.png, \.jpg, .*, \.webp, "):
        encode_image(ImageData(smooth_pixels(3)), tmp_path / name)


def test_a_png_of_more_than_a_million_rows_is_refused_before_it_is_encoded(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"got 1000001x2 pixels, allowed 1000000 a side in PNG"):
        check_storable(ImageData(smooth_pixels(3)), tmp_path / "x.png", (1_000_001, 2))


def test_an_encoder_that_fails_is_an_image_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("encoding error 6")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(ImageError, match="WebP cannot hold the image; use another format"):
        encode_image(ImageData(smooth_pixels(3)), tmp_path / "x.webp")
