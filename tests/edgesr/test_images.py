"""Reading and writing pictures: kinds of pixels, metadata, and every damaged or unfit file."""

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps

from edgesr import png
from edgesr.errors import PictureError
from edgesr.images import Picture, check_storable, encode_picture, read_picture
from edgesr.picture_metadata import ExifBlock

_HEIGHT, _WIDTH = 20, 30
_SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def _pixels(channels: int, dtype: type = np.uint8) -> NDArray[np.uint8 | np.uint16]:
    """Smooth, so that JPEG and WebP keep it; not symmetric in any direction."""
    y, x = np.mgrid[:_HEIGHT, :_WIDTH]
    planes = [(y * (c + 2) + x * (5 - c) + 20 * c) / 300 for c in range(channels)]
    peak = np.iinfo(dtype).max
    return np.rint(np.stack(planes, axis=2).clip(0, 1) * peak).astype(dtype)


def _save(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)  # type: ignore[arg-type]
    return path


def _exif(orientation: int, *, big_endian: bool = False) -> bytes:
    """A block with a maker's name, an orientation, the size, and a thumbnail."""
    exif = Image.Exif()
    exif.endian = ">" if big_endian else "<"
    exif[0x010F] = "edgesr tests"
    exif[0x0112] = orientation
    exif.get_ifd(0x8769)[0xA002] = _WIDTH
    exif.get_ifd(0x8769)[0xA003] = _HEIGHT
    exif.get_ifd(0x8769)[0x927C] = b"maker's note, not to be touched"
    return exif.tobytes()


