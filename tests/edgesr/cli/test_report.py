"""`edgesr report`, as a user runs it."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from edgesr.analysis.report_targets import bundled_names
from edgesr.images.imresize import imresize
from edgesr.networks.architectures.fmen import fmen_s
from edgesr.networks.spec import find_spec
from edgesr.tflite.resize import resize
from edgesr.weights.bundled import bundled_weights, shipped_file
from helpers.commands import Ran, files_in, run_here
from helpers.images import noise_image, save_image
from helpers.networks import randomise

pytestmark = pytest.mark.usefixtures("one_torch_thread")

Report = Callable[..., Ran]


@pytest.fixture
def report(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Report:
    return lambda *words: run_here(monkeypatch, capsys, "report", "--threads", 1, *words)


@pytest.fixture
def page(tmp_path: Path) -> Path:
    return tmp_path / "out" / "page.html"


@pytest.fixture(autouse=True)
def _folder(page: Path) -> None:
    page.parent.mkdir()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """One image in HR and LR, below a folder for its scale."""
    hr = np.kron(noise_image(10, 12), np.ones((4, 4, 1), np.uint8))
    save_image(tmp_path / "set" / "x2" / "HR" / "one.png", hr)
    save_image(tmp_path / "set" / "x2" / "LR" / "one.png", imresize(hr, 0.5))
    return tmp_path / "set"


def numbers(ran: Ran) -> dict[str, object]:
    assert ran.status == 0, ran.err
    return json.loads(ran.out)


def test_a_file_goes_through_every_section(
    report: Report, small_tflite: Path, data: Path, page: Path
) -> None:
    svg = page.with_suffix(".svg")
    words = ["--data", data, "--sizes", "32", "-o", page, "--svg", svg, "--json"]
    found = numbers(report(small_tflite, *words))
    (point,) = found["scatter"]["points"]
    assert point["name"] == str(small_tflite)
    assert (point["scale"], point["psnr_of"]) == (2, "set, 1 images, measured now")
    assert min(point["macs"], point["latency_ms"], point["psnr_db"]) > 0
    (outcome,) = found["stress"]["outcomes"]
    assert (outcome["side"], outcome["state"]) == (32, "measured")
    assert "name the checkpoint" in found["frequency"][str(small_tflite)]
    assert "name the checkpoint" in found["features"][str(small_tflite)]
    assert found["files"] == [str(page), str(svg)]
    assert "name the checkpoint" in page.read_text()
    assert svg.read_text().startswith("<?xml")
    assert files_in(page.parent) == ["page.html", "page.svg"]


def test_counts_of_a_file_are_at_the_stated_size_and_not_at_its_own(
    report: Report, page: Path, tmp_path: Path
) -> None:
    shipped = shipped_file(find_spec("imdn-rtc"))
    assert shipped is not None
    sized = tmp_path / "sized.tflite"
    sized.write_bytes(resize(shipped.read_bytes(), 256, 256).content)
    words = ["--sections", "scatter", "--time-limit", "0.001", "-o", page, "--json"]
    first, second = numbers(report(shipped, sized, *words))["scatter"]["points"]
    assert first["macs"] == second["macs"] > 1e9
    assert first["activation_bytes"] == second["activation_bytes"]


@pytest.mark.slow
def test_fmen_shows_its_attention_and_others_say_that_they_have_none(
    report: Report, checkpoint: Path, page: Path, tmp_path: Path
) -> None:
    fmen = tmp_path / "fmen.pth"
    torch.save(randomise(fmen_s(), 0).state_dict(), fmen)
    image = save_image(tmp_path / "p.png", noise_image(40, 310))
    words = ["--sections", "frequency,features", "--image", image, "-o", page, "--json"]
    found = numbers(report(fmen, checkpoint, *words))
    blocks = found["frequency"][str(fmen)]
    assert [b["block"] for b in blocks] == ["warmup.1", *(f"HFABs.{i}" for i in range(4))]
    assert all(0 < b[side]["high_share"] < 1 for b in blocks for side in ("before", "after"))
    assert "no high-frequency attention" in found["frequency"][str(checkpoint)]
    assert "no high-frequency attention" in page.read_text()
    assert [m["block"] for m in found["features"][str(checkpoint)]][:2] == [
        "model.0",
        "model.1.sub.0",
    ]
    assert found["features"][str(fmen)][0]["size"] == [40, 288]
    assert found["image"] == {"name": "p.png, the middle of 40x310", "input": [40, 288]}
    assert "scatter" not in found
    assert "stress" not in found


def test_without_targets_it_is_the_bundled_networks_and_their_recorded_psnr(
    report: Report, page: Path
) -> None:
    ran = report("--sections", "scatter", "--time-limit", "0.001", "-o", page)
    assert (ran.status, ran.out) == (0, f"{page}\n"), ran.err
    assert bundled_names()
    for name in bundled_names():
        model, _, scale = name.partition(":")
        bundled = bundled_weights(find_spec(model, int(scale)))
        assert bundled is not None
        assert f"{bundled.psnr_db['Set5']:.2f}" in page.read_text()
        assert f"note: {name}: latency: not run: time budget" in ran.err


def test_what_does_not_fit_is_reported(report: Report, small_tflite: Path, page: Path) -> None:
    words = ["--sections", "stress", "--sizes", "32,4096", "--memory-limit", "200", "-o", page]
    found = numbers(report(small_tflite, *words, "--json"))
    states = [(o["side"], o["state"]) for o in found["stress"]["outcomes"]]
    assert states == [(32, "measured"), (4096, "does not fit")]
    assert "does not fit" in page.read_text()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        pytest.param(["nope"], ["unknown model 'nope'"], id="no-network"),
        pytest.param(["nope.tflite"], ["nope.tflite"], id="no-tflite"),
        pytest.param(["nope.pth"], ["nope.pth"], id="no-checkpoint"),
        pytest.param(["x.onnx"], ["x.onnx", "edgesr convert --onnx"], id="onnx"),
        pytest.param(["imdn"], ["allowed 2, 3, 4"], id="several-scales"),
        pytest.param(["imdn:five"], ["imdn:five", "NAME:SCALE"], id="no-scale"),
        pytest.param(["imdn:" + "9" * 200], ["NAME:SCALE"], id="endless-scale"),
        pytest.param(["rtc", "--data", "nowhere"], ["nowhere", "not a folder"], id="no-data"),
        pytest.param(["rtc", "--image", "no.png"], ["no.png"], id="no-image"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    report: Report, page: Path, words: list[str], expected: list[str]
) -> None:
    report(*words, "-o", page).fails_alone(*expected)
    assert files_in(page.parent) == []


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        pytest.param(["--sections", "scatter,nope"], ["'nope'", "features"], id="section"),
        pytest.param(["--sizes", "128,x"], ["'x'", "4096"], id="size"),
        pytest.param(["--sizes", "9" * 5000], ["allowed 8 to 4096"], id="endless-size"),
        pytest.param(["--sizes", "4097"], ["'4097'"], id="large-size"),
        pytest.param(["rtc", "rtc"], ["named twice"], id="twice"),
        pytest.param(["--sections", "scatter", "--sizes", "64"], ["--sizes", "stress"], id="idle"),
        pytest.param(["--sections", "stress", "--data", "x"], ["--data", "scatter"], id="data"),
        pytest.param(["--time-limit", "0"], ["--time-limit"], id="no-time"),
    ],
)
def test_options_that_do_not_fit_are_wrong_usage(
    report: Report, words: list[str], expected: list[str]
) -> None:
    report(*words).is_wrong_usage(*expected)


def test_a_page_that_exists_is_not_replaced_unless_forced(
    report: Report, small_tflite: Path, page: Path
) -> None:
    page.write_text("mine")
    words = [small_tflite, "--sections", "features", "-o", page]
    report(*words).fails_alone(str(page), "--force")
    assert page.read_text() == "mine"
    assert report(*words, "--force").status == 0
    assert "<!doctype html>" in page.read_text()
