"""What benchmarks/gpu_coverage.py counts and compares, on small files and without the peers."""

import importlib
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from converters.gpu.audit import audit
from converters.parity.test_inputs import InputImage
from edgesr.runtime.session import open_model
from helpers.tflite_builder import TfliteBuilder, options, sr_model

_BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module that looks at one file."""
    monkeypatch.syspath_prepend(_BENCHMARKS)
    return importlib.import_module("file_coverage")


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module that makes the table."""
    monkeypatch.syspath_prepend(_BENCHMARKS)
    return importlib.import_module("gpu_coverage")


def _flex_and_rank_6() -> bytes:
    """FlexSplitV, then a shuffle of 2x2 written as RESHAPE, TRANSPOSE, RESHAPE of rank 6."""
    made = TfliteBuilder()
    lr, half = made.tensor([1, 4, 4, 3]), made.tensor([1, 4, 4, 12])
    made.operator("CUSTOM", [lr], [half], custom="FlexSplitV")
    split, turned, hr = (
        made.tensor(s) for s in ([1, 4, 4, 3, 2, 2], [1, 4, 2, 4, 2, 3], [1, 8, 8, 3])
    )
    shape = made.constant(np.array([1, 4, 4, 3, 2, 2], np.int32))
    order = made.constant(np.array([0, 1, 4, 2, 5, 3], np.int32))
    final = made.constant(np.array([1, 8, 8, 3], np.int32))
    made.operator("RESHAPE", [half, shape], [split], options("ReshapeOptions"))
    made.operator("TRANSPOSE", [split, order], [turned], options("TransposeOptions"))
    made.operator("RESHAPE", [turned, final], [hr], options("ReshapeOptions"))
    return made.finish([lr], [hr])


def test_flex_and_ranks_above_4_are_counted(files: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "x.tflite"
    path.write_bytes(_flex_and_rank_6())
    found = files.contents(path, audit(path))
    assert found.operators == {"FlexSplitV": 1, "RESHAPE": 2, "TRANSPOSE": 1}
    assert (found.flex, found.rank_above_4) == (1, 3)


def test_weights_that_dequantize_widens_are_no_operators(files: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "x.tflite"
    path.write_bytes(sr_model())
    found = files.contents(path, audit(path))
    assert found.dequantized_weights == 6
    assert found.operators == {"CONV_2D": 3, "LEAKY_RELU": 1, "ADD": 1, "DEPTH_TO_SPACE": 1}
    assert (found.flex, found.rank_above_4) == (0, 0)


def test_a_file_is_fed_and_read_in_its_own_value_range(files: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "x.tflite"
    path.write_bytes(sr_model(half=False))
    lr_nhwc = np.random.default_rng(0).random((1, 6, 8, 3), np.float32)
    wanted = open_model(path).run(lr_nhwc * np.float32(255)) / np.float32(255)
    case = files.Case(InputImage("noise", lr_nhwc), wanted)
    right = files.fidelity(files.ConvertedFile("own range", path, 255.0), [case])
    wrong = files.fidelity(files.ConvertedFile("another range", path, 1.0), [case])
    assert right.fp32_max_abs == 0.0
    assert wrong.fp32_max_abs > 0.01
    assert right.fp16_psnr_db > wrong.fp16_psnr_db + 20
    assert right.fp16_photos_psnr_db is None  # noise is no photograph


def test_a_file_that_does_not_run_has_no_psnr(files: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "x.tflite"
    path.write_bytes(_flex_and_rank_6())
    case = files.Case(InputImage("zeros", np.zeros((1, 4, 4, 3), np.float32)), None)
    found = files.fidelity(files.ConvertedFile("flex", path, 1.0), [case])
    assert "FlexSplitV" in found.does_not_run
    assert found.fp16_psnr_db is None


@pytest.mark.parametrize(
    ("loads", "on_gpu", "on_cpu", "cell"),
    [
        pytest.param(True, 65, 0, "100 %", id="whole"),
        pytest.param(True, 65, 3, "95.6 %, 3 refused", id="in part"),
        pytest.param(False, 0, None, "0 %, does not load", id="not at all"),
    ],
)
def test_the_table_says_what_the_accelerator_takes(
    tables: ModuleType, loads: bool, on_gpu: int, on_cpu: int | None, cell: str
) -> None:
    row = _row(tables, tables.Acceleration(loads, on_gpu, on_cpu), tables.Fidelity("no kernel"))
    assert row.cells()[3] == cell
    assert row.cells()[6] == "does not run"


def test_infinity_is_told_and_leaves_the_record_valid(
    files: ModuleType, tables: ModuleType
) -> None:
    lr_nhwc, wanted = np.zeros((1, 4, 4, 3), np.float32), np.zeros((1, 8, 8, 3), np.float32)
    broken = files.compare(InputImage("x", lr_nhwc), wanted + np.float32(np.inf), wanted, wanted)
    fidelity = tables.Fidelity(None, None, None, (broken,), np.inf)
    row = _row(tables, tables.Acceleration(True, 1, 0), fidelity)
    assert row.cells()[6] == "not finite on 1 of 1 inputs"
    written = json.loads(json.dumps(row.record(), allow_nan=False))
    assert written["fidelity"]["fp32_max_abs"] is None
    assert written["fidelity"]["fp16_inputs"][0]["finite"] is False


def _row(tables: ModuleType, acceleration: object, fidelity: object) -> Any:
    inside = tables.Contents({"CONV_2D": 68}, 0, 3, 0, {})
    return tables.Row("net", "file", 1.0, inside, acceleration, fidelity)
