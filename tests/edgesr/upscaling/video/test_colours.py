"""Video's luma and colour differences against the ITU's formulas, and against FFmpeg."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from edgesr.upscaling.video.colours import BT601, BT709, Coding, from_rgb, to_rgb, usual_matrix

_SHARES = {1: (0.2126, 0.0722), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}
_NAMES = {1: "bt709", 6: "smpte170m", 9: "bt2020"}
_CODINGS = [
    Coding(matrix, full, bits, 0, 0)
    for matrix in _SHARES
    for full in (False, True)
    for bits in (8, 10)
]


def _cube(steps: int) -> NDArray[np.uint16]:
    """Colours from all of the cube, as an image."""
    axis = np.linspace(0, 65535, steps).round()
    return np.stack(np.meshgrid(axis, axis, axis), -1).reshape(steps, -1, 3).astype(np.uint16)


def _by_formula(rgb: NDArray[np.uint16], coding: Coding) -> list[NDArray[np.float64]]:
    """ITU-T H.273, equations 28 to 45, unrounded."""
    red_share, blue_share = _SHARES[coding.matrix]
    red, green, blue = np.moveaxis(rgb / 65535, -1, 0)
    luma = red_share * red + (1 - red_share - blue_share) * green + blue_share * blue
    differences = (blue - luma) / (2 * (1 - blue_share)), (red - luma) / (2 * (1 - red_share))
    one = 2 ** (coding.bits - 8)
    if coding.full_range:
        peak = 2**coding.bits - 1
        return [peak * luma, *(peak * value + 128 * one for value in differences)]
    return [
        one * (219 * luma + 16),
        *(one * (224 * value + 128) for value in differences),
    ]


@pytest.mark.parametrize("coding", _CODINGS, ids=str)
def test_numbers_are_those_of_the_formulas_rounded_once(coding: Coding) -> None:
    cube = _cube(33)
    for made, exact in zip(from_rgb(cube, coding), _by_formula(cube, coding), strict=True):
        # 0.01 of a level: float32. Full range has 2**(bits-1) + half as the largest difference.
        assert np.abs(made - exact.clip(0, 2**coding.bits - 1)).max() <= 0.51


@pytest.mark.parametrize("coding", _CODINGS, ids=str)
def test_rgb_comes_back_within_the_rounding_of_the_numbers(coding: Coding) -> None:
    level = 65535 / (2**coding.bits - 1)
    back = to_rgb(from_rgb(_cube(17), coding), coding)
    # Each number is off by half a level at most; blue adds 1.9 of a difference's.
    assert np.abs(back - _cube(17).astype(int)).max() <= 1.8 * level


def _by_ffmpeg(planes: Sequence[NDArray[Any]], coding: Coding) -> NDArray[np.uint8]:
    """RGB of FFmpeg's filter "scale", told to be accurate and where shared differences lie."""
    height, width = planes[0].shape
    shared = "420" if coding.rows_log2 else "444"
    depth = "" if coding.bits == 8 else "10le"
    frame = av.VideoFrame(width, height, f"yuv{shared}p{depth}")
    for plane, values in zip(frame.planes, planes, strict=True):
        rows = np.frombuffer(plane, values.dtype)  # type: ignore[call-overload]
        rows = rows.reshape(-1, plane.line_size // values.itemsize)
        rows[: values.shape[0], : values.shape[1]] = values
    frame.time_base = Fraction(1, 25)
    frame.pts = 0
    graph = av.filter.Graph()
    source = graph.add_buffer(
        width=width, height=height, format=frame.format, time_base=frame.time_base
    )
    scale = graph.add(
        "scale",
        "flags=bicubic+accurate_rnd+full_chroma_int+full_chroma_inp+bitexact"
        f":in_color_matrix={_NAMES[coding.matrix]}:in_range={'pc' if coding.full_range else 'tv'}"
        ":in_chroma_loc=left",
    )
    kind, sink = graph.add("format", "pix_fmts=rgb24"), graph.add("buffersink")
    for one, next_one in ((source, scale), (scale, kind), (kind, sink)):
        one.link_to(next_one)
    graph.configure()
    graph.push(frame)
    return graph.pull().to_ndarray()  # type: ignore[union-attr,return-value]


@pytest.mark.parametrize("shared", [0, 1], ids=["444", "420"])
# libswscale reads full range of 10 bits as 255/256 of it, 1.2 levels off: no reference.
@pytest.mark.parametrize(
    "coding", [c for c in _CODINGS if not (c.full_range and c.bits > 8)], ids=str
)
def test_rgb_is_that_of_ffmpegs_accurate_conversion(coding: Coding, shared: int) -> None:
    coding = Coding(coding.matrix, coding.full_range, coding.bits, shared, shared)
    planes = from_rgb(_slow_waves(), coding)
    ours = to_rgb(planes, coding)
    theirs = _by_ffmpeg(planes, coding)
    off = np.abs(ours / 257 - theirs)[4:-4, 4:-4]
    # Theirs is rounded to 8 bits, ours is not; they interpolate by a cubic filter, we linearly.
    assert off.max() <= (0.53 if not shared else 1.1)
    assert (np.rint(ours / 257) != theirs).mean() <= (0.03 if not shared else 0.1)


def _slow_waves() -> NDArray[np.uint16]:
    """Colours that change so slowly that any filter interpolates them alike."""
    y, x = np.mgrid[:96, :128]
    waves = [np.sin(x / 21), np.cos(y / 23), np.sin((x + y) / 31)]
    return np.rint(32768 + 24000 * np.stack(waves, -1)).astype(np.uint16)


@pytest.mark.parametrize("shared", [(0, 0), (1, 0), (1, 1), (2, 0)], ids=str)
@pytest.mark.parametrize("size", [(16, 16), (15, 17), (1, 1)], ids=str)
def test_a_flat_colour_stays_where_differences_are_shared(
    size: tuple[int, int], shared: tuple[int, int]
) -> None:
    coding = Coding(BT709, False, 10, *shared)
    flat = np.full((*size, 3), (50000, 20000, 9000), np.uint16)
    planes = from_rgb(flat, coding)
    assert planes[1].shape == coding.differences_size(*size)
    assert np.abs(to_rgb(planes, coding).astype(int) - flat).max() <= 1.8 * 64


def test_shared_differences_lie_on_even_columns_and_between_rows() -> None:
    """A ramp of colour along each axis comes back without a shift."""
    coding = Coding(BT709, False, 10, 1, 1)
    for axis in (0, 1):
        ramp = np.linspace(10000, 50000, 64)
        blue = np.broadcast_to(ramp[:, None] if axis == 0 else ramp, (64, 64))
        rgb = np.stack([np.full_like(blue, 30000), np.full_like(blue, 30000), blue], -1)
        back = to_rgb(from_rgb(rgb.round().astype(np.uint16), coding), coding)
        inner = np.abs(back.astype(float) - rgb)[2:-2, 2:-2]
        assert inner.max() <= 1.8 * 64  # a shift by half a pixel would be 317


def test_videos_that_state_no_matrix_get_the_one_that_players_take() -> None:
    assert (usual_matrix(576), usual_matrix(720)) == (BT601, BT709)
