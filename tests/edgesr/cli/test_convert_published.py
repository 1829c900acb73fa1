"""The main job: a published checkpoint becomes a proven file that upscales as PyTorch does."""

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from converters.manifest import Manifest, read_manifest
from converters.parity.verify import torch_reference
from edgesr.images.metrics import psnr_y
from edgesr.weights.checkpoints import load
from helpers.commands import Ran, files_in, no_network, run_alone

pytestmark = pytest.mark.usefixtures("one_torch_thread")


@pytest.fixture(scope="module")
def published(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ran]:
    """RTC at 720x480 as its authors published it, converted without network."""
    path = tmp_path_factory.mktemp("published") / "rtc.tflite"
    weights = shared / "reference" / "model_RTC.pth"
    words = ("--model", "rtc", "--checkpoint", weights, "--fp16", "--json", "-o", path)
    with no_network(EDGESR_SHARED=shared) as env:
        return path, run_alone("convert", *words, env=env)


@pytest.mark.slow
def test_the_published_network_becomes_a_proven_file_without_network(
    published: tuple[Path, Ran],
) -> None:
    path, ran = published
    assert ran.status == 0, ran.err
    (manifest,) = (Manifest.model_validate(entry) for entry in json.loads(ran.out))
    assert ran.err == ""
    assert files_in(path.parent) == ["rtc.json", "rtc.tflite"]
    assert manifest == read_manifest(path.with_suffix(".json"))
    wanted = {"CONV_2D", "LEAKY_RELU", "ADD", "DEPTH_TO_SPACE", "DEQUANTIZE"}
    assert set(manifest.operators) == wanted
    assert manifest.gpu.rules_passed
    assert (manifest.facts.height, manifest.facts.width) == (720, 480)
    assert "model_RTC.pth" in manifest.facts.weights_source


@pytest.mark.slow
def test_verify_passes_on_what_convert_made(published: tuple[Path, Ran], shared: Path) -> None:
    with no_network(EDGESR_SHARED=shared) as env:
        ran = run_alone("verify", published[0], "--json", env=env)
    assert ran.status == 0, ran.err
    assert ran.err == ""
    backends = json.loads(ran.out)
    assert [backend["backend"] for backend in backends] == ["cpu", "cpu-fp16"]
    assert [backend["failures"] for backend in backends] == [[], []]


@pytest.mark.slow
def test_upscaled_images_reach_pytorchs_psnr(
    published: tuple[Path, Ran], shared: Path, tmp_path: Path
) -> None:
    images = sorted((shared / "data" / "Set5" / "x2" / "LR").glob("*.png"))
    assert len(images) == 5
    ran = run_alone("upscale", *images, "-m", published[0], "-o", tmp_path / "out")
    assert ran.status == 0, ran.err
    loaded = load(shared / "reference" / "model_RTC.pth")
    reference = torch_reference(loaded.net, loaded.spec.value_range)
    ours: list[float] = []
    pytorchs: list[float] = []
    for lr in images:
        wanted = _pixels(lr.parent.parent / "HR" / lr.name)
        whole = reference((_pixels(lr) / np.float32(255))[np.newaxis])[0]
        plain = np.rint(whole.clip(0, 1) * 255).astype(np.uint8)
        ours.append(psnr_y(_pixels(tmp_path / "out" / f"{lr.stem}_x2.png"), wanted, 2))
        pytorchs.append(psnr_y(plain, wanted, 2))
    got, best = float(np.mean(ours)), float(np.mean(pytorchs))
    measured = f"file {got:.4f} dB ({ours}), PyTorch {best:.4f} dB ({pytorchs})"
    assert f"{got:.2f}" == "37.24", measured
    assert abs(got - best) <= 0.01, measured


def _pixels(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


@pytest.mark.slow
def test_imdn_plus_needs_no_photographs(shared: Path, tmp_path: Path) -> None:
    """On a checkerboard it amplifies rounding by thousands, on natural images it does not."""
    weights = shared / "reference" / "team39_imdn_plus.pth"
    words = ("--checkpoint", weights, "--size", "64x48", "--json", "-o", tmp_path / "plus.tflite")
    with no_network(EDGESR_SHARED=tmp_path) as env:
        ran = run_alone("convert", *words, env=env)
    assert ran.status == 0, ran.err
    (manifest,) = (Manifest.model_validate(entry) for entry in json.loads(ran.out))
    half = {i.input: i for p in manifest.parity if p.backend == "cpu-fp16" for i in p.inputs}
    assert half["dead leaves 1"].natural
    assert (half["dead leaves 1"].psnr_db or 0) > 60
    assert half["checkerboard"].fp32_max is None, "a few repeated values have no bound on the PSNR"
