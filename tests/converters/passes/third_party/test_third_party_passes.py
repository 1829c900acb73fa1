"""The passes for third-party models are exact, and reach their purpose."""

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.onnx_graph.graph import Graph
from converters.passes.clean import clean
from converters.passes.depth_to_space import depth_to_space
from converters.passes.io_scale import io_scale
from converters.passes.third_party.activations import activations
from converters.passes.third_party.io_anchors import io_anchors
from converters.passes.third_party.prelu import prelu
from converters.passes.third_party.shuffle_patterns import shuffle_patterns
from edgesr.errors import ConversionError
from helpers.onnx_graphs import GraphBuilder, assert_same_function, operators, random_input, run

Build = Callable[[GraphBuilder, str, int], str]


def _sizes(g: GraphBuilder, *values: int) -> str:
    return g.weight(np.array(values, np.int64))


def _rank_6(g: GraphBuilder, tensor: str, block: int) -> str:
    """PixelShuffle as code wrote it before it had an operator; 13 x 10 pixels, 3 channels."""
    parts = g.op("Reshape", tensor, _sizes(g, 1, 3, block, block, 13, 10))
    moved = g.op("Transpose", parts, perm=[0, 1, 4, 2, 5, 3])
    return g.op("Reshape", moved, _sizes(g, 1, 3, 13 * block, 10 * block))


def _rank_6_dcr(g: GraphBuilder, tensor: str, block: int) -> str:
    """The same with the sub-pixels before the channels, as other frameworks have it."""
    parts = g.op("Reshape", tensor, _sizes(g, 1, block, block, 3, 13, 10))
    moved = g.op("Transpose", parts, perm=[0, 3, 4, 1, 5, 2])
    return g.op("Reshape", moved, _sizes(g, 1, 3, 13 * block, 10 * block))


def _through_nhwc(g: GraphBuilder, tensor: str, block: int) -> str:
    """With the channels last for a while."""
    last = g.op("Transpose", tensor, perm=[0, 2, 3, 1])
    first = g.op("Transpose", last, perm=[0, 3, 1, 2])
    return g.op("DepthToSpace", first, blocksize=block, mode="CRD")


_SHUFFLES: dict[str, Build] = {
    "CRD": lambda g, t, b: g.op("DepthToSpace", t, blocksize=b, mode="CRD"),
    "DCR": lambda g, t, b: g.op("DepthToSpace", t, blocksize=b, mode="DCR"),
    "rank 6": _rank_6,
    "rank 6, channels inside": _rank_6_dcr,
    "through NHWC": _through_nhwc,
}


