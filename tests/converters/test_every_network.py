"""Every registered network through the passes: the same function, GPU operators only."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from converters.onnx_graph.calibration import largest_magnitudes
from converters.onnx_graph.export import export, with_input_size
from converters.parity.test_inputs import InputImage
from converters.pipeline import rewrite
from edgesr.networks.spec import ArchSpec, build
from helpers.networks import SPECS
from helpers.onnx_graphs import operators, run

pytestmark = pytest.mark.usefixtures("one_torch_thread")

#: What the accelerator takes of ONNX's operators, as onnx2tf translates them.
_ALLOWED = {
    "Add", "Concat", "Conv", "DepthToSpace", "LeakyRelu", "Mul", "ReduceMean", "Relu", "Sigmoid",
    "Slice", "Sqrt", "Sub",
}  # fmt: skip
_ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize("spec", SPECS)
def test_the_passes_leave_the_function_and_nothing_that_a_gpu_refuses(spec: ArchSpec) -> None:
    torch.manual_seed(0)
    net = build(spec).eval()
    height, width = 24, 32
    rng = np.random.default_rng(0)
    lr_nhwc = rng.random((1, height, width, 3), np.float32)
    image = InputImage("noise", lr_nhwc)
    rewritten = rewrite(export(net, height, width), spec.value_range, [image])
    assert set(operators(rewritten.model)) <= _ALLOWED
    assert ("global_mean" in rewritten.passes) is spec.whole_image
    lr_nchw = np.ascontiguousarray(lr_nhwc.transpose(0, 3, 1, 2))
    with torch.no_grad():
        wanted = net(torch.from_numpy(lr_nchw) * spec.value_range).numpy() / spec.value_range
    got = run(rewritten.model, lr_nchw)
    assert got.shape == wanted.shape
    error = np.abs(got - wanted) / np.ptp(wanted)
    where = np.unravel_index(int(error.argmax()), error.shape)
    assert error.max() <= 1e-4, f"{error.max():.2e} of the range at {where}"
    assert max(largest_magnitudes(rewritten.model, [lr_nchw]).values()) <= 4096


@pytest.mark.parametrize("spec", SPECS)
def test_no_tensor_of_720x480_is_higher_than_a_texture(spec: ArchSpec) -> None:
    """A tensor is a texture of its height times its 4-channel slices: 16384 rows at most."""
    exported = export(build(spec).eval(), 32, 32)
    image = InputImage("noise", np.random.default_rng(0).random((1, 32, 32, 3), np.float32))
    model = with_input_size(rewrite(exported, spec.value_range, [image]).model, 720, 480)
    for info in model.graph.value_info:
        _, channels, height, _ = (d.dim_value for d in info.type.tensor_type.shape.dim)
        assert height * -(-channels // 4) <= 16384, info.name


@pytest.mark.parametrize("spec", SPECS)
def test_every_network_has_a_row_in_the_support_matrix(spec: ArchSpec) -> None:
    name = f"{spec.name} x{spec.scale}"
    record = json.loads((_ROOT / "benchmarks/results/support_matrix.json").read_text())
    (row,) = [row for row in record["rows"] if row["network"] == name]
    assert row["parameters"] == spec.parameters
    assert row["accelerator"] == "passed"
    assert {"cpu", "cpu-fp16", "gpu"} <= set(row["parity"])
    assert all(parity["failures"] == [] for parity in row["parity"].values())
    assert f"| {name} |" in (_ROOT / "docs/models.md").read_text()
