"""Chosen FP16 weights: representable, and closer to the network than nearest rounding."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import numpy_helper

from converters.onnx_graph.graph import Graph
from converters.passes.fp16_rounding import round_to_fp16, round_weights
from edgesr.errors import ConversionError
from edgesr.images.test_card import draw_test_card
from helpers.onnx_graphs import GraphBuilder, random_input, run


def _problem(seed: int, outputs: int = 6, inputs: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Weights of mixed size, and correlated inputs: inputs x samples."""
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(outputs, inputs)) * 10.0 ** rng.uniform(-2, 1, inputs)
    mixing = rng.normal(size=(inputs, 5))
    samples = mixing @ rng.normal(size=(5, 400)) + 0.2 * rng.normal(size=(inputs, 400)) + 1.0
    return weights, samples


def _error(weights: np.ndarray, rounded: np.ndarray, samples: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square((rounded - weights) @ samples))))


@given(seed=st.integers(0, 999))
def test_products_change_less_than_by_rounding_to_nearest(seed: int) -> None:
    weights, samples = _problem(seed)
    rounded = round_to_fp16(weights, samples @ samples.T / samples.shape[1])
    nearest = weights.astype(np.float16).astype(np.float64)
    assert _error(weights, rounded, samples) < 0.5 * _error(weights, nearest, samples)


@given(seed=st.integers(0, 999))
def test_every_weight_is_an_fp16_number_near_the_original(seed: int) -> None:
    weights, samples = _problem(seed)
    rounded = round_to_fp16(weights, samples @ samples.T / samples.shape[1])
    np.testing.assert_array_equal(rounded, rounded.astype(np.float16))
    assert np.abs(rounded - weights).max() <= 0.02 * np.abs(weights).max()


def test_weights_that_fp16_holds_stay_as_they_are() -> None:
    weights, samples = _problem(0)
    exact = weights.astype(np.float16).astype(np.float64)
    np.testing.assert_array_equal(round_to_fp16(exact, samples @ samples.T), exact)


def test_inputs_that_are_always_zero_do_no_harm() -> None:
    weights, samples = _problem(0)
    samples[:20] = 0.0
    rounded = round_to_fp16(weights, samples @ samples.T / samples.shape[1])
    assert np.abs(rounded - weights).max() <= 0.02 * np.abs(weights).max()


def test_inputs_so_alike_that_rounding_makes_their_moments_indefinite() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(scale=1e-4, size=(60, 60))
    moments = np.ones((60, 60)) + noise + noise.T
    assert np.linalg.eigvalsh(moments)[0] < -1e-3
    weights = rng.normal(size=(4, 60))
    rounded = round_to_fp16(weights, moments)
    assert np.abs(rounded - weights).max() < 0.02
    assert abs((rounded - weights).sum(axis=1)).max() < 2e-3, "they are compensated together"


def test_a_graph_gets_nearer_to_itself_than_with_nearest_rounding() -> None:
    g = GraphBuilder(3, 24, 20)
    model = g.build(g.conv(g.leaky(g.conv(g.leaky(g.conv("lr", (3, 12))), (12, 12))), (12, 3)))
    lr_nchw = random_input(model)
    chosen = round_weights(model, [lr_nchw, random_input(model, seed=2)])
    for name, value in Graph(chosen).weights.items():
        np.testing.assert_array_equal(value, value.astype(np.float16), err_msg=name)
    nearest = type(model)()
    nearest.CopyFrom(model)
    for tensor in nearest.graph.initializer:
        half = numpy_helper.to_array(tensor).astype(np.float16).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(half, tensor.name))
    other = random_input(model, seed=3)
    wanted = run(model, other)
    chosen_error = np.square(run(chosen, other) - wanted).mean()
    nearest_error = np.square(run(nearest, other) - wanted).mean()
    assert chosen_error < 0.5 * nearest_error


def test_another_order_of_float_sums_changes_no_rounding() -> None:
    """Inputs that differ by less than float32's own precision stand for another CPU's sums."""
    g = GraphBuilder(3, 48, 64)
    model = g.build(g.conv(g.leaky(g.conv("lr", (3, 40))), (40, 12)))
    lr_nchw = draw_test_card(48, 64).transpose(2, 0, 1)[None].astype(np.float32) / 255
    noise = np.random.default_rng(0).uniform(-1e-7, 1e-7, lr_nchw.shape)
    ours = Graph(round_weights(model, [lr_nchw])).weights
    theirs = Graph(round_weights(model, [(lr_nchw * (1 + noise)).astype(np.float32)])).weights
    for name, value in ours.items():
        np.testing.assert_array_equal(value, theirs[name], err_msg=name)


def test_a_weight_beyond_fp16_is_an_error() -> None:
    g = GraphBuilder(3)
    model = g.build(g.conv("lr", (3, 3), gain=1e7))
    with pytest.raises(ConversionError, match="ends at 65504"):
        round_weights(model, [random_input(model)])
