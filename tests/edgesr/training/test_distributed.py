"""Two processes over gloo, started by torchrun, are the training of one with the same batches."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgesr.training.folder import as_toml
from edgesr.training.log import read_rows
from edgesr.training.recipe import Recipe
from helpers.commands import RUN, files_in
from helpers.training import STEPS, assert_same_training, draw_images, short_recipe, weights

pytestmark = pytest.mark.slow


def _start(
    folder: Path, output: str, *more: str, count: int, recipe: Recipe | None = None
) -> subprocess.Popen[str]:
    """Train in `folder`; with a count of 1 without torchrun."""
    draw_images(folder / "images")
    (folder / "recipe.toml").write_text(as_toml(recipe or short_recipe()))
    words = ["train", "--recipe", folder / "recipe.toml", "--data", folder / "images"]
    words += ["-o", folder / output, "--cache", folder / "cache", "--device", "cpu"]
    words += ["--threads", "1", *more]
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
    torchrun += ["--no-python", sys.executable]
    argv = [sys.executable, *(torchrun if count > 1 else []), "-c", RUN, *map(str, words)]
    return subprocess.Popen(
        argv,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def _finish(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return out


def _assert_same_curve(one: Path, two: Path) -> None:
    expected, got = read_rows(one / "log.csv"), read_rows(two / "log.csv")
    assert [row.step for row in got] == [row.step for row in expected]
    worst = max((abs(b.loss - a.loss) / a.loss, a.step) for a, b in zip(expected, got, strict=True))
    assert worst[0] <= 1e-5, f"loss differs by {worst[0]:.2e} of it, at step {worst[1]}"


def test_two_processes_give_the_loss_curve_of_one(tmp_path: Path) -> None:
    """The second stage's batch of 3 is shared 1 to 2."""
    _finish(_start(tmp_path, "one", count=1))
    out = _finish(_start(tmp_path, "two", "--json", count=2))
    assert json.loads(out)["step"] == STEPS, "both printed, or none"
    _assert_same_curve(tmp_path / "one", tmp_path / "two")
    assert files_in(tmp_path / "one") == files_in(tmp_path / "two")
    ours, theirs = (weights(tmp_path / n / "model.safetensors") for n in ("one", "two"))
    for name, tensor in ours.items():
        worst = float((tensor - theirs[name]).abs().max())
        assert worst <= 1e-4 * float(tensor.abs().max()), f"{name}: {worst:.2e}"
    record = json.loads((tmp_path / "two" / "run.json").read_text())
    assert record["processes"] == 2


def test_two_processes_stop_together_and_end_as_if_they_had_not(tmp_path: Path) -> None:
    # Long enough to be met at work.
    stages = tuple(s.model_copy(update={"steps": 300}) for s in short_recipe().stages[:1])
    recipe = short_recipe(stages=stages, validate_every=100, checkpoint_every=100, log_every=20)
    process = _start(tmp_path, "two", count=2, recipe=recipe)
    log = tmp_path / "two" / "log.csv"
    deadline = time.monotonic() + 200
    while not (log.exists() and len(read_rows(log)) >= 2):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=120)
    assert process.returncode != 0
    assert err.count("edgesr: stopped after step") == 1, err
    _finish(_start(tmp_path, "two", "--resume", count=2, recipe=recipe))
    _finish(_start(tmp_path, "whole", count=2, recipe=recipe))
    assert_same_training(tmp_path / "whole", tmp_path / "two")
