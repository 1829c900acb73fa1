"""The model card of weights names the start of their training."""

from typing import Any

import pytest

from edgesr.weights.bundled import WEIGHTS_FOLDER
from tools.release.records import WeightsRecord
from tools.release.weights_card import weights_card

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


def test_random_weights_are_named() -> None:
    assert "- Start: random weights; selected: the" in _card(None)


def test_an_earlier_training_is_named_with_its_length_recipe_and_commit() -> None:
    assert (
        "- Start: the weights of an earlier training (sha256 `abababababababab...`: 50,000 steps "
        'of "the first part", commit `c0ffee`, itself from random weights); selected: the'
    ) in _card(_EARLIER)


@pytest.mark.parametrize("facts", [{}, {**_EARLIER["facts"], "first_weights": _EARLIER}])
def test_the_chain_goes_as_far_back_as_the_files_record(facts: dict[str, Any]) -> None:
    card = _card({**_EARLIER, "facts": facts})
    assert card.count("an earlier training (sha256") == (2 if facts else 1)
    assert ("random weights" in card) is bool(facts)


def test_teachers_are_named_with_their_licences() -> None:
    path = WEIGHTS_FOLDER / "fmen-s_x4.json"
    record = WeightsRecord.model_validate_json(path.read_bytes())
    assert "- Teachers: the published imdn-baseline (MIT), imdn-clb (MIT), fmen-s" in weights_card(
        record
    )
    recipe = {**record.training["recipe"], "teacher": None}
    untaught = record.model_copy(update={"training": {**record.training, "recipe": recipe}})
    assert "Teachers" not in weights_card(untaught)


def test_what_was_held_out_and_what_decided_is_said() -> None:
    path = WEIGHTS_FOLDER / "fmen-s_x4.json"
    record = WeightsRecord.model_validate_json(path.read_bytes())
    changes = {"held_out": ["one", "two"], "decided_on": "Set5", "program": "by hand"}
    card = weights_card(record.model_copy(update={"training": {**record.training, **changes}}))
    assert "may have seen them: one, two." in card
    assert "- Decided on: Set5\n- Run: by hand\n" in card
