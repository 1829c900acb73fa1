"""Every exact pass computes the same function, and does what it is for."""

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.onnx_graph.graph import Graph
from converters.passes.depth_to_space import crd_to_dcr, depth_to_space
from converters.passes.global_mean import global_mean
from converters.passes.io_scale import io_scale
from converters.passes.linear_chains import graph_cost, linear_chains
from converters.passes.split_free import split_free
from edgesr.errors import ConversionError
from helpers.onnx_graphs import GraphBuilder, assert_same_function, operators, random_input, run


def _distillation(
    kept: int, rest: int, steps: int, seed: int, joint_size: int = 1
) -> onnx.ModelProto:
    """A block like IMDN's: split off `kept` channels `steps` times, concat, convolve, add."""
    whole = kept + rest
    g = GraphBuilder(whole, seed=seed)
    parts: list[str] = []
    current, channels = "lr", whole
    for _ in range(steps):
        part, current = g.split(g.leaky(g.conv(current, (channels, whole))), [kept, rest])
        parts.append(part)
        channels = rest
    parts.append(g.conv(current, (channels, kept)))
    joined = g.conv(g.concat(*parts), (kept * (steps + 1), whole), joint_size)
    return g.build(g.op("Add", joined, "lr"))


class TestSplitFree:
    @given(
        kept=st.sampled_from([1, 2, 3, 5]),
        rest=st.integers(1, 9),
        steps=st.integers(1, 4),
        joint_size=st.sampled_from([1, 3]),
        seed=st.integers(0, 999),
    )
    def test_computes_the_same_without_split_and_concat(
        self, kept: int, rest: int, steps: int, joint_size: int, seed: int
    ) -> None:
        before = _distillation(kept, rest, steps, seed, joint_size)
        after = split_free(before)
        assert_same_function(before, after)
        assert not {"Split", "Concat", "Slice"} & set(operators(after))

    def test_slices_with_constant_bounds_count_as_parts(self) -> None:
        g = GraphBuilder(6)
        bounds = [g.weight(np.array([v], np.int64)) for v in (2, 5, 1)]
        part = g.op("Slice", "lr", *bounds)
        before = g.build(g.conv(part, (3, 4)))
        after = split_free(before)
        assert_same_function(before, after)
        assert operators(after) == ["Conv"]

    def test_a_slice_of_a_slice_reads_the_first_tensor(self) -> None:
        g = GraphBuilder(8)
        _, outer = g.split("lr", [2, 6])
        inner, _ = g.split(outer, [4, 2])
        before = g.build(g.conv(inner, (4, 3)))
        after = split_free(before)
        assert_same_function(before, after)
        assert operators(after) == ["Conv"]

    def test_two_parts_of_one_tensor_share_a_convolution(self) -> None:
        g = GraphBuilder(6)
        left, right = g.split("lr", [2, 4])
        before = g.build(g.conv(g.concat(right, left), (6, 5), 1))
        after = split_free(before)
        assert_same_function(before, after)
        assert operators(after) == ["Conv"]

    def test_a_pointwise_convolution_over_whole_tensors_becomes_a_sum(self) -> None:
        g = GraphBuilder(4)
        parts = ["lr", g.conv("lr", (4, 4)), g.conv("lr", (4, 5))]
        before = g.build(g.conv(g.concat(*parts), (13, 4), 1))
        after = split_free(before)
        assert_same_function(before, after)
        assert operators(after).count("Concat") == 0
        assert operators(after).count("Add") == 2

    def test_a_wide_kernel_over_whole_tensors_keeps_its_concat(self) -> None:
        g = GraphBuilder(4)
        before = g.build(g.conv(g.concat("lr", g.conv("lr", (4, 4))), (8, 4), 3))
        assert operators(split_free(before)).count("Concat") == 1

    @given(
        kept=st.sampled_from([4, 8]),
        rest=st.sampled_from([4, 12]),
        joint_size=st.sampled_from([1, 3]),
        seed=st.integers(0, 999),
    )
    def test_cuts_between_slices_of_four_stay_as_slices(
        self, kept: int, rest: int, joint_size: int, seed: int
    ) -> None:
        before = _distillation(kept, rest, 3, seed, joint_size)
        after = split_free(before)
        assert_same_function(before, after)
        assert "Split" not in operators(after)
        assert operators(after).count("Slice") == 6
        assert operators(after).count("Concat") == 1

    def test_a_split_that_no_convolution_reads_becomes_slices(self) -> None:
        g = GraphBuilder(5)
        left, right = g.split(g.conv("lr", (5, 7)), [3, 4])
        before = g.build(g.concat(g.leaky(right), g.leaky(left)))
        after = split_free(before)
        assert_same_function(before, after)
        assert operators(after).count("Slice") == 2


