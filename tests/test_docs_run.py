"""The commands and the Python blocks of README and docs are run, from top to bottom of a page.

Each page has a folder with the files that it names, small ones. Conversions and trainings are run
at a small size, benchmarks with few runs: `_smaller` has the changes. What needs a device, a GPU
driver, other weights than the bundled ones or several processes is not run here: `_NOT_RUN` has the
reasons; that its options are accepted is held by `test_docs.py`.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

import tflite_models
from edgesr.images.imresize import imresize
from edgesr.images.test_card import draw_test_card
from helpers.commands import no_network, run_alone
from helpers.documents import DOCUMENTS, ROOT, read_document
from helpers.small_net import SmallNet
from helpers.third_party_nets import ESPCN, built, exported
from helpers.videos import make_video

pytestmark = pytest.mark.slow

_SHIPPED = Path(tflite_models.__file__).parent
_RTC = "imdn-rtc_x2_720x480_fp16.tflite"
_DEFAULT_SIZE, _OTHER_SIZE = "64x48", "48x32"  # in place of 720x480 and 480x320

#: Words of a command -> why it is parsed only.
_NOT_RUN = {
    "--gate gpu": "needs a Vulkan driver; tests/edgesr/cli/test_convert.py runs it",
    "--backend gpu": "needs a Vulkan driver; tests/edgesr/cli/test_verify.py runs it",
    "--backend all": "needs a Vulkan driver; tests/edgesr/cli/test_verify.py runs it",
    "bench android": "needs a device; tests/android_bench/ runs it on a fake one",
    "doctor --devices": "starts an adb server; tests/edgesr/doctor/ runs it",
    "--weights published": "downloads; tests/edgesr/cli/test_convert_published.py runs it",
    "--model imdn ": "downloads; tests/converters/test_every_network.py converts it",
    "imdn:4": "downloads; tests/edgesr/cli/test_report.py runs reports",
    "--recipe fmen-s": "downloads its teachers; tests/edgesr/training/test_teacher.py has one",
    "realesr-general": "that file; tests/converters/test_third_party_checkpoint.py has such",
    "upscale - ": "reads stdin; tests/edgesr/cli/test_upscale_folders.py gives it an image",
    "web serve": "runs until Ctrl-C; tests/edgesr/web/ opens it in a browser",
    "web build": "downloads; tests/edgesr/web/ builds it",
    "bench browser": "starts Chromium; tests/edgesr/web/test_path.py runs it",
    "torchrun": "several processes; tests/edgesr/training/ runs them",
}


def _smaller(command: str) -> str:
    """The command at a size that takes seconds."""
    command = command.replace("480x320", _OTHER_SIZE).replace("1080x1920", "48x64")
    if command.startswith("edgesr convert") and "--size" not in command:
        command += f" --size {_DEFAULT_SIZE}"
    if command.startswith("edgesr train"):
        command += " --steps 2"
    if command.startswith("edgesr bench host"):
        command += " --runs 2 --warm-up 1"
    if "--sections stress" in command:
        command += " --sizes 16,32"
    return command


def _commands(name: str) -> list[str]:
    """What is run of a document, each command once."""
    lines = dict.fromkeys(" ".join(words) for words in read_document(name).commands)
    return [
        line
        for line in lines
        if line.startswith(("edgesr ", "python -m edgesr"))
        and not any(part in line for part in _NOT_RUN)
    ]


def _training_images(folder: Path) -> None:
    folder.mkdir()
    card_hwc_u8 = draw_test_card(400, 600)
    for left in range(0, 400, 30):
        Image.fromarray(card_hwc_u8[100:300, left : left + 200]).save(folder / f"{left}.png")


def _image_pair(folder: Path, name: str) -> None:
    hr_hwc_u8 = draw_test_card(48, 64)
    for kind, image_hwc_u8 in (("HR", hr_hwc_u8), ("LR", imresize(hr_hwc_u8, 0.5))):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image_hwc_u8).save(folder / kind / name)


@pytest.fixture
def folder(tmp_path: Path, checkpoint: Path) -> Path:
    """The files that the documents name, and nothing that their commands write."""
    card = Image.fromarray(draw_test_card(60, 80))
    for name in ("photo.jpg", "photo.png", "large.png", "original.png", "holiday/a.jpg",
                 "photos/2026/b.jpg"):  # fmt: skip
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        card.save(tmp_path / name)
    make_video(tmp_path / "clip.mp4", sound="aac")
    for name in ("images", "DIV2K"):
        _training_images(tmp_path / name)
    _image_pair(tmp_path / "Set5/x2", "img_001.png")
    shutil.copy(_SHIPPED / _RTC, tmp_path)
    shutil.copy(checkpoint, tmp_path / "mine.pth")
    nets = {"a": SmallNet(), "b": SmallNet(), "mine": SmallNet()}
    nets["imdn_x4_720x480_fp16"] = SmallNet(scale=4, whole_image=True)
    nets["imdn-as_x1_720x480_fp16"] = SmallNet(scale=1, halvings=2)
    for name, net in nets.items():
        (tmp_path / f"{name}.tflite").write_bytes(net.tflite(48, 32))
    onnx.save(exported(built(ESPCN)), tmp_path / "theirs.onnx")
    return tmp_path


Run = Callable[[str], None]


@pytest.fixture
def run(folder: Path) -> Run:
    """Run one command in the folder, without network; it must succeed."""

    def run_one(command: str) -> None:
        with no_network() as environment:
            words = command.split()
            if words[0] == "python":
                done = subprocess.run(
                    [sys.executable, *words[1:]],
                    cwd=folder, env=environment, capture_output=True, text=True,
                )  # fmt: skip
                status, err = done.returncode, done.stderr
            else:
                ran = run_alone(*words[1:], env=environment, cwd=folder)
                status, err = ran.status, ran.err
        assert status == 0, f"{command}\n{err}"

    return run_one


@pytest.mark.parametrize("name", [name for name in DOCUMENTS if _commands(name)])
def test_commands_run_in_their_order(name: str, folder: Path, run: Run) -> None:
    if any("bench compare" in command for command in _commands(name)):
        run("edgesr bench host a.tflite --runs 2 --warm-up 1 -o old.json")
        # A device's record reads like a host's.
        for other in ("new.json", "phone.json", "before.json", "after.json"):
            shutil.copy(folder / "old.json", folder / other)
    for command in _commands(name):
        run(_smaller(command))


@pytest.mark.parametrize(
    "name", [name for name in DOCUMENTS if read_document(name).blocks("python")]
)
def test_python_blocks_run(name: str, folder: Path) -> None:
    for code in read_document(name).blocks("python"):
        small = code.replace("(720, 480)", "(48, 32)")
        with no_network() as environment:
            done = subprocess.run(
                [sys.executable, "-c", small],
                cwd=folder, env=environment, capture_output=True, text=True,
            )  # fmt: skip
        assert done.returncode == 0, f"{code}\n{done.stderr}"


def test_the_site_builds_without_a_dead_link(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", tmp_path]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(
        [*map(str, words)], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert built.returncode == 0, built.stderr
    api = (tmp_path / "api" / "index.html").read_text()
    assert "load_model" in api


def test_the_demo_makes_the_readmes_image(tmp_path: Path) -> None:
    """Up to the rounding of FP16 weights, which depends on the CPU."""
    with no_network() as environment:
        done = subprocess.run(
            [sys.executable, str(ROOT / "examples/demo.py"), "--output", str(tmp_path)],
            env=environment, capture_output=True, text=True,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    made, committed = (
        np.asarray(Image.open(path).convert("RGB"), np.int16)
        for path in (tmp_path / "comparison.png", ROOT / "docs/images/before_after.png")
    )
    assert made.shape == committed.shape
    assert np.abs(made - committed).max() <= 2
