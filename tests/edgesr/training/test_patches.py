"""What is drawn from a store of images: patches, batches, shares of batches."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgesr.errors import ImageError, SizeError
from edgesr.training.data.patches import PatchSampler
from edgesr.training.data.store import ImageStore, prepare
from edgesr.training.recipe import Draw
from helpers.images import SCALE, SIZES, noise_image, save_image


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ImageStore:
    folder = tmp_path_factory.mktemp("images")
    for index, size in enumerate(SIZES):
        save_image(folder / f"p{index}.png", noise_image(*size, seed=index))
    return prepare([folder], SCALE, tmp_path_factory.mktemp("cache"))


def _symmetries(patch: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    turned = [np.rot90(patch, quarter) for quarter in range(4)]
    return turned + [np.fliplr(each) for each in turned]


def _sampler(store: ImageStore, batch: int = 16, seed: int = 0, lr_patch: int = 6) -> PatchSampler:
    return PatchSampler(store, lr_patch=lr_patch, batch=batch, seed=seed)


def _place(store: ImageStore, lr_patch: NDArray[np.uint8]) -> tuple[int, int, int, int]:
    """Image, top, left and symmetry that a patch was cut at; noise makes it the only one."""
    found = []
    for symmetry, turned in enumerate(_symmetries(lr_patch)):
        for image in range(len(store)):
            lr = store.lr(image)
            side = len(turned)
            if side > min(lr.shape[:2]):
                continue
            windows = np.lib.stride_tricks.sliding_window_view(lr, (side, side, 3))[:, :, 0]
            corners = np.argwhere((windows[:, :, 0, 0] == turned[0, 0]).all(axis=-1))
            found += [
                (image, int(top), int(left), symmetry)
                for top, left in corners
                if np.array_equal(windows[top, left], turned)
            ]
    assert len(found) == 1, f"the patch lies at {found}"
    return found[0]


@given(seed=st.integers(0, 2**63), step=st.integers(0, 2**40), lr_patch=st.integers(3, 16))
def test_lr_and_hr_are_cut_at_the_same_place_and_turned_alike(
    store: ImageStore, seed: int, step: int, lr_patch: int
) -> None:
    lr_nhwc, hr_nhwc = _sampler(store, 4, seed, lr_patch).sample(step)
    assert lr_nhwc.shape == (4, lr_patch, lr_patch, 3)
    assert hr_nhwc.shape == (4, SCALE * lr_patch, SCALE * lr_patch, 3)
    for lr, hr in zip(lr_nhwc, hr_nhwc, strict=True):
        image, top, left, symmetry = _place(store, lr)
        y, x, side = SCALE * top, SCALE * left, SCALE * lr_patch
        expected = store.hr(image)[y : y + side, x : x + side]
        np.testing.assert_array_equal(_symmetries(hr)[symmetry], expected)


@given(seed=st.integers(0, 2**63), step=st.integers(0, 2**40))
def test_a_batch_depends_on_seed_and_step_alone(store: ImageStore, seed: int, step: int) -> None:
    sampler = _sampler(store, seed=seed)
    first = sampler.sample(step)
    sampler.sample(step + 1)
    for again in (sampler.sample(step), _sampler(store, seed=seed).sample(step)):
        np.testing.assert_array_equal(first[0], again[0])
        np.testing.assert_array_equal(first[1], again[1])
    for other in (sampler.sample(step + 1), _sampler(store, seed=seed + 1).sample(step)):
        assert not np.array_equal(first[0], other[0])


@pytest.mark.parametrize(
    "shares",
    [
        pytest.param([slice(0, 8), slice(8, 16)], id="halves"),
        pytest.param([slice(0, 5), slice(5, 5), slice(5, None)], id="uneven and empty"),
    ],
)
def test_the_shares_of_all_processes_together_are_the_batch(
    store: ImageStore, shares: list[slice]
) -> None:
    sampler = _sampler(store)
    parts = [sampler.sample(3, rows) for rows in shares]
    for kind, whole in enumerate(sampler.sample(3)):
        np.testing.assert_array_equal(np.concatenate([part[kind] for part in parts]), whole)


def test_a_share_may_be_every_second_patch(store: ImageStore) -> None:
    sampler = _sampler(store)
    np.testing.assert_array_equal(
        sampler.sample(3, slice(1, None, 2))[0], sampler.sample(3)[0][1::2]
    )


@pytest.mark.parametrize("draw", ["positions", "images"])
def test_every_position_or_image_and_every_symmetry_is_equally_likely(
    store: ImageStore, draw: Draw
) -> None:
    """Few positions, 119, 9 and 300, and many draws."""
    lr_patch, batch = 14, 3000
    sampler = PatchSampler(store, lr_patch=lr_patch, batch=batch, seed=0, draw=draw)
    lr_nhwc, _ = sampler.sample(0)
    places = np.array([_place(store, lr) for lr in lr_nhwc])
    positions = (store.lr_sizes - lr_patch + 1).prod(axis=1)
    for name, column, shares in (
        ("image", 0, positions / positions.sum() if draw == "positions" else np.full(3, 1 / 3)),
        ("symmetry", 3, np.full(8, 1 / 8)),
    ):
        counts = np.bincount(places[:, column], minlength=len(shares))
        deviations = (counts - batch * shares) / np.sqrt(batch * shares * (1 - shares))
        assert np.abs(deviations).max() < 4, f"{name}: {counts} of {batch}, wanted {shares}"
    seen = {tuple(place) for place in places[:, :3].tolist()}
    drawn = np.bincount([image for image, _, _ in seen], minlength=3)
    assert (drawn > 0.9 * positions).all(), f"{drawn} of {positions} positions were drawn"


@pytest.mark.parametrize("draw", ["positions", "images"])
def test_a_image_smaller_than_a_patch_is_named_or_skipped(store: ImageStore, draw: Draw) -> None:
    with pytest.raises(ImageError, match=r"p1\.png is smaller than a patch \(got 32x32, .* 36x36"):
        _sampler(store, lr_patch=18)
    sampler = PatchSampler(store, lr_patch=18, batch=200, seed=0, draw=draw, skip_small=True)
    assert [file.name for file in sampler.skipped] == ["p1.png"]
    assert {_place(store, lr)[0] for lr in sampler.sample(0)[0]} == {0, 2}


def test_when_all_images_are_too_small_skipping_does_not_help(store: ImageStore) -> None:
    with pytest.raises(ImageError, match="3 of 3 images are too small"):
        PatchSampler(store, lr_patch=40, batch=1, seed=0, skip_small=True)


def test_a_patch_as_large_as_the_image_fits(tmp_path: Path) -> None:
    save_image(tmp_path / "in" / "a.png", noise_image(12, 12))
    made = prepare([tmp_path / "in"], 2, tmp_path / "cache")
    lr_nhwc, _ = PatchSampler(made, lr_patch=6, batch=3, seed=0).sample(0)
    assert {_place(made, lr)[1:3] for lr in lr_nhwc} == {(0, 0)}


@pytest.mark.parametrize(("lr_patch", "batch"), [(0, 4), (4, 0)])
def test_empty_batches_are_refused(store: ImageStore, lr_patch: int, batch: int) -> None:
    with pytest.raises(SizeError, match="allowed 1"):
        PatchSampler(store, lr_patch=lr_patch, batch=batch, seed=0)