class TestShufflePatterns:
    @pytest.mark.parametrize("shuffle", _SHUFFLES.values(), ids=_SHUFFLES)
    @given(block=st.integers(2, 4), leaky=st.booleans(), seed=st.integers(0, 999))
    def test_every_way_of_writing_it_becomes_one_operator(
        self, shuffle: Build, block: int, leaky: bool, seed: int
    ) -> None:
        g = GraphBuilder(3, seed=seed)
        tensor = g.conv("lr", (3, 3 * block**2))
        before = g.build(shuffle(g, g.leaky(tensor) if leaky else tensor, block))
        after = depth_to_space(shuffle_patterns(before))
        assert_same_function(before, after)
        activation = ["LeakyRelu"] if leaky else []
        assert operators(after) == ["Conv", *activation, "DepthToSpace"]

    @given(blocks=st.tuples(*[st.integers(2, 3)] * 2), seed=st.integers(0, 999))
    def test_two_shuffles_in_a_row_are_one(self, blocks: tuple[int, int], seed: int) -> None:
        g = GraphBuilder(4, seed=seed)
        tensor = g.conv("lr", (4, 2 * blocks[0] ** 2 * blocks[1] ** 2))
        for block in blocks:
            tensor = g.op("DepthToSpace", tensor, blocksize=block, mode="CRD")
        before = g.build(tensor)
        after = depth_to_space(shuffle_patterns(before))
        assert_same_function(before, after)
        assert operators(after) == ["Conv", "DepthToSpace"]

    @pytest.mark.parametrize("writing", ["tile", "expand", "concat", "gather"])
    @given(count=st.integers(2, 5), seed=st.integers(0, 999))
    def test_repeated_channels_are_a_convolution_of_zeros_and_ones(
        self, writing: str, count: int, seed: int
    ) -> None:
        g = GraphBuilder(3, seed=seed)
        copies = _repeated(g, writing, count)
        before = g.build(g.op("Add", g.conv("lr", (3, 3 * count)), copies))
        after = shuffle_patterns(before)
        assert_same_function(before, after)
        assert sorted(operators(after)) == ["Add", "Conv", "Conv"]

    @given(factor=st.integers(2, 4), seed=st.integers(0, 999))
    def test_nearest_neighbour_upscaling_is_a_shuffle_of_copies(
        self, factor: int, seed: int
    ) -> None:
        g = GraphBuilder(3, seed=seed)
        scales = g.weight(np.array([1, 1, factor, factor], np.float32))
        large = g.op(
            "Resize", "lr", "", scales, mode="nearest", nearest_mode="floor",
            coordinate_transformation_mode="asymmetric",
        )  # fmt: skip
        before = g.build(g.conv(large, (3, 3)))
        after = depth_to_space(shuffle_patterns(before))
        assert_same_function(before, after)
        assert operators(after) == ["Conv", "DepthToSpace", "Conv"]

    def test_a_channel_shuffle_goes_into_the_convolution_that_reads_it(self) -> None:
        g = GraphBuilder(6)
        pairs = g.op("Reshape", "lr", _sizes(g, 1, 2, 3, 13, 10))
        mixed = g.op("Transpose", pairs, perm=[0, 2, 1, 3, 4])
        before = g.build(g.conv(g.op("Reshape", mixed, _sizes(g, 1, 6, 13, 10)), (6, 3)))
        after = shuffle_patterns(before)
        assert_same_function(before, after)
        assert operators(after) == ["Conv"]

    @pytest.mark.parametrize("why", ["no convolution", "read elsewhere", "grouped"])
    def test_a_shuffle_whose_source_cannot_be_permuted_gets_a_convolution(self, why: str) -> None:
        g = GraphBuilder(12)
        tensor = {
            "no convolution": lambda: g.op("Tanh", g.op("Mul", "lr", "lr")),
            "read elsewhere": lambda: g.leaky("lr"),
            "grouped": lambda: g.op(
                "Conv", "lr", g.weight(g.rng.random((12, 1, 3, 3), np.float32)),
                group=12, pads=[1] * 4,
            ),
        }[why]()  # fmt: skip
        shuffled = g.op("DepthToSpace", tensor, blocksize=2, mode="CRD")
        if why == "read elsewhere":
            other = g.op("DepthToSpace", tensor, blocksize=2, mode="DCR")
            shuffled = g.op("Add", shuffled, other)
        before = g.build(shuffled)
        with pytest.raises(ConversionError):
            depth_to_space(before)
        after = depth_to_space(shuffle_patterns(before))
        assert_same_function(before, after)

    @pytest.mark.parametrize("axes", [[0, 1, 3, 2], [0, 2, 1, 3]], ids=["turned", "mixed"])
    def test_moves_of_another_kind_are_left_alone(self, axes: list[int]) -> None:
        g = GraphBuilder(3, 3, 3)
        before = g.build(g.leaky(g.op("Transpose", "lr", perm=axes)))
        after = shuffle_patterns(before)
        assert operators(after) == ["Transpose", "LeakyRelu"]
        assert_same_function(before, after)

    def test_slices_are_left_to_split_free(self) -> None:
        g = GraphBuilder(8)
        first, second = g.split("lr", [3, 5])
        before = g.build(g.op("Add", g.conv(first, (3, 4)), g.conv(second, (5, 4))))
        assert operators(shuffle_patterns(before)) == operators(before)[:-1]

    def test_a_selection_without_a_limit_is_refused_instead_of_built(self) -> None:
        g = GraphBuilder(32, 16, 16)
        parts = g.op("SpaceToDepth", g.conv("lr", (32, 32)), blocksize=8)
        shuffled = g.op("DepthToSpace", g.op("Relu", parts), blocksize=8, mode="CRD")
        with pytest.raises(ConversionError, match="PixelShuffle of 2048 channels"):
            shuffle_patterns(g.build(shuffled))

    @pytest.mark.slow
    def test_a_tensor_with_more_places_than_float32_counts_is_followed_too(self) -> None:
        g = GraphBuilder(12, 1200, 1201)
        parts = g.op("Reshape", g.leaky("lr"), _sizes(g, 1, 3, 2, 2, 1200, 1201))
        moved = g.op("Transpose", parts, perm=[0, 1, 4, 2, 5, 3])
        before = g.build(g.op("Reshape", moved, _sizes(g, 1, 3, 2400, 2402)))
        after = shuffle_patterns(before)
        assert operators(after) == ["LeakyRelu", "Conv", "DepthToSpace"]


