"""Tiles: their geometry, and that no seam exists."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgesr.errors import SizeError
from edgesr.runtime import Float32Array, ModelShape
from edgesr.tiling import cover, cover_axis, kept_slices, read_tile, reflect_indices
from helpers.small_net import SmallNet

_TOLERANCE = 1e-5  # float32 against float64 computed in another order


@st.composite
def _axes(draw: st.DrawFn) -> tuple[int, int, int]:
    """Length, tile and radius that fit each other."""
    radius = draw(st.integers(0, 12))
    tile = draw(st.integers(2 * radius + 1, 2 * radius + 40))
    return draw(st.integers(1, 300)), tile, radius


@given(_axes())
def test_kept_parts_follow_on_one_another_and_cover_the_axis(axis: tuple[int, int, int]) -> None:
    length, tile, radius = axis
    spans = cover_axis(length, tile, radius)
    edges = [0, *(span.keep_stop for span in spans)]
    assert [span.keep_start for span in spans] == edges[:-1]
    assert edges[-1] == length
    assert all(span.keep_start < span.keep_stop for span in spans)


@given(_axes())
def test_what_is_kept_lies_the_radius_away_from_inner_borders(axis: tuple[int, int, int]) -> None:
    length, tile, radius = axis
    for span in cover_axis(length, tile, radius):
        at_start, at_end = span.start == 0, span.start + tile == length
        if length < 2 * radius:
            assert (span.start, span.keep_start, span.keep_stop) == (0, 0, length)
            continue
        assert at_start or span.keep_start - span.start >= radius
        assert at_end or span.start + tile - span.keep_stop >= radius


@given(_axes())
def test_tiles_are_as_few_as_the_radius_allows(axis: tuple[int, int, int]) -> None:
    length, tile, radius = axis
    if length < tile:
        fewest = 1 if radius == 0 or length < 2 * radius else 2
    else:
        fewest = 1 + -(-(length - tile) // (tile - 2 * radius))
    assert len(cover_axis(length, tile, radius)) == fewest


@given(_axes())
def test_tiles_lie_in_the_picture_unless_it_is_smaller(axis: tuple[int, int, int]) -> None:
    length, tile, radius = axis
    for span in cover_axis(length, tile, radius):
        assert span.start >= min(0, length - tile)
        assert span.start + tile <= max(length, tile)


def test_a_tile_too_small_for_the_radius_is_refused() -> None:
    with pytest.raises(SizeError, match=r"tiles of 4 pixels .* allowed at least 5"):
        cover_axis(9, 4, 2)
    assert len(cover_axis(9, 5, 2)) == 5


def test_a_picture_of_one_tile_needs_no_overlap() -> None:
    assert len(cover(4, 4, ModelShape(4, 4, 2), radius=22)) == 1


@given(length=st.integers(1, 30), before=st.integers(0, 100), after=st.integers(0, 100))
def test_reflection_is_that_of_numpy(length: int, before: int, after: int) -> None:
    expected = np.pad(np.arange(length), (before, after), mode="reflect")
    got = reflect_indices(length, -before, before + length + after)
    assert got.tolist() == expected.tolist()


def _stitch(picture: Float32Array, net: SmallNet, shape: ModelShape, radius: int) -> Float32Array:
    """Run the network tile by tile."""
    height, width = picture.shape[:2]
    result = np.full((net.scale * height, net.scale * width, 3), np.nan, np.float32)
    for tile in cover(height, width, shape, radius):
        within, whole = kept_slices(tile, net.scale)
        result[whole] = net.apply(read_tile(picture, tile, shape))[within]
    return result


def _whole(picture: Float32Array, net: SmallNet, shape: ModelShape, radius: int) -> Float32Array:
    """Run the network once, on the picture; continued where it is smaller than twice the radius."""
    height, width = picture.shape[:2]
    sides = zip((height, width), (shape.height, shape.width), strict=True)
    more = [(0, max(0, t - s) if s < 2 * radius else 0) for s, t in sides]
    whole = net.apply(np.pad(picture, [*more, (0, 0)], mode="reflect"))
    return whole[: net.scale * height, : net.scale * width]


def _report(got: Float32Array, expected: Float32Array) -> str:
    """Where two pictures differ most."""
    difference = np.nan_to_num(np.abs(got - expected), nan=np.inf)
    row, column, channel = np.unravel_index(difference.argmax(), difference.shape)
    return (
        f"max error {difference.max():.3g} at row {row}, column {column}, channel {channel} "
        f"of {got.shape}; {np.count_nonzero(difference > _TOLERANCE)} values are off"
    )


@given(data=st.data())
def test_tiles_give_what_the_whole_picture_gives_everywhere(data: st.DataObject) -> None:
    radius = data.draw(st.integers(1, 3), "radius")
    net = SmallNet(data.draw(st.integers(1, 4), "scale"), radius)
    sides = st.integers(2 * radius + 1, 2 * radius + 14)
    shape = ModelShape(data.draw(sides, "tile rows"), data.draw(sides, "tile columns"), net.scale)
    height = data.draw(st.integers(1, 45), "rows")
    width = data.draw(st.integers(1, 45), "columns")
    overlap = data.draw(st.integers(radius, (min(shape.height, shape.width) - 1) // 2), "overlap")
    picture = np.random.RandomState(0).rand(height, width, 3).astype(np.float32)
    got, expected = _stitch(picture, net, shape, overlap), _whole(picture, net, shape, overlap)
    assert np.allclose(got, expected, rtol=0, atol=_TOLERANCE), _report(got, expected)


@pytest.mark.parametrize("radius", [1, 2, 3])
def test_one_pixel_less_of_overlap_gives_a_seam(radius: int) -> None:
    """Otherwise the test above could not fail."""
    net, shape = SmallNet(2, radius), ModelShape(12, 12, 2)
    picture = np.random.RandomState(0).rand(30, 30, 3).astype(np.float32)
    got = _stitch(picture, net, shape, radius - 1)
    assert np.abs(got - _whole(picture, net, shape, radius)).max() > 100 * _TOLERANCE


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 30), (30, 1), (3, 3), (3, 40), (16, 2)])
def test_a_tiny_picture_is_continued_by_reflection(height: int, width: int) -> None:
    net, shape = SmallNet(3, 2), ModelShape(16, 12, 3)
    picture = np.random.RandomState(1).rand(height, width, 3).astype(np.float32)
    got, expected = _stitch(picture, net, shape, 2), _whole(picture, net, shape, 2)
    assert np.allclose(got, expected, rtol=0, atol=_TOLERANCE), _report(got, expected)


@pytest.mark.parametrize(("height", "width"), [(4, 4), (7, 11), (15, 6), (5, 30), (40, 9)])
def test_a_small_picture_gives_what_the_network_gives_on_it_alone(height: int, width: int) -> None:
    net, shape = SmallNet(3, 2), ModelShape(16, 12, 3)
    picture = np.random.RandomState(1).rand(height, width, 3).astype(np.float32)
    got, expected = _stitch(picture, net, shape, 2), net.apply(picture)
    assert np.allclose(got, expected, rtol=0, atol=_TOLERANCE), _report(got, expected)
