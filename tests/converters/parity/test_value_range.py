"""The value range that a network shows, and the one that it is not given against that."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import edgesr
from converters.parity.value_range import FoundRange, find_value_range
from converters.parity.verify import torch_reference
from converters.third_party_source import module_source
from edgesr.errors import CheckpointError, ModuleError
from helpers.third_party_nets import ECBSR, ESPCN

if TYPE_CHECKING:
    from torch import nn

_PUBLISHED = {
    "IMDN_x2.pth": 1, "IMDN_x4.pth": 1, "fmen_test_weights.pt": 255, "imdn_baseline.pth": 1,
    "model_RTC.pth": 1, "team03_fmen.pth": 255, "team26_imdn_nb7.pth": 1, "team39_imdn_plus.pth": 1,
}  # fmt: skip


def _found(net: "nn.Module", scale: int, given: float | None = None) -> FoundRange:
    return find_value_range(
        lambda n: torch_reference(net, n),
        scale,
        given=given,
        default=7.0,
        label="it",
        error=CheckpointError,
    )


@pytest.mark.parametrize("file", list(_PUBLISHED))
def test_published_weights_show_their_range(shared: Path, file: str) -> None:
    checkpoint = edgesr.load_checkpoint(shared / "reference" / file)
    found = _found(checkpoint.net, checkpoint.spec.scale)
    assert found.value_range == _PUBLISHED[file], found.evidence


@pytest.mark.parametrize("name", ["rtc", "fmen-s"])
def test_a_range_that_is_clearly_another_is_refused(name: str) -> None:
    checkpoint = edgesr.load_checkpoint(name)
    true = checkpoint.spec.value_range
    assert _found(checkpoint.net, checkpoint.spec.scale, true).value_range == true
    with pytest.raises(CheckpointError, match=rf"^it is not of the value .* or give {true:g}$"):
        _found(checkpoint.net, checkpoint.spec.scale, 256 - true)


@pytest.mark.parametrize("make", [ESPCN, ECBSR], ids=["espcn", "ecbsr"])
def test_a_network_without_training_shows_nothing(make: "Callable[[], nn.Module]") -> None:
    net = make().eval()
    assert _found(net, 2) == FoundRange(7.0, "")
    assert _found(net, 2, 255.0) == FoundRange(255.0, "")


def test_a_module_of_the_other_range_is_converted_in_its_own() -> None:
    net = edgesr.load_checkpoint("fmen-s").net
    source = module_source(net, 32, 24)
    assert source.value_range == 255.0
    assert "dB in [0, 255]" in source.range_evidence
    with pytest.raises(ModuleError, match=r"is not of the value range \[0, 1\]"):
        module_source(net, 32, 24, value_range=1.0)