def _repeated(g: GraphBuilder, writing: str, count: int) -> str:
    """Each channel of `lr` `count` times, in one of the ways in which it is written."""
    if writing == "concat":
        channels = g.split("lr", [1, 1, 1])
        return g.concat(*(c for c in channels for _ in range(count)))
    if writing == "gather":
        return g.op("Gather", "lr", _sizes(g, *np.repeat([0, 1, 2], count)), axis=1)
    inner = g.op("Unsqueeze", "lr", _sizes(g, 2))
    sizes = _sizes(g, 1, 1, count, 1, 1)
    wide = g.op("Tile" if writing == "tile" else "Expand", inner, sizes)
    return g.op("Reshape", wide, _sizes(g, 1, 3 * count, 13, 10))


def _number(g: GraphBuilder, value: float) -> str:
    return g.weight(np.array(value, np.float32))


def _normal(g: GraphBuilder, x: str) -> str:
    """The factor 1 + erf(x / sqrt 2)."""
    return g.op("Add", g.op("Erf", g.op("Div", x, _number(g, 2**0.5))), _number(g, 1))


def _inside(g: GraphBuilder, x: str) -> str:
    """GELU as x (erf(x sqrt 1/2) / 2 + 0.5)."""
    half = g.op("Mul", g.op("Erf", g.op("Mul", _number(g, 0.5**0.5), x)), _number(g, 0.5))
    return g.op("Mul", x, g.op("Add", _number(g, 0.5), half))


def _complement(g: GraphBuilder, x: str) -> str:
    """GELU as 0.5 x (1 - erf(-x / sqrt 2))."""
    erf = g.op("Erf", g.op("Div", g.op("Neg", x), _number(g, 2**0.5)))
    return g.op("Mul", g.op("Mul", x, _number(g, 0.5)), g.op("Sub", _number(g, 1), erf))


_GELUS: dict[str, Callable[[GraphBuilder, str], str]] = {
    "(x 0.5) (1 + erf)": lambda g, x: g.op("Mul", g.op("Mul", x, _number(g, 0.5)), _normal(g, x)),
    "(x (1 + erf)) 0.5": lambda g, x: g.op("Mul", g.op("Mul", x, _normal(g, x)), _number(g, 0.5)),
    "0.5 ((1 + erf) x)": lambda g, x: g.op("Mul", _number(g, 0.5), g.op("Mul", _normal(g, x), x)),
    "x (1 + erf) / 2": lambda g, x: g.op("Div", g.op("Mul", x, _normal(g, x)), _number(g, 2)),
    "x ((1 + erf) / 2)": lambda g, x: g.op("Mul", x, g.op("Div", _normal(g, x), _number(g, 2))),
    "x (erf / 2 + 0.5)": _inside,
    "0.5 x (1 - erf(-x))": _complement,
}


class TestGelu:
    @pytest.mark.parametrize("write", _GELUS.values(), ids=_GELUS)
    @given(seed=st.integers(0, 999), multiple=st.floats(0.25, 4, width=32))
    def test_every_way_of_writing_it_becomes_one_operator(
        self, write: Callable[[GraphBuilder, str], str], seed: int, multiple: float
    ) -> None:
        g = GraphBuilder(3, seed=seed)
        source = g.op("Mul", g.leaky(g.conv("lr", (3, 8), gain=3)), _number(g, multiple))
        before = g.build(g.conv(write(g, source), (8, 3)))
        after = activations(before)
        assert_same_function(before, after)
        assert operators(after) == ["Conv", "LeakyRelu", "Mul", "Gelu", "Conv"]

    def test_each_of_several_is_replaced_and_pooling_survives_the_newer_opset(self) -> None:
        g = GraphBuilder(3)
        tensor = g.conv("lr", (3, 8))
        for write in _GELUS.values():
            tensor = g.conv(write(g, tensor), (8, 8))
        mean = g.op("ReduceMean", tensor, axes=[2, 3], keepdims=1)
        before = g.build(g.conv(g.op("Mul", tensor, mean), (8, 3)))
        after = activations(before)
        assert_same_function(before, after)
        assert operators(after).count("Gelu") == len(_GELUS)
        assert "Erf" not in operators(after)

    @pytest.mark.parametrize("what", ["erf", "other factor", "other tensor", "other slope"])
    def test_what_is_no_gelu_is_left_alone(self, what: str) -> None:
        g = GraphBuilder(3)
        x = g.conv("lr", (3, 3))
        factor = 0.51 if what == "other factor" else 0.5
        root = 1.414 if what == "other slope" else 2**0.5
        erf = g.op("Erf", g.op("Div", x, _number(g, root)))
        other = g.conv("lr", (3, 3)) if what == "other tensor" else x
        product = g.op("Mul", g.op("Mul", other, _number(g, factor)), erf)
        if what != "erf":
            ones = g.op("Add", erf, _number(g, 1))
            product = g.op("Mul", g.op("Mul", other, _number(g, factor)), ones)
        before = g.build(product)
        assert activations(before) == before


