"""fp16_range: the same function to the bit, with every intermediate well inside FP16."""

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.onnx_graph.calibration import largest_magnitudes
from converters.passes.fp16_range import fp16_range
from edgesr.errors import ConversionError
from helpers.onnx_graphs import GraphBuilder, assert_same_function, operators, random_input, run


def _attention(seed: int, gain: float) -> onnx.ModelProto:
    """A trunk with an attention branch whose values are `gain` times too large, like FMEN's."""
    g = GraphBuilder(3, seed=seed)
    head = g.conv("lr", (3, 8))
    branch = g.leaky(g.conv(head, (8, 4), gain=gain, bias=gain))
    branch = g.leaky(g.conv(branch, (4, 4), gain=gain, bias=gain**2))
    gate = g.op("Sigmoid", g.conv(branch, (4, 8), gain=1 / gain**2))
    body = g.op("Mul", gate, head)
    return g.build(g.conv(g.op("Add", g.conv(body, (8, 8)), head), (8, 3)))


@given(seed=st.integers(0, 999), log_gain=st.floats(-3, 4))
def test_the_function_stays_the_same_to_the_bit(seed: int, log_gain: float) -> None:
    before = _attention(seed, 10.0**log_gain)
    lr_nchw = random_input(before)
    after, _ = fp16_range(before, [lr_nchw])
    np.testing.assert_array_equal(run(after, lr_nchw), run(before, lr_nchw))


def test_large_and_tiny_intermediates_end_inside_the_band() -> None:
    for gain in (1e4, 1e-3):
        before = _attention(0, gain)
        lr_nchw = random_input(before)
        after, report = fp16_range(before, [lr_nchw])
        largest = largest_magnitudes(after, [lr_nchw])
        assert all(2.0**-4 <= value <= 2.0**9 for value in largest.values()), largest
        assert report.largest_after == max(largest.values())
        assert report.scaled_tensors == 4


def test_report_names_the_largest_intermediate_before() -> None:
    before = _attention(0, 1e4)
    lr_nchw = random_input(before)
    _, report = fp16_range(before, [lr_nchw])
    assert report.largest_before == max(largest_magnitudes(before, [lr_nchw]).values()) > 65504


def test_a_comfortable_graph_is_left_as_it_is() -> None:
    before = _attention(0, 1.0)
    after, report = fp16_range(before, [random_input(before)])
    assert report.scaled_tensors == 0
    assert operators(after) == operators(before)[:-1]  # but for the builder's Identity


def test_sums_tie_their_branches_to_one_scale() -> None:
    g = GraphBuilder(3)
    total = g.op("Add", g.conv("lr", (3, 4), gain=1e6), g.conv("lr", (3, 4)))
    before = g.build(g.conv(g.leaky(total), (4, 3), gain=1e-6))
    lr_nchw = random_input(before)
    after, _ = fp16_range(before, [lr_nchw])
    np.testing.assert_array_equal(run(after, lr_nchw), run(before, lr_nchw))
    assert max(largest_magnitudes(after, [lr_nchw]).values()) <= 2.0**9


@pytest.mark.parametrize("op", ["Sigmoid", "Tanh", "Softplus", "Exp"])
def test_a_curved_operator_keeps_the_scale_of_what_it_reads(op: str) -> None:
    g = GraphBuilder(3)
    curved = g.op(op, g.conv("lr", (3, 4), gain=1e-2, bias=0))
    before = g.build(g.conv(curved, (4, 3), gain=1e-4))
    after, _ = fp16_range(before, [random_input(before)])
    assert_same_function(before, after)


def test_both_factors_of_a_product_keep_their_scale_where_neither_is_pinned() -> None:
    g = GraphBuilder(3)
    product = g.op("Mul", g.conv("lr", (3, 4), gain=1e3), g.conv("lr", (3, 4), gain=1e-3))
    before = g.build(g.conv(product, (4, 3)))
    after, report = fp16_range(before, [random_input(before)])
    assert_same_function(before, after)
    assert report.scaled_tensors == 0


def test_a_large_tensor_that_may_not_be_scaled_is_an_error() -> None:
    g = GraphBuilder(3)
    large = g.op("Softplus", g.conv("lr", (3, 4), gain=1e6))
    before = g.build(g.conv(large, (4, 3), gain=1e-6))
    with pytest.raises(ConversionError, match="may not be rescaled"):
        fp16_range(before, [random_input(before)])


