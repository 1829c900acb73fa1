"""Tiles: their geometry, and that no seam exists."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgesr.errors import SizeError
from edgesr.runtime.session import Float32Array
from edgesr.tflite.shape import ModelShape
from edgesr.upscaling.tiling import (
    Overlap,
    cover,
    cover_axis,
    fresh_share,
    kept_slices,
    next_multiple,
    reflect_indices,
)
from helpers.small_net import SmallNet
from helpers.stitching import stitch

_TOLERANCE = 1e-5  # float32 against float64 computed in another order


@st.composite
def _axes(draw: st.DrawFn) -> tuple[int, int, Overlap]:
    """Length, tile and overlap that fit each other."""
    multiple = draw(st.sampled_from([1, 1, 2, 4]))
    overlap = Overlap(draw(st.integers(0, 12)), multiple, draw(st.sampled_from([0, 0, 3, 8, 50])))
    smallest = next_multiple(2 * overlap.radius + multiple, multiple) // multiple
    tile = multiple * draw(st.integers(smallest, smallest + 40 // multiple))
    return draw(st.integers(1, 300)), tile, overlap


@given(_axes())
def test_kept_parts_cover_the_axis_and_overlap_by_what_is_blended(
    axis: tuple[int, int, Overlap],
) -> None:
    length, tile, overlap = axis
    spans = cover_axis(length, tile, overlap)
    for before, after in itertools.pairwise(spans):
        assert before.keep_stop - after.keep_start == before.fade_out == after.fade_in
        assert 0 <= after.fade_in <= overlap.blend
    assert (spans[0].keep_start, spans[-1].keep_stop) == (0, length)
    assert (spans[0].fade_in, spans[-1].fade_out) == (0, 0)
    for span in spans:
        assert 0 < span.keep_stop - span.keep_start >= span.fade_in + span.fade_out


@given(_axes())
def test_what_is_kept_lies_the_radius_away_from_inner_borders(
    axis: tuple[int, int, Overlap],
) -> None:
    length, tile, overlap = axis
    radius, fed = overlap.radius, next_multiple(length, overlap.multiple)
    for span in cover_axis(length, tile, overlap):
        if length < 2 * radius:
            assert (span.start, span.keep_start, span.keep_stop) == (0, 0, length)
            continue
        assert span.start == 0 or span.keep_start - span.start >= radius
        assert span.start + tile == fed or min(span.start + tile, length) - span.keep_stop >= radius


@given(_axes())
def test_tiles_begin_at_multiples(axis: tuple[int, int, Overlap]) -> None:
    length, tile, overlap = axis
    assert not [s for s in cover_axis(length, tile, overlap) if s.start % overlap.multiple]


@given(_axes())
def test_tiles_are_as_few_as_the_radius_allows(axis: tuple[int, int, Overlap]) -> None:
    length, tile, overlap = axis
    radius, multiple = overlap.radius, overlap.multiple
    fed = next_multiple(length, multiple)
    if fed <= tile:
        fewest = 1 if fed == tile or radius == 0 or length < 2 * radius else 2
    else:
        fewest = 1 + -(-(fed - tile) // ((tile - 2 * radius) // multiple * multiple))
    without_blending = Overlap(radius, multiple)
    assert len(cover_axis(length, tile, without_blending)) == fewest


@given(_axes())
def test_tiles_lie_in_the_image_unless_it_is_smaller(axis: tuple[int, int, Overlap]) -> None:
    length, tile, overlap = axis
    fed = next_multiple(length, overlap.multiple)
    for span in cover_axis(length, tile, overlap):
        assert span.start >= min(0, fed - tile)
        assert span.start + tile <= max(fed, tile)


def test_a_tile_that_is_no_multiple_is_refused() -> None:
    with pytest.raises(SizeError, match=r"got tiles of 10 pixels, allowed multiples of 4"):
        cover_axis(9, 10, Overlap(2, 4))


def test_a_tile_too_small_for_the_radius_is_refused() -> None:
    with pytest.raises(SizeError, match=r"tiles of 4 pixels .* allowed at least 5"):
        cover_axis(9, 4, Overlap(2))
    assert len(cover_axis(9, 5, Overlap(2))) == 5
    with pytest.raises(SizeError, match=r"tiles of 8 pixels .* allowed at least 12"):
        cover_axis(13, 8, Overlap(3, 4))
    assert len(cover_axis(13, 12, Overlap(3, 4))) == 2


def test_a_image_of_one_tile_needs_no_overlap() -> None:
    assert len(cover(4, 4, ModelShape(4, 4, 2), Overlap(22))) == 1


@given(length=st.integers(1, 30), before=st.integers(0, 100), after=st.integers(0, 100))
def test_reflection_is_that_of_numpy(length: int, before: int, after: int) -> None:
    expected = np.pad(np.arange(length), (before, after), mode="reflect")
    got = reflect_indices(length, -before, before + length + after)
    assert got.tolist() == expected.tolist()


def _whole(image: Float32Array, net: SmallNet, shape: ModelShape, radius: int) -> Float32Array:
    """Run the network once, on the image; continued where it is no multiple or tiny."""
    height, width = image.shape[:2]
    sides = zip((height, width), (shape.height, shape.width), strict=True)
    more = [(0, t - s if s < min(t, 2 * radius) else -s % net.multiple) for s, t in sides]
    whole = net.apply(np.pad(image, [*more, (0, 0)], mode="reflect"))
    return whole[: net.scale * height, : net.scale * width]


def _report(got: Float32Array, expected: Float32Array) -> str:
    """Where two images differ most."""
    difference = np.nan_to_num(np.abs(got - expected), nan=np.inf)
    row, column, channel = np.unravel_index(difference.argmax(), difference.shape)
    return (
        f"max error {difference.max():.3g} at row {row}, column {column}, channel {channel} "
        f"of {got.shape}; {np.count_nonzero(difference > _TOLERANCE)} values are off"
    )


@given(data=st.data())
def test_tiles_give_what_the_whole_image_gives_everywhere(data: st.DataObject) -> None:
    """With strides or without, blended or not: these tiles agree wherever they are kept."""
    halvings = data.draw(st.sampled_from([0, 0, 1, 2]), "halvings")
    depth = data.draw(st.integers(1, 1 if halvings == 2 else 3), "depth")
    net = SmallNet(data.draw(st.integers(1, 4 - halvings), "scale"), depth, halvings=halvings)
    least = net.reach // net.multiple + 1
    sides = st.integers(2 * least, 2 * least + 14 // net.multiple).map(lambda n: n * net.multiple)
    shape = ModelShape(data.draw(sides, "tile rows"), data.draw(sides, "tile columns"), net.scale)
    height = data.draw(st.integers(1, 45), "rows")
    width = data.draw(st.integers(1, 45), "columns")
    most = (min(shape.height, shape.width) - net.multiple) // 2
    radius = data.draw(st.integers(net.reach, max(net.reach, most)), "overlap")
    overlap = Overlap(radius, net.multiple, data.draw(st.sampled_from([0, 1, 4, 30]), "blend"))
    image = np.random.RandomState(0).rand(height, width, 3).astype(np.float32)
    got, expected = stitch(image, net.apply, shape, overlap), _whole(image, net, shape, radius)
    assert np.allclose(got, expected, rtol=0, atol=_TOLERANCE), _report(got, expected)


@pytest.mark.parametrize("halvings", [1, 2])
def test_tiles_between_multiples_give_another_image(halvings: int) -> None:
    """Otherwise the test above could not fail."""
    net, shape = SmallNet(2, 1, halvings=halvings), ModelShape(32, 32, 2)
    image = np.random.RandomState(0).rand(61, 32, 3).astype(np.float32)
    got = stitch(image, net.apply, shape, Overlap(net.reach + 1))
    assert np.abs(got - _whole(image, net, shape, net.reach)).max() > 100 * _TOLERANCE


@pytest.mark.parametrize("radius", [1, 2, 3])
def test_one_pixel_less_of_overlap_gives_a_seam(radius: int) -> None:
    """Otherwise the test above could not fail."""
    net, shape = SmallNet(2, radius), ModelShape(12, 12, 2)
    image = np.random.RandomState(0).rand(30, 30, 3).astype(np.float32)
    got = stitch(image, net.apply, shape, Overlap(radius - 1))
    assert np.abs(got - _whole(image, net, shape, radius)).max() > 100 * _TOLERANCE


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 30), (30, 1), (3, 3), (3, 40), (16, 2)])
def test_a_tiny_image_is_continued_by_reflection(height: int, width: int) -> None:
    net, shape = SmallNet(3, 2), ModelShape(16, 12, 3)
    image = np.random.RandomState(1).rand(height, width, 3).astype(np.float32)
    got, expected = stitch(image, net.apply, shape, Overlap(2)), _whole(image, net, shape, 2)
    assert np.allclose(got, expected, rtol=0, atol=_TOLERANCE), _report(got, expected)


@pytest.mark.parametrize(("height", "width"), [(4, 4), (7, 11), (15, 6), (5, 30), (40, 9)])
def test_a_small_image_gives_what_the_network_gives_on_it_alone(height: int, width: int) -> None:
    net, shape = SmallNet(3, 2), ModelShape(16, 12, 3)
    image = np.random.RandomState(1).rand(height, width, 3).astype(np.float32)
    got, expected = stitch(image, net.apply, shape, Overlap(2)), net.apply(image)
    assert np.allclose(got, expected, rtol=0, atol=_TOLERANCE), _report(got, expected)


# Networks that look at the whole image ------------------------------------------------------


class _Constant(SmallNet):
    """Answers every tile by one value of its own: what blending does with it can be read off."""

    def apply(self, lr_hwc: Float32Array) -> Float32Array:
        height, width = lr_hwc.shape[:2]
        return np.full((self.scale * height, self.scale * width, 3), lr_hwc.mean(), np.float32)


@pytest.mark.parametrize("size", [(64, 20), (20, 64), (50, 70), (18, 13)])
def test_from_one_tile_to_the_next_there_is_no_step(size: tuple[int, int]) -> None:
    """The larger the blend, the smaller the steps; without any they are the tiles' differences."""
    net, shape = _Constant(2), ModelShape(32, 32, 2)
    image = np.random.RandomState(4).rand(*size, 3).astype(np.float32) ** 4
    image[size[0] // 2 :] *= 0.2
    image[:, size[1] // 2 :] *= 0.5
    hard, soft = (stitch(image, net.apply, shape, Overlap(4, 1, blend)) for blend in (0, 8))
    steps = [max(np.abs(np.diff(p, axis=a)).max() for a in (0, 1)) for p in (hard, soft)]
    assert steps[1] < steps[0] / 6, f"steps of {steps[1]:.3g}, {steps[0]:.3g} without blending"
    assert soft.min() >= hard.min() - _TOLERANCE
    assert soft.max() <= hard.max() + _TOLERANCE


def test_the_weights_of_all_tiles_are_products_that_add_up_to_one() -> None:
    """Four tiles meet: each pixel of the corner is the mean weighted along both axes."""
    shape, overlap = ModelShape(16, 16, 1), Overlap(3, 1, 5)
    tiles = cover(21, 21, shape, overlap)
    assert len(tiles) == 4
    left = [np.zeros((21, 21), np.float32) for _ in tiles]
    for number, tile in enumerate(tiles):
        share = fresh_share(tile, 1)
        where = kept_slices(tile, 1)[1]
        for index, weight in enumerate(left):
            new = np.float32(index == number)
            weight[where] += (1 if share is None else share) * (new - weight[where])
    ramp = (np.arange(5) + 0.5) / 5
    down = np.concatenate([np.ones(8), 1 - ramp, np.zeros(8)])
    expected = [np.outer(a, b) for a in (down, 1 - down) for b in (down, 1 - down)]
    for got, wanted in zip(left, expected, strict=True):
        assert np.allclose(got, wanted, atol=1e-6), np.abs(got - wanted).max()
