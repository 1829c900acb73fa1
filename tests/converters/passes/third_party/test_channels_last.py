"""What is computed with the channels last is computed in NCHW, exactly."""

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.passes.third_party.channels_last import channels_last
from helpers.onnx_graphs import GraphBuilder, assert_same_function, operators

_LAST, _FIRST = [0, 2, 3, 1], [0, 3, 1, 2]


def _vector(g: GraphBuilder, *shape: int) -> str:
    return g.weight(g.rng.normal(1, 0.3, shape).astype(np.float32))


def _norm(g: GraphBuilder, x: str, channels: int) -> str:
    scale, bias = _vector(g, channels), _vector(g, channels)
    return g.op("LayerNormalization", x, scale, bias, axis=-1, epsilon=1e-6)


def _norm_written_out(g: GraphBuilder, x: str, channels: int) -> str:
    centred = g.op("Sub", x, g.op("ReduceMean", x, axes=[-1], keepdims=1))
    square = g.op("Pow", centred, g.weight(np.array(2, np.float32)))
    variance = g.op("ReduceMean", square, axes=[3], keepdims=1)
    root = g.op("Sqrt", g.op("Add", variance, g.weight(np.array([1e-6], np.float32))))
    scaled = g.op("Mul", g.op("Div", centred, root), _vector(g, channels))
    return g.op("Add", scaled, _vector(g, 1, 1, channels))


_NORM = ["ReduceMean", "Sub", "Mul", "ReduceMean", "Add", "Sqrt", "Div", "Mul", "Add"]
_NORM_WRITTEN_OUT = ["ReduceMean", "Sub", "Pow", "ReduceMean", "Add", "Sqrt", "Div", "Mul", "Add"]


@pytest.mark.parametrize(
    ("norm", "becomes"), [(_norm, _NORM), (_norm_written_out, _NORM_WRITTEN_OUT)], ids=["op", "sum"]
)
@given(seed=st.integers(0, 999))
def test_a_layer_norm_over_the_last_axis_becomes_means_over_the_channels(
    norm: Callable[[GraphBuilder, str, int], str], becomes: list[str], seed: int
) -> None:
    g = GraphBuilder(3, seed=seed)
    last = g.op("Transpose", g.conv("lr", (3, 7), gain=3), perm=_LAST)
    back = g.op("Transpose", norm(g, last, 7), perm=_FIRST)
    before = g.build(g.conv(back, (7, 3)))
    after = channels_last(before)
    assert_same_function(before, after)
    assert operators(after) == ["Conv", *becomes, "Conv"]


@given(seed=st.integers(0, 999), residual=st.booleans())
def test_linear_layers_become_convolutions(seed: int, residual: bool) -> None:
    g = GraphBuilder(3, seed=seed)
    source = g.conv("lr", (3, 6))
    tensor = g.op("Transpose", source, perm=_LAST)
    wide = g.op("Add", _vector(g, 10), g.op("MatMul", tensor, _vector(g, 6, 10)))
    narrow = g.op("Add", g.op("MatMul", g.leaky(wide), _vector(g, 10, 6)), _vector(g, 6))
    if residual:
        narrow = g.op("Add", tensor, g.op("Mul", narrow, _vector(g, 6)))
    before = g.build(g.conv(g.op("Transpose", narrow, perm=_FIRST), (6, 3)))
    after = channels_last(before)
    assert_same_function(before, after)
    more = ["Mul", "Add"] if residual else []
    assert operators(after) == ["Conv", "Conv", "LeakyRelu", "Conv", *more, "Conv"]


@pytest.mark.parametrize("turned", [0, 1])
def test_linear_layers_on_a_list_of_pixels_become_convolutions(turned: int) -> None:
    g = GraphBuilder(3)
    last = g.op("Transpose", g.conv("lr", (3, 6)), perm=_LAST)
    flat = g.op("Reshape", last, g.weight(np.array([-1, 6])))
    matrix = _vector(g, *((10, 6) if turned else (6, 10)))
    wide = g.op("Gemm", flat, matrix, _vector(g, 10), transB=turned)
    image = g.op("Reshape", wide, g.weight(np.array([1, 13, 10, 10])))
    before = g.build(g.conv(g.op("Transpose", g.leaky(image), perm=_FIRST), (10, 3)))
    after = channels_last(before)
    assert_same_function(before, after)
    assert operators(after) == ["Conv", "Conv", "LeakyRelu", "Conv"]


def test_a_list_of_pixels_that_is_read_otherwise_stays() -> None:
    g = GraphBuilder(3)
    last = g.op("Transpose", g.conv("lr", (3, 6)), perm=_LAST)
    flat = g.op("Reshape", g.op("Tanh", last), g.weight(np.array([-1, 6])))
    wide = g.op("Gemm", flat, _vector(g, 6, 6))
    image = g.op("Reshape", g.op("Softmax", wide, axis=0), g.weight(np.array([1, 13, 10, 6])))
    before = g.build(g.conv(g.op("Transpose", image, perm=_FIRST), (6, 3)))
    assert_same_function(before, channels_last(before))


def test_joining_and_weighting_channels_follow() -> None:
    g = GraphBuilder(3)
    last = g.op("Transpose", g.conv("lr", (3, 6)), perm=_LAST)
    parts = g.op("Split", last, g.weight(np.array([2, 4])), outputs=2, axis=-1)
    joined = g.op("Concat", parts[1], g.op("Tanh", parts[0]), axis=3)
    weighted = g.op("Mul", joined, g.op("Softmax", joined, axis=-1))
    before = g.build(g.conv(g.op("Transpose", weighted, perm=_FIRST), (6, 3)))
    after = channels_last(before)
    assert_same_function(before, after)
    assert "Transpose" not in operators(after)


def test_what_is_read_by_an_operator_that_stays_is_transposed_for_it() -> None:
    g = GraphBuilder(3)
    last = g.op("Transpose", g.conv("lr", (3, 6)), perm=_LAST)
    active = g.op("Tanh", last)
    flat = g.op("Reshape", active, g.weight(np.array([1, 130, 6])))
    whole = g.op("Reshape", g.op("Softmax", flat, axis=1), g.weight(np.array([1, 13, 10, 6])))
    both = g.op("Mul", whole, active)
    before = g.build(g.conv(g.op("Transpose", both, perm=_FIRST), (6, 3)))
    after = channels_last(before)
    assert_same_function(before, after)
    assert operators(after).count("Tanh") == 1


def test_transposes_around_nothing_go_and_others_stay() -> None:
    g = GraphBuilder(3)
    there = g.op("Transpose", g.conv("lr", (3, 3)), perm=_LAST)
    before = g.build(g.leaky(g.op("Transpose", there, perm=_FIRST)))
    assert operators(channels_last(before)) == ["Conv", "LeakyRelu"]
    g = GraphBuilder(3)
    before = g.build(g.op("Transpose", g.leaky("lr"), perm=[0, 1, 3, 2]))
    after = channels_last(before)
    assert operators(after) == ["LeakyRelu", "Transpose"]
    assert isinstance(after, onnx.ModelProto)
    assert_same_function(before, after)


def test_the_end_of_a_graph_may_be_a_transpose() -> None:
    g = GraphBuilder(3)
    last = g.op("Transpose", g.conv("lr", (3, 3)), perm=_LAST)
    before = g.build(g.op("Transpose", g.op("Tanh", last), perm=_FIRST))
    after = channels_last(before)
    assert_same_function(before, after)
    assert operators(after) == ["Conv", "Tanh"]
