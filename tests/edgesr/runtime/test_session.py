"""One face over every backend: what they compute, and which files are refused."""

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from edgesr.errors import AcceleratorError, ModelFileError, NoHalfPrecisionError
from edgesr.runtime.gpu import GpuRefusalError, probe_device
from edgesr.runtime.session import Backend, Float32Array, open_model
from edgesr.runtime.vulkan import Driver
from edgesr.tflite.schema import read_model_bytes
from edgesr.tflite.shape import ModelShape
from helpers.tflite_builder import TfliteBuilder, sr_model

# What a backend may differ by from the CPU in FP32, on outputs of about [-4, 4].
ALLOWED = {Backend.CPU: 0.0, Backend.CPU_FP16: 2e-2, Backend.GPU: 1e-4, Backend.GPU_FP16: 2e-2}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return written(tmp_path, sr_model(12, 16))


def written(folder: Path, content: bytes) -> Path:
    path = folder / "m.tflite"
    path.write_bytes(content)
    return path


def image(seed: int = 0) -> Float32Array:
    return np.random.default_rng(seed).random((1, 12, 16, 3), dtype=np.float32)


@pytest.fixture(params=[Backend.CPU, Backend.CPU_FP16, Backend.GPU], ids=str)
def backend(request: pytest.FixtureRequest) -> Backend:
    """Each that any machine with a driver has."""
    chosen: Backend = request.param
    if chosen.is_gpu:
        request.getfixturevalue("vulkan_driver")
    return chosen


def test_every_backend_computes_the_same(backend: Backend, path: Path) -> None:
    wanted = open_model(path).run(image()).copy()
    with closing(open_model(path, backend, threads=1)) as runner:
        assert runner.shape == ModelShape(12, 16, 2)
        assert (runner.device is not None) is backend.is_gpu
        got = runner.run(image())
    assert got.shape == (1, 24, 32, 3)
    assert got.dtype == np.float32
    error = np.abs(got - wanted)
    where = np.unravel_index(error.argmax(), error.shape)
    assert error.max() <= ALLOWED[backend], f"max abs {error.max():.3g} at {where}"


def test_only_fp16_arithmetic_is_of_fp16(backend: Backend, path: Path) -> None:
    """Otherwise a backend that ignores the wish would pass for one that fulfils it."""
    wanted = open_model(path).run(image()).copy()
    with closing(open_model(path, backend, threads=1)) as runner:
        error = float(np.abs(runner.run(image()) - wanted).max())
    assert (error > 2e-4) is (backend is Backend.CPU_FP16), f"max abs {error}"


def test_fp16_on_the_gpu_is_fp16_or_an_error(vulkan_driver: Driver, path: Path) -> None:
    """The device decides which half of this test runs; SwiftShader has no FP16."""
    try:
        device = probe_device(half=True)
    except NoHalfPrecisionError:
        with pytest.raises(NoHalfPrecisionError, match="it computes in FP32"):
            open_model(path, Backend.GPU_FP16)
        return
    assert device.precision == "fp16"
    wanted = open_model(path).run(image()).copy()
    with closing(open_model(path, Backend.GPU_FP16)) as runner:
        error = float(np.abs(runner.run(image()) - wanted).max())
    assert 2e-4 < error <= ALLOWED[Backend.GPU_FP16], f"max abs {error}"


def test_every_run_computes_its_own_image(backend: Backend, path: Path) -> None:
    with closing(open_model(path, backend, threads=1)) as runner:
        first, second = (runner.run(image(seed)).copy() for seed in (1, 2))
        again = runner.run(image(1))
    assert np.abs(first - second).max() > 0.1
    np.testing.assert_array_equal(again, first)


def test_a_closed_model_on_the_gpu_runs_no_more(vulkan_driver: Driver, path: Path) -> None:
    runner = open_model(path, Backend.GPU)
    runner.close()
    runner.close()
    with pytest.raises(AcceleratorError, match=r"has been ended before running m\.tflite"):
        runner.run(image())


