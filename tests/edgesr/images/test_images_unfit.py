"""Files that are no fit images: each is refused in one line."""

import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from edgesr.errors import ImageError
from edgesr.images import png
from edgesr.images.encoding import encode_image
from edgesr.images.files import ImageData, read_image
from helpers.image_files import HEIGHT, WIDTH, png_chunk, save_image, smooth_pixels, write_file


def _png_header(height: int, width: int, *, depth: int = 8) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, 2, 0, 0, 0)
    return (
        png.SIGNATURE + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", zlib.compress(b"\0" * 99))
    )


def _encoded(suffix: str) -> bytes:
    noise = np.random.RandomState(0).randint(0, 256, (60, 80, 3)).astype(np.uint8)
    if suffix == ".16.png":
        return bytes(imagecodecs.png_encode(noise.astype(np.uint16) * 257))
    return encode_image(ImageData(noise), Path(f"x{suffix}"))[0]


_CASES: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", r"no image that edgesr reads \(got 0 bytes"),
    "text": (lambda: b"hello, world\n" * 9, r"beginning with b'hello, w'\), allowed PNG, JPEG"),
    "gif": (lambda: b"GIF89a" + b"\0" * 50, "damaged or truncated"),
    "psd": (lambda: b"8BPS" + b"\0" * 50, "allowed PNG, JPEG, WebP, AVIF, TIFF, BMP, GIF, HEIC"),
    "signature only": (lambda: png.SIGNATURE, "damaged or truncated"),
    "bomb": (lambda: _png_header(100_000, 100_000), "decompression bomb: got 100000x100000 ="),
    "16-bit bomb": (lambda: _png_header(50_000, 50_000, depth=16), "decompression bomb"),
    "no width": (lambda: _png_header(5, 0), r"is empty|damaged"),
    "no height": (lambda: _png_header(0, 5), r"is empty|damaged"),
}


@pytest.mark.parametrize("case", list(_CASES))
def test_an_unfit_file_is_refused_in_one_line(tmp_path: Path, case: str) -> None:
    make, message = _CASES[case]
    path = write_file(tmp_path / "in.png", make())
    with pytest.raises(ImageError, match=message) as caught:
        read_image(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
@pytest.mark.parametrize("suffix", [".png", ".16.png", ".jpg", ".webp", ".avif", ".tiff"])
def test_a_truncated_image_is_refused(tmp_path: Path, suffix: str, share: float) -> None:
    content = _encoded(suffix)
    path = write_file(tmp_path / "in.png", content[: int(share * len(content))])
    with pytest.raises(ImageError, match="damaged or truncated"):
        read_image(path)


def _jpeg(mode: str, **options: object) -> bytes:
    noise = np.random.RandomState(0).randint(0, 256, (60, 80, 4)).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise[..., :3]).convert(mode).save(file, "JPEG", quality=80, **options)  # type: ignore[arg-type]
    return file.getvalue()


_JPEG_KINDS = {
    "baseline": ("RGB", {}),
    "progressive": ("RGB", {"progressive": True}),
    "grey": ("L", {}),
    "inks": ("CMYK", {}),
    "restarts": ("RGB", {"restart_marker_rows": 1}),
    "progressive with restarts": ("RGB", {"progressive": True, "restart_marker_blocks": 2}),
}


@pytest.mark.parametrize("kind", list(_JPEG_KINDS))
def test_a_jpeg_that_is_closed_before_its_pixels_end_is_refused(tmp_path: Path, kind: str) -> None:
    """The rest would be grey: Pillow passes over the warning of libjpeg."""
    mode, options = _JPEG_KINDS[kind]
    content = _jpeg(mode, **options)
    path = write_file(tmp_path / "in.jpg", content)
    whole = read_image(path).pixels_hwc
    for share in (0.5, 0.8, 0.95):
        write_file(path, content[: int(share * len(content))] + b"\xff\xd9")
        with pytest.raises(ImageError, match="is damaged or truncated: "):
            read_image(path)
    write_file(path, content + b"more" + content[:9])
    assert np.array_equal(read_image(path).pixels_hwc, whole), "what follows the image counts"


def test_words_of_python_are_no_reason(tmp_path: Path) -> None:
    """A segment of no length, which Pillow's parser unpacks all the same."""
    content = _jpeg("RGB")
    path = write_file(tmp_path / "in.jpg", content[:2] + b"\xff\xe1\0\2" * 2 + b"\xff\xc0\0\2")
    with pytest.raises(ImageError, match="is damaged or truncated: its structure is broken"):
        read_image(path)