class TestPrelu:
    @given(
        shape=st.sampled_from([(1,), (1, 1, 1), (5, 1, 1), (1, 5, 1, 1)]),
        slopes=st.lists(st.floats(-2, 2, width=32), min_size=5, max_size=5),
        alike=st.booleans(),
    )
    def test_computes_the_same_with_slopes_per_channel(
        self, shape: tuple[int, ...], slopes: list[float], alike: bool
    ) -> None:
        g = GraphBuilder(3)
        values = np.array(slopes, np.float32)[: int(np.prod(shape))]
        if alike:
            values[:] = values[0]
        slope = g.weight(values.reshape(shape))
        before = g.build(g.conv(g.op("PRelu", g.conv("lr", (3, 5)), slope), (5, 3)))
        after = prelu(before)
        assert_same_function(before, after)
        for node in Graph(after).nodes:
            if node.op == "PRelu":
                assert Graph(after).shape(node.inputs[1]) == (1, 5, 1, 1)

    @pytest.mark.parametrize(
        ("slope", "becomes"), [(0.25, "LeakyRelu"), (0.0, "Relu"), (-0.5, "PRelu"), (1.5, "PRelu")]
    )
    def test_one_slope_for_all_is_leaky_relu_where_it_may(self, slope: float, becomes: str) -> None:
        g = GraphBuilder(3)
        one = g.weight(np.array([slope], np.float32))
        before = g.build(g.op("PRelu", g.conv("lr", (3, 5)), one))
        assert operators(prelu(before)) == ["Conv", becomes]

    def test_a_slope_per_pixel_is_left_alone(self) -> None:
        g = GraphBuilder(3)
        slopes = g.weight(g.rng.random((3, 13, 10), np.float32))
        before = g.build(g.op("PRelu", "lr", slopes))
        assert_same_function(before, prelu(before))
        assert operators(prelu(before)) == ["PRelu"]


class TestIoAnchors:
    @given(mean=st.booleans(), add=st.booleans(), shuffle=st.booleans(), seed=st.integers(0, 999))
    def test_io_scale_works_on_any_beginning_and_end(
        self, mean: bool, add: bool, shuffle: bool, seed: int
    ) -> None:
        g = GraphBuilder(3, seed=seed)
        centre = g.weight(np.array([100, 110, 120], np.float32).reshape(1, 3, 1, 1))
        start = g.op("Sub", "lr", centre) if mean else "lr"
        tensor = g.conv(g.leaky(g.conv(start, (3, 8))), (8, 12 if shuffle else 3))
        if shuffle:
            tensor = g.op("DepthToSpace", tensor, blocksize=2, mode="CRD")
        elif add:
            tensor = g.op("Add", tensor, "lr")
        before = g.build(g.op("Add", tensor, centre) if mean else tensor)
        lr_nchw = random_input(before)
        wanted = run(before, lr_nchw * np.float32(255)) / 255
        got = run(io_scale(io_anchors(before), 255.0), lr_nchw)
        assert np.abs(got - wanted).max() <= 1e-5 * np.ptp(wanted)

    def test_a_network_between_convolutions_stays_as_it_is(self) -> None:
        g = GraphBuilder(3)
        before = g.build(g.conv(g.leaky(g.conv("lr", (3, 8))), (8, 3)))
        assert operators(io_anchors(before)) == ["Conv", "LeakyRelu", "Conv"]

    def test_a_result_that_is_shuffled_and_read_elsewhere_gets_a_convolution(self) -> None:
        g = GraphBuilder(3)
        tensor = g.conv("lr", (3, 12))
        other = g.op("DepthToSpace", g.op("Tanh", tensor), blocksize=2, mode="CRD")
        shuffled = g.op("DepthToSpace", tensor, blocksize=2, mode="CRD")
        before = g.build(g.op("Mul", shuffled, other))
        after = io_anchors(before)
        assert operators(after)[-1] == "Conv"
        assert_same_function(before, after)


