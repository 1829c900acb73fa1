"""What is no regular file in the place of an input or an output: devices, FIFOs, folders, links."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random

from fuzz.case import Case
from fuzz.kinds.images import good_image, network

_DEVICES = ("/dev/zero", "/dev/full", "/dev/null", "/dev/urandom", "/dev/stdin", "/proc/self/mem")


def make(rng: Random) -> Case:
    """A command of which one file is something else."""
    files = {"in.png": good_image(), "net.tflite": network(), "other.json": b"{}"}
    commands = [
        ["upscale", "X.png", "-m", "net.tflite", "-o", "out.png"],
        ["upscale", "in.png", "-m", "X.tflite", "-o", "out.png"],
        ["upscale", "in.png", "-m", "net.tflite", "-o", "X.png", "--force"],
        ["metrics", "in.png", "X.png"],
        ["inspect", "X.tflite"],
        ["info", "X.tflite"],
        ["bench", "compare", "X.json", "other.json"],
        ["bench", "report", "X.json", "-o", "page.html"],
        ["bench", "X.tflite", "--on", "host", "--runs", "1", "--repeats", "1"],
    ]
    words = rng.choice(commands)
    name = next(word for word in words if word.startswith("X"))
    device = rng.choice(_DEVICES)
    makers: list[Callable[[Path], None]] = [
        *([partial(_link, target=device)] * 3),
        partial(_link, target=name),
        partial(_link, target="missing"),
        partial(_link, target="in.png"),
        os.mkfifo,
        Path.mkdir,
        partial(_huge, size=1 << 40),
    ]
    make_it = rng.choice(makers)
    sent = (15, 0.3) if make_it is os.mkfifo and rng.random() < 0.5 else None
    return Case(words, files, prepare=partial(_prepare, name, make_it), signal=sent)


def _prepare(name: str, make_it: Callable[[Path], None], folder: Path) -> None:
    make_it(folder / name)


def _link(path: Path, target: str) -> None:
    path.symlink_to(target)


def _huge(path: Path, size: int) -> None:
    with path.open("wb") as file:
        file.truncate(size)
