"""What several files share: checkpoints, a small file, folders, and commands that run on them."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from helpers.commands import Command, Ran, run_here
from helpers.images import noise_image
from helpers.upscale_command import NET, SHAPE, Upscale

if TYPE_CHECKING:
    from torch import Tensor


@pytest.fixture(scope="session")
def small_tflite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real file of a small network that says how far it reaches."""
    path = tmp_path_factory.mktemp("model") / "small.tflite"
    path.write_bytes(NET.tflite(SHAPE.height, SHAPE.width))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder for images, with one in it."""
    made = tmp_path / "images"
    made.mkdir()
    Image.fromarray(noise_image()).save(made / "a.png")
    return made


@pytest.fixture
def upscale(
    small_tflite: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Upscale:
    """Runs the command in this process, with the small file unless another is named."""

    def run(*arguments: object) -> Ran:
        words = [str(argument) for argument in arguments]
        if "-m" not in words and "--model-file" not in words:
            words += ["-m", str(small_tflite)]
        return run_here(monkeypatch, capsys, "upscale", *words)

    return run


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, the current one."""
    made = tmp_path / "here"
    made.mkdir()
    monkeypatch.chdir(made)
    monkeypatch.delenv("EDGESR_SHARED", raising=False)
    return made


@pytest.fixture
def convert(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """Runs the command in this process, in the empty folder `here`."""

    def run(*words: object) -> Ran:
        return run_here(monkeypatch, capsys, "convert", *words)

    return run


@pytest.fixture
def state() -> "dict[str, Tensor]":
    """Random weights of IMDN_RTC."""
    import torch

    from edgesr.networks.spec import build, find_spec

    torch.manual_seed(1)
    return build(find_spec("rtc")).state_dict()


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Path]:
    """Writes a checkpoint into the test's folder: bytes as they are, all else by torch.save."""

    def save_as(content: object, name: str = "weights.pth", **kwargs: bool) -> Path:
        path = tmp_path / name
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            import torch

            torch.save(content, path, **kwargs)
        return path

    return save_as
