"""The GPU gate on LiteRT's real accelerator: passes, refusals and their messages."""

import json
import os
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from converters.gpu.gate import chosen_backends, find_gpu_backends
from converters.gpu.refusal import explain
from converters.manifest import BackendParity, manifest_path, read_manifest
from converters.parity.test_inputs import InputImage, parity_inputs
from converters.parity.verify import ParityGateError, quick_inputs, verify
from edgesr.errors import NoGpuError
from edgesr.runtime.gpu import GpuRefusalError, probe_device
from edgesr.runtime.gpu_log import Refusal, Refusals
from edgesr.runtime.session import Backend, Float32Array, open_model
from helpers.commands import Ran, run_alone
from helpers.small_net import SmallNet
from helpers.tflite_builder import TfliteBuilder, conv_options

gpu = pytest.mark.usefixtures("vulkan_driver")

_HEIGHT, _WIDTH = 24, 16
_NET = SmallNet(2, radius=3)


def _reference(lr_nhwc: Float32Array) -> Float32Array:
    return _NET.apply(lr_nhwc[0])[np.newaxis]


def _inputs(*names: str) -> list[InputImage]:
    rng = np.random.default_rng(1)
    return [
        InputImage(name, rng.random((1, _HEIGHT, _WIDTH, 3), dtype=np.float32)) for name in names
    ]


def _file(folder: Path, net: SmallNet = _NET) -> Path:
    path = folder / "small.tflite"
    path.write_bytes(net.tflite(_HEIGHT, _WIDTH, facts=False))
    return path


def _on_gpu(
    path: Path, inputs: Sequence[InputImage], *, every_input: bool = False
) -> BackendParity:
    (report,) = verify(
        {path: "fp32"},
        _reference,
        inputs,
        backends={"fp32": (Backend.GPU,)},
        every_input=every_input,
    )
    (parity,) = report.backends
    return parity


@gpu
class TestVerifyOnTheGpu:
    def test_the_same_function_passes_and_the_device_is_on_record(self, tmp_path: Path) -> None:
        parity = _on_gpu(_file(tmp_path), _inputs("photo", "noise"))
        assert parity.device is not None
        assert parity.device.adapter
        assert parity.device.precision == "fp32"
        apart = [row.max_abs_to_cpu for row in parity.inputs]
        assert all(value is not None and value <= 1e-5 for value in apart), apart
        assert not all(value == 0.0 for value in apart), "the CPU computed it"

    def test_another_function_is_an_error(self, tmp_path: Path) -> None:
        brighter = SmallNet(2, radius=3, detail=0.06)
        with pytest.raises(ParityGateError, match=r"not equal to PyTorch: small\.tflite on gpu"):
            _on_gpu(_file(tmp_path, brighter), _inputs("photo"))

    def test_a_result_equal_to_the_cpus_to_the_bit_did_not_run_on_the_gpu(
        self, tmp_path: Path
    ) -> None:
        """Nearest-neighbour upscaling multiplies by 1 and 0: no runtime rounds differently."""
        exact = SmallNet(2, radius=1, detail=0.0)
        path = _file(tmp_path, exact)
        with pytest.raises(ParityGateError, match="it did not run on the GPU"):
            verify(
                {path: "fp32"},
                lambda lr: exact.apply(lr[0])[np.newaxis],
                _inputs("photo"),
                backends={"fp32": (Backend.GPU,)},
            )

    @pytest.mark.parametrize("every_input", [False, True], ids=["quick", "every input"])
    def test_a_software_device_runs_what_it_has_time_for(
        self, tmp_path: Path, every_input: bool
    ) -> None:
        inputs = _inputs("photo", "other", "noise", "impulse")
        parity = _on_gpu(_file(tmp_path), inputs, every_input=every_input)
        assert parity.device is not None
        names = [row.input for row in parity.inputs]
        quick = parity.device.software and not every_input
        assert names == (["photo", "noise"] if quick else [p.name for p in inputs])

    def test_all_backends_are_measured_side_by_side(self, tmp_path: Path) -> None:
        chosen, _ = chosen_backends("all")
        (report,) = verify(
            {_file(tmp_path): "fp32"}, _reference, _inputs("photo"), backends={"fp32": chosen}
        )
        measured = {parity.backend: parity.inputs[0].max_abs for parity in report.backends}
        assert {"cpu", "cpu-fp16", "gpu"} <= set(measured)
        assert measured["cpu"] < 1e-5 < measured["cpu-fp16"]


