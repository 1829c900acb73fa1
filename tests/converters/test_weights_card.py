"""The model card of weights says what their training began with."""

from typing import Any

import pytest

from converters.records import WeightsRecord
from converters.weights_card import weights_card
from edgesr.bundled import WEIGHTS_FOLDER

_EARLIER: dict[str, Any] = {
    "file": "model-training.safetensors",
    "sha256": "ab" * 32,
    "facts": {
        "step": 50_000,
        "recipe": {"description": "the first part"},
        "commit": "c0ffee",
    },
}


def _card(first_weights: dict[str, Any] | None) -> str:
    path = WEIGHTS_FOLDER / "imdn-rtc_x2.json"
    record = WeightsRecord.model_validate_json(path.read_bytes())
    training = {**record.training, "first_weights": first_weights}
    return weights_card(record.model_copy(update={"training": training}))


def test_random_weights_are_said() -> None:
    assert "- Start: random weights; taken are" in _card(None)


def test_an_earlier_training_is_named_with_its_length_recipe_and_commit() -> None:
    assert (
        "- Start: the weights of an earlier training (sha256 `abababababababab...`: 50,000 steps "
        'of "the first part", commit `c0ffee`, itself from random weights); taken are'
    ) in _card(_EARLIER)


@pytest.mark.parametrize("facts", [{}, {**_EARLIER["facts"], "first_weights": _EARLIER}])
def test_the_chain_goes_as_far_back_as_the_files_tell(facts: dict[str, Any]) -> None:
    card = _card({**_EARLIER, "facts": facts})
    assert card.count("an earlier training (sha256") == (2 if facts else 1)
    assert ("random weights" in card) is bool(facts)