def _contrast_attention(gain: float, seed: int = 0) -> onnx.ModelProto:
    """Channels weighed by deviation plus mean, as IMDN does, of tensors `gain` times too large."""
    g = GraphBuilder(3, seed=seed)
    features = g.leaky(g.conv("lr", (3, 8), gain=gain, bias=gain))
    mean = g.op("ReduceMean", features, axes=[2, 3], keepdims=1)
    difference = g.op("Sub", features, mean)
    square = g.op("Mul", difference, difference)
    deviation = g.op("Sqrt", g.op("ReduceMean", square, axes=[2, 3], keepdims=1))
    gate = g.op("Sigmoid", g.conv(g.op("Add", deviation, mean), (8, 8), 1, gain=1 / gain))
    return g.build(g.conv(g.op("Mul", features, gate), (8, 3), gain=1 / gain))


@given(seed=st.integers(0, 999), log_gain=st.floats(-3, 5))
def test_a_deviation_is_scaled_as_its_tensor_is(seed: int, log_gain: float) -> None:
    before = _contrast_attention(10.0**log_gain, seed)
    lr_nchw = random_input(before)
    after, _ = fp16_range(before, [lr_nchw])
    np.testing.assert_array_equal(run(after, lr_nchw), run(before, lr_nchw))


@pytest.mark.parametrize("gain", [1e-3, 30.0, 1e4])
def test_squares_stay_in_range_and_what_is_averaged_leaves_room_for_a_sum(gain: float) -> None:
    before = _contrast_attention(gain)
    lr_nchw = random_input(before)
    after, report = fp16_range(before, [lr_nchw])
    largest = largest_magnitudes(after, [lr_nchw])
    averaged = [n.input[0] for n in after.graph.node if n.op_type == "ReduceMean"]
    assert len(averaged) == 2
    assert all(largest[name] <= 64 for name in averaged), largest
    assert report.largest_after < 512 < report.largest_before or gain < 1
    assert report.scaled_tensors >= 7


def test_a_tensor_that_meets_its_own_square_keeps_its_scale() -> None:
    g = GraphBuilder(3)
    features = g.conv("lr", (3, 4), gain=1e3)
    square = g.op("Mul", features, features)
    before = g.build(g.conv(g.op("Add", features, square), (4, 3), gain=1e-6))
    lr_nchw = random_input(before)
    with pytest.raises(ConversionError, match="may not be rescaled"):
        fp16_range(before, [lr_nchw])


@pytest.mark.parametrize(("op", "degree"), [("Pow", 2.0), ("Pow", 0.5)], ids=["square", "root"])
def test_powers_are_homogeneous_too(op: str, degree: float) -> None:
    g = GraphBuilder(3)
    features = g.op("Relu", g.conv("lr", (3, 4), gain=1e4))
    power = g.op(op, features, g.weight(np.array(degree, np.float32)))
    before = g.build(g.conv(power, (4, 3), gain=10 ** (-4 * degree)))
    lr_nchw = random_input(before)
    after, report = fp16_range(before, [lr_nchw])
    np.testing.assert_array_equal(run(after, lr_nchw), run(before, lr_nchw))
    assert report.largest_after <= 512


def _untamed(gain: float) -> onnx.ModelProto:
    """A tanh of values that are `gain` times too large, and that no scale may touch."""
    g = GraphBuilder(3)
    large = g.op("Tanh", g.conv("lr", (3, 8), gain=gain))
    return g.build(g.conv(large, (8, 3)))


def test_what_cannot_be_rescaled_needs_fp32_and_gets_it() -> None:
    before = _untamed(1e5)
    lr_nchw = random_input(before)
    with pytest.raises(ConversionError, match=r"FP16 arithmetic does not hold.* --fp32 alone"):
        fp16_range(before, [lr_nchw])
    after, report = fp16_range(before, [lr_nchw], must_fit=False)
    assert report.largest_after > 65504
    np.testing.assert_array_equal(run(after, lr_nchw), run(before, lr_nchw))


def test_fp32_is_no_remedy_for_an_output_that_is_no_image() -> None:
    g = GraphBuilder(3)
    before = g.build(g.conv("lr", (3, 3), gain=1e6))
    with pytest.raises(ConversionError, match=r"the output reaches .*--value-range") as caught:
        fp16_range(before, [random_input(before)])
    assert "--fp32" not in str(caught.value)


@pytest.mark.parametrize("huge", [3e38, np.inf, np.nan])
def test_weights_that_overflow_float32_are_refused(huge: float) -> None:
    g = GraphBuilder(3)
    kernel = g.rng.normal(0, 1, (3, 8, 3, 3)).astype(np.float32)
    kernel[0, 0] = huge
    tensor = g.op("Conv", g.conv("lr", (3, 8)), g.weight(kernel), pads=[1] * 4)
    before = g.build(g.conv(tensor, (3, 3), gain=1e3))
    with pytest.raises(ConversionError, match="NaN or infinity on ordinary images"):
        fp16_range(before, [random_input(before)])
