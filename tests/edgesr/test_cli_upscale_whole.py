"""`edgesr upscale` with networks that look at the whole picture, and with those of scale 1."""

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from edgesr.bundled import tiled_quality
from edgesr.imresize import imresize
from edgesr.runtime import ModelShape
from helpers.commands import files_in
from helpers.pictures import noise_picture
from helpers.small_net import SmallNet
from helpers.tflite_builder import TfliteBuilder, options
from helpers.upscale_command import Upscale


@pytest.fixture
def heeding(folder: Path) -> tuple[SmallNet, Path]:
    """A network that looks at the whole picture."""
    net = SmallNet(2, 2, whole_picture=True)
    path = folder / "heeding.tflite"
    path.write_bytes(net.tflite(16, 24))
    return net, path


def _off_by(path: Path, net: SmallNet, pixels: NDArray[np.uint8]) -> float:
    """Largest error in grey levels."""
    with Image.open(path) as image:
        got = np.asarray(image)
    exact = net.expected(pixels, ModelShape(0, 0, net.scale)).clip(0, 1) * 255
    return float(np.abs(got - exact).max())


def test_inexact_tiles_are_told_once(
    folder: Path, upscale: Upscale, heeding: tuple[SmallNet, Path]
) -> None:
    Image.fromarray(noise_picture() // 2).save(folder / "b.png")
    ran = upscale(folder, "-m", heeding[1], "-o", folder / "out")
    assert ran.status == 0
    lines = [line for line in ran.err.splitlines() if "not exact" in line]
    assert len(lines) == 1
    assert "small looks at the whole picture" in lines[0]
    assert "was not measured" in lines[0]
    assert "--whole" in lines[0]


def test_what_was_measured_of_a_networks_tiles_is_told(
    folder: Path, upscale: Upscale, monkeypatch: pytest.MonkeyPatch
) -> None:
    net, model = SmallNet(2, 2, whole_picture=True), folder / "imdn.tflite"
    said = net.facts() | {"model": "imdn"}
    monkeypatch.setattr(SmallNet, "facts", lambda _: said)
    model.write_bytes(net.tflite(16, 24))
    found = tiled_quality("imdn", 2)
    assert found is not None
    ran = upscale(folder / "a.png", "-m", model)
    assert ran.status == 0
    assert f"tiles of 128x96, PSNR to the picture in one piece is {found.psnr_db:.1f} dB" in ran.err


def test_a_picture_of_one_tile_is_exact_and_nothing_is_told(
    folder: Path, upscale: Upscale, heeding: tuple[SmallNet, Path]
) -> None:
    Image.fromarray(noise_picture(16, 24) // 2).save(folder / "a.png")
    ran = upscale(folder / "a.png", "-m", heeding[1], "--json")
    assert (ran.status, ran.err) == (0, "")
    assert json.loads(ran.out)["pictures"][0]["one_tile"] is True
    assert _off_by(folder / "a_x2.png", heeding[0], noise_picture(16, 24) // 2) < 0.51


@pytest.mark.parametrize("backend", ["cpu", "cpu-fp16"])
def test_whole_runs_each_picture_in_one_piece(
    folder: Path, upscale: Upscale, heeding: tuple[SmallNet, Path], backend: str
) -> None:
    net, model = heeding
    sizes = {"a.png": (30, 40), "b.png": (7, 5), "c.png": (30, 40)}
    for name, size in sizes.items():
        Image.fromarray(noise_picture(*size) // 2).save(folder / name)
    words = ("--whole", "-o", folder / "out", "--backend", backend)
    ran = upscale(*(folder / name for name in sizes), "-m", model, *words)
    assert (ran.status, ran.err) == (0, "")
    assert ran.out.count("(1 tile,") == 3
    for name, size in sizes.items():
        result = folder / "out" / f"{Path(name).stem}_x2.png"
        assert _off_by(result, net, noise_picture(*size) // 2) < (0.51 if backend == "cpu" else 2)


def test_a_file_that_fits_one_size_only_cannot_run_whole(folder: Path, upscale: Upscale) -> None:
    model = folder / "fixed.tflite"
    made = TfliteBuilder()
    lr, hr = made.tensor([1, 8, 12, 3], name="lr"), made.tensor([1, 8, 12, 3], name="hr")
    ones = made.constant(np.ones((1, 8, 12, 3), np.float32))
    made.operator("MUL", [lr, ones], [hr], options("MulOptions"))
    model.write_bytes(made.finish([lr], [hr]))
    ran = upscale(folder / "a.png", "-m", model, "--whole")
    ran.fails("on a picture of 30x40 as a whole: MUL hr has a constant for each pixel")
    assert "--size 30x40" in ran.err


def test_whole_and_an_overlap_do_not_fit_together(folder: Path, upscale: Upscale) -> None:
    ran = upscale(folder / "a.png", "--whole", "--overlap", 3)
    assert ran.status == 2
    assert "leave out --overlap" in ran.err


@pytest.mark.parametrize(
    ("words", "name", "size"),
    [
        (("--factor", "2.5"), "a_x2.5.png", (75, 100)),
        (("--to", "41x90"), "a_41x90.png", (41, 90)),
        (("--factor", "3", "--whole"), "a_x3.png", (90, 120)),
    ],
    ids=["factor", "size", "whole"],
)
def test_a_network_of_scale_1_takes_pictures_at_their_final_size(
    folder: Path, upscale: Upscale, words: tuple[str, ...], name: str, size: tuple[int, int]
) -> None:
    net = SmallNet(1, 1, halvings=2)
    model = folder / "same_size.tflite"
    model.write_bytes(net.tflite(32, 40))
    ran = upscale(folder / "a.png", "-m", model, *words, "--json")
    assert (ran.status, ran.err) == (0, "")
    (done,) = json.loads(ran.out)["pictures"]
    assert done["input_size"] == {"height": 30, "width": 40}
    assert done["output_size"] == {"height": size[0], "width": size[1]}
    assert _off_by(folder / name, net, imresize(noise_picture(), size)) < 0.51


def test_a_network_of_scale_1_says_that_it_does_not_enlarge(folder: Path, upscale: Upscale) -> None:
    model = folder / "same_size.tflite"
    model.write_bytes(SmallNet(1, 1).tflite(32, 40))
    ran = upscale(folder / "a.png", "-m", model)
    assert ran.status == 0
    assert "pictures keep their size" in ran.err
    assert "--factor" in ran.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--factor", "3"), "enlarges x2 by itself"),
        (("--to", "3"), "allowed HEIGHTxWIDTH"),
        (("--to", "3x3", "--factor", "2"), "allowed one of them"),
    ],
    ids=["enlarges itself", "no size", "both"],
)
def test_a_final_size_that_cannot_be_is_one_line(
    folder: Path, upscale: Upscale, words: tuple[str, ...], message: str
) -> None:
    upscale(folder / "a.png", *words).fails_alone(message)
    assert files_in(folder) == ["a.png"]
