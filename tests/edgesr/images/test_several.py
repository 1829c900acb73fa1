"""Animations and pages: every image of a file comes through, with its time and its order."""

import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from edgesr.errors import ImageError
from edgesr.images.files import ImageData
from edgesr.images.several import ImageSeries, check_series, encode_series, read_series

_DURATIONS = [40, 120, 500]


def _frames(channels: int = 3) -> list[np.ndarray]:
    """A square that moves over grey; with four channels, over nothing."""
    frames: list[np.ndarray] = []
    for place in range(3):
        frame = np.full((24, 32, channels), 90, np.uint8)
        if channels == 4:
            frame[...] = 0
        frame[4:12, 4 + 8 * place : 12 + 8 * place] = (200, 40, 90, 255)[:channels]
        frames.append(frame)
    return frames


def _animation(path: Path, frames: list[np.ndarray], **options: object) -> Path:
    first, *others = [Image.fromarray(frame) for frame in frames]
    first.save(path, save_all=True, append_images=others, duration=_DURATIONS, **options)
    return path


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        (".gif", {"loop": 0, "disposal": 2}),
        (".png", {"loop": 0}),
    ],
)
def test_frames_are_read_as_they_are_shown(
    tmp_path: Path, suffix: str, options: dict[str, object], channels: int
) -> None:
    frames = _frames(channels)
    series = read_series(_animation(tmp_path / f"in{suffix}", frames, **options))
    assert series.durations_ms == tuple(_DURATIONS)
    assert series.plays == 0
    assert len(series.images) == 3
    for image, frame in zip(series.images, frames, strict=True):
        shown = image.pixels_hwc[..., -1] > 0 if image.has_alpha else np.ones((24, 32), bool)
        assert image.has_alpha == (channels == 4)
        np.testing.assert_array_equal(image.pixels_hwc[shown][:, :3], frame[shown][:, :3])
        np.testing.assert_array_equal(shown, frame[..., -1] > 0)


@pytest.mark.parametrize(("options", "plays"), [({}, 1), ({"loop": 0}, 0), ({"loop": 2}, 3)])
def test_a_gif_states_repetitions(tmp_path: Path, options: dict[str, object], plays: int) -> None:
    assert read_series(_animation(tmp_path / "in.gif", _frames(), **options)).plays == plays


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("suffix", [".png", ".webp"])
def test_what_is_written_is_read_again(tmp_path: Path, suffix: str, channels: int) -> None:
    frames = _frames(channels)
    series = ImageSeries(tuple(map(ImageData, frames)), (40.0, 120.0, 500.0), 2)
    content, notes = encode_series(series, tmp_path / f"out{suffix}", quality=100)
    path = tmp_path / f"out{suffix}"
    path.write_bytes(content)
    again = read_series(path)
    assert (again.durations_ms, again.plays, notes) == (series.durations_ms, 2, ())
    for image, frame in zip(again.images, frames, strict=True):
        seen = frame[..., -1:] > 0 if channels == 4 else np.ones((24, 32, 1), bool)
        off = np.abs(image.pixels_hwc[..., :3].astype(int) - frame[..., :3]) * seen
        assert off.max() <= (0 if suffix == ".png" else 60), "WebP is lossy at edges"
        assert off.mean() < 1.5


def test_pages_of_other_sizes_and_kinds_stay_pages(tmp_path: Path) -> None:
    pages = [np.full((9, 12, 3), 70, np.uint8), np.full((20, 10), 150, np.uint8)]
    first, second = [Image.fromarray(page) for page in pages]
    path = tmp_path / "in.tiff"
    first.save(path, save_all=True, append_images=[second])
    series = read_series(path)
    assert not series.is_animated
    assert [image.pixels_hwc.shape for image in series.images] == [(9, 12, 3), (20, 10, 1)]
    content, notes = encode_series(series, tmp_path / "out.tif")
    (tmp_path / "out.tif").write_bytes(content)
    again = read_series(tmp_path / "out.tif")
    assert notes == ()
    for image, page in zip(again.images, pages, strict=True):
        np.testing.assert_array_equal(image.pixels_hwc.squeeze(), page)


def test_formats_without_animation_or_pages_are_refused(tmp_path: Path) -> None:
    images = tuple(map(ImageData, _frames()))
    animated, pages = ImageSeries(images, (1.0, 1.0, 1.0)), ImageSeries(images)
    for suffix in (".jpg", ".avif", ".tiff"):
        with pytest.raises(ImageError, match=r"animated \(3 frames\).* use \.png"):
            check_series(animated, tmp_path / f"out{suffix}")
    for suffix in (".jpg", ".avif", ".png", ".webp"):
        with pytest.raises(ImageError, match=r"3 pages.* use \.tiff"):
            check_series(pages, tmp_path / f"out{suffix}")


def test_more_pixels_in_all_frames_than_allowed_are_refused(tmp_path: Path) -> None:
    path = _animation(tmp_path / "in.gif", _frames())
    assert len(read_series(path, max_pixels=3 * 24 * 32).images) == 3
    with pytest.raises(ImageError, match=r"decompression bomb.*pass --max-pixels"):
        read_series(path, max_pixels=3 * 24 * 32 - 1)


@pytest.mark.parametrize("suffix", [".gif", ".png", ".webp"])
def test_a_truncated_animation_is_refused_or_still(tmp_path: Path, suffix: str) -> None:
    content = _animation(tmp_path / f"in{suffix}", _frames()).read_bytes()
    path = tmp_path / f"cut{suffix}"
    for share in (0.4, 0.6, 0.8):
        path.write_bytes(content[: int(share * len(content))])
        with pytest.raises(ImageError, match=r"damaged|truncated"):
            read_series(path)


def test_an_animated_png_whose_header_states_a_row_too_many_is_refused(tmp_path: Path) -> None:
    content = bytearray(_animation(tmp_path / "in.png", _frames()).read_bytes())
    content[20:24] = (25).to_bytes(4, "big")
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    (tmp_path / "tall.png").write_bytes(content)
    with pytest.raises(ImageError, match="damaged or truncated"):
        read_series(tmp_path / "tall.png")


def test_the_orientation_of_an_animated_png_is_applied_to_every_frame(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6
    path = _animation(tmp_path / "in.png", _frames(), exif=exif)
    series = read_series(path)
    for image, frame in zip(series.images, _frames(), strict=True):
        np.testing.assert_array_equal(image.pixels_hwc[..., :3], np.rot90(frame, -1))


def test_metadata_of_an_animation_is_kept_in_webp(tmp_path: Path) -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    described = [ImageData(frame, icc_profile=srgb) for frame in _frames(4)]
    content, _ = encode_series(
        ImageSeries(tuple(described), (40.0, 120.0, 500.0), 0), tmp_path / "out.webp"
    )
    (tmp_path / "out.webp").write_bytes(content)
    again = read_series(tmp_path / "out.webp")
    assert again.first.icc_profile == srgb
    assert again.first.has_alpha
