"""`edgesr metrics` and its measures, held against scikit-image on real pictures."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import metrics as independent

from edgesr.errors import SizeError
from edgesr.evaluation.scores import compare
from edgesr.imresize import imresize
from edgesr.metrics import luma, psnr_rgb, psnr_y, ssim_rgb, ssim_y
from helpers.commands import Ran, run_here
from helpers.pictures import noise_picture, save_picture

Metrics = Callable[..., Ran]


@pytest.fixture
def metrics(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Metrics:
    return lambda *words: run_here(monkeypatch, capsys, "metrics", *words)


def set5(shared: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """A real picture, and what bicubic makes of it from half its size."""
    folder = shared / "data" / "Set5" / "x2"
    hr, lr = (
        np.asarray(Image.open(folder / part / f"{name}.png").convert("RGB"))
        for part in ("HR", "LR")
    )
    return hr, imresize(lr, 2)


def skimage_ssim(a: np.ndarray, b: np.ndarray) -> float:
    """The mean over whole windows: scikit-image continues pictures beyond their borders."""
    _, whole = independent.structural_similarity(
        a, b, data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
        truncate=5 / 1.5, full=True,
    )  # fmt: skip
    return float(whole[5:-5, 5:-5].mean())


@pytest.mark.parametrize("name", ["img_001", "img_003"])
def test_every_measure_is_scikit_images(shared: Path, name: str) -> None:
    hr, made = set5(shared, name)
    inner = [picture[2:-2, 2:-2] for picture in (made, hr)]
    planes = [luma(picture).astype(np.float64) for picture in inner]
    expected_psnr = independent.peak_signal_noise_ratio(planes[1], planes[0], data_range=255)
    assert psnr_y(made, hr, 2) == pytest.approx(expected_psnr, abs=1e-9)
    assert ssim_y(made, hr, 2) == pytest.approx(skimage_ssim(*planes), abs=1e-7)
    expected_rgb = independent.peak_signal_noise_ratio(inner[1], inner[0], data_range=255)
    assert psnr_rgb(made, hr, 2) == pytest.approx(expected_rgb, abs=1e-9)
    channels = [
        skimage_ssim(*(picture[..., c].astype(np.float64) for picture in inner)) for c in range(3)
    ]
    assert ssim_rgb(made, hr, 2) == pytest.approx(np.mean(channels), abs=1e-7)


def test_equal_pictures_are_alike_and_one_level_is_known() -> None:
    picture = np.minimum(noise_picture(20, 20), 254)
    assert compare(picture, picture, 0).psnr_rgb == math.inf
    assert compare(picture, picture, 0).ssim_rgb == pytest.approx(1)
    assert psnr_rgb(picture, picture + 1, 3) == pytest.approx(20 * math.log10(255))
    with pytest.raises(SizeError, match="allowed equal sizes"):
        compare(picture, picture[1:], 0)


def test_two_pictures(metrics: Metrics, tmp_path: Path) -> None:
    a = save_picture(tmp_path / "a.png", noise_picture(20, 24))
    b = save_picture(tmp_path / "b.png", noise_picture(20, 24, seed=1))
    found = json.loads(metrics(a, b, "--shave", 2, "--json").out)
    expected = compare(noise_picture(20, 24), noise_picture(20, 24, seed=1), 2)
    assert found["shave"] == 2
    assert found["mean"] == vars(expected)
    text = metrics(a, b, "--shave", 2)
    assert text.status == 0
    assert f"{expected.psnr_y:.2f}" in text.out
    assert "mean" not in text.out
    assert json.loads(metrics(a, a, "--json").out)["mean"]["psnr_y"] is None  # infinity


def test_two_folders_pair_by_name_whatever_the_format(metrics: Metrics, tmp_path: Path) -> None:
    for index, name in enumerate(("one", "two")):
        save_picture(tmp_path / "a" / f"{name}.png", noise_picture(20, 24, seed=index))
        save_picture(tmp_path / "b" / f"{name}.bmp", noise_picture(20, 24, seed=index + 5))
    found = json.loads(metrics(tmp_path / "a", tmp_path / "b", "--json").out)
    assert [picture["name"] for picture in found["pictures"]] == ["one", "two"]
    psnr = [picture["psnr_rgb"] for picture in found["pictures"]]
    assert found["mean"]["psnr_rgb"] == pytest.approx(np.mean(psnr))
    assert "mean" in metrics(tmp_path / "a", tmp_path / "b").out


def test_what_does_not_fit_is_named(metrics: Metrics, tmp_path: Path) -> None:
    a = save_picture(tmp_path / "a" / "one.png", noise_picture(20, 24))
    b = save_picture(tmp_path / "b" / "one.png", noise_picture(20, 25))
    small = save_picture(tmp_path / "small.png", noise_picture(10, 10))
    metrics(a, b).fails_alone(str(a), str(b), "20x24", "20x25")
    metrics(small, small).fails_alone(str(small), "11x11")
    metrics(a, tmp_path / "b").fails_alone("folder", str(a))
    metrics(a, tmp_path / "none.png").fails_alone("none.png")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    metrics(a, tmp_path / "broken.png").fails_alone("broken.png")
    save_picture(tmp_path / "b" / "more.png", noise_picture(20, 24))
    metrics(tmp_path / "a", tmp_path / "b").fails_alone(
        "no picture named more", str(tmp_path / "a")
    )
    save_picture(tmp_path / "a" / "one.bmp", noise_picture(20, 24))
    metrics(tmp_path / "a", tmp_path / "b").fails_alone("holds one twice")
