"""Resizing against MATLAB's own results, and against Pillow away from the border."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from edgesr.errors import ImageError, SizeError
from edgesr.images.imresize import imresize

_SETS = {"Set5": (5, (2, 3, 4)), "Set14": (14, (2, 3, 4)), "BSD100": (100, (2, 4))}


def _read(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as image:
        pixels = np.asarray(image)
    return pixels.reshape(*pixels.shape[:2], -1)


def _noise(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize(
    ("name", "scale"),
    [
        pytest.param(name, scale, id=f"{name} x{scale}")
        for name, (_, scales) in _SETS.items()
        for scale in scales
    ],
)
def test_every_pixel_of_the_published_test_sets_is_matlabs(
    shared: Path, name: str, scale: int
) -> None:
    folder = shared / "data" / name / f"x{scale}"
    files = sorted((folder / "LR").glob("*.png"))
    assert len(files) == _SETS[name][0]
    for file in files:
        expected = _read(file)
        got = imresize(_read(folder / "HR" / file.name), 1 / scale)
        assert got.shape == expected.shape, file.name
        difference = np.abs(got.astype(int) - expected)
        where = tuple(int(i) for i in np.unravel_index(difference.argmax(), difference.shape))
        assert difference.max() == 0, (
            f"{file.name}: {np.mean(difference == 0):.4%} of the values are equal; the worst is "
            f"{difference.max()} grey levels off, at (y, x, c) = {where} of {difference.shape}"
        )


@pytest.mark.parametrize(
    ("size", "target"),
    [
        pytest.param((60, 80), (30, 40), id="half"),
        pytest.param((61, 83), (23, 47), id="odd factors"),
        pytest.param((40, 60), (90, 25), id="taller and narrower"),
        pytest.param((30, 30), (60, 97), id="enlarged"),
    ],
)
def test_away_from_the_border_floats_are_pillows(
    size: tuple[int, int], target: tuple[int, int]
) -> None:
    grey = _noise(*size)[..., :1].astype(np.float32)
    expected = np.asarray(
        Image.fromarray(grey[..., 0]).resize(target[::-1], Image.Resampling.BICUBIC)
    )
    got = imresize(grey, target)
    assert got.dtype == np.float32
    # At its border Pillow leaves out what lies beyond: two input pixels, or more when shrinking.
    margin = [int(np.ceil(2 * max(1, t / s))) + 1 for s, t in zip(size, target, strict=True)]
    inside = tuple(slice(m, -m) for m in margin)
    worst = np.abs(got[..., 0][inside] - expected[inside]).max()
    assert worst < 2e-4, f"max difference {worst:.3g} in values of up to 255"


def test_the_dimension_that_shrinks_more_goes_first() -> None:
    image = _noise(40, 60)
    narrow_first = imresize(imresize(image, (40, 20)), (30, 20))
    low_first = imresize(imresize(image, (30, 60)), (30, 20))
    assert not np.array_equal(narrow_first, low_first), "the order makes no difference here"
    np.testing.assert_array_equal(imresize(image, (30, 20)), narrow_first)


def test_among_equals_height_goes_first() -> None:
    image = _noise(40, 40)
    np.testing.assert_array_equal(
        imresize(image, 0.5), imresize(imresize(image, (20, 40)), (20, 20))
    )


def test_a_factor_rounds_sizes_up() -> None:
    assert imresize(_noise(7, 10), 1 / 3).shape == (3, 4, 3)
    assert imresize(_noise(7, 10), 2).shape == (14, 20, 3)


def test_halves_are_rounded_up() -> None:
    # The middle of seven rows lies on the edge between 10 and 15; rounding to even makes 12 of it.
    rows = np.repeat(np.array([10] * 7 + [15] * 7, np.uint8), 4).reshape(14, 4, 1)
    assert imresize(rows.astype(np.float32), (7, 4))[3, 0, 0] == 12.5
    assert imresize(rows, (7, 4))[3, 0, 0] == 13


def test_uint8_is_clipped_where_float_overshoots() -> None:
    edge = np.zeros((16, 16, 1), np.uint8)
    edge[8:] = 255
    as_float = imresize(edge.astype(np.float32), 0.5)
    assert as_float.min() < 0
    assert as_float.max() > 255
    expected = np.clip(np.floor(as_float + 0.5), 0, 255).astype(np.uint8)
    np.testing.assert_array_equal(imresize(edge, 0.5), expected)


@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    scale=st.sampled_from([0.25, 1 / 3, 0.4, 0.5, 1.0, 1.7, 3.0]),
    value=st.integers(0, 255),
)
def test_a_flat_image_stays_flat(height: int, width: int, scale: float, value: int) -> None:
    flat = np.full((height, width, 2), value, np.uint8)
    assert (imresize(flat, scale) == value).all()


@given(height=st.integers(2, 24), width=st.integers(2, 24), scale=st.sampled_from([2, 4]))
def test_turning_and_mirroring_commute_with_shrinking(height: int, width: int, scale: int) -> None:
    """So the LR image may be turned with its HR image instead of being made anew."""
    image = _noise(scale * height, scale * width).astype(np.float32)
    small = imresize(image, 1 / scale)
    for turned, expected in (
        (image[::-1], small[::-1]),
        (image[:, ::-1], small[:, ::-1]),
        (image.swapaxes(0, 1), small.swapaxes(0, 1)),
    ):
        worst = np.abs(imresize(np.ascontiguousarray(turned), 1 / scale) - expected).max()
        assert worst < 1e-3, f"max difference {worst:.3g} in values of up to 255"


def test_the_same_size_changes_nothing() -> None:
    image = _noise(13, 9)
    np.testing.assert_array_equal(imresize(image, 1), image)


def test_the_input_is_left_as_it_is_and_the_result_is_contiguous() -> None:
    image = _noise(12, 12)[::-1, :, ::-1]
    before = image.copy()
    assert imresize(image, 0.5).flags.c_contiguous
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize(
    ("image", "scale", "error"),
    [
        pytest.param(np.zeros((4, 4), np.uint8), 0.5, ImageError, id="no channels"),
        pytest.param(np.zeros((4, 4, 3)), 0.5, ImageError, id="float64"),
        pytest.param(np.zeros((0, 4, 3), np.uint8), 0.5, ImageError, id="empty"),
        pytest.param(np.zeros((4, 4, 3), np.uint8), 0.0, SizeError, id="scale zero"),
        pytest.param(np.zeros((4, 4, 3), np.uint8), float("nan"), SizeError, id="scale nan"),
        pytest.param(np.zeros((4, 4, 3), np.uint8), (0, 4), SizeError, id="size zero"),
    ],
)  # fmt: skip
def test_what_cannot_be_resized_is_refused(
    image: np.ndarray, scale: float | tuple[int, int], error: type[Exception]
) -> None:
    with pytest.raises(error, match="allowed"):
        imresize(image, scale)
