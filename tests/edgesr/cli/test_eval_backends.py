"""`edgesr eval --backend`: other arithmetic and LiteRT's GPU accelerator give the same figures."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgesr.images.imresize import imresize
from helpers.commands import run_here
from helpers.images import noise_image, save_image


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two images of two sizes, HR and LR."""
    for name, size in (("one", (24, 32)), ("two", (40, 28))):
        hr = np.kron(noise_image(size[0] // 4, size[1] // 4), np.ones((4, 4, 1), np.uint8))
        save_image(tmp_path / "HR" / f"{name}.png", hr)
        save_image(tmp_path / "LR" / f"{name}.png", imresize(hr, 0.5))
    return tmp_path


@pytest.fixture
def psnr_db(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[str, list[float]]]:
    """Runs the command on one file; how it computed, and the PSNR of every image."""

    def run(*words: object) -> tuple[str, list[float]]:
        ran = run_here(monkeypatch, capsys, "eval", *words, "--threads", 1, "--json")
        assert ran.status == 0, ran.err
        found = json.loads(ran.out)["targets"][1]
        return found["computed_by"], [image["psnr_db"] for image in found["images"]]

    return run


@pytest.mark.parametrize("whole", [[], ["--whole"]], ids=["tiles", "whole"])
@pytest.mark.parametrize(("backend", "allowed_db"), [("cpu-fp16", 0.1), ("gpu", 0.01)])
def test_every_backend_gives_the_figures_of_the_cpu(
    request: pytest.FixtureRequest,
    psnr_db: Callable[..., tuple[str, list[float]]],
    small_tflite: Path,
    data: Path,
    backend: str,
    allowed_db: float,
    whole: list[str],
) -> None:
    if backend == "gpu":
        request.getfixturevalue("vulkan_driver")
    words = (small_tflite, "--data", data, *whole)
    on_cpu, expected = psnr_db(*words)
    how, found = psnr_db(*words, "--backend", backend)
    assert (on_cpu.split(",")[0], how.split(",")[0]) == ("LiteRT on cpu", f"LiteRT on {backend}")
    assert found == pytest.approx(expected, abs=allowed_db)