def test_the_gpu_names_what_the_cpu_could_not_load(vulkan_driver: Driver, tmp_path: Path) -> None:
    made = TfliteBuilder()
    lr, hr = made.tensor([1, 4, 6, 3]), made.tensor([1, 4, 6, 3])
    made.operator("CUSTOM", [lr], [hr], custom="FlexSplitV")
    path = written(tmp_path, made.finish([lr], [hr]))
    with pytest.raises(GpuRefusalError, match=r"cannot load m\.tflite: FlexSplitV: operator 0"):
        open_model(path, Backend.GPU)
    with pytest.raises(ModelFileError, match="operator 0 FlexSplitV cannot be prepared"):
        open_model(path)


def test_a_damaged_file_does_not_reach_the_gpu(tmp_path: Path) -> None:
    """The accelerator would give back whatever lay in memory."""
    made = TfliteBuilder()
    lr, hr = made.tensor([1, 4, 6, 3]), made.tensor([1, 4, 6, 3], name="hr")
    made.operator("RELU", [lr], [made.tensor([1, 4, 6, 3])])
    path = written(tmp_path, made.finish([lr], [hr]))
    with pytest.raises(ModelFileError, match="output hr is never made"):
        open_model(path, Backend.GPU)


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"^cannot read .*m\.tflite: No such file"):
        open_model(tmp_path / "m.tflite")


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n"], ids=["empty", "an image"])
def test_what_is_no_tflite_is_told(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=f"got {len(content)} bytes without the TFL3"):
        read_model_bytes(written(tmp_path, content))


def passed_on(inputs: list[tuple[int, ...]], outputs: list[tuple[int, ...]], kind: str) -> bytes:
    """Every input and output is a tensor of its own; an operator makes each output."""
    made = TfliteBuilder()
    sources = [made.tensor(shape, kind) for shape in inputs]
    results = [made.tensor(shape, kind) for shape in outputs]
    for result in results:
        made.operator("RELU", [sources[0]], [result])
    return made.finish(sources, results)


RGB = (1, 4, 6, 3)


@pytest.mark.parametrize(
    ("inputs", "outputs", "kind", "problem"),
    [
        pytest.param([RGB, RGB], [RGB], "float32", "2 inputs and 1 outputs", id="two inputs"),
        pytest.param([RGB], [RGB, RGB], "float32", "1 inputs and 2 outputs", id="two outputs"),
        pytest.param([RGB], [RGB], "int32", "input of type int32, allowed float32", id="int32"),
        pytest.param([(4, 6, 3)], [(4, 6, 3)], "float32", r"input shape \[4, 6, 3\]", id="rank 3"),
        pytest.param(
            [(1, 4, 6, 1)], [(1, 4, 6, 1)], "float32", r"input shape \[1, 4, 6, 1\]", id="grey"
        ),
        pytest.param(
            [(2, 4, 6, 3)], [(2, 4, 6, 3)], "float32", r"input shape \[2, 4, 6, 3\]", id="batch"
        ),
        pytest.param([RGB], [(1, 6, 9, 3)], "float32", "6x9 is no whole multiple", id="x1.5"),
        pytest.param([RGB], [(1, 2, 3, 3)], "float32", "2x3 is no whole multiple", id="smaller"),
        pytest.param([RGB], [(1, 8, 18, 3)], "float32", "8x18 is no whole multiple", id="2x3"),
    ],
)
@pytest.mark.parametrize("backend", [Backend.GPU, Backend.GPU_FP16], ids=str)
def test_what_is_no_super_resolution_is_told_before_it_is_run(
    backend: Backend,
    inputs: list[tuple[int, ...]],
    outputs: list[tuple[int, ...]],
    kind: str,
    problem: str,
    tmp_path: Path,
) -> None:
    """No GPU is needed to tell."""
    path = written(tmp_path, passed_on(inputs, outputs, kind))
    with pytest.raises(ModelFileError, match=problem) as caught:
        open_model(path, backend)
    assert len(str(caught.value).splitlines()) == 1
