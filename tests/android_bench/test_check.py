from collections.abc import Generator
from pathlib import Path

import numpy as np
import pytest
from fake_device import AdbServer, FakeDevice
from PIL import Image

from android_bench.benchmark_model import invoke as invoke_module
from android_bench.benchmark_model.binary import read_binary
from android_bench.benchmark_model.command import Delegate, Setting
from android_bench.benchmark_model.invoke import PROGRAM, Session, ask_tool
from android_bench.correctness import (
    Expected,
    Sample,
    check_fidelity,
    compare_all,
    expect,
)
from android_bench.device.adb import Device, find_adb
from android_bench.device.cooldown import Cooldown
from android_bench.device.info import read_health
from android_bench.device.workspace import put, workspace
from android_bench.errors import ToolError
from android_bench.record import Fidelity
from edgesr.errors import ImageError
from edgesr.runtime.precision import ComputePrecision

GPU = Setting(Delegate.GPU, ComputePrecision.FP16)
WANTED = np.full((1, 4, 4, 3), 0.5, np.float32)


def sample(hr_nhwc: np.ndarray = WANTED) -> Sample:
    return Sample("p", np.zeros((1, 2, 2, 3), np.float32), hr_nhwc)


def against_the_cpu(got: np.ndarray, precision: str) -> Fidelity:
    (found,) = compare_all(sample(), got, ComputePrecision(precision), None)
    return found


def shifted(by: float) -> np.ndarray:
    got = WANTED.copy()
    got[0, 1, 2, 0] += by
    return got


@pytest.mark.parametrize(
    ("got", "precision", "passed"),
    [
        pytest.param(WANTED, "fp16", True, id="equal"),
        pytest.param(shifted(0.01), "fp16", True, id="fp16, 56.8 dB"),
        pytest.param(shifted(0.02), "fp16", False, id="fp16, 50.8 dB"),
        pytest.param(shifted(9e-5), "fp32", True, id="fp32, near"),
        pytest.param(shifted(2e-4), "fp32", False, id="fp32, far"),
        pytest.param(shifted(np.nan), "fp16", False, id="NaN"),
        pytest.param(shifted(np.inf), "fp32", False, id="infinity"),
        pytest.param(np.zeros_like(WANTED), "fp16", False, id="black"),
    ],
)
def test_how_near_an_output_must_be(got: np.ndarray, precision: str, passed: bool) -> None:
    assert against_the_cpu(got, precision).passed is passed


def test_the_comparison_says_how_far_the_outputs_are_apart() -> None:
    found = against_the_cpu(shifted(0.01), "fp16")
    assert found.max_abs == pytest.approx(0.01, rel=1e-5)
    assert found.psnr_db == pytest.approx(10 * np.log10(48 / 0.01**2), rel=1e-5)
    assert against_the_cpu(WANTED, "fp16").psnr_db is None


def test_images_are_cropped_from_their_middle(tmp_path: Path, sr_tflite: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (14, 20, 3), dtype=np.uint8)
    image = tmp_path / "a.png"
    Image.fromarray(pixels).save(image)
    expected = expect(sr_tflite, [image])
    assert (expected.input_name, expected.samples[0].name) == ("lr", "a.png")
    cropped = pixels[1:13, 2:18].astype(np.float32) / np.float32(255)
    np.testing.assert_array_equal(expected.samples[0].lr_nhwc[0], cropped)
    assert expected.samples[0].hr_nhwc.shape == (1, 24, 32, 3)


def test_a_grey_image_has_three_equal_channels(tmp_path: Path, sr_tflite: Path) -> None:
    Image.fromarray(np.full((12, 16), 77, np.uint8)).save(tmp_path / "g.png")
    lr_nhwc = expect(sr_tflite, [tmp_path / "g.png"]).samples[0].lr_nhwc
    assert np.unique(lr_nhwc) == np.float32(77) / np.float32(255)


def test_a_image_that_is_too_small_is_refused(tmp_path: Path, sr_tflite: Path) -> None:
    Image.fromarray(np.zeros((12, 15, 3), np.uint8)).save(tmp_path / "s.png")
    with pytest.raises(ImageError, match="12x15, allowed 12x16 and more"):
        expect(sr_tflite, [tmp_path / "s.png"])


@pytest.fixture
def session(
    adb_server: AdbServer,
    device: FakeDevice,
    benchmark_binary: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Generator[Session]:
    """A prepared device."""
    for name, value in adb_server.environment().items():
        monkeypatch.setenv(name, value)
    real = Device(find_adb(), device.serial)
    binary = read_binary(benchmark_binary)
    with workspace(real):
        put(real, binary.path, "benchmark_model")
        real.require(f"chmod 755 {PROGRAM}", "make it executable")
        tool = ask_tool(real, binary)
        yield Session(real, tool, Cooldown(), read_health(real).boot_id, 60.0)


def test_another_function_on_the_device_fails_the_check(session: Session, sr_tflite: Path) -> None:
    expected = expect(sr_tflite, [])
    model = put(session.device, sr_tflite, "model.tflite")
    good, _ = check_fidelity(session, GPU, model, expected, None)
    assert good[0].passed
    wrong = Sample("w", expected.samples[0].lr_nhwc, 1 - expected.samples[0].hr_nhwc)
    other = Expected(expected.input_name, expected.shape, (wrong,))
    bad, invocations = check_fidelity(session, GPU, model, other, None)
    assert not bad[0].passed
    assert invocations[0].purpose == "check"


def test_an_input_of_another_size_is_the_tools_error(session: Session, sr_tflite: Path) -> None:
    expected = expect(sr_tflite, [])
    model = put(session.device, sr_tflite, "model.tflite")
    small = Sample("s", np.zeros((1, 2, 2, 3), np.float32), expected.samples[0].hr_nhwc)
    with pytest.raises(ToolError, match="It should be 2304 bytes"):
        check_fidelity(
            session, GPU, model, Expected(expected.input_name, expected.shape, (small,)), None
        )


def test_a_result_file_of_another_run_is_not_believed(
    session: Session, sr_tflite: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from android_bench.benchmark_model.command import Load, Run

    model = put(session.device, sr_tflite, "model.tflite")
    run = Run(GPU, Load(runs=5), model, result_path=invoke_module.RESULT)
    found = invoke_module.invoke(session, run, "latency", cpu_mask=None)
    assert found.proto is not None
    other = found.proto.__class__(runs=5, median_ms=(found.proto.median_ms or 0) + 1)
    monkeypatch.setattr(invoke_module, "decode_result", lambda content: other)
    with pytest.raises(ToolError, match="the result's file has median_ms"):
        invoke_module.invoke(session, run, "latency", cpu_mask=None)
