"""What trainings can go on from is what the bundled weights are the fold of."""

from pathlib import Path

import pytest
import torch

from edgesr.bundled import WEIGHTS_FOLDER
from edgesr.checkpoints import load
from edgesr.reparam import fold

_RUNS = Path(__file__).parents[2] / "training_runs"
_NAMES = sorted(file.stem for file in WEIGHTS_FOLDER.glob("*.safetensors"))


@pytest.mark.parametrize("name", _NAMES)
def test_a_kept_training_form_folds_to_the_bundled_weights(name: str) -> None:
    trained = load(_RUNS / name / "model-training.safetensors")
    assert trained.training_form
    folded = fold(trained.net).state_dict()
    bundled = load(WEIGHTS_FOLDER / f"{name}.safetensors").net.state_dict()
    assert folded.keys() == bundled.keys()
    for key, tensor in bundled.items():
        torch.testing.assert_close(
            folded[key], tensor, rtol=1e-5, atol=1e-6, msg=lambda told, key=key: f"{key}: {told}"
        )


def test_no_other_trainings_are_kept() -> None:
    assert sorted(folder.name for folder in _RUNS.iterdir() if folder.is_dir()) == _NAMES
