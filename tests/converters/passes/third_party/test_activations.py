"""Hard-swish becomes one operator; hard sigmoid and clips take a form that the GPU accepts."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.passes.third_party.activations import activations
from helpers.onnx_graphs import GraphBuilder, assert_same_function, operators


def _number(g: GraphBuilder, value: float) -> str:
    return g.weight(np.array(value, np.float32))


def _relu6(g: GraphBuilder, x: str) -> str:
    shifted = g.op("Add", x, _number(g, 3))
    return g.op("Clip", shifted, _number(g, 0), _number(g, 6))


def _minimum(g: GraphBuilder, x: str) -> str:
    """The same by a ReLU and a minimum."""
    shifted = g.op("Relu", g.op("Add", _number(g, 3), x))
    return g.op("Min", shifted, _number(g, 6))


_WRITINGS: dict[str, Callable[[GraphBuilder, str], str]] = {
    "x hard_sigmoid": lambda g, x: g.op("Mul", x, g.op("HardSigmoid", x, alpha=1 / 6, beta=0.5)),
    "x relu6 / 6": lambda g, x: g.op("Div", g.op("Mul", x, _relu6(g, x)), _number(g, 6)),
    "x (relu6 / 6)": lambda g, x: g.op("Mul", g.op("Div", _relu6(g, x), _number(g, 6)), x),
    "x min(relu)": lambda g, x: g.op("Mul", g.op("Mul", x, _number(g, 1 / 6)), _minimum(g, x)),
}


@pytest.mark.parametrize("write", _WRITINGS.values(), ids=_WRITINGS)
@given(seed=st.integers(0, 999))
def test_every_way_of_writing_hard_swish_becomes_one_operator(
    write: Callable[[GraphBuilder, str], str], seed: int
) -> None:
    g = GraphBuilder(3, seed=seed)
    before = g.build(g.conv(write(g, g.conv("lr", (3, 8), gain=5)), (8, 3)))
    after = activations(before)
    assert_same_function(before, after)
    assert operators(after) == ["Conv", "HardSwish", "Conv"]


def test_what_is_no_hard_swish_stays_what_it_is() -> None:
    g = GraphBuilder(3)
    x = g.conv("lr", (3, 3), gain=5)
    almost = g.op("Mul", g.op("Mul", x, _number(g, 0.17)), _relu6(g, x))
    before = g.build(almost)
    assert activations(before) == before


@given(slope=st.floats(0.0625, 1, width=32), offset=st.floats(-1, 1, width=32))
def test_a_hard_sigmoid_is_clipped_at_six(slope: float, offset: float) -> None:
    g = GraphBuilder(3)
    gate = g.op("HardSigmoid", g.conv("lr", (3, 3), gain=5), alpha=slope, beta=offset)
    before = g.build(g.op("Mul", gate, "lr"))
    after = activations(before)
    assert_same_function(before, after)
    assert operators(after) == ["Conv", "Mul", "Add", "Clip", "Mul", "Mul"]


@pytest.mark.parametrize("order", [("Max", "Min"), ("Min", "Max")], ids=" ".join)
def test_a_minimum_of_a_maximum_is_a_clip(order: tuple[str, str]) -> None:
    g = GraphBuilder(3)
    numbers = {"Max": 0.0, "Min": 1.0}
    x = g.conv("lr", (3, 3), gain=5)
    for op in order:
        x = g.op(op, _number(g, numbers[op]), x)
    before = g.build(x)
    after = activations(before)
    assert_same_function(before, after)
    assert operators(after) == ["Conv", "Clip"]


def test_bounds_in_the_wrong_order_are_left_alone() -> None:
    g = GraphBuilder(3)
    x = g.op("Max", g.op("Min", g.conv("lr", (3, 3)), _number(g, -1)), _number(g, 1))
    before = g.build(x)
    assert operators(activations(before)) == ["Conv", "Min", "Max"]
