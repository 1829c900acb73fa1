"""Checkpoints of other projects, built by spandrel and converted like modules."""

import sys
import time
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

import edgesr
from converters.gpu.refusal import NotCleanError
from converters.third_party_checkpoint import read_third_party
from edgesr.errors import CheckpointError, UnsupportedCheckpointError
from helpers import spandrel_nets
from helpers.commands import files_in, run_here
from helpers.spandrel_nets import CONVERTED, REFUSED, build, save

_SIZE = (48, 64)
#: Converted by hand (docs/conversion.md); each takes half a minute and more.
_HEAVY = ("ESRGAN", "RealCUGAN", "SAFMN BCIE")
_UNKNOWN = UnsupportedCheckpointError("no network of edgesr's")


@pytest.fixture(autouse=True)
def torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    spandrel_nets.supply_torchvision(monkeypatch)


@pytest.mark.parametrize("architecture", CONVERTED)
def test_the_architecture_is_found_by_the_weights(architecture: str, tmp_path: Path) -> None:
    net = build(*CONVERTED[architecture])
    read = read_third_party(save(net, tmp_path / "net.pth"), _UNKNOWN)
    assert read.architecture == ("PLKSR" if architecture == "RealPLKSR" else architecture)
    lr_nchw = torch.rand(1, 3, *_SIZE)
    with torch.no_grad():
        torch.testing.assert_close(read.net(lr_nchw), net.eval()(lr_nchw))


@pytest.mark.slow
@pytest.mark.parametrize("architecture", [name for name in CONVERTED if name not in _HEAVY])
def test_it_is_converted_with_every_gate(architecture: str, tmp_path: Path) -> None:
    checkpoint = save(build(*CONVERTED[architecture]), tmp_path / "theirs.pth")
    (file,) = edgesr.convert(checkpoint, size=_SIZE, output=tmp_path)
    facts = file.manifest.facts
    assert file.path.name == f"theirs_x{facts.scale}_48x64_fp16.tflite"
    assert facts.weights_source.startswith("checkpoint theirs.pth (sha256 ")
    assert file.manifest.gpu.rules_passed
    assert [parity.failures for parity in file.manifest.parity] == [(), ()]


@pytest.mark.parametrize("architecture", REFUSED)
def test_what_no_gpu_runs_is_refused_soon_with_its_reason(
    architecture: str, tmp_path: Path
) -> None:
    *net, reason = REFUSED[architecture]
    module, name, sizes = net
    checkpoint = save(build(module, name, sizes), tmp_path / "theirs.pth")
    before = time.process_time()  # which who else uses the machine does not change
    with pytest.raises(NotCleanError, match=reason):
        edgesr.convert(checkpoint, size=_SIZE, output=tmp_path)
    assert time.process_time() - before < 10
    assert files_in(tmp_path) == ["theirs.pth"]


@pytest.mark.slow
def test_the_command_names_what_was_built_and_verify_takes_it_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    command = partial(run_here, monkeypatch, capsys)
    save(build(*CONVERTED["RealESRGAN Compact"]), tmp_path / "theirs.pth")
    ran = command("convert", "--checkpoint", "theirs.pth", "--size", "48x64")
    assert ran.status == 0, ran.err
    assert "theirs.pth is RealESRGAN Compact x2, built by spandrel" in ran.err
    file = "theirs_x2_48x64_fp16.tflite"
    assert command("verify", file, "--checkpoint", "theirs.pth").status == 0
    command("verify", file).fails("name that file with --checkpoint FILE")


def test_without_spandrel_one_line_names_it_and_the_other_way(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    checkpoint = save(nn.Conv2d(3, 3, 3), tmp_path / "theirs.pth")
    monkeypatch.setitem(sys.modules, "spandrel", None)
    with pytest.raises(UnsupportedCheckpointError) as raised:
        edgesr.convert(checkpoint)
    text = str(raised.value)
    assert "pip install 'edgesr[spandrel]'" in text
    assert "--onnx FILE" in text
    assert "\n" not in text


def test_what_spandrel_does_not_know_either_is_said(tmp_path: Path) -> None:
    checkpoint = save(nn.Conv2d(3, 3, 3), tmp_path / "theirs.pth")
    with pytest.raises(UnsupportedCheckpointError, match="neither edgesr nor spandrel"):
        edgesr.convert(checkpoint)


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    net = build(*CONVERTED["RealESRGAN Compact"])
    with torch.no_grad():
        next(net.parameters()).fill_(float("nan"))
    with pytest.raises(CheckpointError, match="NaN"):
        edgesr.convert(save(net, tmp_path / "theirs.pth"))