def _for_the_gpu_alone(path: Path) -> Path:
    """Nearest-neighbour upscaling by MediaPipe's operator, which the accelerator has."""
    made = TfliteBuilder()
    lr = made.tensor([1, _HEIGHT, _WIDTH, 3], name="lr")
    kernel = np.zeros((3, 2, 2, 3), np.float32)
    for channel in range(3):
        kernel[channel, :, :, channel] = 1.0
    hr = made.tensor([1, 2 * _HEIGHT, 2 * _WIDTH, 3], name="hr")
    weights = [made.constant(kernel), made.constant(np.zeros(3, np.float32))]
    made.operator("CUSTOM", [lr, *weights], [hr], custom="Convolution2DTransposeBias")
    same_padding, stride, no_activation, no_type = 1, 2, 0, 0
    parameters = struct.pack("<5i", same_padding, stride, stride, no_activation, no_type)
    made.graph.operators[-1].customOptions = np.frombuffer(parameters, np.uint8)
    path.write_bytes(made.finish([lr], [hr]))
    return path


@gpu
@pytest.mark.parametrize("with_cpu", [False, True], ids=["gpu", "cpu and gpu"])
def test_a_file_that_only_the_gpu_takes_fails_with_what_was_measured(
    tmp_path: Path, with_cpu: bool
) -> None:
    """Others' results are not lost by it either."""
    alone, good = _for_the_gpu_alone(tmp_path / "alone.tflite"), _file(tmp_path)
    cpu = (Backend.CPU,) if with_cpu else ()
    with pytest.raises(ParityGateError, match="cannot be compared with the CPU") as caught:
        verify(
            {alone: "fp32", good: "fp32"},
            _reference,
            _inputs("photo"),
            backends={"fp32": (*cpu, Backend.GPU)},
        )
    ours, others = (report.backends for report in caught.value.reports)
    assert ours[-1].device is not None
    assert [row.input for row in ours[-1].inputs] == ["photo"]
    assert ours[-1].inputs[0].max_abs_to_cpu is None
    assert "Convolution2DTransposeBias" in ours[-1].failures[0]
    assert [parity.failures for parity in others] == [()] * len(others)


def test_quick_inputs_are_the_first_image_and_noise() -> None:
    assert quick_inputs(_inputs("photo", "card", "noise")) == {"photo", "noise"}
    assert quick_inputs(_inputs("test card")) == {"test card"}


def _shuffled_by_rank_6(path: Path) -> Path:
    """PixelShuffle as converters write it that know no DEPTH_TO_SPACE in CRD order."""
    made = TfliteBuilder()
    lr = made.tensor([1, _HEIGHT, _WIDTH, 3], name="lr")
    weights = [
        made.constant(np.full((12, 3, 3, 3), 0.1, np.float32)),
        made.constant(np.zeros(12, np.float32)),
    ]
    body = made.tensor([1, _HEIGHT, _WIDTH, 12], name="body")
    made.operator("CONV_2D", [lr, *weights], [body], conv_options())
    shapes = [[1, _HEIGHT, _WIDTH, 3, 2, 2], [1, _HEIGHT, 2, _WIDTH, 2, 3]]
    parts, moved = (made.tensor(shape, name=f"rank6_{i}") for i, shape in enumerate(shapes))
    hr = made.tensor([1, 2 * _HEIGHT, 2 * _WIDTH, 3], name="hr")
    order = made.constant(np.array([0, 1, 4, 2, 5, 3], np.int32))
    sizes = [
        made.constant(np.array(shape, np.int32))
        for shape in (shapes[0], [1, 2 * _HEIGHT, 2 * _WIDTH, 3])
    ]
    made.operator("RESHAPE", [body, sizes[0]], [parts])
    made.operator("TRANSPOSE", [parts, order], [moved], version=5)
    made.operator("RESHAPE", [moved, sizes[1]], [hr])
    path.write_bytes(made.finish([lr], [hr]))
    return path


