"""A folder as a phone gives it, upscaled by one command; and again after a kill."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from helpers.commands import RUN
from helpers.small_net import SmallNet
from helpers.videos import FRAMES, make_video, packets_of, picture, read_frames

_HEIGHT, _WIDTH = 40, 60
_TURNED = 6  # EXIF: the camera was held upright


def _scene() -> NDArray[np.uint8]:
    """A landscape with another colour in each corner."""
    rows, columns = np.mgrid[:_HEIGHT, :_WIDTH]
    planes = (4 * columns, 6 * rows, 255 - 3 * columns - rows)
    return np.stack(planes, axis=-1).clip(0, 255).astype(np.uint8)


@pytest.fixture
def phone(tmp_path: Path) -> Path:
    """The folder: photographs, a screenshot, an animation, a scan and a clip, in subfolders."""
    folder = tmp_path / "DCIM"
    for name in ("Camera", "Screenshots", "Camera/2026", "Scans"):
        (folder / name).mkdir(parents=True)
    scene = Image.fromarray(_scene())
    exif = Image.Exif()
    exif[0x0112] = _TURNED
    scene.save(folder / "Camera/IMG_1.jpg", quality=95, exif=exif)
    screenshot = scene.copy()
    alpha = Image.new("L", scene.size, 255)
    alpha.paste(0, (0, 0, 10, 10))
    screenshot.putalpha(alpha)
    screenshot.save(folder / "Screenshots/shot.png")
    pillow_heif.from_pillow(scene).save(folder / "Camera/IMG_2.HEIC", quality=95)
    others = [Image.fromarray(np.roll(_scene(), 20 * i, axis=1)) for i in (1, 2)]
    frames = [frame.quantize(64) for frame in (scene, *others)]
    frames[0].save(
        folder / "Camera/2026/wave.gif", save_all=True, append_images=frames[1:],
        duration=[40, 80, 120], loop=0,
    )  # fmt: skip
    scene.convert("L").save(folder / "Scans/page.tiff", dpi=(300, 300))
    quarter = [0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30]  # a turn by 90 degrees
    make_video(folder / "Camera/clip.mp4", sound="aac", matrix=quarter)
    return folder


@pytest.fixture
def network(tmp_path: Path) -> Path:
    """A network that gives every pixel as 2x2 equal ones: the right result is known."""
    path = tmp_path / "net.tflite"
    path.write_bytes(SmallNet(scale=2, radius=1, detail=0.0).tflite(16, 24))
    return path


def _words(folder: Path, network: Path, out: Path) -> list[str]:
    return ["upscale", str(folder), "-r", "-m", str(network), "-o", str(out)]


def _run(words: list[str]) -> dict[str, Path]:
    """The results by the name of their source."""
    command = [sys.executable, "-c", RUN, *words, "--json"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return {
        Path(image["input"]).name: Path(image["output"])
        for image in json.loads(ran.stdout)["images"]
        if image.get("output")
    }


def _is_twice(got: Image.Image, wanted: NDArray[np.uint8], levels: float) -> None:
    twice = wanted.repeat(2, axis=0).repeat(2, axis=1).astype(float)
    pixels = np.asarray(got, float)
    assert pixels.shape == twice.shape
    assert np.abs(pixels - twice).mean() <= levels


def test_every_file_of_a_phone_is_upscaled_as_it_is_seen(
    phone: Path, network: Path, tmp_path: Path
) -> None:
    made = _run(_words(phone, network, tmp_path / "out"))
    assert len(made) == 6
    assert {p.relative_to(tmp_path / "out").parent.as_posix() for p in made.values()} == {
        "Camera", "Camera/2026", "Screenshots", "Scans",
    }  # fmt: skip
    _check_images(made)
    _check_animation(made["wave.gif"])
    clip = made["clip.mp4"]
    assert len(packets_of(clip, "audio")) == len(packets_of(phone / "Camera/clip.mp4", "audio"))
    frames = read_frames(clip)
    assert len(frames) == FRAMES
    assert all(frame.side_data.get("DISPLAYMATRIX") is None for frame in frames)
    shown = np.rot90(picture(0), k=-1)  # as the display matrix says
    _is_twice(Image.fromarray(frames[0].to_ndarray(format="rgb24")), shown, 6)


def _check_images(made: Mapping[str, Path]) -> None:
    photo = Image.open(made["IMG_1.jpg"])
    upright = np.rot90(_scene(), k=-1)
    _is_twice(ImageOps.exif_transpose(photo), upright, 3)
    _is_twice(Image.open(made["IMG_2.HEIC"]).convert("RGB"), _scene(), 4)
    shot = Image.open(made["shot.png"])
    assert shot.mode == "RGBA"
    seen = np.asarray(shot)
    assert (seen[:18, :18, 3] == 0).all()
    assert (seen[24:, 24:, 3] == 255).all()
    _is_twice(Image.fromarray(seen[40:, 40:, :3]), _scene()[20:, 20:], 0)
    page = Image.open(made["page.tiff"])
    assert page.mode == "L"
    _is_twice(page, np.asarray(Image.fromarray(_scene()).convert("L")), 0)


def _check_animation(path: Path) -> None:
    wave = Image.open(path)
    assert getattr(wave, "n_frames", 1) == 3
    durations: list[float] = []
    for index in range(3):
        wave.seek(index)
        wave.load()
        durations.append(wave.info["duration"])
        _is_twice(wave.convert("RGB"), np.roll(_scene(), 20 * index, axis=1), 8)
    assert durations == [40, 80, 120]


@pytest.mark.slow
def test_after_a_kill_the_same_command_gives_the_same_files(
    phone: Path, network: Path, tmp_path: Path
) -> None:
    whole = _run(_words(phone, network, tmp_path / "whole"))
    out = tmp_path / "killed"
    command = [sys.executable, "-c", RUN, *_words(phone, network, out)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not list(out.rglob("*_x2.*")):
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL, "killed too late"
    assert len(list(out.rglob("*_x2.*"))) < len(whole), "killed too late"
    _run(_words(phone, network, out))
    assert _tree(out) == _tree(tmp_path / "whole")


def _tree(folder: Path) -> dict[str, bytes]:
    return {
        os.fspath(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
