"""Upscaling images: equal to the whole image in one run, alpha, and networks of all kinds."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgesr.errors import SizeError
from edgesr.images.files import ImageData
from edgesr.runtime.session import open_model
from edgesr.tflite.facts import read_facts, read_reach
from edgesr.tflite.shape import ModelShape
from edgesr.upscaling.tiling import Overlap, choose_overlap
from edgesr.upscaling.transparency import fill_transparent
from edgesr.upscaling.upscaler import Upscaler
from helpers.small_net import SmallNet
from helpers.upscaling import assert_rounded, noise


@given(data=st.data())
def test_equals_the_whole_image_in_one_run(data: st.DataObject) -> None:
    net = SmallNet(data.draw(st.integers(1, 4), "scale"), data.draw(st.integers(1, 3), "radius"))
    side = st.integers(2 * net.radius + 1, 20)
    shape = ModelShape(data.draw(side, "tile rows"), data.draw(side, "tile columns"), net.scale)
    pixels = noise(data.draw(st.integers(1, 50), "rows"), data.draw(st.integers(1, 50), "columns"))
    upscaler = Upscaler(net.runner(shape.height, shape.width), Overlap(net.radius))
    got = upscaler.upscale(ImageData(pixels)).pixels_hwc
    assert_rounded(got, net.expected(pixels, shape))


def test_16_bits_stay_16_bits() -> None:
    net = SmallNet()
    pixels = noise(23, 31, dtype=np.uint16)
    got = Upscaler(net.runner(12, 16), Overlap(net.radius)).upscale(ImageData(pixels)).pixels_hwc
    assert got.dtype == np.uint16
    assert_rounded(got, net.expected(pixels, ModelShape(12, 16, 2)))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_grey_is_the_mean_of_what_three_equal_channels_give(dtype: type) -> None:
    net = SmallNet(3)
    grey = noise(15, 9, 1, dtype)
    got = Upscaler(net.runner(10, 10), Overlap(net.radius)).upscale(ImageData(grey)).pixels_hwc
    assert got.shape == (45, 27, 1)
    exact = net.expected(np.repeat(grey, 3, axis=2), ModelShape(10, 10, 3))
    assert_rounded(got, exact.mean(axis=2, keepdims=True))


def test_alpha_goes_through_the_network_as_grey() -> None:
    net, shape = SmallNet(), ModelShape(12, 12, 2)
    pixels = noise(20, 14, 4)
    pixels[..., 3] |= 1  # nothing is fully transparent: no colour is filled
    got = Upscaler(net.runner(12, 12), Overlap(net.radius)).upscale(ImageData(pixels)).pixels_hwc
    assert_rounded(got[..., :3], net.expected(pixels[..., :3], shape))
    alpha = net.expected(np.repeat(pixels[..., 3:], 3, axis=2), shape)
    assert_rounded(got[..., 3:], alpha.mean(axis=2, keepdims=True))


@pytest.mark.parametrize("value", [0, 77, 255])
def test_constant_alpha_stays_and_costs_no_run(value: int) -> None:
    net = SmallNet()
    pixels = noise(8, 8, 4)
    pixels[..., 3] = value
    runner = net.runner(8, 8)
    got = Upscaler(runner, Overlap(net.radius)).upscale(ImageData(pixels)).pixels_hwc
    assert (got[..., 3] == value).all()
    assert runner.runs == 1


def test_colours_under_transparent_pixels_do_not_bleed() -> None:
    """A red disc on black that nobody sees: its visible edge stays as red as its middle."""
    y, x = np.mgrid[:40, :40]
    inside = np.hypot(y - 20, x - 20) < 12
    pixels = np.zeros((40, 40, 4), np.uint8)
    pixels[inside] = (200, 10, 30, 255)
    net = SmallNet(2, 3)
    got = Upscaler(net.runner(40, 40), Overlap(net.radius)).upscale(ImageData(pixels)).pixels_hwc
    visible = got[..., 3] > 0
    flat = np.full((40, 40, 3), (200, 10, 30), np.uint8)
    alone = net.expected(flat, ModelShape(40, 40, 2)).clip(0, 1) * 255
    error = np.abs(got[..., :3] - alone)[visible]
    assert error.max() < 1, f"a colour is off by {error.max():.1f} grey levels"


def test_filling_keeps_visible_pixels_and_takes_near_colours() -> None:
    pixels = np.zeros((9, 30, 4), np.uint8)
    pixels[:, :2] = (10, 20, 30, 255)
    pixels[:, -2:] = (210, 220, 230, 9)
    filled = fill_transparent(pixels)
    visible = pixels[..., 3] > 0
    assert np.array_equal(filled[visible], pixels[visible])
    assert np.array_equal(filled[..., 3], pixels[..., 3])
    assert filled[4, 3, :3].tolist() == [10, 20, 30]
    assert filled[4, 27, :3].tolist() == [210, 220, 230]


@given(rows=st.integers(1, 40), columns=st.integers(1, 40), share=st.floats(0, 1))
def test_filled_colours_lie_between_the_visible_ones(rows: int, columns: int, share: float) -> None:
    pixels = noise(rows, columns, 4, np.uint16)
    pixels[np.random.RandomState(1).rand(rows, columns) < share, 3] = 0
    visible = pixels[..., 3] > 0
    filled = fill_transparent(pixels)
    assert np.array_equal(filled[visible], pixels[visible])
    if visible.any():
        colours = pixels[visible][:, :3]
        assert (filled[..., :3] >= colours.min(axis=0)).all()
        assert (filled[..., :3] <= colours.max(axis=0)).all()


def test_metadata_stays() -> None:
    net = SmallNet()
    image = ImageData(noise(5, 5), icc_profile=b"icc", exif=b"exif", notes=("a note",))
    result = Upscaler(net.runner(8, 8), Overlap(net.radius)).upscale(image)
    assert (result.icc_profile, result.exif, result.notes) == (b"icc", b"exif", ("a note",))


def test_progress_counts_the_tiles_of_colour_and_alpha() -> None:
    net = SmallNet()
    image = ImageData(noise(20, 14, 4))
    upscaler = Upscaler(net.runner(12, 12), Overlap(net.radius))
    seen: list[tuple[str, int, int]] = []
    upscaler.upscale(image, lambda *step: seen.append(step))
    total = upscaler.count_tiles(image)
    assert total == 2 * 2 * 2
    assert seen == [("tiles", done, total) for done in range(total + 1)]


def test_a_network_too_small_for_its_reach_is_refused() -> None:
    upscaler = Upscaler(SmallNet().runner(40, 40), Overlap(22))
    assert upscaler.upscale(ImageData(noise(40, 9))).height == 80
    with pytest.raises(SizeError, match="allowed at least 45"):
        upscaler.upscale(ImageData(noise(41, 9)))


# The real runtime ---------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(40, 50), (61, 90), (3, 100)], ids=["one", "many", "flat"])
def test_a_tflite_gives_what_its_network_gives(tmp_path: Path, size: tuple[int, int]) -> None:
    net, shape = SmallNet(2, 3), ModelShape(40, 50, 2)
    path = tmp_path / "small.tflite"
    path.write_bytes(net.tflite(shape.height, shape.width))
    facts = read_facts(path)
    assert facts is not None
    assert facts.receptive_radius == 3
    pixels = noise(*size)
    upscaler = Upscaler(open_model(path, threads=1), Overlap(3))
    got = upscaler.upscale(ImageData(pixels)).pixels_hwc
    error = np.abs(got - net.expected(pixels, shape).clip(0, 1) * 255)
    assert error.max() < 0.51, f"off by {error.max():.3f} grey levels"


@pytest.mark.parametrize(
    ("halvings", "size"), [(1, (45, 33)), (1, (24, 40)), (1, (13, 64)), (2, (51, 50)), (2, (3, 90))]
)
def test_a_strided_tflite_gives_what_its_network_gives(
    tmp_path: Path, halvings: int, size: tuple[int, int]
) -> None:
    net, shape = SmallNet(2, 1, halvings=halvings), ModelShape(24, 40, 2)
    path = tmp_path / "strided.tflite"
    path.write_bytes(net.tflite(shape.height, shape.width))
    runner = open_model(path, threads=1)
    pixels = noise(*size)
    upscaler = Upscaler(runner, choose_overlap(read_reach(path), None, runner.shape)[0])
    got = upscaler.upscale(ImageData(pixels)).pixels_hwc
    assert_rounded(got, net.expected(pixels, shape))


# Networks that look at the whole image ----------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
def test_what_tiles_agree_on_is_blended_to_the_same(channels: int, dtype: type) -> None:
    net, shape = SmallNet(2, 2), ModelShape(24, 20, 2)
    pixels = noise(50, 61, channels, dtype)
    results = [
        Upscaler(net.runner(24, 20), Overlap(2, 1, blend)).upscale(ImageData(pixels)).pixels_hwc
        for blend in (0, 5)
    ]
    difference = np.abs(results[0].astype(int) - results[1].astype(int)).max()
    # Where a value lies on a half, or 16 bits are finer than float32, tiles agree but for rounding.
    assert difference <= (0 if dtype == np.uint8 else 1), difference
    assert_rounded(
        results[1],
        net.expected(np.repeat(pixels, 3 // channels, 2), shape).mean(axis=2, keepdims=True)
        if channels == 1
        else net.expected(pixels, shape),
    )


def test_a_image_of_one_tile_is_exact_and_others_come_near() -> None:
    net, shape = SmallNet(2, 2, whole_image=True), ModelShape(24, 20, 2)
    upscaler = Upscaler(net.runner(24, 20), Overlap(2, 1, 5))
    one, many = ImageData(noise(24, 20) // 2), ImageData(noise(50, 61) // 2)
    assert upscaler.is_one_tile(one)
    assert_rounded(upscaler.upscale(one).pixels_hwc, net.expected(one.pixels_hwc, shape))
    assert not upscaler.is_one_tile(many)
    exact = net.expected(many.pixels_hwc, shape).clip(0, 1) * 255
    error = np.abs(upscaler.upscale(many).pixels_hwc - exact).max()
    assert 1 < error < 20, f"off by {error:.2f} grey levels"
