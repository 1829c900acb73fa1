"""Trainings of a second: synthetic images, short recipes, and how two of them are compared."""

from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from PIL import Image
from torch import Tensor

from edgesr.images.test_card import draw_test_card
from edgesr.training.log import Row, read_rows
from edgesr.training.recipe import Cosine, Recipe, Stage
from edgesr.training.run import Places

STEPS = 24


def draw_images(folder: Path, count: int = 12) -> Path:
    """Save parts of the test card, which holds gradients, edges, writing and noise."""
    folder.mkdir(parents=True, exist_ok=True)
    card_hwc_u8 = draw_test_card(320, 320)
    for index in range(count):
        top, left = 20 * (index % 4), 60 * (index // 4)
        Image.fromarray(card_hwc_u8[top : top + 64, left : left + 56]).save(
            folder / f"p{index:02}.png"
        )
    return folder


def short_recipe(**changes: Any) -> Recipe:
    """RTC without a training form, two stages, saving and measuring at odd intervals."""
    stages = (
        Stage(
            steps=14,
            lr_patch=12,
            batch=4,
            schedule=Cosine(kind="cosine", rate=1e-3, final_rate=1e-4, warm_up=3),
        ),
        Stage(
            steps=STEPS - 14,
            lr_patch=16,
            batch=3,
            loss="charbonnier",
            schedule=Cosine(kind="cosine", rate=5e-4),
        ),
    )
    values: dict[str, Any] = {
        "description": "a test",
        "model": "rtc",
        "scale": 2,
        "training_form": False,
        "ema_decay": 0.9,
        "stages": stages,
        "log_every": 4,
        "validate_every": 7,
        "checkpoint_every": 3,
    }
    return Recipe(**(values | changes))


def places(folder: Path, output: str | Path = "out", **changes: Any) -> Places:
    """Everything inside one folder of a test, on one thread of the CPU.

    Args:
        folder: Holds `images` and the cache.
        output: Where the training goes: a name in `folder`, or a path of its own.
        changes: Other fields of `Places`.
    """
    values: dict[str, Any] = {
        "data": (folder / "images",),
        "output": folder / output,
        "cache": folder / "cache",
        "device": "cpu",
        "threads": 1,
    }
    return Places(**(values | changes))


def weights(file: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file."""
    return safetensors.torch.load_file(file)


def assert_same_training(expected: Path, got: Path) -> None:
    """Fail, saying where, unless two output folders hold the same training, to the bit."""
    for name in ("model.safetensors", "best.safetensors"):
        assert (expected / name).exists(), f"{expected / name} is missing"
        assert_same_bits(weights(expected / name), weights(got / name), name)
    before, now = (
        torch.load(folder / "checkpoint.pt", weights_only=True) for folder in (expected, got)
    )
    for key in ("params", "params_ema", "best", "optimizer", "loss_sum", "random"):
        assert_same_bits(before[key], now[key], key)
    for key in ("step", "best_psnr", "best_step", "loss_count", "identity"):
        assert before[key] == now[key], key
    assert log_without_times(expected / "log.csv") == log_without_times(got / "log.csv")


def assert_same_bits(expected: object, got: object, where: str) -> None:
    """Fail, saying where, unless two nests of dicts, lists and tensors are equal to the bit."""
    assert type(expected) is type(got), where
    if isinstance(expected, Tensor) and isinstance(got, Tensor):
        difference = (expected.double() - got.double()).abs().max() if expected.numel() else 0
        assert torch.equal(expected, got), f"{where}: max abs difference {float(difference):.3g}"
    elif isinstance(expected, dict) and isinstance(got, dict):
        assert expected.keys() == got.keys(), where
        for key, value in expected.items():
            assert_same_bits(value, got[key], f"{where}.{key}")
    elif isinstance(expected, list) and isinstance(got, list):
        assert len(expected) == len(got), where
        for index, value in enumerate(expected):
            assert_same_bits(value, got[index], f"{where}.{index}")
    else:
        assert expected == got, where


def log_without_times(path: Path) -> list[tuple[int, float, float, float | None]]:
    """The rows of a log, but for the seconds."""
    return [_without_time(row) for row in read_rows(path)]


def _without_time(row: Row) -> tuple[int, float, float, float | None]:
    return row.step, row.learning_rate, row.loss, row.psnr_y_db
