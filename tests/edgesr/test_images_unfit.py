"""Files that are no fit pictures: each is refused in one line."""

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

from edgesr import png
from edgesr.errors import PictureError
from edgesr.images import Picture, encode_picture, read_picture
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
    path = write_file(tmp_path / "in.png", make())
    with pytest.raises(PictureError, match=message) as caught:
        read_picture(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
@pytest.mark.parametrize("suffix", [".png", ".16.png", ".jpg", ".webp"])
def test_a_truncated_picture_is_refused(tmp_path: Path, suffix: str, share: float) -> None:
    content = _encoded(suffix)
    path = write_file(tmp_path / "in.png", content[: int(share * len(content))])
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
        read_picture(write_file(tmp_path / "in.png", bytes(content)), max_pixels=10**6)
    except PictureError as error:
        message = str(error)
    assert "\n" not in message


@pytest.mark.parametrize("suffix", [".png", ".webp"])
def test_an_animated_picture_is_refused(tmp_path: Path, suffix: str) -> None:
    frames = [Image.new("RGB", (9, 9), (50 * i, 0, 0)) for i in range(3)]
    path = save_image(tmp_path / f"in{suffix}", frames[0], save_all=True, append_images=frames[1:])
    with pytest.raises(PictureError, match="animated: got 3 frames, allowed one"):
        read_picture(path)


def test_the_limit_on_pixels_can_be_raised_and_lowered(tmp_path: Path) -> None:
    path = save_image(tmp_path / "in.png", Image.fromarray(smooth_pixels(3)))
    assert read_picture(path, max_pixels=HEIGHT * WIDTH).height == HEIGHT
    with pytest.raises(PictureError, match="pass --max-pixels"):
        read_picture(path, max_pixels=HEIGHT * WIDTH - 1)


def test_pillows_own_limit_does_not_stop_a_picture_that_is_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    path = save_image(tmp_path / "in.png", Image.fromarray(smooth_pixels(3)))
    assert read_picture(path).width == WIDTH


@pytest.mark.parametrize("what", ["missing", "folder"])
def test_what_cannot_be_opened_is_named(tmp_path: Path, what: str) -> None:
    path = tmp_path / "in.png"
    if what == "folder":
        path.mkdir()
    with pytest.raises(PictureError, match=f"cannot read {path}: "):
        read_picture(path)
