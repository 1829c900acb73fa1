"""`edgesr upscale --factor`, `--to`, `--max-side`: any size with a network of any scale."""

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import edgesr
from edgesr.images.imresize import imresize
from edgesr.tflite.shape import ModelShape
from helpers.commands import files_in
from helpers.images import noise_image
from helpers.upscale_command import NET, Upscale


def _exact(pixels: NDArray[np.uint8], runs: int) -> NDArray[np.uint8]:
    """What the network makes of an image, run so often."""
    for _ in range(runs):
        exact = NET.expected(pixels, ModelShape(0, 0, NET.scale)).clip(0, 1) * 255
        pixels = np.floor(exact + 0.5).astype(np.uint8)
    return pixels


@pytest.mark.parametrize(
    ("words", "name", "size", "runs"),
    [
        (("--factor", "3"), "a_x3.png", (90, 120), 2),
        (("--factor", "1.5"), "a_x1.5.png", (45, 60), 1),
        (("--factor", "2"), "a_x2.png", (60, 80), 1),
        (("--to", "50x500"), "a_50x500.png", (50, 67), 1),
        (("--max-side", "70"), "a_max70.png", (52, 70), 1),
        (("--max-side", "700"), "a_max700.png", (60, 80), 1),
        (("--factor", "3", "--max-side", "100"), "a_x3-max100.png", (75, 100), 2),
        (("--to", "20x20"), "a_20x20.png", (15, 20), 0),
    ],
    ids=str,
)
def test_results_have_the_size_that_was_asked_for(
    folder: Path, upscale: Upscale, words: tuple[str, ...], name: str, size: tuple[int, int],
    runs: int,
) -> None:  # fmt: skip
    ran = upscale(folder / "a.png", *words, "--json")
    assert ran.status == 0, ran.err
    (done,) = json.loads(ran.out)["images"]
    assert (done["output_size"]["height"], done["output_size"]["width"]) == size
    assert ("did not run" in ran.err) == (runs == 0)
    with Image.open(folder / name) as image:
        got = np.asarray(image).astype(int)
    wanted = imresize(_exact(noise_image(), runs), size)
    # Where the network runs twice, a value that is rounded the other way goes through it again.
    assert np.abs(got - wanted).max() <= runs


def test_a_crop_fills_the_size_with_the_middle(folder: Path, upscale: Upscale) -> None:
    assert upscale(folder / "a.png", "--to", "50x50", "--crop").status == 0
    with Image.open(folder / "a_50x50.png") as image:
        got = np.asarray(image).astype(int)
    wanted = imresize(_exact(noise_image(), 1), (50, 67))[:, 8:58]
    assert np.abs(got - wanted).max() <= 1


def test_a_crop_needs_a_size(folder: Path, upscale: Upscale) -> None:
    upscale(folder / "a.png", "--crop").is_wrong_usage("--to HxW")


def test_a_result_of_too_many_pixels_is_refused(folder: Path, upscale: Upscale) -> None:
    ran = upscale(folder / "a.png", "--factor", "9", "--max-pixels", "9000")
    ran.fails("would become 270x360", "--max-pixels")
    assert files_in(folder) == ["a.png"]


def test_the_library_does_the_same(folder: Path, small_tflite: Path) -> None:
    done = edgesr.upscale(folder / "a.png", model=small_tflite, size=(50, 50), crop=True)
    assert (done.output_size, done.job.target.name) == ((50, 50), "a_50x50.png")
    done = edgesr.upscale(folder / "a.png", model=small_tflite, max_side=33)
    assert (done.output_size, done.tiles) == ((25, 33), 0)
