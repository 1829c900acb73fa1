"""`edgesr eval`, as a user runs it."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from edgesr.cli import eval as eval_command
from edgesr.images.imresize import imresize
from edgesr.images.metrics import psnr_y
from helpers.commands import Ran, files_in, run_here
from helpers.images import noise_image, save_image
from helpers.onnx_graphs import GraphBuilder
from helpers.upscale_command import NET, SHAPE

pytestmark = pytest.mark.usefixtures("one_torch_thread")

Eval = Callable[..., Ran]


@pytest.fixture
def evaluate(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Eval:
    return lambda *words: run_here(monkeypatch, capsys, "eval", *words)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two images in HR and LR, one of several tiles."""
    for name, size in (("one", (20, 24)), ("two", (40, 56))):
        hr = np.kron(noise_image(size[0] // 4, size[1] // 4), np.ones((4, 4, 1), np.uint8))
        save_image(tmp_path / "set" / "HR" / f"{name}.png", hr)
        save_image(tmp_path / "set" / "LR" / f"{name}.png", imresize(hr, 0.5))
    return tmp_path / "set"


def results(ran: Ran) -> dict[str, dict[str, object]]:
    assert ran.status == 0, ran.err
    return {entry["target"]: entry for entry in json.loads(ran.out)["targets"]}


def _onnx(path: Path, *, any_size: bool) -> Path:
    """A convolution and a shuffle; its input is 16x24 or of any size."""
    built = GraphBuilder(3, 16, 24)
    deep = built.conv("lr", (3, 12))
    model = built.build(built.op("DepthToSpace", deep, blocksize=2, mode="CRD"))
    if any_size:
        for end in (model.graph.input[0], model.graph.output[0]):
            dims = end.type.tensor_type.shape.dim
            dims[2].dim_param, dims[3].dim_param = f"{end.name}_height", f"{end.name}_width"
        del model.graph.value_info[:]
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("options", [[], ["--whole"]], ids=["tiles", "whole"])
def test_a_tflite_is_measured_on_whole_images(
    evaluate: Eval, small_tflite: Path, data: Path, options: list[str]
) -> None:
    found = results(evaluate(small_tflite, "--data", data, "--json", *options))
    assert list(found) == ["bicubic", str(small_tflite)]
    hr = np.kron(noise_image(10, 14), np.ones((4, 4, 1), np.uint8))
    expected = NET.expected(imresize(hr, 0.5), SHAPE)
    made = np.rint(expected.clip(0, 1) * 255).astype(np.uint8)
    image = found[str(small_tflite)]["images"][1]
    assert image["name"] == "two"
    assert image["psnr_db"] == pytest.approx(psnr_y(made, hr, 2), abs=0.01)
    assert found["bicubic"]["to_first"]["psnr_db"] == pytest.approx(
        found["bicubic"]["mean"]["psnr_db"] - found[str(small_tflite)]["mean"]["psnr_db"]
    )
    assert found[str(small_tflite)]["to_first"] == {"psnr_db": 0.0, "ssim": 0.0}


def test_the_table_has_every_image_the_mean_and_the_difference(
    evaluate: Eval, small_tflite: Path, data: Path
) -> None:
    ran = evaluate(small_tflite, "--data", data)
    assert ran.status == 0
    for words in ("bicubic", "one", "two", "mean of 2", "above", "+0.00 / +0.0000", "seconds each"):
        assert words in ran.out


def test_lr_is_made_where_it_is_not_given(evaluate: Eval, small_tflite: Path, data: Path) -> None:
    given = evaluate(small_tflite, "--data", data, "--json")
    alone = evaluate(small_tflite, "--data", data / "HR", "--json")
    shutil.rmtree(data / "LR")
    without = evaluate(small_tflite, "--data", data, "--json")

    def values(ran: Ran) -> list[float]:
        return [p["psnr_db"] for t in results(ran).values() for p in t["images"]]

    assert values(given) == values(alone) == values(without)


def test_a_checkpoint_and_onnx_files_stand_beside_each_other(
    evaluate: Eval, checkpoint: Path, data: Path, tmp_path: Path
) -> None:
    whole = _onnx(tmp_path / "whole.onnx", any_size=True)
    tiles = _onnx(tmp_path / "tiles.onnx", any_size=False)
    found = results(evaluate(checkpoint, whole, tiles, "--data", data, "--threads", 1, "--json"))
    assert list(found) == ["bicubic", str(checkpoint), str(whole), str(tiles)]
    assert "whole images" in found[str(whole)]["computed_by"]
    assert "tiles of 16x24" in found[str(tiles)]["computed_by"]
    for one, other in zip(found[str(whole)]["images"], found[str(tiles)]["images"], strict=True):
        assert one["psnr_db"] == pytest.approx(other["psnr_db"], abs=1e-3)


def test_csv_and_html_are_written_and_nothing_is_left_beside_them(
    evaluate: Eval, small_tflite: Path, data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    words = (small_tflite, "--data", data, "--csv", out / "a.csv", "--html", out / "a.html")
    found = results(evaluate(*words, "--json"))
    assert files_in(out) == ["a.csv", "a.html"]
    rows = list(csv.DictReader((out / "a.csv").open()))
    assert [row["image"] for row in rows] == ["one", "one", "two", "two", "mean", "mean"]
    assert float(rows[-1]["psnr_db"]) == pytest.approx(
        found[str(small_tflite)]["mean"]["psnr_db"], abs=1e-6
    )
    assert "data:image/png;base64" in (out / "a.html").read_text()
    evaluate(*words).fails_alone("a.csv exists", "--force")
    assert evaluate(*words, "--force").status == 0


def test_an_evaluation_that_was_broken_off_goes_on(
    evaluate: Eval, small_tflite: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "a.csv"
    words = (small_tflite, "--data", data, "--csv", target)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(eval_command, "_contents", interrupt)
        ran = evaluate(*words)
    assert ran.status == 130
    assert "4 results are kept: continue with --resume" in ran.err
    assert not target.exists()
    evaluate(*words).fails_alone("interrupted", "--resume", "--force")
    ran = evaluate(*words, "--resume")
    assert ran.status == 0
    assert "4 results are there already" in ran.err
    assert target.exists()
    assert not list(tmp_path.glob("*.jsonl"))


@pytest.mark.parametrize(
    ("break_it", "expected"),
    [
        pytest.param(lambda d: (d / "LR" / "one.png").unlink(), ["one", "1 missing"], id="count"),
        pytest.param(
            lambda d: (d / "LR" / "one.png").rename(d / "LR" / "else.png"), ["one"], id="name"
        ),
        pytest.param(
            lambda d: save_image(d / "LR" / "two.png", noise_image(20, 27)),
            ["two.png", "40x56", "20x27", "scale 2"],
            id="size",
        ),
        pytest.param(
            lambda d: (d / "HR" / "two.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken"),
            ["two.png"],
            id="unreadable",
        ),
        pytest.param(shutil.rmtree, ["is not a folder"], id="no-folder"),
        pytest.param(lambda d: [p.unlink() for p in d.rglob("*.png")], ["HR"], id="no-images"),
    ],
)
def test_images_that_do_not_fit_are_named(
    evaluate: Eval,
    small_tflite: Path,
    data: Path,
    tmp_path: Path,
    break_it: Callable[[Path], object],
    expected: list[str],
) -> None:
    break_it(data)
    before = files_in(tmp_path)
    target = tmp_path / "a.csv"
    evaluate(small_tflite, "--data", data, "--csv", target).fails_alone(*expected)
    assert files_in(tmp_path) == before


def test_another_scale_than_the_networks_is_refused(
    evaluate: Eval, small_tflite: Path, data: Path
) -> None:
    evaluate(small_tflite, "--data", data, "--scale", 4).fails_alone(
        "upscales 2 times", "--scale 4"
    )
    evaluate("imdn", "--data", data).fails_alone("allowed 2, 3, 4")
    evaluate("rtc", "--data", data, "--scale", 3).fails_alone("allowed 2")


def test_networks_of_two_scales_are_refused(
    evaluate: Eval, small_tflite: Path, data: Path, tmp_path: Path
) -> None:
    built = GraphBuilder(3, 16, 24)
    onnx.save(built.build(built.conv("lr", (3, 3))), tmp_path / "same.onnx")
    evaluate(small_tflite, tmp_path / "same.onnx", "--data", data).fails_alone(
        "same.onnx upscales 1 times", f"the scale of {small_tflite}, 2"
    )


def test_options_that_do_not_fit_together(evaluate: Eval, data: Path, tmp_path: Path) -> None:
    evaluate("rtc", "--data", data, "--resume").is_wrong_usage("--resume", "--csv")
    evaluate("rtc", "rtc", "--data", data).is_wrong_usage("rtc is named twice")
    evaluate("rtc", "--data", data, "--backend", "gpu").is_wrong_usage(".tflite")
    same = tmp_path / "a"
    evaluate("rtc", "--data", data, "--csv", same, "--html", same).is_wrong_usage("same file")
    evaluate("rtc").is_wrong_usage("--data")


def test_unknown_targets_are_one_line(evaluate: Eval, data: Path) -> None:
    evaluate("nope", "--data", data).fails_alone("unknown model 'nope'")
    evaluate("nope.tflite", "--data", data).fails_alone("nope.tflite")
    evaluate("nope.onnx", "--data", data).fails_alone("nope.onnx")
    evaluate("nope.pth", "--data", data).fails_alone("nope.pth")
