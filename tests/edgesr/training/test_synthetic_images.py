"""Synthetic images for training: the same ones for the same numbers, of every kind."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgesr.errors import OutputError, SizeError
from edgesr.training.synthetic_images import KINDS, draw_image, write_drawings

BLOCKS = list(KINDS).index("blocks")


@pytest.mark.parametrize("index", range(len(KINDS)), ids=KINDS)
@pytest.mark.parametrize("side", [16, 97], ids=["smallest", "odd"])
def test_a_image_is_square_and_the_same_at_every_call(index: int, side: int) -> None:
    image_hwc_u8 = draw_image(index, side)
    assert image_hwc_u8.shape == (side, side, 3)
    assert image_hwc_u8.dtype == np.uint8
    np.testing.assert_array_equal(draw_image(index, side), image_hwc_u8)


@pytest.mark.parametrize("kind", range(len(KINDS)), ids=KINDS)
def test_of_every_kind_there_is_something_to_see(kind: int) -> None:
    images = [draw_image(kind + len(KINDS) * turn, 160) for turn in range(4)]
    changes = [np.abs(np.diff(image.astype(int), axis=1)).max() for image in images]
    assert max(changes) > 40, f"steps between neighbours: {changes}"


def test_another_seed_or_number_draws_another_image() -> None:
    first = draw_image(0, 64)
    assert (draw_image(0, 64, seed=1) != first).any()
    assert (draw_image(len(KINDS), 64) != first).any()


def test_blocks_are_stairs_of_two_pixels() -> None:
    image_hwc_u8 = draw_image(BLOCKS, 64)
    small_hwc_u8 = image_hwc_u8[::2, ::2]
    np.testing.assert_array_equal(small_hwc_u8.repeat(2, 0).repeat(2, 1), image_hwc_u8)


def test_some_are_drawn_with_stairs_and_some_smoothly() -> None:
    levels = [len(np.unique(draw_image(len(KINDS) * turn, 64)[..., 0])) for turn in range(12)]
    assert min(levels) < 16 < max(levels), f"levels of red in twelve images of lines: {levels}"


@pytest.mark.parametrize(
    ("index", "side", "seed", "told"),
    [
        (-1, 64, 0, "got image -1, allowed 0 to 4294967295"),
        (0, 15, 0, "got images of 15x15, allowed 16x16 to 2048x2048"),
        (0, 2049, 0, "got images of 2049x2049, allowed 16x16 to 2048x2048"),
        (0, 64, 2**32, "got seed 4294967296, allowed 0 to 4294967295"),
    ],
    ids=["number", "small", "large", "seed"],
)
def test_numbers_out_of_range_are_refused(index: int, side: int, seed: int, told: str) -> None:
    with pytest.raises(SizeError, match=told):
        draw_image(index, side, seed)


def test_images_are_written_as_they_are_drawn(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    write_drawings(
        tmp_path / "drawn", 6, 32, 3, progress=lambda _, done, all_: told.append((done, all_))
    )
    files = sorted((tmp_path / "drawn").iterdir())
    assert [file.name for file in files] == [f"{index:04}.png" for index in range(6)]
    for index, file in enumerate(files):
        np.testing.assert_array_equal(np.asarray(Image.open(file)), draw_image(index, 32, 3))
    assert told == [(done, 6) for done in range(7)]


def test_no_images_at_all_are_refused_and_nothing_is_made(tmp_path: Path) -> None:
    with pytest.raises(SizeError, match="got 0 images, allowed 1 and more"):
        write_drawings(tmp_path / "drawn", 0, 32)
    assert not (tmp_path / "drawn").exists()


def test_a_file_in_the_place_of_the_folder_is_one_clear_line(tmp_path: Path) -> None:
    place = tmp_path / "drawn"
    place.write_text("mine")
    with pytest.raises(OutputError, match="cannot make"):
        write_drawings(place, 1, 32)


@pytest.mark.parametrize(
    ("options", "code", "told"),
    [
        (("--images", "2", "--side", "16"), 0, "2 images of 16x16"),
        (("--side", "3"), 1, "error: got images of 3x3"),
    ],
    ids=["drawn", "too small"],
)
def test_the_command_draws_or_says_why_not(
    tmp_path: Path, options: tuple[str, ...], code: int, told: str
) -> None:
    command = [
        sys.executable,
        "-m",
        "edgesr.training.synthetic_images",
        str(tmp_path / "drawn"),
        *options,
    ]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == code, run.stderr
    assert told in run.stdout + run.stderr
    files = list(tmp_path.rglob("*.png"))
    assert len(files) == (2 if code == 0 else 0)
    assert (tmp_path / "drawn").exists() == (code == 0)
