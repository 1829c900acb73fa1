"""Centred sigmoids become tanh, exactly, and only where FP16 computes that better."""

from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.passes.centred_sigmoid import (
    centred_sigmoid,
    has_centred_sigmoid,
    squared_error,
    with_tanh,
)
from converters.passes.clean import clean
from helpers.network_kinds.attention import SPAN
from helpers.onnx_graphs import GraphBuilder, assert_same_function, operators
from helpers.third_party_nets import Exporter, built, exported

Writing = Literal["minus a half", "plus minus a half", "minus a half plus"]


def _centred(g: GraphBuilder, source: str, how: Writing) -> str:
    sigmoid = g.op("Sigmoid", source)
    if how == "minus a half":
        return g.op("Sub", sigmoid, g.weight(np.array(0.5, np.float32)))
    number = g.weight(np.array([-0.5], np.float32))
    return g.op("Add", *([sigmoid, number] if how == "plus minus a half" else [number, sigmoid]))


def _inputs(seed: int = 0) -> list[np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
    return [np.random.default_rng(seed).random((1, 3, 13, 10), np.float32)]


@pytest.mark.parametrize("how", ["minus a half", "plus minus a half", "minus a half plus"])
@given(seed=st.integers(0, 999))
def test_every_writing_is_replaced_exactly(how: Writing, seed: int) -> None:
    g = GraphBuilder(3, seed=seed)
    small = g.conv("lr", (3, 4), gain=0.1, bias=0.01)
    before = g.build(g.conv(_centred(g, small, how), (4, 3)))
    assert has_centred_sigmoid(before)
    after = with_tanh(before)
    assert_same_function(before, after)
    assert operators(after) == ["Conv", "Mul", "Tanh", "Mul", "Conv"]
    assert not has_centred_sigmoid(after)


@given(seed=st.integers(0, 99))
def test_values_near_0_gain_precision_and_are_rewritten(seed: int) -> None:
    g = GraphBuilder(3, seed=seed)
    small = g.conv("lr", (3, 4), gain=0.01, bias=0.001)
    before = g.build(_centred(g, small, "minus a half"))
    assert squared_error(with_tanh(before), _inputs()) < 0.1 * squared_error(before, _inputs())
    assert "Tanh" in operators(centred_sigmoid(before, _inputs()))


def test_where_nothing_is_gained_the_network_stays() -> None:
    g = GraphBuilder(3)
    far = g.op("Add", g.op("Relu", g.conv("lr", (3, 4))), g.weight(np.array(40, np.float32)))
    before = g.build(_centred(g, far, "minus a half"))
    assert operators(centred_sigmoid(before, _inputs())) == operators(before)


@pytest.mark.parametrize("number", [0.25, -0.5], ids=str)
def test_another_number_is_left_alone(number: float) -> None:
    g = GraphBuilder(3)
    difference = g.op("Sub", g.op("Sigmoid", "lr"), g.weight(np.array(number, np.float32)))
    assert not has_centred_sigmoid(g.build(difference))


@pytest.mark.usefixtures("one_torch_thread")
@pytest.mark.parametrize("exporter", ["old", "new"])
def test_span_is_recognised_from_both_exporters(exporter: Exporter) -> None:
    net = built(lambda: SPAN(blocks=2))
    model = exported(net, exporter, height=13, width=10, dynamic=False)
    before = clean(model, 13, 10, "lr", "hr")
    after = with_tanh(before)
    assert_same_function(before, after)
    assert operators(after).count("Tanh") == 2
