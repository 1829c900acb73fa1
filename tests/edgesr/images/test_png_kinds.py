"""Every kind of PNG is read as what was written; one whose pixels end early is refused."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgesr.errors import ImageError
from edgesr.images.files import read_image
from helpers.image_files import png_chunk, write_file
from helpers.png_files import CHANNELS, DEPTHS, pixel_data, png_of

_KINDS = [(colour, depth) for colour, depths in DEPTHS.items() for depth in depths]
_Samples = NDArray[np.integer]


def _samples(height: int, width: int, channels: int, depth: int, seed: int) -> _Samples:
    return np.random.RandomState(seed).randint(0, 1 << depth, (height, width, channels))


def _wanted(samples: _Samples, depth: int, palette: _Samples, key: list[int] | None) -> _Samples:
    """Pixels by PNG's definition: samples scaled to 8 or 16 bits, alpha last."""
    peak, channels = (1 << depth) - 1, samples.shape[2]
    white = 65535 if depth == 16 else 255
    if palette.size:
        return palette[samples[..., 0]]
    scaled = samples * (white // peak)
    if key is None:
        return scaled
    alpha = np.where((samples == np.array(key[:channels])).all(axis=2, keepdims=True), 0, white)
    return np.concatenate((scaled, alpha), axis=2)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.sampled_from(_KINDS),
    size=st.tuples(st.integers(1, 17), st.integers(1, 19)),
    interlaced=st.booleans(),
    transparent=st.booleans(),
    seed=st.integers(0, 999),
)
@example(kind=(0, 2), size=(4, 5), interlaced=False, transparent=True, seed=0)
@example(kind=(0, 4), size=(4, 5), interlaced=False, transparent=True, seed=0)
@example(kind=(2, 16), size=(9, 9), interlaced=True, transparent=True, seed=0)
def test_every_kind_of_png_is_read_as_it_was_written(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    kind: tuple[int, int],
    size: tuple[int, int],
    interlaced: bool,
    transparent: bool,
    seed: int,
) -> None:
    colour, depth = kind
    samples = _samples(*size, CHANNELS[colour], depth, seed)
    palette, key, before = np.empty(0, np.int64), None, []
    if colour == 3:
        palette = _samples(1 << depth, 1, 3, 8, seed)[:, 0]
        before.append((b"PLTE", palette.astype(np.uint8).tobytes()))
        if transparent:
            alphas = _samples(1 << depth, 1, 1, 8, seed)[:, 0]
            before.append((b"tRNS", alphas.astype(np.uint8).tobytes()))
            palette = np.concatenate((palette, alphas), axis=1)
    elif transparent and colour in (0, 2):
        key = samples[size[0] // 2, size[1] // 2].tolist()
        before.append((b"tRNS", struct.pack(f">{len(key)}H", *key)))
    content = png_of(samples, depth, colour, interlaced=interlaced, before=before)
    pixels = read_image(write_file(tmp_path / "in.png", content)).pixels_hwc
    assert pixels.dtype == (np.uint16 if depth == 16 else np.uint8)
    assert np.array_equal(pixels, _wanted(samples, depth, palette, key))
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("interlaced", [False, True], ids=["rows", "interlaced"])
@pytest.mark.parametrize(("colour", "depth"), _KINDS)
def test_pixel_data_that_ends_early_is_an_error(
    tmp_path: Path, colour: int, depth: int, interlaced: bool
) -> None:
    samples = _samples(48, 20, CHANNELS[colour], depth, 0)
    whole = pixel_data(samples, depth, interlaced=interlaced)
    palette = [(b"PLTE", bytes(3 << depth))] if colour == 3 else []
    for kept in (len(whole) // 48, len(whole) - 1, 0):
        content = png_of(
            samples, depth, colour, interlaced=interlaced, before=palette, raw=whole[:kept]
        )
        path = write_file(tmp_path / "in.png", content)
        with pytest.raises(ImageError, match="is damaged or truncated: "):
            read_image(path)


def test_a_height_that_pixel_data_cannot_have_is_an_error_before_memory_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A header of 48 rows with one bit flipped, and one that claims all that is allowed."""
    content = png_of(_samples(48, 64, 3, 8, 0), 8, 2)
    head = struct.pack(">IIBBBBB", 64, 48 + 32768, 8, 2, 0, 0, 0)
    path = write_file(tmp_path / "in.png", content[:8] + png_chunk(b"IHDR", head) + content[33:])
    with pytest.raises(ImageError, match="its pixel data is damaged or ends early"):
        read_image(path)
    monkeypatch.setattr("imagecodecs.png_decode", lambda *_: pytest.fail("decoded"))
    head = struct.pack(">IIBBBBB", 9000, 9000, 16, 6, 0, 0, 0)
    write_file(path, content[:8] + png_chunk(b"IHDR", head) + content[33:])
    with pytest.raises(ImageError, match="is damaged or truncated: its pixel data ends early"):
        read_image(path)


@pytest.mark.parametrize("name", ["IHDR", "PLTE", "tRNS", "IDAT"])
def test_a_wrong_checksum_is_an_error(tmp_path: Path, name: str) -> None:
    before = [(b"PLTE", bytes(12)), (b"tRNS", b"\1")]
    content = bytearray(png_of(_samples(9, 9, 1, 2, 0), 2, 3, before=before))
    at = content.index(name.encode())
    length = int.from_bytes(content[at - 4 : at], "big")
    content[at + 4 + length] ^= 1
    path = write_file(tmp_path / "in.png", bytes(content))
    with pytest.raises(ImageError, match="is damaged or truncated: "):
        read_image(path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (png_of(_samples(9, 9, 1, 2, 0), 2, 3), "its palette is missing"),
        (png_of(_samples(9, 9, 1, 2, 0), 2, 0)[:33], "it holds no pixel data"),
        (b"\x89PNG\r\n\x1a\n" + png_chunk(b"IEND", b""), "it does not begin with a header"),
        (png_of(_samples(9, 9, 1, 8, 0), 3, 0, raw=b""), "no PNG has colour type 0 with 3 bits"),
    ],
)
def test_what_is_wrong_with_a_png_is_named(tmp_path: Path, content: bytes, reason: str) -> None:
    with pytest.raises(ImageError, match=reason):
        read_image(write_file(tmp_path / "in.png", content))


def _raw_profile(block: bytes, title: bytes = b"exif") -> bytes:
    return b"\n%s\n%8d\n%s\n" % (title, len(block), block.hex().encode())


def _exif(orientation: int) -> bytes:
    entry = struct.pack(">HHIHH", 0x0112, 3, 1, orientation, 0)
    return b"MM\0*" + struct.pack(">IH", 8, 1) + entry + bytes(4)


_TEXT = _raw_profile(b"Exif\0\0" + _exif(6))
_CARRIERS = {
    "eXIf": (b"eXIf", _exif(6)),
    "tEXt": (b"tEXt", b"Raw profile type exif\0" + _TEXT),
    "zTXt": (b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(_TEXT)),
    "zTXt APP1": (b"zTXt", b"Raw profile type APP1\0\0" + zlib.compress(_TEXT)),
    "iTXt": (b"iTXt", b"Raw profile type exif\0\0\0en\0title\0" + _TEXT),
    "deflated iTXt": (b"iTXt", b"Raw profile type exif\0\1\0\0\0" + zlib.compress(_TEXT)),
}


@pytest.mark.parametrize("behind", [False, True], ids=["before the pixels", "behind them"])
@pytest.mark.parametrize("carrier", list(_CARRIERS))
def test_the_orientation_of_a_png_is_applied_wherever_it_is(
    tmp_path: Path, carrier: str, behind: bool
) -> None:
    samples = _samples(3, 5, 3, 8, 0)
    chunks = [_CARRIERS[carrier]]
    before, after = ([], chunks) if behind else (chunks, [])
    content = png_of(samples, 8, 2, before=before, after=after)
    image = read_image(write_file(tmp_path / "in.png", content))
    assert np.array_equal(image.pixels_hwc, np.rot90(samples, -1)), "not turned to the right"
    assert image.exif == _exif(1)


@pytest.mark.parametrize(
    "chunk",
    [
        (b"eXIf", b""),
        (b"zTXt", b"Raw profile type exif\0\0junk"),
        (b"tEXt", b"Raw profile type exif\0\nexif\n 9\nzz"),
        (b"tEXt", b"Raw profile type exif\0"),
        (b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(bytes(17 << 20))),
    ],
)
def test_a_malformed_orientation_is_left_out_with_a_note(
    tmp_path: Path, chunk: tuple[bytes, bytes]
) -> None:
    samples = _samples(3, 5, 3, 8, 0)
    image = read_image(write_file(tmp_path / "in.png", png_of(samples, 8, 2, before=[chunk])))
    assert np.array_equal(image.pixels_hwc, samples)
    assert image.exif is None
    assert image.notes == ("the EXIF block is malformed; it is left out",)


def test_what_lies_behind_the_end_of_a_png_is_no_part_of_it(tmp_path: Path) -> None:
    samples = _samples(3, 5, 3, 8, 0)
    behind = png_chunk(*_CARRIERS["zTXt"])
    image = read_image(write_file(tmp_path / "in.png", png_of(samples, 8, 2) + behind))
    assert np.array_equal(image.pixels_hwc, samples), "turned"
    assert image.exif is None
