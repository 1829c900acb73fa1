"""Training data: what the cache holds and when it is made anew, and what the sampler draws."""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from edgesr.errors import OutputError, PictureError, SizeError
from edgesr.imresize import imresize
from edgesr.train.data import (
    PatchSampler,
    PictureStore,
    prepare,
    to_network_range,
    validation_pairs,
)

_SCALE = 2
_SIZES = [(40, 61), (32, 32), (77, 50)]  # height and width; some are no multiples of the scale


def _noise(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def _save(path: Path, pixels: NDArray[np.uint8]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of three PNGs of noise, one of them a folder deeper."""
    folder = tmp_path / "pictures"
    for index, size in enumerate(_SIZES):
        inner = folder / "inner" if index == 1 else folder
        _save(inner / f"p{index}.png", _noise(*size, seed=index))
    return folder


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> PictureStore:
    folder = tmp_path_factory.mktemp("pictures")
    for index, size in enumerate(_SIZES):
        _save(folder / f"p{index}.png", _noise(*size, seed=index))
    return prepare([folder], _SCALE, tmp_path_factory.mktemp("cache"))


def _steps() -> tuple[list[tuple[int, int]], Callable[[str, int, int], None]]:
    """A list, and a progress callback that fills it: empty when nothing was decoded."""
    calls: list[tuple[int, int]] = []
    return calls, lambda _stage, done, total: calls.append((done, total))


def _decoded_again(folders: Sequence[Path], cache: Path, scale: int = _SCALE) -> bool:
    calls, progress = _steps()
    prepare(folders, scale, cache, progress=progress)
    return bool(calls)


def _symmetries(patch: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    turned = [np.rot90(patch, quarter) for quarter in range(4)]
    return turned + [np.fliplr(each) for each in turned]


# What is decoded


def test_the_store_holds_the_cropped_pictures_and_their_lr(pictures: Path, tmp_path: Path) -> None:
    made = prepare([pictures], _SCALE, tmp_path / "new" / "cache")
    assert [file.name for file in made.files] == ["p1.png", "p0.png", "p2.png"]
    for index, file in enumerate(made.files):
        with Image.open(file) as image:
            whole = np.asarray(image)
        height, width = (side - side % _SCALE for side in whole.shape[:2])
        np.testing.assert_array_equal(made.hr(index), whole[:height, :width])
        np.testing.assert_array_equal(
            made.lr(index), imresize(whole[:height, :width].copy(), 1 / _SCALE)
        )
        assert made.lr_sizes[index].tolist() == [height // _SCALE, width // _SCALE]


@pytest.mark.parametrize(
    ("suffix", "mode"),
    [
        ("bmp", "RGB"),
        ("BMP", "L"),
        ("png", "L"),
        ("png", "P"),
        ("png", "I;16"),
        ("jpg", "CMYK"),
        ("JPEG", "RGB"),
        ("webp", "RGB"),
    ],
)
def test_every_kind_of_picture_becomes_rgb(tmp_path: Path, suffix: str, mode: str) -> None:
    grey = np.full((8, 10), 100, np.uint8)
    image = Image.fromarray(grey.astype(np.uint16) * 257) if mode == "I;16" else (
        Image.fromarray(grey).convert(mode)
    )  # fmt: skip
    (tmp_path / "in").mkdir()
    image.save(tmp_path / "in" / f"a.{suffix}")
    made = prepare([tmp_path / "in"], 2, tmp_path / "cache")
    assert made.hr(0).shape == (8, 10, 3)
    assert np.abs(made.hr(0).astype(int) - 100).max() <= 2


def test_an_opaque_alpha_channel_is_dropped_and_a_transparent_one_refused(tmp_path: Path) -> None:
    rgba = np.dstack([_noise(8, 8), np.full((8, 8), 255, np.uint8)])
    _save(tmp_path / "opaque" / "a.png", rgba)
    np.testing.assert_array_equal(
        prepare([tmp_path / "opaque"], 2, tmp_path / "cache").hr(0), rgba[..., :3]
    )
    rgba[3, 3, 3] = 254
    _save(tmp_path / "clear" / "b.png", rgba)
    with pytest.raises(PictureError, match=r"b\.png is transparent"):
        prepare([tmp_path / "clear"], 2, tmp_path / "cache")


def test_hidden_files_and_other_files_are_no_pictures(pictures: Path, tmp_path: Path) -> None:
    (pictures / "._p0.png").write_bytes(b"resource fork")
    (pictures / "readme.txt").write_text("hello")
    assert len(prepare([pictures], _SCALE, tmp_path / "cache")) == 3


def test_a_file_met_twice_counts_once(pictures: Path, tmp_path: Path) -> None:
    made = prepare([pictures, pictures / "inner" / ".."], _SCALE, tmp_path / "cache")
    assert sorted(file.name for file in made.files) == ["p0.png", "p1.png", "p2.png"]


def test_progress_is_told_per_picture(pictures: Path, tmp_path: Path) -> None:
    calls, progress = _steps()
    prepare([pictures], _SCALE, tmp_path, progress=progress)
    assert calls == [(0, 3), (1, 3), (2, 3), (3, 3)]


# When it is decoded


def test_the_cache_is_used_again(pictures: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    assert _decoded_again([pictures], cache)
    assert not _decoded_again([pictures], cache)
    before = prepare([pictures], _SCALE, cache)
    moved = pictures.rename(tmp_path / "moved")
    assert not _decoded_again([moved], cache), "names count from the folder on"
    after = prepare([moved], _SCALE, cache)
    np.testing.assert_array_equal(before.pixels_u8, after.pixels_u8)
    assert after.files[0].is_relative_to(moved)


def _touch(folder: Path) -> None:
    os.utime(folder / "p0.png", ns=(1, 1))


def _resave(folder: Path) -> None:
    path = folder / "p0.png"
    status = path.stat()
    _save(path, _noise(20, 20))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def _rename(folder: Path) -> None:
    (folder / "p0.png").rename(folder / "p00.png")


def _add(folder: Path) -> None:
    _save(folder / "p3.png", _noise(20, 20))


def _remove(folder: Path) -> None:
    (folder / "p0.png").unlink()


@pytest.mark.parametrize("change", [_touch, _resave, _rename, _add, _remove])
def test_a_changed_folder_is_decoded_anew(
    pictures: Path, tmp_path: Path, change: Callable[[Path], None]
) -> None:
    cache = tmp_path / "cache"
    prepare([pictures], _SCALE, cache)
    change(pictures)
    assert _decoded_again([pictures], cache)
    assert not _decoded_again([pictures], cache)


def test_scales_do_not_share_a_file(pictures: Path, tmp_path: Path) -> None:
    prepare([pictures], 2, tmp_path / "cache")
    assert prepare([pictures], 3, tmp_path / "cache").lr(1).shape == (13, 20, 3)


def _negative(sizes: bytes) -> bytes:
    return (-np.frombuffer(sizes, "<i8")).tobytes()


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda content: b"", id="empty"),
        pytest.param(lambda content: content[:5], id="cut to less than its sizes"),
        pytest.param(lambda content: content[:-100], id="cut at the end"),
        pytest.param(lambda content: content[1:], id="cut at the beginning"),
        pytest.param(lambda content: content + b"\0", id="too long"),
        pytest.param(lambda content: content[:9] + b"\0" + content[9:], id="too long inside"),
        pytest.param(lambda content: content[:-48] + _negative(content[-48:]), id="negative sizes"),
        pytest.param(lambda content: bytes(len(content)), id="zeros"),
    ],
)
def test_a_broken_cache_file_is_replaced(
    pictures: Path, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    cache = tmp_path / "cache"
    made = prepare([pictures], _SCALE, cache)
    pixels_u8, lr_sizes = made.pixels_u8.copy(), made.lr_sizes
    (file,) = cache.glob("*.pictures")
    content = damage(file.read_bytes())
    file.unlink()
    file.write_bytes(content)
    again = prepare([pictures], _SCALE, cache)
    np.testing.assert_array_equal(again.lr_sizes, lr_sizes)
    np.testing.assert_array_equal(again.pixels_u8, pixels_u8)
    assert not _decoded_again([pictures], cache)


def test_a_failed_decode_leaves_no_file(pictures: Path, tmp_path: Path) -> None:
    (pictures / "z.jpg").write_bytes(b"\xff\xd8\xff no picture")
    with pytest.raises(PictureError, match=r"z\.jpg"):
        prepare([pictures], _SCALE, tmp_path / "cache")
    assert [file.suffix for file in (tmp_path / "cache").iterdir()] == [".lock"]


_PREPARE = """
import hashlib, sys
from pathlib import Path
from edgesr.train.data import prepare
calls = []
store = prepare([Path(sys.argv[1])], 2, Path(sys.argv[2]), progress=lambda *a: calls.append(a))
print(len(calls), hashlib.sha256(store.pixels_u8).hexdigest())
"""


def test_of_two_processes_at_once_one_decodes_and_both_see_the_same(tmp_path: Path) -> None:
    for index in range(30):
        _save(tmp_path / "in" / f"{index}.png", _noise(200, 300, seed=index))
    argv = [sys.executable, "-c", _PREPARE, str(tmp_path / "in"), str(tmp_path / "cache")]
    running = [
        subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])
        for _ in range(2)
    ]
    said = [process.communicate(timeout=120)[0].split() for process in running]
    assert [process.returncode for process in running] == [0, 0]
    assert sorted(int(calls) for calls, _ in said) == [0, 31]
    assert said[0][1] == said[1][1]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        pytest.param("a.png", b"text", r"a\.png", id="no picture"),
        pytest.param("a.bmp", b"BMtext", r"cannot read .*a\.bmp", id="damaged bmp"),
        pytest.param("a.webp", b"", r"a\.webp", id="empty file"),
    ],
)
def test_an_unreadable_picture_is_named(
    tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / name).write_bytes(content)
    with pytest.raises(PictureError, match=words):
        prepare([tmp_path / "in"], 2, tmp_path / "cache")


def test_a_picture_smaller_than_the_scale_is_named(tmp_path: Path) -> None:
    _save(tmp_path / "in" / "thin.png", _noise(3, 90))
    with pytest.raises(PictureError, match=r"thin\.png is too small: got 3x90"):
        prepare([tmp_path / "in"], 4, tmp_path / "cache")


def test_nothing_to_train_on_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for folders, words in (
        ([], "no folders"),
        ([tmp_path / "empty"], "empty holds no pictures"),
        ([tmp_path / "missing"], "missing is not a folder"),
    ):
        with pytest.raises(PictureError, match=words):
            prepare(folders, 2, tmp_path / "cache")


def test_a_scale_of_one_is_refused(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(SizeError, match="got scale 1, allowed 2"):
        prepare([pictures], 1, tmp_path / "cache")


def test_a_cache_that_cannot_be_written_is_one_clear_line(pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        prepare([pictures], 2, tmp_path / "file" / "cache")


# What is drawn


def _sampler(
    store: PictureStore, batch: int = 16, seed: int = 0, lr_patch: int = 6
) -> PatchSampler:
    return PatchSampler(store, lr_patch=lr_patch, batch=batch, seed=seed)


def _place(store: PictureStore, lr_patch: NDArray[np.uint8]) -> tuple[int, int, int, int]:
    """Picture, top, left and symmetry that a patch was cut at; noise makes it the only one."""
    found = []
    for symmetry, turned in enumerate(_symmetries(lr_patch)):
        for picture in range(len(store)):
            lr = store.lr(picture)
            side = len(turned)
            if side > min(lr.shape[:2]):
                continue
            windows = np.lib.stride_tricks.sliding_window_view(lr, (side, side, 3))[:, :, 0]
            corners = np.argwhere((windows[:, :, 0, 0] == turned[0, 0]).all(axis=-1))
            found += [
                (picture, int(top), int(left), symmetry)
                for top, left in corners
                if np.array_equal(windows[top, left], turned)
            ]
    assert len(found) == 1, f"the patch lies at {found}"
    return found[0]


@given(seed=st.integers(0, 2**63), step=st.integers(0, 2**40), lr_patch=st.integers(3, 16))
def test_lr_and_hr_are_cut_at_the_same_place_and_turned_alike(
    store: PictureStore, seed: int, step: int, lr_patch: int
) -> None:
    lr_nhwc, hr_nhwc = _sampler(store, 4, seed, lr_patch).sample(step)
    assert lr_nhwc.shape == (4, lr_patch, lr_patch, 3)
    assert hr_nhwc.shape == (4, _SCALE * lr_patch, _SCALE * lr_patch, 3)
    for lr, hr in zip(lr_nhwc, hr_nhwc, strict=True):
        picture, top, left, symmetry = _place(store, lr)
        y, x, side = _SCALE * top, _SCALE * left, _SCALE * lr_patch
        expected = store.hr(picture)[y : y + side, x : x + side]
        np.testing.assert_array_equal(_symmetries(hr)[symmetry], expected)


@given(seed=st.integers(0, 2**63), step=st.integers(0, 2**40))
def test_a_batch_depends_on_seed_and_step_alone(store: PictureStore, seed: int, step: int) -> None:
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
    store: PictureStore, shares: list[slice]
) -> None:
    sampler = _sampler(store)
    parts = [sampler.sample(3, rows) for rows in shares]
    for kind, whole in enumerate(sampler.sample(3)):
        np.testing.assert_array_equal(np.concatenate([part[kind] for part in parts]), whole)


def test_a_share_may_be_every_second_patch(store: PictureStore) -> None:
    sampler = _sampler(store)
    np.testing.assert_array_equal(
        sampler.sample(3, slice(1, None, 2))[0], sampler.sample(3)[0][1::2]
    )


def test_every_position_and_every_symmetry_is_equally_likely(store: PictureStore) -> None:
    """Few positions, 119, 9 and 300, and many draws."""
    lr_patch, batch = 14, 2000
    lr_nhwc, _ = _sampler(store, batch, lr_patch=lr_patch).sample(0)
    places = np.array([_place(store, lr) for lr in lr_nhwc])
    positions = (store.lr_sizes - lr_patch + 1).prod(axis=1)
    for name, column, shares in (
        ("picture", 0, positions / positions.sum()),
        ("symmetry", 3, np.full(8, 1 / 8)),
    ):
        counts = np.bincount(places[:, column], minlength=len(shares))
        deviations = (counts - batch * shares) / np.sqrt(batch * shares * (1 - shares))
        assert np.abs(deviations).max() < 4, f"{name}: {counts} of {batch}, wanted {shares}"
    seen = {tuple(place) for place in places[:, :3].tolist()}
    drawn = np.bincount([picture for picture, _, _ in seen], minlength=3)
    assert (drawn > 0.9 * positions).all(), f"{drawn} of {positions} positions were drawn"


def test_a_picture_smaller_than_a_patch_is_named_or_skipped(store: PictureStore) -> None:
    with pytest.raises(
        PictureError, match=r"p1\.png is smaller than a patch \(got 32x32, .* 36x36"
    ):
        _sampler(store, lr_patch=18)
    sampler = PatchSampler(store, lr_patch=18, batch=200, seed=0, skip_small=True)
    assert [file.name for file in sampler.skipped] == ["p1.png"]
    assert {_place(store, lr)[0] for lr in sampler.sample(0)[0]} == {0, 2}


def test_when_all_pictures_are_too_small_skipping_does_not_help(store: PictureStore) -> None:
    with pytest.raises(PictureError, match="3 of 3 pictures are too small"):
        PatchSampler(store, lr_patch=40, batch=1, seed=0, skip_small=True)


def test_a_patch_as_large_as_the_picture_fits(tmp_path: Path) -> None:
    _save(tmp_path / "in" / "a.png", _noise(12, 12))
    made = prepare([tmp_path / "in"], 2, tmp_path / "cache")
    lr_nhwc, _ = PatchSampler(made, lr_patch=6, batch=3, seed=0).sample(0)
    assert {_place(made, lr)[1:3] for lr in lr_nhwc} == {(0, 0)}


@pytest.mark.parametrize(("lr_patch", "batch"), [(0, 4), (4, 0)])
def test_empty_batches_are_refused(store: PictureStore, lr_patch: int, batch: int) -> None:
    with pytest.raises(SizeError, match="allowed 1"):
        PatchSampler(store, lr_patch=lr_patch, batch=batch, seed=0)


# What is measured on


def _pair_folder(tmp_path: Path) -> Path:
    for name in ("b", "a"):
        hr = _noise(24, 32, seed=ord(name))
        _save(tmp_path / "set" / "HR" / f"{name}.png", hr)
        _save(tmp_path / "set" / "LR" / f"{name}.png", imresize(hr, 0.5))
    return tmp_path / "set"


def test_pairs_come_in_the_order_of_their_names(tmp_path: Path) -> None:
    pairs = validation_pairs(_pair_folder(tmp_path), 2)
    assert [pair.name for pair in pairs] == ["a", "b"]
    for pair in pairs:
        assert pair.hr_hwc_u8.shape == (24, 32, 3)
        np.testing.assert_array_equal(pair.lr_hwc_u8, imresize(pair.hr_hwc_u8, 0.5))


def test_a_folder_of_hr_alone_gets_its_lr_made(tmp_path: Path) -> None:
    hr = _noise(25, 33)
    _save(tmp_path / "a.png", hr)
    (pair,) = validation_pairs(tmp_path, 2)
    np.testing.assert_array_equal(pair.hr_hwc_u8, hr[:24, :32])
    np.testing.assert_array_equal(pair.lr_hwc_u8, imresize(hr[:24, :32].copy(), 0.5))


def test_the_published_sets_match(shared: Path) -> None:
    pairs = validation_pairs(shared / "data" / "Set14" / "x3", 3)
    assert len(pairs) == 14
    assert pairs[2].hr_hwc_u8.shape[2] == 3, "img_003 is grey"
    with pytest.raises(PictureError, match=r"Set14 holds pictures for several .*name .*x3"):
        validation_pairs(shared / "data" / "Set14", 3)


def _without_lr(folder: Path) -> None:
    (folder / "LR" / "a.png").unlink()


def _without_hr(folder: Path) -> None:
    (folder / "HR" / "b.png").unlink()


def _other_size(folder: Path) -> None:
    _save(folder / "LR" / "b.png", _noise(12, 15))


def _no_lr_folder(folder: Path) -> None:
    (folder / "LR").rename(folder / "low")


def _two_of_a_name(folder: Path) -> None:
    _save(folder / "HR" / "a.bmp", _noise(24, 32))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param(_without_lr, "LR holds no picture named a", id="one less in LR"),
        pytest.param(_without_hr, "HR holds no picture named b", id="one less in HR"),
        pytest.param(_other_size, r"b\.png: got 24x32 pixels for 12x15 in LR", id="size"),
        pytest.param(_no_lr_folder, "LR is not a folder", id="no folder LR"),
        pytest.param(_two_of_a_name, "HR holds a twice", id="one name twice"),
    ],
)
def test_hr_and_lr_that_do_not_match_are_named(
    tmp_path: Path, change: Callable[[Path], None], words: str
) -> None:
    folder = _pair_folder(tmp_path)
    change(folder)
    with pytest.raises(PictureError, match=words):
        validation_pairs(folder, 2)


def test_another_scale_than_the_folders_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match="allowed 36x48 at scale 3"):
        validation_pairs(_pair_folder(tmp_path), 3)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("value_range", [1.0, 255.0])
def test_the_network_gets_nchw_in_its_own_range(tmp_path: Path, value_range: float) -> None:
    _save(tmp_path / "a.png", _noise(8, 12))
    (pair,) = validation_pairs(tmp_path, 2)
    batch_nchw = to_network_range(pair.hr_hwc_u8[None], value_range)
    assert batch_nchw.shape == (1, 3, 8, 12)
    assert batch_nchw.is_contiguous()
    expected = pair.hr_hwc_u8.transpose(2, 0, 1)[None] * (value_range / 255)
    np.testing.assert_allclose(batch_nchw.numpy(), expected, rtol=1e-6)
    assert str(batch_nchw.dtype) == "torch.float32"