def test_a_jpeg_with_all_of_its_pixels_needs_no_end_marker(tmp_path: Path) -> None:
    content = _jpeg("RGB")
    path = write_file(tmp_path / "in.jpg", content)
    whole = read_image(path).pixels_hwc
    cut = read_image(write_file(path, content[:-2]))
    assert np.array_equal(cut.pixels_hwc, whole)
    assert cut.notes == ("the JPEG has no end marker; it is complete",)
    with pytest.raises(ImageError, match="damaged or truncated: its pixel data ends early"):
        read_image(write_file(path, content[:-40]))


@pytest.mark.parametrize("suffix", [".webp", ".bmp"])
def test_a_webp_or_bmp_that_ends_early_is_refused(tmp_path: Path, suffix: str) -> None:
    path = save_image(tmp_path / f"in{suffix}", Image.fromarray(smooth_pixels(3)))
    content = path.read_bytes()
    for cut in (4, len(content) // 2):
        kept = content[:-cut]
        if suffix == ".webp":  # whose lengths agree with what is there
            kept = b"RIFF" + struct.pack("<I", len(kept) - 8) + kept[8:16]
            kept += (
                struct.pack("<I", len(kept) + 4 - 20 + len(content) - cut - 20) + content[20:-cut]
            )
        write_file(path, kept)
        with pytest.raises(ImageError, match="is damaged or truncated: "):
            read_image(path)


@pytest.mark.parametrize("suffix", [".png", ".16.png", ".jpg", ".webp", ".avif", ".tiff"])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(data=st.data())
def test_damaged_bytes_give_a_image_or_a_image_error(
    tmp_path: Path, suffix: str, data: st.DataObject
) -> None:
    content = bytearray(_encoded(suffix))
    ends = st.one_of(st.integers(0, 99), st.integers(0, len(content) - 1))  # headers more often
    for place in data.draw(st.lists(ends, min_size=1, max_size=6), "places"):
        content[place] = data.draw(st.integers(0, 255), "value")
    message = ""
    try:
        read_image(write_file(tmp_path / "in.png", bytes(content)), max_pixels=10**6)
    except ImageError as error:
        message = str(error)
    assert "\n" not in message


def test_a_tiff_of_several_pages_is_refused(tmp_path: Path) -> None:
    page = Image.new("RGB", (9, 9))
    path = save_image(tmp_path / "in.tiff", page, save_all=True, append_images=[page])
    with pytest.raises(ImageError, match="several pages: got 2, allowed one"):
        read_image(path)


@pytest.mark.parametrize("suffix", [".png", ".webp", ".gif", ".avif"])
def test_an_animated_image_is_refused(tmp_path: Path, suffix: str) -> None:
    frames = [Image.new("RGB", (9, 9), (50 * i, 0, 0)) for i in range(3)]
    path = save_image(tmp_path / f"in{suffix}", frames[0], save_all=True, append_images=frames[1:])
    with pytest.raises(ImageError, match="animated: got 3 frames, allowed one"):
        read_image(path)


def test_the_limit_on_pixels_can_be_raised_and_lowered(tmp_path: Path) -> None:
    path = save_image(tmp_path / "in.png", Image.fromarray(smooth_pixels(3)))
    assert read_image(path, max_pixels=HEIGHT * WIDTH).height == HEIGHT
    with pytest.raises(ImageError, match="pass --max-pixels"):
        read_image(path, max_pixels=HEIGHT * WIDTH - 1)


def test_pillows_own_limit_does_not_stop_a_image_that_is_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    path = save_image(tmp_path / "in.png", Image.fromarray(smooth_pixels(3)))
    assert read_image(path).width == WIDTH


@pytest.mark.parametrize("what", ["missing", "folder", "pipe", "loop", "device"])
def test_what_is_no_regular_file_is_named_and_not_read(tmp_path: Path, what: str) -> None:
    path = tmp_path / "in.png"
    match what:
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "loop":
            path.symlink_to(path)
        case "device":
            path.symlink_to("/dev/zero")
        case _:
            pass
    with pytest.raises(ImageError, match=f"cannot read {path}: "):
        read_image(path)
