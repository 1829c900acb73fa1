"""Training data: what the cache holds and when it is made anew, and what the sampler draws."""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgesr.errors import ImageError, OutputError, SizeError
from edgesr.images.imresize import imresize
from edgesr.training.data.store import prepare
from edgesr.training.run import hold_out
from helpers.images import SCALE, SIZES, noise_image, save_image


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder of three PNGs of noise, one of them a folder deeper."""
    folder = tmp_path / "images"
    for index, size in enumerate(SIZES):
        inner = folder / "inner" if index == 1 else folder
        save_image(inner / f"p{index}.png", noise_image(*size, seed=index))
    return folder


def _steps() -> tuple[list[tuple[int, int]], Callable[[str, int, int], None]]:
    """A list, and a progress callback that fills it: empty when nothing was decoded."""
    calls: list[tuple[int, int]] = []
    return calls, lambda _stage, done, total: calls.append((done, total))


def _decoded_again(folders: Sequence[Path], cache: Path, scale: int = SCALE) -> bool:
    calls, progress = _steps()
    prepare(folders, scale, cache, progress=progress)
    return bool(calls)


# What is decoded


def test_the_store_holds_the_cropped_images_and_their_lr(images: Path, tmp_path: Path) -> None:
    made = prepare([images], SCALE, tmp_path / "new" / "cache")
    assert [file.name for file in made.files] == ["p1.png", "p0.png", "p2.png"]
    for index, file in enumerate(made.files):
        with Image.open(file) as image:
            whole = np.asarray(image)
        height, width = (side - side % SCALE for side in whole.shape[:2])
        np.testing.assert_array_equal(made.hr(index), whole[:height, :width])
        np.testing.assert_array_equal(
            made.lr(index), imresize(whole[:height, :width].copy(), 1 / SCALE)
        )
        assert made.lr_sizes[index].tolist() == [height // SCALE, width // SCALE]


def test_reductions_lie_behind_their_image_and_are_matlabs(images: Path, tmp_path: Path) -> None:
    made = prepare([images], SCALE, tmp_path / "cache", reductions=(0.7, 0.5))
    assert (len(made), made.sizes_of_each) == (9, 3)
    assert [file.name for file in made.files[::3]] == ["p1.png", "p0.png", "p2.png"]
    for index, file in enumerate(made.files):
        with Image.open(file) as image:
            whole = np.asarray(image).copy()
        factor = (1.0, 0.7, 0.5)[index % 3]
        hr_hwc_u8 = imresize(whole, factor) if factor < 1 else whole
        height, width = (side - side % SCALE for side in hr_hwc_u8.shape[:2])
        hr_hwc_u8 = hr_hwc_u8[:height, :width].copy()
        np.testing.assert_array_equal(made.hr(index), hr_hwc_u8)
        np.testing.assert_array_equal(made.lr(index), imresize(hr_hwc_u8, 1 / SCALE))


def test_what_is_held_out_is_held_out_in_all_its_sizes(images: Path, tmp_path: Path) -> None:
    made = prepare([images], SCALE, tmp_path / "cache", reductions=(0.7, 0.5))
    kept, (held,) = hold_out(made, 1)
    assert {file.name for file in kept.files} == {"p0.png", "p1.png"}
    assert len(kept) == len(kept.lr_sizes) == 6
    np.testing.assert_array_equal(kept.hr(5), made.hr(5))
    assert kept.pixels_u8.size == sum(kept.hr(i).size + kept.lr(i).size for i in range(6))
    assert held.name == "p2"
    np.testing.assert_array_equal(held.hr_hwc_u8, made.hr(6))


def test_other_reductions_are_decoded_again(images: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    for reductions in ((), (0.5,), (0.5, 0.5), (0.25,)):
        calls, progress = _steps()
        prepare([images], SCALE, cache, reductions=reductions, progress=progress)
        assert calls, reductions
        made = prepare([images], SCALE, cache, reductions=reductions, progress=progress)
        assert len(calls) == 4, "the second time it is there"
        assert len(made) == 3 * (1 + len(reductions))


def test_a_reduction_that_leaves_nothing_is_named(tmp_path: Path) -> None:
    save_image(tmp_path / "in" / "a.png", noise_image(20, 20))
    with pytest.raises(ImageError, match=r"a\.png is too small: got 1x1 .*less than to 0\.05"):
        prepare([tmp_path / "in"], 2, tmp_path / "cache", reductions=(0.05,))
    assert not list((tmp_path / "cache").glob("*.images"))


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
def test_every_kind_of_image_becomes_rgb(tmp_path: Path, suffix: str, mode: str) -> None:
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
    rgba = np.dstack([noise_image(8, 8), np.full((8, 8), 255, np.uint8)])
    save_image(tmp_path / "opaque" / "a.png", rgba)
    np.testing.assert_array_equal(
        prepare([tmp_path / "opaque"], 2, tmp_path / "cache").hr(0), rgba[..., :3]
    )
    rgba[3, 3, 3] = 254
    save_image(tmp_path / "clear" / "b.png", rgba)
    with pytest.raises(ImageError, match=r"b\.png is transparent"):
        prepare([tmp_path / "clear"], 2, tmp_path / "cache")


def test_hidden_files_and_other_files_are_no_images(images: Path, tmp_path: Path) -> None:
    (images / "._p0.png").write_bytes(b"resource fork")
    (images / "readme.txt").write_text("hello")
    assert len(prepare([images], SCALE, tmp_path / "cache")) == 3


def test_a_file_met_twice_counts_once(images: Path, tmp_path: Path) -> None:
    made = prepare([images, images / "inner" / ".."], SCALE, tmp_path / "cache")
    assert sorted(file.name for file in made.files) == ["p0.png", "p1.png", "p2.png"]


def test_progress_is_told_per_image(images: Path, tmp_path: Path) -> None:
    calls, progress = _steps()
    prepare([images], SCALE, tmp_path, progress=progress)
    assert calls == [(0, 3), (1, 3), (2, 3), (3, 3)]


# When it is decoded


def test_the_cache_is_used_again(images: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    assert _decoded_again([images], cache)
    assert not _decoded_again([images], cache)
    before = prepare([images], SCALE, cache)
    moved = images.rename(tmp_path / "moved")
    assert not _decoded_again([moved], cache), "names count from the folder on"
    after = prepare([moved], SCALE, cache)
    np.testing.assert_array_equal(before.pixels_u8, after.pixels_u8)
    assert after.files[0].is_relative_to(moved)


def _touch(folder: Path) -> None:
    os.utime(folder / "p0.png", ns=(1, 1))


def _resave(folder: Path) -> None:
    path = folder / "p0.png"
    status = path.stat()
    save_image(path, noise_image(20, 20))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def _rename(folder: Path) -> None:
    (folder / "p0.png").rename(folder / "p00.png")


def _add(folder: Path) -> None:
    save_image(folder / "p3.png", noise_image(20, 20))


def _remove(folder: Path) -> None:
    (folder / "p0.png").unlink()


@pytest.mark.parametrize("change", [_touch, _resave, _rename, _add, _remove])
def test_a_changed_folder_is_decoded_anew(
    images: Path, tmp_path: Path, change: Callable[[Path], None]
) -> None:
    cache = tmp_path / "cache"
    prepare([images], SCALE, cache)
    change(images)
    assert _decoded_again([images], cache)
    assert not _decoded_again([images], cache)


def test_scales_do_not_share_a_file(images: Path, tmp_path: Path) -> None:
    prepare([images], 2, tmp_path / "cache")
    assert prepare([images], 3, tmp_path / "cache").lr(1).shape == (13, 20, 3)


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
    images: Path, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    cache = tmp_path / "cache"
    made = prepare([images], SCALE, cache)
    pixels_u8, lr_sizes = made.pixels_u8.copy(), made.lr_sizes
    (file,) = cache.glob("*.images")
    content = damage(file.read_bytes())
    file.unlink()
    file.write_bytes(content)
    again = prepare([images], SCALE, cache)
    np.testing.assert_array_equal(again.lr_sizes, lr_sizes)
    np.testing.assert_array_equal(again.pixels_u8, pixels_u8)
    assert not _decoded_again([images], cache)


def test_a_failed_decode_leaves_no_file(images: Path, tmp_path: Path) -> None:
    (images / "z.jpg").write_bytes(b"\xff\xd8\xff no image")
    with pytest.raises(ImageError, match=r"z\.jpg"):
        prepare([images], SCALE, tmp_path / "cache")
    assert [file.suffix for file in (tmp_path / "cache").iterdir()] == [".lock"]


_PREPARE = """
import hashlib, sys
from pathlib import Path
from edgesr.training.data.store import prepare
calls = []
store = prepare([Path(sys.argv[1])], 2, Path(sys.argv[2]), progress=lambda *a: calls.append(a))
print(len(calls), hashlib.sha256(store.pixels_u8).hexdigest())
"""


def test_of_two_processes_at_once_one_decodes_and_both_see_the_same(tmp_path: Path) -> None:
    for index in range(30):
        save_image(tmp_path / "in" / f"{index}.png", noise_image(200, 300, seed=index))
    argv = [sys.executable, "-c", _PREPARE, str(tmp_path / "in"), str(tmp_path / "cache")]
    running = [
        subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3])
        for _ in range(2)
    ]
    said = [process.communicate(timeout=120)[0].split() for process in running]
    assert [process.returncode for process in running] == [0, 0]
    assert sorted(int(calls) for calls, _ in said) == [0, 31]
    assert said[0][1] == said[1][1]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        pytest.param("a.png", b"text", r"a\.png", id="no image"),
        pytest.param("a.bmp", b"BMtext", r"a\.bmp is damaged", id="damaged bmp"),
        pytest.param("a.webp", b"", r"a\.webp", id="empty file"),
    ],
)
def test_an_unreadable_image_is_named(
    tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / name).write_bytes(content)
    with pytest.raises(ImageError, match=words):
        prepare([tmp_path / "in"], 2, tmp_path / "cache")


def test_a_image_smaller_than_the_scale_is_named(tmp_path: Path) -> None:
    save_image(tmp_path / "in" / "thin.png", noise_image(3, 90))
    with pytest.raises(ImageError, match=r"thin\.png is too small: got 3x90"):
        prepare([tmp_path / "in"], 4, tmp_path / "cache")


def test_nothing_to_train_on_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for folders, words in (
        ([], "no folders"),
        ([tmp_path / "empty"], "empty holds no images"),
        ([tmp_path / "missing"], "missing is not a folder"),
    ):
        with pytest.raises(ImageError, match=words):
            prepare(folders, 2, tmp_path / "cache")


def test_a_scale_of_one_is_refused(images: Path, tmp_path: Path) -> None:
    with pytest.raises(SizeError, match="got scale 1, allowed 2"):
        prepare([images], 1, tmp_path / "cache")


def test_a_cache_that_cannot_be_written_is_one_clear_line(images: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        prepare([images], 2, tmp_path / "file" / "cache")
