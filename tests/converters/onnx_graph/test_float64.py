"""A graph in float64 computes what onnxruntime computes, up to float32's rounding."""

import numpy as np
import onnx
import pytest
from onnx import helper

from converters.onnx_graph import native
from converters.onnx_graph.float64 import Float64Session
from converters.onnx_graph.graph import Graph
from helpers.onnx_graphs import GraphBuilder, random_input


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"pads": [1, 0, 2, 3]},
        {"strides": [2, 3], "pads": [1, 1, 1, 1]},
        {"dilations": [2, 1], "pads": [2, 1, 2, 1]},
        {"group": 2, "pads": [1, 1, 1, 1]},
    ],
    ids=lambda attributes: "-".join(attributes) or "plain",
)
def test_convolutions_of_every_kind(attributes: dict[str, list[int] | int]) -> None:
    g = GraphBuilder(4, 11, 9)
    kernel = np.random.default_rng(1).normal(size=(6, 4 // int(attributes.get("group", 1)), 3, 3))
    bias = np.arange(6, dtype=np.float32)
    names = [g.weight(kernel.astype(np.float32)), g.weight(bias)]
    _assert_equal(g.build(g.op("Conv", "lr", *names, **attributes)))


def test_a_network_with_activations_and_a_shuffle() -> None:
    g = GraphBuilder(3, 10, 8)
    features = g.leaky(g.conv("lr", (3, 12)))
    shuffled = g.op("DepthToSpace", g.conv(features, (12, 12)), blocksize=2, mode="CRD")
    _assert_equal(g.build(g.op("Sigmoid", shuffled)))


def test_an_operator_that_fails_is_named_in_one_line() -> None:
    g = GraphBuilder(3, 10, 8)
    model = g.build(g.conv("lr", (3, 4)))
    conv = model.graph.node[0]
    del conv.attribute[:]
    conv.attribute.append(helper.make_attribute("auto_pad", "SAME_UPPER"))
    with pytest.raises(native.GraphError, match="auto_pad SAME_UPPER"):
        Float64Session(model).run([Graph(model).output], random_input(model))


def _assert_equal(model: onnx.ModelProto) -> None:
    lr_nchw, output = random_input(model), Graph(model).output
    (expected,) = native.Session(model).run([output], lr_nchw)
    (found,) = Float64Session(model).run([output], lr_nchw)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
