"""What images carry beside their pixels: orientation, EXIF, profiles, gamma."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from edgesr.images import png
from edgesr.images.encoding import encode_image
from edgesr.images.files import ImageData, read_image
from edgesr.images.metadata import ExifBlock
from helpers.image_files import (
    HEIGHT,
    SRGB,
    WIDTH,
    png_chunk,
    save_image,
    smooth_pixels,
    write_file,
)


def _exif(orientation: int, *, big_endian: bool = False) -> bytes:
    """A block with a maker's name, an orientation, the size, and a thumbnail."""
    exif = Image.Exif()
    exif.endian = ">" if big_endian else "<"
    exif[0x010F] = "edgesr tests"
    exif[0x0112] = orientation
    exif.get_ifd(0x8769)[0xA002] = WIDTH
    exif.get_ifd(0x8769)[0xA003] = HEIGHT
    exif.get_ifd(0x8769)[0x927C] = b"maker's note, not to be touched"
    return exif.tobytes()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_orientation_is_applied_and_reset(tmp_path: Path, suffix: str, orientation: int) -> None:
    image = Image.fromarray(smooth_pixels(3))
    path = save_image(tmp_path / f"in{suffix}", image, exif=_exif(orientation), quality=95)
    with Image.open(path) as reopened:
        expected = np.asarray(ImageOps.exif_transpose(reopened).convert("RGB"))
    decoded = read_image(path)
    assert np.array_equal(decoded.pixels_hwc, expected)
    assert decoded.exif is not None
    assert ExifBlock(decoded.exif).orientation == 1


@pytest.mark.parametrize("big_endian", [False, True], ids=["little-endian", "big-endian"])
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_exif_is_kept_and_tells_the_new_size(tmp_path: Path, suffix: str, big_endian: bool) -> None:
    source = tmp_path / "in.jpg"
    save_image(source, Image.fromarray(smooth_pixels(3)), exif=_exif(6, big_endian=big_endian))
    content, notes = encode_image(read_image(source), tmp_path / f"out{suffix}")
    with Image.open(io.BytesIO(content)) as image:
        exif = image.getexif()
        assert exif[0x010F] == "edgesr tests"
        assert exif[0x0112] == 1
        details = exif.get_ifd(0x8769)
        assert (details[0xA003], details[0xA002]) == (WIDTH, HEIGHT)  # turned by a quarter
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
    path = save_image(
        tmp_path / "in.jpg", Image.fromarray(smooth_pixels(3)), exif=b"Exif\0\0garbage"
    )
    decoded = read_image(path)
    assert decoded.exif is None
    assert any("EXIF" in note for note in decoded.notes)


@pytest.mark.parametrize("target", [".jpg", ".png", ".webp"])
@pytest.mark.parametrize("source", [".jpg", ".png", ".webp"])
def test_the_icc_profile_is_kept(tmp_path: Path, source: str, target: str) -> None:
    path = save_image(tmp_path / f"in{source}", Image.fromarray(smooth_pixels(3)), icc_profile=SRGB)
    content, _ = encode_image(read_image(path), tmp_path / f"out{target}")
    with Image.open(io.BytesIO(content)) as image:
        assert image.info["icc_profile"] == SRGB


def test_16_bit_png_keeps_profile_and_exif(tmp_path: Path) -> None:
    block = bytes(ExifBlock(_exif(1)))
    decoded = ImageData(smooth_pixels(3, np.uint16), icc_profile=SRGB, exif=block)
    again = read_image(write_file(tmp_path / "x.png", encode_image(decoded, tmp_path / "x.png")[0]))
    assert again.icc_profile == SRGB
    assert again.exif is not None
    assert b"edgesr tests" in again.exif
    assert np.array_equal(again.pixels_hwc, decoded.pixels_hwc)


def test_a_profile_that_does_not_fit_the_pixels_is_left_out_with_a_note(tmp_path: Path) -> None:
    path = save_image(tmp_path / "in.jpg", Image.new("L", (9, 9), 90), icc_profile=SRGB)
    decoded = read_image(path)
    assert decoded.icc_profile is None
    assert any("ICC" in note for note in decoded.notes)


def test_gamma_of_a_png_is_kept_in_a_png(tmp_path: Path) -> None:
    content = png.encode_png(smooth_pixels(3), png_chunk(b"gAMA", struct.pack(">I", 100_000)))
    decoded = read_image(write_file(tmp_path / "in.png", content))
    with Image.open(io.BytesIO(encode_image(decoded, tmp_path / "out.png")[0])) as image:
        assert image.info["gamma"] == 1.0
