"""Predicted peak memory of conversions, compared with measured peaks."""

import json
from pathlib import Path

import pytest

from converters.memory import predicted_bytes
from converters.source import checkpoint_source
from edgesr.networks.spec import find_spec
from edgesr.weights.bundled import bundled_checkpoint
from edgesr.weights.checkpoints import load

_RECORD = Path(__file__).parents[2] / "benchmarks" / "results" / "convert_memory.json"
_COSTS = {cost["command"]: cost for cost in json.loads(_RECORD.read_text())["costs"]}


@pytest.mark.parametrize("command", _COSTS)
def test_a_conversion_needs_what_is_predicted_and_not_much_less(command: str) -> None:
    cost = _COSTS[command]
    assert cost["peak_gib"] <= cost["predicted_gib"] <= cost["peak_gib"] + 0.75


@pytest.mark.parametrize("model", ["rtc", "fmen-s"])
def test_the_record_holds_what_the_code_predicts(model: str) -> None:
    spec = find_spec(model)
    source = checkpoint_source(load(bundled_checkpoint(spec), spec.name, spec.scale), 720, 480)
    predicted_gib = predicted_bytes(source, 720, 480) / 2**30
    recorded = _COSTS[f"edgesr convert --model {model} --fp16 --size 720x480"]["predicted_gib"]
    assert predicted_gib == pytest.approx(recorded, rel=1e-6)