class TestGlobalMean:
    @pytest.mark.parametrize("op", ["ReduceMean", "GlobalAveragePool"])
    def test_takes_it_row_by_row_and_then_over_the_rows(self, op: str) -> None:
        g = GraphBuilder(3)
        attributes = {"axes": [2, 3], "keepdims": 1} if op == "ReduceMean" else {}
        mean = g.op(op, g.conv("lr", (3, 4)), **attributes)
        before = g.build(g.op("Mul", g.conv("lr", (3, 4)), mean))
        after = global_mean(before)
        assert_same_function(before, after)
        means = [n for n in after.graph.node if n.op_type == "ReduceMean"]
        assert [onnx.helper.get_node_attr_value(n, "axes") for n in means] == [[3], [2]]

    @pytest.mark.parametrize(
        "attributes",
        [{"axes": [2], "keepdims": 1}, {"axes": [1, 2, 3], "keepdims": 1}],
        ids=["one-axis", "channels-too"],
    )
    def test_other_means_are_left_alone(self, attributes: dict[str, Any]) -> None:
        g = GraphBuilder(3)
        mean = g.op("ReduceMean", g.conv("lr", (3, 4)), **attributes)
        before = g.build(g.op("Mul", g.conv("lr", (3, 4)), mean))
        assert operators(global_mean(before)).count("ReduceMean") == 1

    def test_no_partial_sum_leaves_fp16_at_720x480(self) -> None:
        """Of tensors as fp16_range leaves them, 64 at most, added up term by term in FP16."""
        bright = np.full((720, 480), 64, np.float16)
        with np.errstate(over="ignore"):
            at_once = np.cumsum(bright.reshape(-1)[:2000], dtype=np.float16)
        rows = np.cumsum(bright, axis=1, dtype=np.float16)
        whole = np.cumsum(np.full(720, 64, np.float16), dtype=np.float16)
        assert np.isinf(at_once[-1])
        assert np.isfinite(rows).all()
        assert np.isfinite(whole).all()


class TestLinearChains:
    @given(
        widths=st.tuples(*[st.integers(1, 9)] * 3),
        size=st.sampled_from([1, 3, 5]),
        seed=st.integers(0, 999),
    )
    def test_merging_a_chain_computes_the_same(
        self, widths: tuple[int, int, int], size: int, seed: int
    ) -> None:
        g = GraphBuilder(widths[0], seed=seed)
        middle = g.conv("lr", (widths[0], widths[1]), size)
        before = g.build(g.conv(middle, (widths[1], widths[2]), 1))
        after = linear_chains(before)
        assert_same_function(before, after)
        assert graph_cost(after) <= graph_cost(before)

    def test_a_chain_is_merged_where_that_is_cheaper(self) -> None:
        g = GraphBuilder(4)
        before = g.build(g.conv(g.conv("lr", (4, 32)), (32, 4), 1))
        assert operators(linear_chains(before)) == ["Conv"]

    def test_a_chain_is_kept_where_merging_costs_more(self) -> None:
        g = GraphBuilder(64)
        before = g.build(g.conv(g.conv("lr", (64, 4)), (4, 64), 1))
        assert operators(linear_chains(before)).count("Conv") == 2

    def test_an_activation_between_keeps_the_chain(self) -> None:
        g = GraphBuilder(4)
        before = g.build(g.conv(g.leaky(g.conv("lr", (4, 32))), (32, 4), 1))
        assert operators(linear_chains(before)).count("Conv") == 2

    @given(sizes=st.tuples(*[st.sampled_from([1, 3, 5])] * 2), seed=st.integers(0, 999))
    def test_added_convolutions_of_one_tensor_become_one(
        self, sizes: tuple[int, int], seed: int
    ) -> None:
        g = GraphBuilder(5, seed=seed)
        total = g.op("Add", g.conv("lr", (5, 5), sizes[0]), g.conv("lr", (5, 5), sizes[1]))
        before = g.build(g.op("Add", total, "lr"))
        after = linear_chains(before)
        assert_same_function(before, after)
        assert operators(after).count("Conv") == 1

    def test_a_tensor_added_to_itself_survives(self) -> None:
        g = GraphBuilder(4)
        middle = g.conv("lr", (4, 4))
        before = g.build(g.op("Add", middle, middle))
        assert_same_function(before, linear_chains(before))

    def test_a_convolution_read_elsewhere_is_not_merged_away(self) -> None:
        g = GraphBuilder(4)
        shared = g.conv("lr", (4, 4))
        total = g.op("Add", shared, g.conv("lr", (4, 4), 1))
        before = g.build(g.op("Add", total, g.leaky(shared)))
        assert_same_function(before, linear_chains(before))

    @given(seed=st.integers(0, 99))
    def test_a_split_free_block_stays_the_same_function(self, seed: int) -> None:
        before = split_free(_distillation(3, 9, 3, seed))
        after = linear_chains(before)
        assert_same_function(before, after)
        assert graph_cost(after) < graph_cost(before)


