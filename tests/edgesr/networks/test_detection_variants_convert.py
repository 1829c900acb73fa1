"""Networks of other sizes than the listed ones, through the commands, as a user runs them."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from converters.manifest import read_manifest
from edgesr.networks.spec import build, find_spec
from helpers.commands import Command, Ran, files_in, run_here
from helpers.images import noise_image, save_image

pytestmark = pytest.mark.usefixtures("one_torch_thread")


@dataclass(frozen=True)
class _Case:
    """A network with torch's own initial weights, and what the file made of it must say."""

    listed: str
    scale: int
    training_form: bool
    sizes: dict[str, Any]
    name: str
    receptive_radius: int

    def save(self, path: Path) -> Path:
        """The checkpoint, as DataParallel saves it."""
        base = find_spec(self.listed, {"imdn": 2, "fmen": 2}.get(self.listed))
        spec = replace(base, scale=self.scale, sizes=tuple(self.sizes.items()))
        torch.manual_seed(0)
        state = build(spec, training_form=self.training_form).state_dict()
        torch.save({f"module.{name}": tensor for name, tensor in state.items()}, path)
        return path


_RTC = _Case("imdn-rtc", 2, False, {"num_feat": 16, "num_blocks": 3}, "imdn-rtc-c16b3", 14)
_FMEN = _Case(
    "fmen",
    2,
    True,
    {"num_feat": 20, "mid_feat": 10, "num_pairs": 2, "attention_blocks": (1, 2, 0)},
    "fmen-c20m10b2e1-2-0",
    20,
)
_CASES = [
    pytest.param(case, id=f"{case.name}-x{case.scale}-{'training' * case.training_form or 'plain'}")
    for case in (
        _FMEN,
        _Case("imdn", 3, False, {"num_feat": 32, "num_blocks": 4}, "imdn-c32b4", 19),
        _Case("imdn-clb", 2, True, {"num_feat": 18, "num_blocks": 2}, "imdn-clb-c18b2", 11),
    )
]

Edgesr = Callable[..., Ran]


@pytest.fixture
def edgesr(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Edgesr:
    return lambda *words: run_here(monkeypatch, capsys, *words)


@pytest.mark.slow
@pytest.mark.parametrize("case", _CASES)
def test_a_variant_converts_by_its_checkpoint_alone(
    case: _Case, convert: Command, edgesr: Edgesr, here: Path, tmp_path: Path
) -> None:
    checkpoint = case.save(tmp_path / "theirs.pth")
    ran = convert("--checkpoint", checkpoint, "--size", "64x48")
    assert ran.status == 0, ran.err
    assert ran.out.count(": passed") == 2, "FP16 weights on two backends"
    (note,) = ran.err.splitlines()
    form = "training" if case.training_form else "plain"
    assert f"note: theirs.pth is {case.name} x{case.scale}, {case.listed} with" in note
    assert f"{case.sizes['num_feat']} channels" in note
    assert f"in {form} form" in note
    assert ("are folded into" in note) is case.training_form
    stem = f"{case.name}_x{case.scale}_64x48_fp16"
    assert files_in(here) == [f"{stem}.json", f"{stem}.tflite"]
    facts = read_manifest(here / f"{stem}.json").facts
    assert (facts.model, facts.scale) == (case.name, case.scale)
    assert facts.receptive_radius == case.receptive_radius
    assert "user's own" in facts.weights_source
    ran = edgesr("verify", f"{stem}.tflite")
    ran.fails_alone(f"{case.name} is a variant of {case.listed}", "--checkpoint FILE")
    ran = edgesr("verify", f"{stem}.tflite", "--checkpoint", checkpoint)
    assert (ran.status, ran.err) == (0, ""), ran.err


@pytest.mark.slow
def test_the_family_may_be_asked_for_and_another_may_not(
    convert: Command, here: Path, tmp_path: Path
) -> None:
    checkpoint = _RTC.save(tmp_path / "theirs.pth")
    words = ("--checkpoint", checkpoint, "--size", "32x24", "-o", "a.tflite")
    ran = convert(*words, "--model", "imdn")
    ran.fails_alone("theirs.pth: the checkpoint is of imdn-rtc-c16b3 x2, not of imdn")
    ran = convert(*words, "--model", "rtc", "--scale", 3)
    ran.fails_alone("is of imdn-rtc-c16b3 x2, not of rtc x3")
    assert files_in(here) == []
    assert convert(*words, "--model", "rtc", "--scale", 2).status == 0
    facts = read_manifest(here / "a.json").facts
    assert (facts.model, facts.receptive_radius) == (_RTC.name, _RTC.receptive_radius)


def test_info_counts_a_variant(edgesr: Edgesr, tmp_path: Path) -> None:
    checkpoint = _FMEN.save(tmp_path / "theirs.pth")
    found = {
        form: json.loads(edgesr("info", checkpoint, "--form", form, "--json").out)
        for form in ("plain", "training")
    }
    assert found["plain"]["network"] == f"{_FMEN.name} x2"
    assert found["plain"]["receptive_field"] == 2 * _FMEN.receptive_radius + 1
    assert found["plain"]["parameters"] < found["training"]["parameters"]


def test_a_variant_folds_to_itself_and_both_forms_evaluate_alike(
    edgesr: Edgesr, tmp_path: Path
) -> None:
    checkpoint, plain = _FMEN.save(tmp_path / "theirs.pth"), tmp_path / "plain.safetensors"
    hr = np.kron(noise_image(10, 12), np.ones((4, 4, 1), np.uint8))
    save_image(tmp_path / "set" / "HR" / "one.png", hr)
    ran = edgesr("fold", checkpoint, "-o", plain)
    assert ran.status == 0, ran.err
    assert f"{_FMEN.name} x2: " in ran.out
    words = ("eval", checkpoint, plain, "--data", tmp_path / "set", "--threads", 1, "--json")
    ran = edgesr(*words)
    assert ran.status == 0, ran.err
    *_, first, second = (entry["mean"]["psnr_db"] for entry in json.loads(ran.out)["targets"])
    assert first == pytest.approx(second, abs=1e-3)
