"""Upscaling in one piece, and resizing to the final size before: pictures as they must come out."""

import numpy as np
import pytest
from numpy.typing import NDArray

from edgesr.enlarge import FinalSize, enlarge, read_final_size
from edgesr.errors import PictureError, SizeError
from edgesr.images import Picture
from edgesr.imresize import imresize
from edgesr.runtime import ModelShape
from edgesr.whole import WholeUpscaler
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
def test_in_one_piece_every_picture_is_exact(size: tuple[int, int], halvings: int) -> None:
    """Also for a network that looks at all of it; multiples are completed by reflection."""
    net = SmallNet(2, 1, halvings=halvings, whole_picture=True)
    upscaler = WholeUpscaler(_Sizes(net), net.scale, net.multiple)
    picture = Picture(_noise(*size))
    got = upscaler.upscale(picture).pixels_hwc
    exact = net.expected(picture.pixels_hwc, ModelShape(0, 0, 2)).clip(0, 1) * 255
    assert np.abs(got - exact).max() < 0.501
    assert upscaler.count_tiles(picture) == 1
    assert upscaler.is_one_tile(picture)


def test_pictures_of_one_size_share_a_network_and_the_last_one_is_closed() -> None:
    sizes = _Sizes(SmallNet(2, 1, halvings=1))
    upscaler = WholeUpscaler(sizes, 2, 2)
    for height, width in ((9, 6), (10, 5), (6, 9), (9, 6)):
        upscaler.upscale(Picture(_noise(height, width, 4)))
    assert sizes.opened == [(10, 6), (6, 10), (10, 6)]
    assert sizes.closed == 2


# Resizing before ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("factor", "size", "label", "result"),
    [
        (2.5, None, "x2.5", (25, 33)),
        (3.0, None, "x3", (30, 39)),
        (1.0, None, "x1", (10, 13)),
        (None, "31x7", "31x7", (31, 7)),
    ],
)
def test_a_final_size_is_a_factor_or_a_height_and_width(
    factor: float | None, size: str | None, label: str, result: tuple[int, int]
) -> None:
    final = read_final_size(factor, size)
    assert final is not None
    assert final.label == label
    assert final.of(Picture(_noise(10, 13))) == result
    assert enlarge(Picture(_noise(10, 13)), final, 10_000).pixels_hwc.shape == (*result, 3)


def test_no_wish_is_no_size() -> None:
    assert read_final_size(None, None) is None


@pytest.mark.parametrize(
    ("factor", "size", "message"),
    [
        (2.0, "10x10", "allowed one of them"),
        (None, "10", "allowed HEIGHTxWIDTH in pixels, e.g. 1080x1920"),
        (None, "0x10", "allowed 1x1 and more"),
    ],
)
def test_a_bad_final_size_is_refused(factor: float | None, size: str, message: str) -> None:
    with pytest.raises(SizeError, match=message):
        read_final_size(factor, size)


def test_8_bits_are_resized_as_matlab_does() -> None:
    pixels = _noise(11, 8)
    got = enlarge(Picture(pixels), FinalSize(2.5), 10_000).pixels_hwc
    assert np.array_equal(got, imresize(pixels, 2.5))


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_16_bits_stay_16_bits(channels: int) -> None:
    """Every value times 257 is the same picture: it is resized to the same, but for rounding."""
    pixels = 64 + _noise(11, 8, channels)  # 8 bits are clipped between the axes: stay in between
    small = enlarge(Picture(pixels), FinalSize(1.7), 10_000).pixels_hwc
    large = enlarge(Picture(pixels.astype(np.uint16) * 257), FinalSize(1.7), 10_000).pixels_hwc
    assert large.dtype == np.uint16
    assert np.abs(large / 257 - small).max() < 1.01  # 8 bits are rounded twice


def test_colours_under_transparent_pixels_do_not_bleed() -> None:
    pixels = np.zeros((12, 12, 4), np.uint8)
    pixels[4:8, 4:8] = (200, 10, 30, 255)
    got = enlarge(Picture(pixels), FinalSize(2.0), 10_000).pixels_hwc
    assert (got[got[..., 3] > 0][:, :3] == (200, 10, 30)).all()


def test_more_pixels_than_allowed_are_refused() -> None:
    with pytest.raises(PictureError, match=r"100x130 = 13000 pixels, allowed 12999"):
        enlarge(Picture(_noise(10, 13)), FinalSize(10.0), 12_999)


def test_what_has_its_final_size_stays_as_it_is() -> None:
    picture = Picture(_noise(10, 13))
    assert enlarge(picture, FinalSize(), 1000) is picture