def _with_flex(path: Path) -> Path:
    made = TfliteBuilder()
    lr = made.tensor([1, _HEIGHT, _WIDTH, 3], name="lr")
    hr = made.tensor([1, _HEIGHT, _WIDTH, 3], name="hr")
    made.operator("CUSTOM", [lr], [hr], custom="FlexSplitV")
    path.write_bytes(made.finish([lr], [hr]))
    return path


def _of_version(version: int, path: Path) -> Path:
    made = TfliteBuilder()
    lr, hr = (made.tensor([1, _HEIGHT, _WIDTH, 3], name=name) for name in ("lr", "hr"))
    weights = [
        made.constant(np.full((3, 3, 3, 3), 0.1, np.float32)),
        made.constant(np.zeros(3, np.float32)),
    ]
    made.operator("CONV_2D", [lr, *weights], [hr], conv_options(), version=version)
    path.write_bytes(made.finish([lr], [hr]))
    return path


@gpu
class TestRefusals:
    def test_a_shuffle_of_rank_6_is_refused_with_shape_rule_and_remedy(
        self, tmp_path: Path
    ) -> None:
        path = _shuffled_by_rank_6(tmp_path / "rank6.tflite")
        with pytest.raises(ParityGateError, match="refuses 3 of 4 operators") as caught:
            _on_gpu(path, _inputs("photo"))
        (parity,) = caught.value.reports[0].backends
        assert parity.device is None
        assert not parity.inputs
        found = {refusal.operator: refusal for refusal in parity.refusals}
        assert set(found) == {"RESHAPE", "TRANSPOSE"}
        assert (found["RESHAPE"].count, found["RESHAPE"].of) == (2, 2)
        assert found["RESHAPE"].shape == (1, _HEIGHT, _WIDTH, 3, 2, 2)
        assert "gpu-rank" in (found["RESHAPE"].rule or "")
        assert "bad input dims size: 6" in found["RESHAPE"].reason
        assert "pass depth_to_space" in found["RESHAPE"].remedy

    def test_a_flex_operator_is_rejected_by_every_backend(self, tmp_path: Path) -> None:
        path = _with_flex(tmp_path / "flex.tflite")
        with pytest.raises(ParityGateError, match="rejected: ") as caught:
            verify(
                {path: "fp32"},
                lambda lr: lr,
                _inputs("photo"),
                backends={"fp32": (Backend.CPU, Backend.GPU)},
            )
        cpu, on_gpu = caught.value.reports[0].backends
        assert "operator 0 FlexSplitV cannot be prepared" in cpu.failures[0]
        (refusal,) = on_gpu.refusals
        assert refusal.operator == "FlexSplitV"
        assert "pass split_free" in refusal.remedy

    def test_a_version_that_litert_does_not_know_is_refused_with_rule_and_remedy(
        self, tmp_path: Path
    ) -> None:
        path = _of_version(99, tmp_path / "new.tflite")
        with pytest.raises(ParityGateError, match=r"cannot load new\.tflite: CONV_2D") as caught:
            _on_gpu(path, _inputs("photo"))
        (refusal,) = caught.value.reports[0].backends[0].refusals
        assert (refusal.operator, refusal.count, refusal.of) == ("CONV_2D", 1, 1)
        assert refusal.reason == "Didn't find op for builtin opcode 'CONV_2D' version '99'"
        assert "gpu-version" in (refusal.rule or "")
        assert "convert again without the feature" in refusal.remedy

    def test_a_version_that_only_litert_does_not_know_has_a_remedy_too(
        self, tmp_path: Path
    ) -> None:
        said = Refusal("CONV_2D", "Didn't find op for builtin opcode 'CONV_2D' version '2'")
        (record,) = explain(_of_version(2, tmp_path / "a.tflite"), Refusals((said,), 0, None))
        assert record.rule is None
        assert "install a newer LiteRT" in record.remedy

    def test_what_no_rule_covers_is_reported_in_the_accelerators_words(
        self, tmp_path: Path
    ) -> None:
        path = _file(tmp_path)
        said = Refusals((Refusal("CONV_2D", "Too new."),), on_gpu=3, on_cpu=1)
        (record,) = explain(path, said)
        assert (record.operator, record.count, record.rule) == ("CONV_2D", 1, None)
        assert "Too new; remedy: none known" in str(record)

    def test_opening_names_the_operators_too(self, tmp_path: Path) -> None:
        path = _shuffled_by_rank_6(tmp_path / "rank6.tflite")
        with pytest.raises(GpuRefusalError, match=r"rank6\.tflite: RESHAPE: .*; TRANSPOSE: "):
            open_model(path, Backend.GPU)


