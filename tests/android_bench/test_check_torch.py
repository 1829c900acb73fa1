"""`edgesr bench --check` against the PyTorch network that a file was made from."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from fake_device import FakeDevice

from android_bench.correctness import Sample, TorchReference, compare_all, expect
from android_bench.record import BenchRecord
from converters.parity.device_reference import find_networks
from edgesr.errors import CheckpointError, EdgeSRError, ModelFileError
from edgesr.images.metrics import Bounds
from edgesr.networks.spec import find_spec
from edgesr.runtime.precision import ComputePrecision
from edgesr.runtime.session import open_model
from edgesr.weights.bundled import bundled_checkpoint
from helpers.benching import Bench, is_clean

SHIPPED = Path(__file__).parents[2] / "tflite_models" / "imdn-rtc_x2_720x480_fp16.tflite"


@pytest.fixture
def third_party(sr_tflite: Path, tmp_path: Path) -> Path:
    """A small file of another tool: it says nothing of where it comes from."""
    folder = tmp_path / "foreign"
    folder.mkdir()
    path = folder / "small.tflite"
    path.write_bytes(sr_tflite.read_bytes().replace(b"EDGESR_FACTS", b"OTHERS_FACTS"))
    return path


def other_weights(folder: Path) -> Path:
    """The shipped file, which says that it was made from weights that nobody has."""
    from converters.parity.verify_file import describe

    facts = describe(SHIPPED).facts
    assert facts is not None
    path = folder / "other.tflite"
    content = SHIPPED.read_bytes()
    assert content.count(facts.weights_sha256.encode()) == 1
    path.write_bytes(content.replace(facts.weights_sha256.encode(), b"0" * 64))
    return path


def test_the_network_of_a_file_is_found_by_what_the_file_says(one_torch_thread: None) -> None:
    found = find_networks([SHIPPED], [], required=True)[SHIPPED]
    assert found.network is not None
    # Of low contrast: noise of all of it drives a network far beyond black and white.
    lr_nhwc = np.random.default_rng(0).uniform(0.4, 0.6, (1, 720, 480, 3)).astype(np.float32)
    apart = np.abs(found.network(lr_nhwc) - open_model(SHIPPED).run(lr_nhwc))
    assert 0 < float(apart.max()) < 1e-2
    # The gates of `edgesr convert` for a file whose weights are stored in FP16.
    assert str(found.gates[ComputePrecision.FP32]) == "PSNR >= 60 dB, max abs <= 0.01"
    assert str(found.gates[ComputePrecision.FP16]) == "PSNR >= 55 dB"


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        pytest.param(other_weights, "neither bundled nor published", id="other weights"),
        pytest.param(None, "holds no facts about the network", id="of another tool"),
    ],
)
def test_a_network_that_cannot_be_had_is_a_reason_and_an_error_where_it_must_be(
    third_party: Path, tmp_path: Path, make: object, reason: str
) -> None:
    file = make(tmp_path) if callable(make) else third_party
    found = find_networks([file], [], required=False)[file]
    assert found.network is None
    assert reason in found.missing
    with pytest.raises(CheckpointError, match=reason):
        find_networks([file], [], required=True)


def test_without_torch_that_is_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    real = sys.modules["importlib.util"].find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name, *a: None if name == "torch" else real(name, *a)
    )
    found = find_networks([SHIPPED], [], required=False)[SHIPPED]
    assert "needs torch, which is not installed" in found.missing
    with pytest.raises(EdgeSRError, match="needs torch"):
        find_networks([SHIPPED], [], required=True)


def test_weights_of_the_users_own_go_to_the_file_that_names_them(
    third_party: Path, tmp_path: Path
) -> None:
    own = tmp_path / "own.safetensors"
    shutil.copy(bundled_checkpoint(find_spec("rtc")), own)
    found = find_networks([third_party, SHIPPED], [own], required=False)
    assert found[SHIPPED].network is not None
    assert found[third_party].network is None
    with pytest.raises(CheckpointError, match=r"none of the files was made from .*own"):
        find_networks([third_party], [own], required=False)


def test_another_output_than_pytorchs_fails_by_its_own_gate() -> None:
    near, far = np.full((1, 4, 4, 3), 0.5, np.float32), np.full((1, 4, 4, 3), 0.53, np.float32)
    sample = Sample("p", np.zeros((1, 2, 2, 3), np.float32), near, far)
    gates = {ComputePrecision.FP32: Bounds(psnr_db=60.0, max_abs=1e-2)}
    torch = TorchReference(lambda lr_nhwc: far, gates=gates)
    cpu, pytorch = compare_all(sample, near, ComputePrecision.FP32, torch)
    assert (cpu.reference, cpu.passed, cpu.gate) == ("host CPU", True, "max abs <= 0.0001")
    assert (pytorch.reference, pytorch.passed) == ("PyTorch", False)
    assert pytorch.max_abs == pytest.approx(0.03, abs=1e-6)
    assert pytorch.psnr_db == pytest.approx(30.46, abs=0.01)
    assert pytorch.gate == "PSNR >= 60 dB, max abs <= 0.01"


def test_a_network_of_another_scale_is_refused_before_the_device_runs(sr_tflite: Path) -> None:
    torch = TorchReference(lambda lr_nhwc: lr_nhwc)
    with pytest.raises(ModelFileError, match="not the same network"):
        expect(sr_tflite, [], torch)


def test_what_was_not_compared_is_said_in_words(
    device: FakeDevice, bench: Bench, third_party: Path, tmp_path: Path
) -> None:
    target = tmp_path / "r.json"
    ran = bench("--check", "-o", target, file=third_party)
    assert ran.status == 0, ran.err
    said = "PyTorch: not compared, because small.tflite holds no facts about the network"
    assert said in ran.out
    (case,) = BenchRecord.model_validate_json(target.read_text()).cases
    assert [one.reference for one in case.fidelity] == ["host CPU"]
    assert any(note.startswith(said) for note in case.notes)


def test_where_pytorch_is_required_nothing_runs_without_it(
    device: FakeDevice, bench: Bench, third_party: Path
) -> None:
    bench("--check-torch", file=third_party).fails_alone(
        "holds no facts about the network it was made from"
    )
    assert device.commands == []


@pytest.mark.parametrize("option", ["--images", "--checkpoint"])
def test_what_goes_with_the_check_is_refused_without_it(bench: Bench, option: str) -> None:
    bench(option, ".").is_wrong_usage(option, "without --check")


@pytest.mark.slow
def test_the_shipped_file_on_a_device_equals_pytorch_in_both_precisions(
    device: FakeDevice, bench: Bench, tmp_path: Path, one_torch_thread: None
) -> None:
    target = tmp_path / "r.json"
    words = ["--precision", "fp16", "--precision", "fp32", "--check-torch", "-o", target]
    ran = bench(*words, file=SHIPPED)
    assert ran.status == 0, ran.err
    assert is_clean(device)
    half, full = BenchRecord.model_validate_json(target.read_text()).cases
    for case, gate in ((half, "PSNR >= 55 dB"), (full, "PSNR >= 60 dB, max abs <= 0.01")):
        cpu, pytorch = case.fidelity
        assert (cpu.reference, pytorch.reference) == ("host CPU", "PyTorch")
        assert (pytorch.passed, pytorch.gate) == (True, gate)
        # The network leaves its range on all of the card's contrast, as `edgesr verify` finds too.
        assert pytorch.image == cpu.image == "test card at 0.5 of its contrast"
        assert case.notes == ()
    assert full.fidelity[0].max_abs == 0.0
    assert 0 < (full.fidelity[1].max_abs or 0) < (half.fidelity[1].max_abs or 0)
    assert ran.out.count("from PyTorch") == 2
