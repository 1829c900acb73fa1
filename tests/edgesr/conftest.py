"""What the tests of `edgesr upscale` share: a small file, a folder with a picture, the command."""

import sys
from pathlib import Path

import pytest
from PIL import Image

from edgesr.cli import main
from helpers.commands import Ran
from helpers.pictures import noise_picture
from helpers.upscale_command import NET, SHAPE, Upscale


@pytest.fixture(scope="session")
def small_tflite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real file of a small network that says how far it reaches."""
    path = tmp_path_factory.mktemp("model") / "small.tflite"
    path.write_bytes(NET.tflite(SHAPE.height, SHAPE.width))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder for pictures, with one in it."""
    made = tmp_path / "pictures"
    made.mkdir()
    Image.fromarray(noise_picture()).save(made / "a.png")
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
        monkeypatch.setattr(sys, "argv", ["edgesr", "upscale", *words])
        with pytest.raises(SystemExit) as caught:
            main()
        return Ran(caught.value.code, *capsys.readouterr())

    return run
