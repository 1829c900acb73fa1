"""`edgesr metrics` and its measures, held against scikit-image on real images."""

import json
import math
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import metrics as independent

from edgesr.errors import SizeError
from edgesr.images.imresize import imresize
from edgesr.images.metrics import compare, luma, psnr_rgb, psnr_y, ssim_rgb, ssim_y
from helpers.commands import Ran, run_alone, run_here
from helpers.images import noise_image, save_image

Metrics = Callable[..., Ran]


@pytest.fixture
def metrics(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Metrics:
    return lambda *words: run_here(monkeypatch, capsys, "metrics", *words)


def set5(shared: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """A real image, and what bicubic makes of it from half its size."""
    folder = shared / "data" / "Set5" / "x2"
    hr, lr = (
        np.asarray(Image.open(folder / part / f"{name}.png").convert("RGB"))
        for part in ("HR", "LR")
    )
    return hr, imresize(lr, 2)


def skimage_ssim(a: np.ndarray, b: np.ndarray) -> float:
    """The mean over whole windows: scikit-image continues images beyond their borders."""
    _, whole = independent.structural_similarity(
        a, b, data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
        truncate=5 / 1.5, full=True,
    )  # fmt: skip
    return float(whole[5:-5, 5:-5].mean())


@pytest.mark.parametrize("name", ["img_001", "img_003"])
def test_every_measure_is_scikit_images(shared: Path, name: str) -> None:
    hr, made = set5(shared, name)
    inner = [image[2:-2, 2:-2] for image in (made, hr)]
    planes = [luma(image).astype(np.float64) for image in inner]
    expected_psnr = independent.peak_signal_noise_ratio(planes[1], planes[0], data_range=255)
    assert psnr_y(made, hr, 2) == pytest.approx(expected_psnr, abs=1e-9)
    assert ssim_y(made, hr, 2) == pytest.approx(skimage_ssim(*planes), abs=1e-7)
    expected_rgb = independent.peak_signal_noise_ratio(inner[1], inner[0], data_range=255)
    assert psnr_rgb(made, hr, 2) == pytest.approx(expected_rgb, abs=1e-9)
    channels = [
        skimage_ssim(*(image[..., c].astype(np.float64) for image in inner)) for c in range(3)
    ]
    assert ssim_rgb(made, hr, 2) == pytest.approx(np.mean(channels), abs=1e-7)


def test_equal_images_are_alike_and_one_level_is_known() -> None:
    image = np.minimum(noise_image(20, 20), 254)
    assert compare(image, image, 0).psnr_rgb == math.inf
    assert compare(image, image, 0).ssim_rgb == pytest.approx(1)
    assert psnr_rgb(image, image + 1, 3) == pytest.approx(20 * math.log10(255))
    with pytest.raises(SizeError, match="allowed equal sizes"):
        compare(image, image[1:], 0)


def test_two_images(metrics: Metrics, tmp_path: Path) -> None:
    a = save_image(tmp_path / "a.png", noise_image(20, 24))
    b = save_image(tmp_path / "b.png", noise_image(20, 24, seed=1))
    found = json.loads(metrics(a, b, "--shave", 2, "--json").out)
    expected = compare(noise_image(20, 24), noise_image(20, 24, seed=1), 2)
    assert found["shave"] == 2
    assert found["mean"] == vars(expected)
    text = metrics(a, b, "--shave", 2)
    assert text.status == 0
    assert f"{expected.psnr_y:.2f}" in text.out
    assert "mean" not in text.out
    assert json.loads(metrics(a, a, "--json").out)["mean"]["psnr_y"] is None  # infinity


def test_two_folders_pair_by_name_whatever_the_format(metrics: Metrics, tmp_path: Path) -> None:
    for index, name in enumerate(("one", "two")):
        save_image(tmp_path / "a" / f"{name}.png", noise_image(20, 24, seed=index))
        save_image(tmp_path / "b" / f"{name}.bmp", noise_image(20, 24, seed=index + 5))
    found = json.loads(metrics(tmp_path / "a", tmp_path / "b", "--json").out)
    assert [image["name"] for image in found["images"]] == ["one", "two"]
    psnr = [image["psnr_rgb"] for image in found["images"]]
    assert found["mean"]["psnr_rgb"] == pytest.approx(np.mean(psnr))
    assert "mean" in metrics(tmp_path / "a", tmp_path / "b").out


def test_what_does_not_fit_is_named(metrics: Metrics, tmp_path: Path) -> None:
    a = save_image(tmp_path / "a" / "one.png", noise_image(20, 24))
    b = save_image(tmp_path / "b" / "one.png", noise_image(20, 25))
    small = save_image(tmp_path / "small.png", noise_image(10, 10))
    metrics(a, b).fails_alone(str(a), str(b), "20x24", "20x25")
    metrics(small, small).fails_alone(str(small), "11x11")
    metrics(a, tmp_path / "b").fails_alone("folder", str(a))
    metrics(a, tmp_path / "none.png").fails_alone("none.png")
    (tmp_path / "broken.png").write_bytes(b"no image")
    metrics(a, tmp_path / "broken.png").fails_alone("broken.png")
    save_image(tmp_path / "b" / "more.png", noise_image(20, 24))
    metrics(tmp_path / "a", tmp_path / "b").fails_alone("no image named more", str(tmp_path / "a"))
    save_image(tmp_path / "a" / "one.bmp", noise_image(20, 24))
    metrics(tmp_path / "a", tmp_path / "b").fails_alone("holds one twice")


def test_a_damaged_exif_block_is_no_line_on_the_terminal(tmp_path: Path) -> None:
    """Pillow warns of it when it looks for the resolution: a bare line that names no file."""
    cut = b"Exif\0\0MM\0*" + struct.pack(">IH", 8, 1) + struct.pack(">HHII", 0x0112, 3, 9, 500)
    image = Image.fromarray(noise_image(20, 24))
    for name in ("a.jpg", "b.jpg"):
        image.save(tmp_path / name, exif=cut)
    ran = run_alone("metrics", tmp_path / "a.jpg", tmp_path / "b.jpg")
    assert ran.status == 0
    assert ran.err == ""