# Kinds of pixels -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "channels"),
    [("1", 1), ("L", 1), ("LA", 2), ("RGB", 3), ("RGBA", 4), ("P", 3)],
)
def test_every_8_bit_png_is_read_as_its_kind(tmp_path: Path, mode: str, channels: int) -> None:
    image = Image.fromarray(_pixels(3 if mode == "P" else 4)).convert(mode)
    picture = read_picture(_save(tmp_path / "in.png", image))
    expected = np.asarray(image.convert({1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[channels]))
    assert picture.pixels_hwc.shape == (_HEIGHT, _WIDTH, channels)
    assert np.array_equal(picture.pixels_hwc, expected.reshape(_HEIGHT, _WIDTH, channels))


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_all_16_bits_of_a_png_are_read(tmp_path: Path, channels: int) -> None:
    pixels = _pixels(channels, np.uint16)
    path = tmp_path / "in.png"
    path.write_bytes(imagecodecs.png_encode(pixels))
    assert np.array_equal(read_picture(path).pixels_hwc, pixels)


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
    image = Image.fromarray(_pixels(3)).convert(mode)
    path = _save(tmp_path / "in.png", image, **options)
    picture = read_picture(path)
    assert picture.pixels_hwc.shape[2] == channels
    with Image.open(path) as reopened:
        expected = np.asarray(reopened.convert("RGBA"))[..., 3]
    assert np.array_equal(picture.pixels_hwc[..., -1], expected)


def test_a_colour_key_of_16_bits_becomes_alpha(tmp_path: Path) -> None:
    pixels = _pixels(3, np.uint16)
    content = imagecodecs.png_encode(pixels)
    key = _chunk(b"tRNS", struct.pack(">3H", *(int(v) for v in pixels[3, 4])))
    path = tmp_path / "in.png"
    path.write_bytes(content[:33] + key + content[33:])
    alpha = read_picture(path).pixels_hwc[..., 3]
    assert alpha[3, 4] == 0
    assert alpha.max() == 65535


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_jpeg_is_read_as_grey_or_colour(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(_pixels(3)).convert(mode)
    picture = read_picture(_save(tmp_path / "in.jpg", image, quality=95))
    assert picture.pixels_hwc.shape[2] == len(image.getbands())


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_webp_is_read(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(_pixels(4)).convert(mode)
    picture = read_picture(_save(tmp_path / "in.webp", image, lossless=True, exact=True))
    assert np.array_equal(picture.pixels_hwc, np.asarray(image))


def test_cmyk_without_a_profile_becomes_rgb(tmp_path: Path) -> None:
    cmyk = Image.new("CMYK", (8, 8), (0, 255, 255, 0))  # red
    picture = read_picture(_save(tmp_path / "in.jpg", cmyk, quality=100))
    red, green, blue = (int(v) for v in picture.pixels_hwc[4, 4])
    assert (red > 250, green < 5, blue < 5) == (True, True, True), (red, green, blue)


def test_cmyk_with_an_unusable_profile_becomes_rgb_with_a_note(tmp_path: Path) -> None:
    cmyk = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    picture = read_picture(_save(tmp_path / "in.jpg", cmyk, icc_profile=b"\0" * 200))
    assert picture.icc_profile is None
    assert any("CMYK profile" in note for note in picture.notes)
    assert picture.pixels_hwc.shape[2] == 3


def test_the_content_counts_and_not_the_name(tmp_path: Path) -> None:
    path = tmp_path / "really-a-png.jpg"
    Image.fromarray(_pixels(3)).save(path, format="PNG")
    assert np.array_equal(read_picture(path).pixels_hwc, _pixels(3))


def test_a_phones_two_pictures_in_one_file_give_the_first(tmp_path: Path) -> None:
    first, second = Image.new("RGB", (8, 6), (200, 0, 0)), Image.new("RGB", (4, 3))
    path = tmp_path / "phone.jpg"
    first.save(path, format="MPO", save_all=True, append_images=[second], quality=95)
    assert read_picture(path).pixels_hwc.shape == (6, 8, 3)


# Writing -------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_png_keeps_every_kind_to_the_bit(tmp_path: Path, channels: int, dtype: type) -> None:
    pixels = _pixels(channels, dtype)
    path = tmp_path / "out.png"
    content, notes = encode_picture(Picture(pixels), path)
    path.write_bytes(content)
    again = read_picture(path)
    assert again.pixels_hwc.dtype == pixels.dtype
    assert np.array_equal(again.pixels_hwc, pixels)
    assert notes == ()


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("rows", [1, 2, 700], ids=["one row", "two rows", "several strips"])
def test_png_of_several_strips_is_what_other_decoders_read(rows: int, threads: int) -> None:
    pixels = np.random.RandomState(0).randint(0, 256, (rows, 1111, 3)).astype(np.uint8)
    content = png.encode_png(pixels, threads=threads)
    assert np.array_equal(imagecodecs.png_decode(content), pixels)
    with Image.open(io.BytesIO(content)) as image:
        assert np.array_equal(np.asarray(image), pixels)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_png_checksums_are_right(threads: int) -> None:
    """Decoders pass over the checksum of the whole stream; zlib does not."""
    pixels = np.random.RandomState(0).randint(0, 256, (700, 1111, 3)).astype(np.uint8)
    content, position, stream = png.encode_png(pixels, threads=threads), 8, b""
    while position < len(content):
        (length,) = struct.unpack_from(">I", content, position)
        name, body = content[position + 4 : position + 8], content[position + 8 :][:length]
        assert content[position : position + 12 + length] == _chunk(name, body)
        stream += body if name == b"IDAT" else b""
        position += 12 + length
    assert len(zlib.decompress(stream)) == 700 * (1 + 3 * 1111)


def test_a_row_longer_than_a_strip_is_encoded() -> None:
    pixels = np.random.RandomState(0).randint(0, 65536, (3, 200_000, 3)).astype(np.uint16)
    assert np.array_equal(imagecodecs.png_decode(png.encode_png(pixels)), pixels)


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_keeps_grey_and_does_not_subsample_colours(tmp_path: Path, channels: int) -> None:
    content, _ = encode_picture(Picture(_pixels(channels)), tmp_path / "out.jpg")
    with Image.open(io.BytesIO(content)) as image:
        assert len(image.getbands()) == channels
        sampling = {(h, v) for _, h, v, _ in image.layer}  # type: ignore[attr-defined]
        worst = np.abs(
            np.asarray(image).reshape(_HEIGHT, _WIDTH, -1) - _pixels(channels).astype(int)
        )
    assert sampling == {(1, 1)}
    assert worst.max() <= 8, f"off by {worst.max()} of 255"


def test_quality_makes_jpeg_smaller(tmp_path: Path) -> None:
    noise = Picture(np.random.RandomState(0).randint(0, 256, (64, 64, 3)).astype(np.uint8))
    sizes = [len(encode_picture(noise, tmp_path / "x.jpg", quality=q)[0]) for q in (30, 95)]
    assert sizes[0] < sizes[1] / 2


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_webp_takes_every_kind(tmp_path: Path, channels: int) -> None:
    pixels = _pixels(channels)
    content, _ = encode_picture(Picture(pixels), tmp_path / "out.webp")
    with Image.open(io.BytesIO(content)) as image:
        assert image.mode == ("RGBA" if channels in (2, 4) else "RGB")
        if channels in (2, 4):
            assert np.array_equal(np.asarray(image)[..., 3], pixels[..., -1])


@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
def test_16_bits_become_8_with_a_note_where_the_format_has_no_more(
    tmp_path: Path, suffix: str
) -> None:
    content, notes = encode_picture(Picture(_pixels(3, np.uint16)), tmp_path / f"x{suffix}")
    with Image.open(io.BytesIO(content)) as image:
        worst = np.abs(np.asarray(image).astype(int) - _pixels(3)).max()
    assert worst <= 12, f"off by {worst} of 255"
    assert any("8 bits" in note for note in notes)


def test_16_bits_are_rounded_not_cut(tmp_path: Path) -> None:
    grey = Picture(np.full((16, 16, 1), 257 * 100 + 200, np.uint16))
    content, _ = encode_picture(grey, tmp_path / "x.jpg", quality=100)
    with Image.open(io.BytesIO(content)) as image:
        assert image.getpixel((8, 8)) == 101


def test_transparency_into_jpeg_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match=r"transparent and JPEG is not; use \.png or \.webp"):
        check_storable(Picture(_pixels(4)), tmp_path / "x.jpg")


def test_opaque_alpha_into_jpeg_is_no_loss(tmp_path: Path) -> None:
    pixels = _pixels(4)
    pixels[..., 3] = 255
    content, _ = encode_picture(Picture(pixels), tmp_path / "x.jpg")
    assert read_picture(_write(tmp_path / "x.jpg", content)).pixels_hwc.shape[2] == 3


def test_a_picture_too_large_for_webp_is_refused_before_the_work(tmp_path: Path) -> None:
    wide = Picture(np.zeros((1, 9000, 3), np.uint8))
    check_storable(wide, tmp_path / "x.webp", scale=1)
    with pytest.raises(PictureError, match=r"got 2x18000 pixels, allowed 16383 a side in WebP"):
        check_storable(wide, tmp_path / "x.webp", scale=2)


@pytest.mark.parametrize("name", ["x.tiff", "x", "x.gif"])
def test_other_formats_are_not_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(PictureError, match=r"got suffix .*, allowed \.png, \.jpg, \.jpeg, \.webp"):
        encode_picture(Picture(_pixels(3)), tmp_path / name)


# Metadata ------------------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_orientation_is_applied_and_reset(tmp_path: Path, suffix: str, orientation: int) -> None:
    image = Image.fromarray(_pixels(3))
    path = _save(tmp_path / f"in{suffix}", image, exif=_exif(orientation), quality=95)
    with Image.open(path) as reopened:
        expected = np.asarray(ImageOps.exif_transpose(reopened).convert("RGB"))
    picture = read_picture(path)
    assert np.array_equal(picture.pixels_hwc, expected)
    assert picture.exif is not None
    assert ExifBlock(picture.exif).orientation == 1


@pytest.mark.parametrize("big_endian", [False, True], ids=["little-endian", "big-endian"])
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_exif_is_kept_and_tells_the_new_size(tmp_path: Path, suffix: str, big_endian: bool) -> None:
    source = tmp_path / "in.jpg"
    _save(source, Image.fromarray(_pixels(3)), exif=_exif(6, big_endian=big_endian))
    content, notes = encode_picture(read_picture(source), tmp_path / f"out{suffix}")
    with Image.open(io.BytesIO(content)) as image:
        exif = image.getexif()
        assert exif[0x010F] == "edgesr tests"
        assert exif[0x0112] == 1
        details = exif.get_ifd(0x8769)
        assert (details[0xA003], details[0xA002]) == (_WIDTH, _HEIGHT)  # turned by a quarter
        assert details[0x927C] == b"maker's note, not to be touched"
    assert notes == ()


def test_the_thumbnail_which_is_not_upright_is_let_go() -> None:
    first = b"\x01\0" + struct.pack("<HHII", 0x0112, 3, 1, 6) + struct.pack("<I", 26)
    thumbnail = b"\x01\0" + struct.pack("<HHII", 0x0103, 3, 1, 6) + struct.pack("<I", 0)
    block = ExifBlock(b"II*\0" + struct.pack("<I", 8) + first + thumbnail)
    assert block.orientation == 6
    block.set_upright()
    assert bytes(block)[22:26] == b"\0\0\0\0"


@given(garbage=st.binary(max_size=80), order=st.sampled_from([b"II*\0", b"MM\0*"]))
def test_no_exif_block_is_damaged_enough_to_break_the_reading(garbage: bytes, order: bytes) -> None:
    try:
        block = ExifBlock(order + garbage)
    except ValueError:
        return
    assert 1 <= block.orientation <= 8
    block.set_upright()
    block.set_size(7, 9)
    assert len(bytes(block)) == 4 + len(garbage)


def test_malformed_exif_is_left_out_with_a_note(tmp_path: Path) -> None:
    path = _save(tmp_path / "in.jpg", Image.fromarray(_pixels(3)), exif=b"Exif\0\0garbage")
    picture = read_picture(path)
    assert picture.exif is None
    assert any("EXIF" in note for note in picture.notes)


@pytest.mark.parametrize("target", [".jpg", ".png", ".webp"])
@pytest.mark.parametrize("source", [".jpg", ".png", ".webp"])
def test_the_icc_profile_is_kept(tmp_path: Path, source: str, target: str) -> None:
    path = _save(tmp_path / f"in{source}", Image.fromarray(_pixels(3)), icc_profile=_SRGB)
    content, _ = encode_picture(read_picture(path), tmp_path / f"out{target}")
    with Image.open(io.BytesIO(content)) as image:
        assert image.info["icc_profile"] == _SRGB


def test_16_bit_png_keeps_profile_and_exif(tmp_path: Path) -> None:
    block = bytes(ExifBlock(_exif(1)))
    picture = Picture(_pixels(3, np.uint16), icc_profile=_SRGB, exif=block)
    again = read_picture(_write(tmp_path / "x.png", encode_picture(picture, tmp_path / "x.png")[0]))
    assert again.icc_profile == _SRGB
    assert again.exif is not None
    assert b"edgesr tests" in again.exif
    assert np.array_equal(again.pixels_hwc, picture.pixels_hwc)


def test_a_profile_that_does_not_fit_the_pixels_is_left_out_with_a_note(tmp_path: Path) -> None:
    path = _save(tmp_path / "in.jpg", Image.new("L", (9, 9), 90), icc_profile=_SRGB)
    picture = read_picture(path)
    assert picture.icc_profile is None
    assert any("ICC" in note for note in picture.notes)


def test_gamma_of_a_png_is_kept_in_a_png(tmp_path: Path) -> None:
    content = png.encode_png(_pixels(3), _chunk(b"gAMA", struct.pack(">I", 100_000)))
    picture = read_picture(_write(tmp_path / "in.png", content))
    with Image.open(io.BytesIO(encode_picture(picture, tmp_path / "out.png")[0])) as image:
        assert image.info["gamma"] == 1.0


# Unfit files ---------------------------------------------------------------------------------


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def _png_header(height: int, width: int, *, depth: int = 8) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, 2, 0, 0, 0)
    return png.SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(b"\0" * 99))