class TestClean:
    def _noisy(self) -> onnx.ModelProto:
        """Sizes computed at run time, Dropout, a cast to the same type, weights as inputs."""
        g = GraphBuilder(3)
        tensor = g.op("Cast", g.conv("lr", (3, 12)), to=onnx.TensorProto.FLOAT)
        tensor = g.op("Dropout", g.op("Identity", tensor))
        shape = g.op("Shape", "lr")
        height, width = (g.op("Gather", shape, _sizes(g, axis)) for axis in (2, 3))
        two = _sizes(g, 2)
        one, three = _sizes(g, 1), _sizes(g, 3)
        parts = g.op("Concat", one, three, two, two, height, width, axis=0)
        moved = g.op("Transpose", g.op("Reshape", tensor, parts), perm=[0, 1, 4, 2, 5, 3])
        tall, wide = (g.op("Mul", size, two) for size in (height, width))
        whole = g.op("Concat", one, three, tall, wide, axis=0)
        model = g.build(g.op("Reshape", moved, whole))
        for weight in model.graph.initializer:
            model.graph.input.append(
                onnx.helper.make_tensor_value_info(weight.name, weight.data_type, weight.dims)
            )
        sizes = model.graph.input[0].type.tensor_type.shape.dim
        for axis, name in ((0, "n"), (2, "h"), (3, "w")):
            sizes[axis].dim_param = name
        return model

    def test_what_only_depends_on_sizes_is_computed_and_the_rest_stays(self) -> None:
        before = self._noisy()
        after = clean(before, 16, 24, "lr", "hr")
        assert operators(after) == ["Conv", "Reshape", "Transpose", "Reshape"]
        lr_nchw = random_input(after)
        assert lr_nchw.shape == (1, 3, 16, 24)
        np.testing.assert_allclose(run(after, lr_nchw), run(before, lr_nchw), atol=1e-5)
        assert [i.name for i in after.graph.input] == ["lr"]

    def test_the_model_that_is_cleaned_is_not_changed(self) -> None:
        before = self._noisy()
        copy = before.SerializeToString(deterministic=True)
        clean(before, 16, 24, "lr", "hr")
        assert before.SerializeToString(deterministic=True) == copy

    def test_tensors_called_as_our_ends_are_do_not_get_in_the_way(self) -> None:
        g = GraphBuilder(3)
        g.op("Tanh", "lr")
        g.nodes[-1].output[0] = "hr2"
        before = g.build(g.conv("hr2", (3, 3)))
        for node in before.graph.node:
            node.input[:] = [{"lr": "hr", "hr2": "lr"}.get(n, n) for n in node.input]
            node.output[:] = [{"hr": "x", "hr2": "lr"}.get(n, n) for n in node.output]
        before.graph.input[0].name, before.graph.output[0].name = "hr", "x"
        after = clean(before, 13, 10, "lr", "hr")
        assert_same_function(before, after)

    def test_an_old_opset_is_raised(self) -> None:
        g = GraphBuilder(6)
        names = [g.name(), g.name()]
        g.nodes.append(onnx.helper.make_node("Split", ["lr"], names, axis=1, split=[2, 4]))
        g.op("Add", g.conv(names[0], (2, 3)), g.conv(names[1], (4, 3)))
        graph = onnx.helper.make_graph(
            g.nodes, "old",
            [onnx.helper.make_tensor_value_info("lr", onnx.TensorProto.FLOAT, g.input_shape)],
            [onnx.helper.make_tensor_value_info(g.nodes[-1].output[0], 1, None)], g.weights,
        )  # fmt: skip
        opset = onnx.helper.make_opsetid("", 11)
        before = onnx.helper.make_model(graph, opset_imports=[opset], ir_version=6)
        after = clean(before, 13, 10, "lr", "hr")
        assert Graph(after).opset >= 13
        assert_same_function(before, after)