class TestDepthToSpace:
    @given(
        colours=st.integers(1, 4),
        block=st.integers(2, 4),
        between=st.sampled_from(["nothing", "leaky", "add"]),
        seed=st.integers(0, 999),
    )
    def test_pixel_shuffle_becomes_dcr_with_the_same_result(
        self, colours: int, block: int, between: str, seed: int
    ) -> None:
        g = GraphBuilder(3, seed=seed)
        widths = (3, colours * block**2)
        tensor = g.conv("lr", widths)
        if between == "leaky":
            tensor = g.leaky(tensor)
        if between == "add":
            tensor = g.op("Add", tensor, g.conv("lr", widths, 1))
        before = g.build(g.op("DepthToSpace", tensor, blocksize=block, mode="CRD"))
        after = depth_to_space(before)
        assert_same_function(before, after)
        shuffle = next(n for n in after.graph.node if n.op_type == "DepthToSpace")
        assert {a.name: a.s for a in shuffle.attribute}["mode"] == b"DCR"

    def test_the_order_without_the_permutation_would_be_wrong(self) -> None:
        """Shows that the check above can fail: DCR alone is another function."""
        g = GraphBuilder(3)
        tensor = g.conv("lr", (3, 12))
        crd = g.build(g.op("DepthToSpace", tensor, blocksize=2, mode="CRD"))
        dcr = onnx.ModelProto.FromString(crd.SerializeToString())
        mode = next(a for n in dcr.graph.node for a in n.attribute if a.name == "mode")
        mode.s = b"DCR"
        with pytest.raises(AssertionError, match="max error"):
            assert_same_function(crd, dcr)

    def test_torch_pixel_shuffle_agrees_with_the_permutation(self) -> None:
        torch = pytest.importorskip("torch")
        channels = np.arange(12, dtype=np.float32)
        shuffled = torch.nn.functional.pixel_shuffle(torch.tensor(channels.reshape(1, 12, 1, 1)), 2)
        dcr = channels[crd_to_dcr(12, 2)].reshape(2, 2, 3).transpose(2, 0, 1)
        np.testing.assert_array_equal(dcr, shuffled[0].numpy())

    def test_an_input_shared_with_another_operator_is_refused(self) -> None:
        g = GraphBuilder(3)
        tensor = g.conv("lr", (3, 12))
        shuffled = g.op("DepthToSpace", tensor, blocksize=2, mode="CRD")
        again = g.op("DepthToSpace", tensor, blocksize=2, mode="DCR")
        with pytest.raises(ConversionError, match="read by other operators"):
            depth_to_space(g.build(g.op("Add", shuffled, again)))

    def test_a_shuffle_without_convolution_is_refused(self) -> None:
        g = GraphBuilder(12)
        model = g.build(g.op("DepthToSpace", "lr", blocksize=2, mode="CRD"))
        with pytest.raises(ConversionError, match="needs a convolution"):
            depth_to_space(model)


class TestIoScale:
    @given(seed=st.integers(0, 999), shuffle=st.booleans())
    def test_a_network_of_range_255_becomes_one_of_range_1(self, seed: int, shuffle: bool) -> None:
        g = GraphBuilder(3, seed=seed)
        tensor = g.conv(g.leaky(g.conv("lr", (3, 8))), (8, 12))
        if shuffle:
            tensor = g.op("DepthToSpace", tensor, blocksize=2, mode="CRD")
        before = g.build(tensor)
        lr_nchw = random_input(before)
        wanted = run(before, lr_nchw * np.float32(255)) / 255
        got = run(io_scale(before, 255.0), lr_nchw)
        assert np.abs(got - wanted).max() <= 1e-5 * np.ptp(wanted)

    def test_an_input_read_by_an_add_is_refused(self) -> None:
        g = GraphBuilder(3)
        model = g.build(g.op("Add", g.conv("lr", (3, 3)), "lr"))
        with pytest.raises(ConversionError, match="got Add"):
            io_scale(model, 255.0)

    def test_an_output_made_by_an_activation_is_refused(self) -> None:
        g = GraphBuilder(3)
        model = g.build(g.leaky(g.conv("lr", (3, 3))))
        with pytest.raises(ConversionError, match="got LeakyRelu, allowed a Conv"):
            io_scale(model, 255.0)


class TestGraph:
    def test_two_inputs_are_refused(self) -> None:
        model = GraphBuilder(3).build("lr")
        model.graph.input.append(
            onnx.helper.make_tensor_value_info("second", onnx.TensorProto.FLOAT, [1])
        )
        with pytest.raises(ConversionError, match="one of each"):
            Graph(model)

    def test_reading_a_model_does_not_change_it(self) -> None:
        model = _distillation(3, 9, 3, seed=0)
        before = model.SerializeToString(deterministic=True)
        split_free(model)
        assert model.SerializeToString(deterministic=True) == before
