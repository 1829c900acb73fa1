"""Upscaling in one piece, and resizing to the final size before: images as they must come out."""

import numpy as np
import pytest
from numpy.typing import NDArray

from edgesr.errors import ImageError, SizeError
from edgesr.images.files import ImageData
from edgesr.images.imresize import imresize
from edgesr.tflite.shape import ModelShape
from edgesr.upscaling.final_size import check_pixels, final_size, resize_to
from edgesr.upscaling.tile_size import WholeImages
from edgesr.upscaling.tiling import Overlap
from edgesr.upscaling.upscaler import ResizingUpscaler
from helpers.small_net import NumpyRunner, SmallNet


def _noise(height: int, width: int, channels: int = 3, dtype: type = np.uint8) -> NDArray[np.uint8]:
    peak = int(np.iinfo(dtype).max)
    return np.random.RandomState(3).randint(0, peak // 2, (height, width, channels)).astype(dtype)


class _Sizes:
    """Opens a network for any size, and remembers for which."""

    def __init__(self, net: SmallNet) -> None:
        self.net = net
        self.opened: list[tuple[int, int]] = []
        self.closed = 0

    def __call__(self, size: tuple[int, int]) -> NumpyRunner:
        self.opened.append(size)
        runner = self.net.runner(*size)
        runner.close = self._close  # type: ignore[attr-defined]
        return runner

    def _close(self) -> None:
        self.closed += 1


@pytest.mark.parametrize("halvings", [0, 1, 2])
@pytest.mark.parametrize("size", [(1, 1), (9, 30), (24, 16), (23, 5)], ids=str)
def test_in_one_piece_every_image_is_exact(size: tuple[int, int], halvings: int) -> None:
    """Also for a network that looks at all of it; multiples are completed by reflection."""
    net = SmallNet(2, 1, halvings=halvings, whole_image=True)
    upscaler = ResizingUpscaler(
        _Sizes(net), net.scale, WholeImages(net.multiple), Overlap(0, net.multiple)
    )
    image = ImageData(_noise(*size))
    got = upscaler.upscale(image).pixels_hwc
    exact = net.expected(image.pixels_hwc, ModelShape(0, 0, 2)).clip(0, 1) * 255
    assert np.abs(got - exact).max() < 0.501
    assert upscaler.count_tiles(image) == 1
    assert upscaler.is_one_tile(image)


def test_images_of_one_size_share_a_network_and_the_last_one_is_closed() -> None:
    sizes = _Sizes(SmallNet(2, 1, halvings=1))
    upscaler = ResizingUpscaler(sizes, 2, WholeImages(2), Overlap(0, 2))
    for height, width in ((9, 6), (10, 5), (6, 9), (9, 6)):
        upscaler.upscale(ImageData(_noise(height, width, 4)))
    assert sizes.opened == [(10, 6), (6, 10), (10, 6)]
    assert sizes.closed == 2


# Resizing before ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("factor", "size", "label", "result"),
    [
        (2.5, None, "x2.5", (25, 33)),
        (3.0, None, "x3", (30, 39)),
        (1.0, None, "x1", (10, 13)),
        (None, (31, 7), "31x7", (5, 7)),
        (None, (7, 31), "7x31", (7, 9)),
    ],
)
def test_a_final_size_is_a_factor_or_a_height_and_width(
    factor: float | None, size: tuple[int, int] | None, label: str, result: tuple[int, int]
) -> None:
    final = final_size(factor, size)
    assert final is not None
    assert final.label == label
    image = ImageData(_noise(10, 13))
    for scale in (1, 2):
        assert final.of((image.height, image.width), scale) == result
    assert resize_to(image, final.matlab_scale or result).pixels_hwc.shape == (*result, 3)


def test_no_wish_is_no_size() -> None:
    assert final_size(None, None) is None


@pytest.mark.parametrize(
    ("factor", "size", "message"),
    [
        (2.0, (10, 10), "allowed one of them"),
        (None, (0, 10), "allowed 1x1 and more"),
        (0.5, None, "allowed 1 to 64"),
        (65.0, None, "allowed 1 to 64"),
    ],
)
def test_a_bad_final_size_is_refused(
    factor: float | None, size: tuple[int, int] | None, message: str
) -> None:
    with pytest.raises(SizeError, match=message):
        final_size(factor, size)


def test_8_bits_are_resized_as_matlab_does() -> None:
    pixels = _noise(11, 8)
    got = resize_to(ImageData(pixels), 2.5).pixels_hwc
    assert np.array_equal(got, imresize(pixels, 2.5))


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_16_bits_stay_16_bits(channels: int) -> None:
    """Every value times 257 is the same image: it is resized to the same, but for rounding."""
    pixels = 64 + _noise(11, 8, channels)  # 8 bits are clipped between the axes: stay in between
    small = resize_to(ImageData(pixels), 1.7).pixels_hwc
    large = resize_to(ImageData(pixels.astype(np.uint16) * 257), 1.7).pixels_hwc
    assert large.dtype == np.uint16
    assert np.abs(large / 257 - small).max() < 1.01  # 8 bits are rounded twice


def test_colours_under_transparent_pixels_do_not_bleed() -> None:
    pixels = np.zeros((12, 12, 4), np.uint8)
    pixels[4:8, 4:8] = (200, 10, 30, 255)
    got = resize_to(ImageData(pixels), 2.0).pixels_hwc
    assert (got[got[..., 3] > 0][:, :3] == (200, 10, 30)).all()


def test_more_pixels_than_allowed_are_refused() -> None:
    with pytest.raises(ImageError, match=r"100x130 = 13000 pixels, allowed 12999"):
        check_pixels((100, 130), 12_999)


def test_what_has_its_final_size_stays_as_it_is() -> None:
    image = ImageData(_noise(10, 13))
    assert resize_to(image, (10, 13)) is image
    assert resize_to(image, 1.0) is image
