"""What onnx2tf alone makes of a network is condemned by name."""

import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from converters.gpu.audit import audit

_EXPORT = """
import sys, torch
from edgesr.networks.architectures.imdn_rtc import IMDNRTC
torch.manual_seed(0)
torch.onnx.export(
    IMDNRTC(num_blocks=1).eval(), (torch.zeros(1, 3, 24, 16),), sys.argv[1],
    input_names=["lr"], output_names=["hr"], opset_version=17, dynamo=False,
)
"""


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What onnx2tf alone makes of a network with Split and PixelShuffle, without a network."""
    folder = tmp_path_factory.mktemp("onnx2tf")
    subprocess.run([sys.executable, "-c", _EXPORT, folder / "net.onnx"], check=True)
    # Without this file in the working directory onnx2tf downloads it.
    sample = np.random.default_rng(0).random((20, 128, 128, 3), dtype=np.float32)
    np.save(folder / "calibration_image_sample_data_20x128x128x3_float32.npy", sample)
    program = shutil.which("onnx2tf", path=Path(sys.executable).parent)
    assert program, "onnx2tf is not beside the interpreter: install the extra `convert`"
    dead_end = {name: "http://127.0.0.1:9" for name in ("http_proxy", "https_proxy")}
    subprocess.run(
        [program, "-i", "net.onnx", "-o", "out", "-n"],
        cwd=folder,
        env={**os.environ, **dead_end, "TF_CPP_MIN_LOG_LEVEL": "3"},
        check=True,
        capture_output=True,
    )
    return folder / "out"


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_every_violation_of_an_untouched_graph_is_named(untouched: Path, precision: str) -> None:
    found = audit(untouched / f"net_{precision}.tflite")
    named = Counter((violation.rule, violation.operator) for violation in found.findings)
    assert named == {
        ("gpu-flex", "FlexSplitV"): 3,
        ("gpu-rank", "RESHAPE"): 2,
        ("gpu-rank", "TRANSPOSE"): 1,
        ("gpu-version", "TRANSPOSE"): 1,
    }
    assert found.verdict == f"GPU delegate: refuses 6 of {len(found.operators)} operators"
    for violation in found.findings:
        assert "edgesr convert" in violation.remedy
    remedies = {violation.operator: violation.remedy for violation in found.findings}
    assert "split_free" in remedies["FlexSplitV"]
    assert "depth_to_space" in remedies["RESHAPE"]
