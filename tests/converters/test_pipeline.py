"""From a checkpoint to a file: all stages for real, at a small size."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from converters import pipeline
from converters.manifest import manifest_path, read_manifest
from converters.parity.test_inputs import parity_inputs
from converters.parity.verify import ParityGateError, torch_reference
from converters.parity.verify_file import describe
from converters.source import checkpoint_source
from converters.spec import ConversionSpec, Precision
from edgesr.errors import OutputError, SizeError
from edgesr.networks.architectures.imdn_rtc import IMDNRTC
from edgesr.networks.spec import find_spec
from edgesr.runtime.session import Backend, open_model
from edgesr.weights.checkpoints import LoadedCheckpoint, load

pytestmark = pytest.mark.slow

_TFLITE_OF_RTC = {"CONV_2D", "LEAKY_RELU", "ADD", "DEPTH_TO_SPACE", "DEQUANTIZE"}


def _random_rtc() -> LoadedCheckpoint:
    """RTC with random weights: needs no shared folder."""
    torch.manual_seed(0)
    return LoadedCheckpoint(
        find_spec("rtc"), False, IMDNRTC().eval(), "0" * 64, "r.pth", "ours", ""
    )


Convert = Callable[..., dict[Precision, Path]]


@pytest.fixture
def convert(tmp_path: Path) -> Convert:
    """Convert a checkpoint into the test's folder; return the files' paths."""

    def run(
        checkpoint: LoadedCheckpoint, spec: ConversionSpec, images: Path | None = None
    ) -> dict[Precision, Path]:
        source = checkpoint_source(checkpoint, spec.height, spec.width)
        outputs = pipeline.default_outputs(source, spec, tmp_path)
        pipeline.convert(source, spec, outputs, images=images)
        return outputs

    return run


def test_both_precisions_pass_their_gates_and_carry_their_facts(
    convert: Convert, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "_SMALL_SIDE", 32)  # 192, above the size here
    spec = ConversionSpec(48, 64, (Precision.FP16, Precision.FP32))
    for precision, path in convert(_random_rtc(), spec).items():
        manifest = read_manifest(manifest_path(path))
        assert path.name == f"imdn-rtc_x2_48x64_{precision}.tflite"
        described = describe(path)
        assert described.facts == manifest.facts
        assert described.precision is precision
        assert (described.shape.height, described.shape.width) == (48, 64)
        assert set(manifest.operators) | {"DEQUANTIZE"} == _TFLITE_OF_RTC
        assert ("DEQUANTIZE" in manifest.operators) == (precision is Precision.FP16)
        assert manifest.gpu.rules_passed
        assert manifest.gpu.accelerator == "not checked"
        assert not [text for backend in manifest.parity for text in backend.failures]
        for backend in manifest.parity:  # one input of the file's size proves that size
            assert [row.size for row in backend.inputs] == [(48, 64), *[(32, 32)] * 7]


def test_the_same_checkpoint_gives_the_same_bytes(convert: Convert, tmp_path: Path) -> None:
    (path,) = convert(_random_rtc(), ConversionSpec(32, 24)).values()
    first = path.read_bytes(), manifest_path(path).read_bytes()
    path.unlink()
    manifest_path(path).unlink()
    convert(_random_rtc(), ConversionSpec(32, 24))
    assert (path.read_bytes(), manifest_path(path).read_bytes()) == first


def test_every_stage_reports_its_progress_to_the_end(tmp_path: Path) -> None:
    checkpoint, spec = _random_rtc(), ConversionSpec(32, 24)
    reported: dict[str, tuple[int, int]] = {}

    def progress(stage: str, done: int, total: int) -> None:
        reported[stage] = (done, total)

    source = checkpoint_source(checkpoint, spec.height, spec.width, progress=progress)
    outputs = pipeline.default_outputs(source, spec, tmp_path)
    pipeline.convert(source, spec, outputs, progress=progress)
    assert list(reported) == ["fold", "range", "export", "rewrite", "convert", "verify"]
    unfinished = {stage: counts for stage, counts in reported.items() if counts[0] != counts[1]}
    assert not unfinished


class _WronglyFolded(IMDNRTC):
    """A network whose fold has a last bias that is off by a quarter of a grey level."""

    def folded(self) -> nn.Module:
        plain = IMDNRTC()
        plain.load_state_dict(self.state_dict())
        with torch.no_grad():
            plain.model[2].bias += 1e-3  # pyright: ignore
        return plain


# INT8 has gates of its own: tests/converters/int8/.
@pytest.mark.parametrize("precision", [Precision.FP16, Precision.FP32])
def test_a_wrong_fold_is_an_error_and_leaves_no_file(tmp_path: Path, precision: Precision) -> None:
    wrong = _WronglyFolded().eval()
    with torch.no_grad():
        for name, tensor in wrong.named_parameters():
            tensor.copy_(_random_rtc().net.state_dict()[name])
    checkpoint = replace(_random_rtc(), net=wrong)
    spec = ConversionSpec(32, 24, (precision,))
    if precision is Precision.FP16:  # its gate is 1e-2: an error that is beyond it
        wrong.folded = lambda: _shifted(wrong, 2e-2)  # pyright: ignore
    source = checkpoint_source(checkpoint, spec.height, spec.width)
    outputs = pipeline.default_outputs(source, spec, tmp_path)
    with pytest.raises(ParityGateError, match="must not be used"):
        pipeline.convert(source, spec, outputs)
    assert not list(tmp_path.iterdir())


def _shifted(net: IMDNRTC, by: float) -> nn.Module:
    plain = IMDNRTC()
    plain.load_state_dict(net.state_dict())
    with torch.no_grad():
        plain.model[2].bias += by  # pyright: ignore
    return plain


def test_an_existing_output_is_refused_before_any_work(tmp_path: Path) -> None:
    checkpoint, spec = _random_rtc(), ConversionSpec(32, 24)
    source = checkpoint_source(checkpoint, spec.height, spec.width)
    outputs = pipeline.default_outputs(source, spec, tmp_path)
    manifest_path(outputs[Precision.FP16]).write_text("mine")
    stages: list[str] = []
    with pytest.raises(OutputError, match="exists"):
        pipeline.convert(source, spec, outputs, progress=lambda stage, *_: stages.append(stage))
    assert not stages
    assert [p.read_text() for p in tmp_path.iterdir()] == ["mine"]


def test_a_size_beyond_this_machines_memory_is_refused_before_any_work(tmp_path: Path) -> None:
    checkpoint, spec = _random_rtc(), ConversionSpec(16384, 16384)
    source = checkpoint_source(checkpoint, spec.height, spec.width)
    outputs = pipeline.default_outputs(source, spec, tmp_path)
    with pytest.raises(SizeError, match=r"needs about .* GiB"):
        pipeline.convert(source, spec, outputs)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["fmen_test_weights.pt", "team03_fmen.pth"])
def test_both_namings_of_fmen_s_pass_their_gates(convert: Convert, shared: Path, name: str) -> None:
    checkpoint = load(shared / "reference" / name)
    (path,) = convert(checkpoint, ConversionSpec(96, 64), shared / "train" / "photos").values()
    manifest = read_manifest(manifest_path(path))
    assert set(manifest.operators) == _TFLITE_OF_RTC | {"MUL", "LOGISTIC"}
    assert manifest.gpu.rules_passed


def test_fmen_s_survives_fp16_arithmetic_only_by_rescaling(convert: Convert, shared: Path) -> None:
    """The file with the pass keeps 60 dB on photographs; without it about 30 dB."""
    checkpoint = load(shared / "reference" / "fmen_test_weights.pt")
    photos = shared / "train" / "photos"
    (path,) = convert(checkpoint, ConversionSpec(96, 128), photos).values()
    manifest = read_manifest(manifest_path(path))
    assert manifest.fp16_range is not None
    assert manifest.fp16_range.largest_before > 65504 > 64 * manifest.fp16_range.largest_after
    inputs = [p for p in parity_inputs(96, 128, photos) if p.is_natural]
    reference = torch_reference(checkpoint.net, checkpoint.spec.value_range)
    wanted = [reference(image.lr_nhwc) for image in inputs]

    def psnr(file: Path) -> float:
        runner = open_model(file, Backend.CPU_FP16)
        outputs = [runner.run(image.lr_nhwc).copy() for image in inputs]
        squares = [np.square(o - w).mean() for o, w in zip(outputs, wanted, strict=True)]
        return float(10 * np.log10(1 / np.mean(squares)))

    with_pass = psnr(path)
    path.write_bytes(_without_range_pass(checkpoint, photos))
    without = psnr(path)
    assert with_pass >= 60.0, f"{with_pass:.1f} dB with the pass"
    assert without <= 45.0, f"{without:.1f} dB without the pass: then what is it for?"


def _without_range_pass(checkpoint: LoadedCheckpoint, photos: Path) -> bytes:
    """The file as it would be without rescaling, its weights rounded to the nearest."""
    from converters.onnx_graph.export import export, with_input_size
    from converters.parity.test_inputs import calibration_inputs
    from converters.tflite.backend import Onnx2tf

    reference = torch_reference(checkpoint.net, checkpoint.spec.value_range)
    calibration = calibration_inputs(128, 128, photos, reference)
    skip = frozenset({"fp16_range"})
    small = pipeline.rewrite(export(checkpoint.net, 128, 128), 255.0, calibration, skip).model
    with Onnx2tf() as worker:
        return worker.convert(with_input_size(small, 96, 128), half=True)
