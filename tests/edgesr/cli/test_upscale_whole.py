"""`edgesr upscale` with networks of global receptive field, and with those of scale 1."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import edgesr
from edgesr.images.imresize import imresize
from edgesr.tflite.shape import ModelShape
from edgesr.weights.bundled import tiled_quality
from helpers.commands import files_in
from helpers.images import noise_image
from helpers.small_net import SmallNet
from helpers.tflite_builder import TfliteBuilder, options
from helpers.upscale_command import Upscale


@pytest.fixture
def heeding(folder: Path) -> tuple[SmallNet, Path]:
    """A network with a global receptive field."""
    net = SmallNet(2, 2, whole_image=True)
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
    Image.fromarray(noise_image() // 2).save(folder / "b.png")
    ran = upscale(folder, "-m", heeding[1], "-o", folder / "out")
    assert ran.status == 0
    lines = [line for line in ran.err.splitlines() if "not exact" in line]
    assert len(lines) == 1
    assert "small has a global receptive field" in lines[0]
    assert "was not measured" in lines[0]
    assert "--whole" in lines[0]


def test_whole_is_not_recommended_where_it_is_refused(
    folder: Path,
    upscale: Upscale,
    heeding: tuple[SmallNet, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("edgesr.tflite.resize.fits_any_size", lambda _: False)
    ran = upscale(folder / "a.png", "-m", heeding[1])
    assert ran.status == 0
    assert "global receptive field" in ran.err
    assert "--whole" not in ran.err
    assert "fits one size only" in ran.err


def test_what_was_measured_of_a_networks_tiles_is_told(
    folder: Path, upscale: Upscale, monkeypatch: pytest.MonkeyPatch
) -> None:
    net, model = SmallNet(2, 2, whole_image=True), folder / "imdn.tflite"
    said = net.facts() | {"model": "imdn"}
    monkeypatch.setattr(SmallNet, "facts", lambda _: said)
    model.write_bytes(net.tflite(16, 24))
    found = tiled_quality("imdn", 2)
    assert found is not None
    ran = upscale(folder / "a.png", "-m", model)
    assert ran.status == 0
    assert f"tiles of 128x96, PSNR to the untiled image is {found.psnr_db:.1f} dB" in ran.err


def test_a_image_of_one_tile_is_exact_and_nothing_is_told(
    folder: Path, upscale: Upscale, heeding: tuple[SmallNet, Path]
) -> None:
    Image.fromarray(noise_image(16, 24) // 2).save(folder / "a.png")
    ran = upscale(folder / "a.png", "-m", heeding[1], "--json")
    assert (ran.status, ran.err) == (0, "")
    assert json.loads(ran.out)["images"][0]["one_tile"] is True
    assert _off_by(folder / "a_x2.png", heeding[0], noise_image(16, 24) // 2) < 0.51


@pytest.mark.parametrize("backend", ["cpu", "cpu-fp16"])
def test_whole_runs_each_image_in_one_piece(
    folder: Path, upscale: Upscale, heeding: tuple[SmallNet, Path], backend: str
) -> None:
    net, model = heeding
    sizes = {"a.png": (30, 40), "b.png": (7, 5), "c.png": (30, 40)}
    for name, size in sizes.items():
        Image.fromarray(noise_image(*size) // 2).save(folder / name)
    words = ("--whole", "-o", folder / "out", "--backend", backend)
    ran = upscale(*(folder / name for name in sizes), "-m", model, *words)
    assert (ran.status, ran.err) == (0, "edgesr: 3 images upscaled\n")
    assert ran.out.count("(1 tile,") == 3
    for name, size in sizes.items():
        result = folder / "out" / f"{Path(name).stem}_x2.png"
        assert _off_by(result, net, noise_image(*size) // 2) < (0.51 if backend == "cpu" else 2)


def test_a_file_that_fits_one_size_only_cannot_run_whole(folder: Path, upscale: Upscale) -> None:
    model = folder / "fixed.tflite"
    made = TfliteBuilder()
    lr, hr = made.tensor([1, 8, 12, 3], name="lr"), made.tensor([1, 8, 12, 3], name="hr")
    ones = made.constant(np.ones((1, 8, 12, 3), np.float32))
    made.operator("MUL", [lr, ones], [hr], options("MulOptions"))
    model.write_bytes(made.finish([lr], [hr]))
    ran = upscale(folder / "a.png", "-m", model, "--whole")
    ran.fails("on an image of 30x40 as a whole: MUL hr has a constant for each pixel")
    assert "--size 30x40" in ran.err


def test_whole_and_an_overlap_do_not_fit_together(folder: Path, upscale: Upscale) -> None:
    ran = upscale(folder / "a.png", "--whole", "--overlap", 3)
    assert ran.status == 2
    assert "leave out --overlap" in ran.err


@pytest.mark.parametrize(
    ("words", "name", "size"),
    [
        (("--factor", "2.5"), "a_x2.5.png", (75, 100)),
        (("--to", "45x90"), "a_45x90.png", (45, 60)),
        (("--factor", "3", "--whole"), "a_x3.png", (90, 120)),
    ],
    ids=["factor", "size", "whole"],
)
def test_a_network_of_scale_1_takes_images_at_their_final_size(
    folder: Path, upscale: Upscale, words: tuple[str, ...], name: str, size: tuple[int, int]
) -> None:
    net = SmallNet(1, 1, halvings=2)
    model = folder / "same_size.tflite"
    model.write_bytes(net.tflite(32, 40))
    ran = upscale(folder / "a.png", "-m", model, *words, "--json")
    assert (ran.status, ran.err) == (0, "")
    (done,) = json.loads(ran.out)["images"]
    assert done["input_size"] == {"height": 30, "width": 40}
    assert done["output_size"] == {"height": size[0], "width": size[1]}
    assert _off_by(folder / name, net, imresize(noise_image(), size)) < 0.51


def test_a_network_of_scale_1_says_that_it_does_not_enlarge(folder: Path, upscale: Upscale) -> None:
    model = folder / "same_size.tflite"
    model.write_bytes(SmallNet(1, 1).tflite(32, 40))
    ran = upscale(folder / "a.png", "-m", model)
    assert ran.status == 0
    assert "images keep their size" in ran.err
    assert "--factor" in ran.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--to", "9x9", "--max-side", "9"), "allowed one of them"),
        (("--to", "0x9"), "height comes first"),
        (("--to", "3"), "allowed HEIGHTxWIDTH"),
        (("--to", "3x3", "--factor", "2"), "allowed one of them"),
    ],
    ids=["a box and a limit", "no height", "no size", "both"],
)
def test_a_final_size_that_cannot_be_is_one_line(
    folder: Path, upscale: Upscale, words: tuple[str, ...], message: str
) -> None:
    upscale(folder / "a.png", *words).fails_alone(message)
    assert files_in(folder) == ["a.png"]


@pytest.mark.parametrize("words", [(), ("--whole",)], ids=["tiles", "whole"])
def test_a_model_of_an_open_size_is_refused_as_one(
    folder: Path, upscale: Upscale, words: tuple[str, ...]
) -> None:
    made = TfliteBuilder()
    lr = made.tensor([1, 1, 1, 3], signature=[1, -1, -1, 3])
    hr = made.tensor([1, 1, 1, 3], signature=[1, -1, -1, 3])
    made.operator("RELU", [lr], [hr])
    (folder / "open.tflite").write_bytes(made.finish([lr], [hr]))
    ran = upscale(folder / "a.png", "-m", folder / "open.tflite", *words)
    ran.fails("leaves the size of its input open: got [1, -1, -1, 3]", "fixed height and width")


@pytest.mark.parametrize("words", [(), ("--whole",)], ids=["tiles", "whole"])
def test_a_tensor_with_shapes_of_two_ranks_is_one_line(
    folder: Path, upscale: Upscale, words: tuple[str, ...]
) -> None:
    made = TfliteBuilder()
    lr, hr = made.tensor([1, 16, 24, 3], signature=[1, 16]), made.tensor([1, 16, 24, 3])
    made.operator("RELU", [lr], [hr])
    (folder / "ranks.tflite").write_bytes(made.finish([lr], [hr]))
    ran = upscale(folder / "a.png", "-m", folder / "ranks.tflite", *words)
    ran.fails("cannot be run: tensor tensor_0 has shapes of two ranks")


def _empty_slice(made: TfliteBuilder, source: int) -> int:
    begin, size = (made.constant(np.array(n, np.int32)) for n in ([0] * 4, [1, 0, 16, 3]))
    empty = made.tensor([1, 0, 16, 3])
    made.operator("SLICE", [source, begin, size], [empty], options("SliceOptions"))
    return empty


def _empty_pool(made: TfliteBuilder, source: int) -> int:
    empty = made.tensor([1, 0, 24, 3])
    pool = options("Pool2DOptions", padding=1, strideH=1, strideW=1, filterHeight=17, filterWidth=1)
    made.operator("AVERAGE_POOL_2D", [source], [empty], pool)
    return empty


@pytest.mark.parametrize("backend", ["cpu", "cpu-fp16"])
@pytest.mark.parametrize("make", [_empty_slice, _empty_pool])
def test_a_tensor_of_no_elements_in_the_middle_is_one_line(
    folder: Path, upscale: Upscale, make: Callable[[TfliteBuilder, int], int], backend: str
) -> None:
    """Some of LiteRT's kernels die of it, others read behind its end."""
    made = TfliteBuilder()
    lr, hr = made.tensor([1, 16, 24, 3]), made.tensor([1, 32, 48, 3])
    wanted = made.constant(np.array([32, 48], np.int32))
    resize = options("ResizeBilinearOptions")
    made.operator("RESIZE_BILINEAR", [make(made, lr), wanted], [hr], resize)
    path = folder / "empty.tflite"
    path.write_bytes(made.finish([lr], [hr]))
    upscale(folder / "a.png", "-m", path, "--backend", backend).fails("has no elements")
    found = edgesr.inspect(path)
    assert found.to_json()["gpu_clean"] is False
    assert "has no elements" in str(found.caveat)
