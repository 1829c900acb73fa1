"""A small model on LiteRT's GPU accelerator, and what its tests look at."""

import contextlib
from pathlib import Path

import pytest

from edgesr.runtime.gpu import GpuModel, Shape
from helpers.tflite_builder import sr_model

#: Height and width of the small model's input.
SIZE = (12, 16)
LR: Shape = (1, *SIZE, 3)
HR: Shape = (1, 2 * SIZE[0], 2 * SIZE[1], 3)


def opened(content: bytes | None = None, lr: Shape = LR, hr: Shape = HR, **more: float) -> GpuModel:
    """The small model, or another, compiled for the GPU."""
    return GpuModel("m.tflite", content or sr_model(*SIZE), lr, hr, half=False, **more)


def children() -> set[str]:
    """Processes that this one has started and not waited for."""
    found: set[str] = set()
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(FileNotFoundError):  # a thread that has ended meanwhile
            found.update((task / "children").read_text().split())
    return found


def one_line(caught: pytest.ExceptionInfo[Exception]) -> str:
    """An error's message, which must be one line."""
    (line,) = str(caught.value).splitlines()
    return line
