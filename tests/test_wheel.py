"""The wheel holds everything that edgesr ships, and runs without torch or tools/."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from PIL import Image

import tflite_models
from edgesr.images.test_card import draw_test_card
from edgesr.weights.bundled import DEFAULT_MODEL, WEIGHTS_FOLDER

pytestmark = pytest.mark.slow

_ROOT = Path(__file__).parent.parent
_SHIPPED = Path(tflite_models.__file__).parent
_PACKAGES = ("edgesr", "converters", "android_bench", "tflite_models")
_SOURCES = (*_PACKAGES, "tools", "tests", "benchmarks", "examples")
_PROJECT = ("pyproject.toml", "README.md", "LICENSE")

#: What only the extras bring; and the repository's own copy must not be found.
_RUN_BASE_ONLY = """
import importlib.abc, sys

class Absent(importlib.abc.MetaPathFinder):
    names = {"torch", "tensorflow", "onnx", "onnxruntime", "onnx2tf", "safetensors", "matplotlib"}

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in self.names:
            raise ModuleNotFoundError(f"No module named {name!r}")

sys.meta_path.insert(0, Absent())
import edgesr, tflite_models
assert all(m.__file__.startswith(sys.path[1]) for m in (edgesr, tflite_models)), edgesr.__file__
from edgesr.cli import main
main()
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The content of a wheel built from a copy, as pip lays it down."""
    folder = tmp_path_factory.mktemp("wheel")
    copy = folder / "copy"
    skip = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in _SOURCES:
        shutil.copytree(_ROOT / name, copy / name, ignore=skip)
    for name in _PROJECT:
        shutil.copy(_ROOT / name, copy)
    pip = [sys.executable, "-m", "pip", "wheel", ".", "--no-deps", "--no-build-isolation"]
    done = subprocess.run(
        [*pip, "--quiet", "--wheel-dir", str(folder)], cwd=copy, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.is_file() and path.suffix != ".pyc"}


def test_weights_and_files_are_in_it_to_the_bit(installed: Path) -> None:
    for ours, theirs in ((WEIGHTS_FOLDER, "edgesr/weights"), (_SHIPPED, "tflite_models")):
        assert _names(installed / theirs) == _names(ours)
        for name in _names(ours):
            assert (installed / theirs / name).read_bytes() == (ours / name).read_bytes(), name


def test_maintainers_scripts_tests_and_benchmarks_are_left_out(installed: Path) -> None:
    folders = {path.name for path in installed.iterdir() if path.suffix != ".dist-info"}
    assert folders == set(_PACKAGES)


def test_it_upscales_an_image_without_torch_and_tensorflow(installed: Path, tmp_path: Path) -> None:
    Image.fromarray(draw_test_card(40, 60)).save(tmp_path / "photo.png")
    env = os.environ | {"PYTHONPATH": str(installed)}
    env.pop("EDGESR_SHARED", None)
    argv = [sys.executable, "-c", _RUN_BASE_ONLY, "upscale", "photo.png"]
    done = subprocess.run(argv, env=env, cwd=tmp_path, capture_output=True, text=True)
    if not list(_SHIPPED.glob(f"{DEFAULT_MODEL}_*_fp16.tflite")):
        assert "no .tflite of imdn-rtc comes with this edgesr" in done.stderr
        pytest.skip("no file comes with this edgesr yet")
    assert (done.returncode, done.stderr) == (0, "")
    with Image.open(tmp_path / "photo_x2.png") as image:
        assert image.size == (120, 80)