class TestWithoutADriver:
    @pytest.fixture(autouse=True)
    def _no_driver(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("VK_ICD_FILENAMES", "/nowhere/icd.json")
        monkeypatch.delenv("VK_DRIVER_FILES", raising=False)

    @pytest.mark.parametrize("choice", ["gpu", "all"])
    def test_requiring_the_gpu_is_an_error(self, choice: str) -> None:
        with pytest.raises(NoGpuError, match=r"VK_ICD_FILENAMES=/nowhere/icd\.json"):
            chosen_backends(choice)

    @pytest.mark.parametrize("choice", ["cpu", "cpu-fp16"])
    def test_the_cpu_needs_none(self, choice: str) -> None:
        assert chosen_backends(choice) == ((Backend(choice),), "")

    def test_a_missing_gpu_is_reported_with_its_reason(self) -> None:
        found = find_gpu_backends()
        assert found.backends == ()
        assert "/nowhere/icd.json" in found.why_not


def _convert(checkpoint: Path, folder: Path, **variables: str) -> Ran:
    words = ("convert", "--checkpoint", checkpoint, "--size", "32x24", "--gate", "gpu")
    env = {k: v for k, v in os.environ.items() if k != "EDGESR_SHARED"}
    return run_alone(*words, "--output", folder / "a.tflite", env=env | variables, cwd=folder)


@pytest.mark.slow
class TestConvert:
    @gpu
    def test_the_gate_passes_and_verify_says_so_again(
        self, tmp_path: Path, checkpoint: Path
    ) -> None:
        ran = _convert(checkpoint, tmp_path)
        assert ran.status == 0, ran.err
        assert "accelerator passed on" in ran.out
        assert f"all operators on {probe_device()}" in ran.out
        manifest = read_manifest(manifest_path(tmp_path / "a.tflite"))
        assert manifest.gpu.accelerator == "passed"
        assert manifest.gpu.why_not_checked == ""
        assert "gpu" in [parity.backend for parity in manifest.parity]
        words = ("--checkpoint", checkpoint, "--backend", "all", "--json")
        again = run_alone("verify", tmp_path / "a.tflite", *words)
        assert again.status == 0, again.err
        parities = {parity["backend"]: parity for parity in json.loads(again.out)}
        assert {"cpu", "cpu-fp16", "gpu"} <= set(parities)
        assert parities["gpu"]["device"]["precision"] == "fp32"

    def test_without_a_driver_the_manifest_says_not_checked_and_why(
        self, tmp_path: Path, checkpoint: Path
    ) -> None:
        ran = _convert(checkpoint, tmp_path, VK_ICD_FILENAMES="/nowhere/icd.json")
        assert ran.status == 0, ran.err
        assert "accelerator not checked: got VK_ICD_FILENAMES=/nowhere/icd.json" in ran.err
        manifest = read_manifest(manifest_path(tmp_path / "a.tflite"))
        assert manifest.gpu.accelerator == "not checked"
        assert "/nowhere/icd.json" in manifest.gpu.why_not_checked


@gpu
@pytest.mark.slow
def test_the_shipped_size_compiles_is_fully_accelerated_and_right(
    tmp_path: Path, shared: Path
) -> None:
    """The one run at 720x480: about ten seconds on a software device."""
    words = ("--checkpoint", shared / "reference" / "model_RTC.pth", "--output", tmp_path)
    converted = run_alone("convert", *words)
    assert converted.status == 0, converted.err
    (path,) = tmp_path.glob("*.tflite")
    photograph = parity_inputs(720, 480, shared / "train" / "photos")[0].lr_nhwc
    runner = open_model(path, Backend.GPU)
    try:
        got = runner.run(photograph)
        assert runner.device is not None
    finally:
        runner.close()
    wanted = open_model(path).run(photograph)
    apart = np.abs(got - wanted)
    where = np.unravel_index(int(apart.argmax()), apart.shape)
    assert 0 < apart.max() <= 1e-4, f"max abs {apart.max():.3g} at (n, y, x, c) = {where}"
