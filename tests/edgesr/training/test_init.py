"""Trainings that begin with the weights of an earlier one, and what convolutions compute in."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from edgesr.errors import CheckpointError
from edgesr.training.recipe import Cosine, Recipe, Stage
from edgesr.training.run import train
from edgesr.training.state import ResumeError
from helpers.training import draw_images, places, short_recipe, weights

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def _recipe(rate: float = 1e-3, **changes: object) -> Recipe:
    stage = Stage(steps=3, lr_patch=12, batch=4, schedule=Cosine(kind="cosine", rate=rate))
    return short_recipe(stages=(stage,), training_form=True, **changes)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images, and in `first` a short training in training form."""
    folder = tmp_path_factory.mktemp("first")
    draw_images(folder / "images")
    train(_recipe(), places(folder, "first"))
    return folder


@pytest.mark.parametrize("name", ["model-training.safetensors", "checkpoint.pt"])
def test_a_training_begins_with_the_weights_it_is_given(folder: Path, name: str) -> None:
    given = replace(places(folder, f"after-{name}"), first_weights=folder / "first" / name)
    train(_recipe(rate=1e-12, seed=9), given)
    before, after = (
        weights(run / "model-training.safetensors") for run in (folder / "first", given.output)
    )
    for key, tensor in before.items():
        torch.testing.assert_close(after[key], tensor, rtol=0, atol=1e-9)


def test_the_record_says_what_the_weights_came_from(folder: Path) -> None:
    file = folder / "first" / "model-training.safetensors"
    given = replace(places(folder, "record"), first_weights=file)
    train(_recipe(), given)
    origin = json.loads((given.output / "run.json").read_text())["first_weights"]
    assert origin["file"] == file.name
    assert len(origin["sha256"]) == 64
    assert origin["facts"]["recipe"] == _recipe().model_dump(mode="json")


def test_a_training_is_resumed_only_with_the_same_first_weights(folder: Path) -> None:
    file = folder / "first" / "model-training.safetensors"
    given = replace(places(folder, "resumed"), first_weights=file)
    train(_recipe(), given)
    with pytest.raises(ResumeError, match=r"first_weights was '[0-9a-f]{64}', now None"):
        train(_recipe(), replace(given, first_weights=None), resume=True)
    assert train(_recipe(), given, resume=True).finished


def test_folded_weights_are_refused_where_the_training_form_is_trained(folder: Path) -> None:
    given = replace(places(folder, "folded"), first_weights=folder / "first" / "model.safetensors")
    with pytest.raises(CheckpointError, match="plain form, allowed imdn-rtc x2 in training form"):
        train(_recipe(), given)
    assert not given.output.exists() or not list(given.output.glob("*.safetensors"))


def test_bfloat16_computes_otherwise_but_close_on_a_cpu(folder: Path) -> None:
    train(_recipe(precision="bfloat16"), places(folder, "half"))
    single, half = (
        weights(folder / run / "model-training.safetensors") for run in ("first", "half")
    )
    difference = max(float((single[key] - half[key]).abs().max()) for key in single)
    assert all(tensor.dtype == torch.float32 for tensor in half.values())
    assert 0 < difference < 0.01