def _write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def _encoded(suffix: str) -> bytes:
    noise = np.random.RandomState(0).randint(0, 256, (60, 80, 3)).astype(np.uint8)
    if suffix == ".16.png":
        return bytes(imagecodecs.png_encode(noise.astype(np.uint16) * 257))
    return encode_picture(Picture(noise), Path(f"x{suffix}"))[0]


_CASES: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", r"no picture that edgesr reads \(got 0 bytes"),
    "text": (lambda: b"hello, world\n" * 9, r"beginning with b'hello, w'\), allowed PNG, JPEG"),
    "gif": (lambda: b"GIF89a" + b"\0" * 50, "allowed PNG, JPEG and WebP"),
    "signature only": (lambda: png.SIGNATURE, "damaged or truncated"),
    "bomb": (lambda: _png_header(100_000, 100_000), "decompression bomb: got 100000x100000 ="),
    "16-bit bomb": (lambda: _png_header(50_000, 50_000, depth=16), "decompression bomb"),
    "no width": (lambda: _png_header(5, 0), r"is empty|damaged"),
    "no height": (lambda: _png_header(0, 5), r"is empty|damaged"),
}


@pytest.mark.parametrize("case", list(_CASES))
def test_an_unfit_file_is_refused_in_one_line(tmp_path: Path, case: str) -> None:
    make, message = _CASES[case]
    path = _write(tmp_path / "in.png", make())
    with pytest.raises(PictureError, match=message) as caught:
        read_picture(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
@pytest.mark.parametrize("suffix", [".png", ".16.png", ".jpg", ".webp"])
def test_a_truncated_picture_is_refused(tmp_path: Path, suffix: str, share: float) -> None:
    content = _encoded(suffix)
    path = _write(tmp_path / "in.png", content[: int(share * len(content))])
    with pytest.raises(PictureError, match="damaged or truncated"):
        read_picture(path)


@pytest.mark.parametrize("suffix", [".png", ".16.png", ".jpg", ".webp"])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(data=st.data())
def test_damaged_bytes_give_a_picture_or_a_picture_error(
    tmp_path: Path, suffix: str, data: st.DataObject
) -> None:
    content = bytearray(_encoded(suffix))
    ends = st.one_of(st.integers(0, 99), st.integers(0, len(content) - 1))  # headers more often
    for place in data.draw(st.lists(ends, min_size=1, max_size=6), "places"):
        content[place] = data.draw(st.integers(0, 255), "value")
    message = ""
    try:
        read_picture(_write(tmp_path / "in.png", bytes(content)), max_pixels=10**6)
    except PictureError as error:
        message = str(error)
    assert "\n" not in message


@pytest.mark.parametrize("suffix", [".png", ".webp"])
def test_an_animated_picture_is_refused(tmp_path: Path, suffix: str) -> None:
    frames = [Image.new("RGB", (9, 9), (50 * i, 0, 0)) for i in range(3)]
    path = _save(tmp_path / f"in{suffix}", frames[0], save_all=True, append_images=frames[1:])
    with pytest.raises(PictureError, match="animated: got 3 frames, allowed one"):
        read_picture(path)


def test_the_limit_on_pixels_can_be_raised_and_lowered(tmp_path: Path) -> None:
    path = _save(tmp_path / "in.png", Image.fromarray(_pixels(3)))
    assert read_picture(path, max_pixels=_HEIGHT * _WIDTH).height == _HEIGHT
    with pytest.raises(PictureError, match="pass --max-pixels"):
        read_picture(path, max_pixels=_HEIGHT * _WIDTH - 1)


def test_pillows_own_limit_does_not_stop_a_picture_that_is_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    path = _save(tmp_path / "in.png", Image.fromarray(_pixels(3)))
    assert read_picture(path).width == _WIDTH


@pytest.mark.parametrize("what", ["missing", "folder"])
def test_what_cannot_be_opened_is_named(tmp_path: Path, what: str) -> None:
    path = tmp_path / "in.png"
    if what == "folder":
        path.mkdir()
    with pytest.raises(PictureError, match=f"cannot read {path}: "):
        read_picture(path)
