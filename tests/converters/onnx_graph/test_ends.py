"""ONNX files of luma, of channels last, and of FP16 become networks of RGB, NCHW, float32."""

from pathlib import Path

import numpy as np
import onnx
import onnx.reference
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from converters.onnx_graph.module import with_colour
from converters.onnx_graph.third_party import read_onnx
from converters.third_party_source import module_source, onnx_source
from helpers.onnx_graphs import GraphBuilder

_SIZE = (32, 24)


def _network(channels: int = 3) -> onnx.ModelProto:
    g = GraphBuilder(channels, *_SIZE)
    features = g.leaky(g.conv("lr", (channels, 8)))
    hr = g.conv(features, (8, 4 * channels), bias=0.0)
    return g.build(g.op("DepthToSpace", hr, blocksize=2, mode="CRD"))


def _channels_last() -> onnx.ModelProto:
    model = _network()
    model.graph.node.insert(0, helper.make_node("Transpose", ["nhwc"], ["lr"], perm=[0, 3, 1, 2]))
    model.graph.node.append(helper.make_node("Transpose", ["hr"], ["out"], perm=[0, 2, 3, 1]))
    height, width = _SIZE
    for end, name, shape in (
        (model.graph.input[0], "nhwc", [1, height, width, 3]),
        (model.graph.output[0], "out", [1, 2 * height, 2 * width, 3]),
    ):
        end.CopyFrom(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    return model


def _half() -> onnx.ModelProto:
    model = _network()
    del model.graph.value_info[:]
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            half = numpy_helper.to_array(tensor).astype(np.float16)
            tensor.CopyFrom(numpy_helper.from_array(half, tensor.name))
    for end in (model.graph.input[0], model.graph.output[0]):
        end.type.tensor_type.elem_type = TensorProto.FLOAT16
    return model


def _image(seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).random((1, *_SIZE, 3), np.float32)


def _reference(model: onnx.ModelProto, path: Path) -> NDArray[np.float32]:
    onnx.save(model, path)
    return read_onnx(path).reference(1.0)(_image())


def test_channels_last_is_the_same_network(tmp_path: Path) -> None:
    expected = _reference(_network(), tmp_path / "first.onnx")
    found = _reference(_channels_last(), tmp_path / "last.onnx")
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_fp16_ends_are_the_same_network_but_for_its_rounded_weights(tmp_path: Path) -> None:
    expected = _reference(_network(), tmp_path / "single.onnx")
    found = _reference(_half(), tmp_path / "half.onnx")
    np.testing.assert_allclose(found, expected, atol=0.01)
    assert not np.array_equal(found, expected)


@pytest.mark.parametrize("make", [_channels_last, _half, lambda: _network(1)],
                         ids=["channels last", "FP16", "luma"])  # fmt: skip
def test_their_graphs_are_taken_by_the_passes(make: object, tmp_path: Path) -> None:
    assert callable(make)
    path = tmp_path / "net.onnx"
    onnx.save(make(), path)
    source = onnx_source(read_onnx(path), *_SIZE)
    operators = {node.op_type for node in source.export(*_SIZE).graph.node}
    assert source.scale == 2
    assert not operators & {"Transpose", "Resize", "Cast"}, "the GPU delegate runs none of these"


def test_luma_is_upscaled_by_the_network_and_the_rest_bicubically(tmp_path: Path) -> None:
    onnx.save(_network(1), tmp_path / "luma.onnx")
    file = read_onnx(tmp_path / "luma.onnx")
    assert file.of_luma
    lr_nhwc = _image()
    hr_nhwc = file.reference(1.0)(lr_nhwc)
    lr_nchw = torch.from_numpy(lr_nhwc.transpose(0, 3, 1, 2).copy())
    parts = torch.tensor([0.299, 0.587, 0.114]).reshape(1, 3, 1, 1)
    luma = (lr_nchw * parts).sum(1, keepdim=True)
    (luma_hr,) = onnx.reference.ReferenceEvaluator(_network(1)).run(None, {"lr": luma.numpy()})
    rest = nn.functional.interpolate(lr_nchw - luma, scale_factor=2, mode="bicubic")
    expected = torch.from_numpy(luma_hr) + rest
    np.testing.assert_allclose(hr_nhwc, expected.numpy().transpose(0, 2, 3, 1), atol=1e-5)


class _Luma(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Conv2d(1, 4, 3, padding=1), nn.PixelShuffle(2))


def test_a_module_of_luma_does_the_same() -> None:
    net = _Luma().eval()
    source = module_source(net, *_SIZE)
    lr_nhwc = _image()
    lr_nchw = torch.from_numpy(lr_nhwc.transpose(0, 3, 1, 2).copy())
    parts = torch.tensor([0.299, 0.587, 0.114]).reshape(1, 3, 1, 1)
    luma = (lr_nchw * parts).sum(1, keepdim=True)
    with torch.no_grad():
        rest = nn.functional.interpolate(lr_nchw - luma, scale_factor=2, mode="bicubic")
        expected = net(luma) + rest
    found = source.reference(lr_nhwc).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)


def test_a_module_of_rgb_stays_as_it_is() -> None:
    net = nn.Conv2d(3, 3, 3, padding=1).eval()
    assert with_colour(net, *_SIZE) is net


def test_a_luma_network_that_makes_no_image_is_refused(tmp_path: Path) -> None:
    g = GraphBuilder(1, *_SIZE)
    onnx.save(g.build(g.op("GlobalAveragePool", g.conv("lr", (1, 10)))), tmp_path / "net.onnx")
    with pytest.raises(Exception, match=r"makes \[1, 10, 1, 1\] of \[1, 1, 32, 24\]"):
        read_onnx(tmp_path / "net.onnx")
