"""Networks that compute in FP16 are converted as the same networks in FP32."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from converters.onnx_graph.half_precision import computes_in_half, in_float32
from converters.onnx_graph.third_party import read_onnx
from converters.passes.clean import clean
from converters.pipeline import convert
from converters.spec import ConversionSpec, Precision
from converters.third_party_source import onnx_source
from edgesr.errors import OnnxFileError
from helpers.onnx_graphs import operators, random_input, run
from helpers.third_party_nets import exported

_BOTH = (Precision.FP16, Precision.FP32)


class _Half(nn.Module):
    """FP16 inside, FP32 outside, as mixed-precision networks are deployed."""

    def __init__(self, *, bias: bool = True) -> None:
        super().__init__()
        torch.manual_seed(0)
        conv = nn.Conv2d(3, 12, 3, 1, 1, bias=bias)
        self.body = nn.Sequential(conv, nn.PixelShuffle(2)).half()

    def forward(self, lr_nchw: Tensor) -> Tensor:
        return self.body(lr_nchw.half()).float()


@pytest.mark.parametrize("bias", [True, False])
def test_the_rounding_of_intermediates_is_all_that_goes(*, bias: bool) -> None:
    before = exported(_Half(bias=bias), dynamic=False)
    assert computes_in_half(before)
    after = in_float32(before)
    assert not computes_in_half(after)
    assert computes_in_half(before), "the given model has changed"
    lr_nchw = random_input(before)
    np.testing.assert_allclose(run(after, lr_nchw), run(before, lr_nchw), atol=3e-3)
    cleaned = clean(after, 24, 40, "lr", "hr")
    assert operators(cleaned) == ["Conv", "DepthToSpace"]
    assert {weight.data_type for weight in cleaned.graph.initializer} == {TensorProto.FLOAT}


def test_weights_behind_a_cast_to_fp16_keep_its_rounding() -> None:
    kernel = np.random.default_rng(0).normal(0, 1, (3, 3, 1, 1)).astype(np.float32)
    nodes = [
        helper.make_node("Cast", ["kernel"], ["half kernel"], to=TensorProto.FLOAT16),
        helper.make_node("Cast", ["lr"], ["half"], to=TensorProto.FLOAT16),
        helper.make_node("Conv", ["half", "half kernel"], ["made"]),
        helper.make_node("Cast", ["made"], ["hr"], to=TensorProto.FLOAT),
    ]
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 3, 8, 8]) for n in ("lr", "hr")]
    weights = [numpy_helper.from_array(kernel, "kernel")]
    graph = helper.make_graph(nodes, "test", ends[:1], ends[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    cleaned = clean(in_float32(model), 8, 8, "lr", "hr")
    assert operators(cleaned) == ["Conv"]
    found = numpy_helper.to_array(cleaned.graph.initializer[0])
    np.testing.assert_array_equal(found, kernel.astype(np.float16).astype(np.float32))


@pytest.mark.slow
def test_a_network_that_computes_in_fp16_passes_every_gate(tmp_path: Path) -> None:
    onnx.save(exported(_Half()), tmp_path / "half.onnx")
    spec = ConversionSpec(24, 16, _BOTH)
    source = onnx_source(read_onnx(tmp_path / "half.onnx"), 24, 16)
    assert "FP16 operators in FP32" in source.reference_runtime
    outputs = {p: tmp_path / f"{p.value}.tflite" for p in _BOTH}
    for manifest in convert(source, spec, outputs, threads=1):
        assert [failure for backend in manifest.parity for failure in backend.failures] == []
    assert all(path.is_file() for path in outputs.values())


def test_a_bias_that_is_computed_is_refused(tmp_path: Path) -> None:
    """onnx2tf would leave it out."""
    kernel = np.ones((3, 3, 1, 1), np.float32)
    nodes = [
        helper.make_node("ReduceMean", ["lr"], ["mean"], axes=[0, 2, 3], keepdims=0),
        helper.make_node("Conv", ["lr", "kernel", "mean"], ["hr"], name="tail"),
    ]
    shape = [1, 3, 24, 16]
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n in ("lr", "hr")]
    weights = [numpy_helper.from_array(kernel, "kernel")]
    graph = helper.make_graph(nodes, "test", ends[:1], ends[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "net.onnx")
    with pytest.raises(OnnxFileError, match=r"net\.onnx at 24x16: .*Conv .*hr.* bias"):
        onnx_source(read_onnx(tmp_path / "net.onnx"), 24, 16)
