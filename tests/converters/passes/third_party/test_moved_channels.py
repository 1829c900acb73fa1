"""Channel shuffles, assigned channels, bicubic upscaling and repeated borders: exact and gone."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from converters.onnx_graph.graph import Graph
from converters.onnx_graph.receptive_field import reach
from converters.passes.clean import clean
from converters.passes.depth_to_space import depth_to_space
from converters.passes.edge_pad import edge_pad, has_edge_pad
from converters.passes.third_party.bicubic import bicubic
from converters.passes.third_party.scatter import scatter
from converters.passes.third_party.shuffle_patterns import shuffle_patterns
from helpers.onnx_graphs import GraphBuilder, assert_same_function, operators
from helpers.third_party_nets import Exporter, conv, exported


def _sizes(g: GraphBuilder, *values: int) -> str:
    return g.weight(np.array(values, np.int64))


def _shuffled(g: GraphBuilder, tensor: str, groups: int, channels: int) -> str:
    parts = g.op("Reshape", tensor, _sizes(g, 1, groups, channels // groups, 13, 10))
    mixed = g.op("Transpose", parts, perm=[0, 2, 1, 3, 4])
    return g.op("Reshape", mixed, _sizes(g, 1, channels, 13, 10))


class TestChannelShuffleBehindAConcat:
    @given(groups=st.integers(2, 4), sources=st.integers(2, 3), seed=st.integers(0, 999))
    def test_goes_into_the_convolution_that_reads_it(
        self, groups: int, sources: int, seed: int
    ) -> None:
        g = GraphBuilder(3, seed=seed)
        branches = [g.leaky(g.conv("lr", (3, groups))) for _ in range(sources)]
        joined = g.concat(*branches)
        before = g.build(
            g.conv(_shuffled(g, joined, groups, groups * sources), (groups * sources, 3))
        )
        after = shuffle_patterns(before)
        assert_same_function(before, after)
        assert operators(after).count("Conv") == sources + 1
        assert not {"Reshape", "Transpose"} & set(operators(after))

    def test_becomes_a_convolution_where_something_else_reads_it(self) -> None:
        g = GraphBuilder(3)
        joined = g.concat(g.leaky(g.conv("lr", (3, 4))), g.op("Tanh", g.conv("lr", (3, 2))))
        before = g.build(g.op("Add", _shuffled(g, joined, 2, 6), joined))
        after = shuffle_patterns(before)
        assert_same_function(before, after)
        assert sorted(operators(after)) == [
            "Add",
            "Concat",
            "Conv",
            "Conv",
            "Conv",
            "LeakyRelu",
            "Tanh",
        ]

    def test_shuffles_on_both_sides_of_a_concat_are_rewritten(self) -> None:
        g = GraphBuilder(3)
        first = _shuffled(g, g.op("Tanh", g.conv("lr", (3, 4))), 2, 4)
        joined = g.concat(first, g.op("Tanh", g.conv("lr", (3, 2))))
        before = g.build(g.conv(_shuffled(g, joined, 3, 6), (6, 3)))
        after = shuffle_patterns(before)
        assert_same_function(before, after)
        assert not {"Reshape", "Transpose"} & set(operators(after))


class _Assigning(nn.Module):
    """Computes new values for a range of channels and writes them in place."""

    def __init__(self, where: slice, width: int = 8) -> None:
        super().__init__()
        self.where = where
        part = len(range(*where.indices(width)))
        self.head, self.inner, self.last = conv(3, width), conv(part, part), conv(width, 3)

    def forward(self, lr_nchw: Tensor) -> Tensor:
        x = torch.tanh(self.head(lr_nchw))
        x[:, self.where] = torch.relu(self.inner(x[:, self.where]))
        return self.last(x)


@pytest.mark.usefixtures("one_torch_thread")
class TestScatter:
    @pytest.mark.parametrize(
        ("where", "exporter"),
        [
            (slice(None, 4), "old"), (slice(2, 5), "old"), (slice(5, None), "old"),
            (slice(0, 8, 2), "old"), (slice(None, 4), "new"), (slice(2, 8, 2), "new"),
        ],
        ids=str,
    )  # fmt: skip
    def test_assigned_channels_stand_side_by_side(self, exporter: Exporter, where: slice) -> None:
        torch.manual_seed(0)
        model = exported(_Assigning(where).eval(), exporter, height=13, width=10, dynamic=False)
        before = clean(model, 13, 10, "lr", "hr")
        assert "ScatterND" in operators(before)
        after = scatter(before)
        assert_same_function(before, after)
        assert not {"ScatterND", "Transpose", "Reshape"} & set(operators(after))
        assert "Concat" in operators(after)

    def test_assigned_pixels_are_left_alone(self) -> None:
        class Frame(nn.Module):
            def forward(self, lr_nchw: Tensor) -> Tensor:
                x = lr_nchw * 2
                x[:, :, 1:-1] = lr_nchw[:, :, 1:-1]
                return x

        model = exported(Frame(), height=13, width=10, dynamic=False)
        before = clean(model, 13, 10, "lr", "hr")
        after = scatter(before)
        assert "ScatterND" in operators(after)
        assert_same_function(before, after)


class _Enlarged(nn.Module):
    def __init__(self, enlarge: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.enlarge = enlarge

    def forward(self, lr_nchw: Tensor) -> Tensor:
        return self.enlarge(lr_nchw)


@pytest.mark.usefixtures("one_torch_thread")
class TestBicubic:
    @pytest.mark.parametrize(
        ("factor", "exporter"), [(2, "old"), (3, "old"), (4, "old"), (2, "new")]
    )
    def test_becomes_a_convolution_and_a_shuffle(self, exporter: Exporter, factor: int) -> None:
        net = _Enlarged(
            lambda x: F.interpolate(x, scale_factor=factor, mode="bicubic", align_corners=False)
        )
        model = exported(net, exporter, height=9, width=7, dynamic=False)
        before = clean(model, 9, 7, "lr", "hr")
        padded = bicubic(before)
        assert operators(padded) == ["Pad", "Conv", "DepthToSpace"]
        assert has_edge_pad(padded)
        assert reach(Graph(padded)).radius == reach(Graph(before)).radius == 2
        after = edge_pad(depth_to_space(shuffle_patterns(padded)))
        assert_same_function(before, after)
        assert set(operators(after)) == {"Slice", "Concat", "Conv", "DepthToSpace"}

    @pytest.mark.parametrize("how", ["aligned corners", "another factor", "two factors"])
    def test_what_no_kernel_describes_is_left_alone(self, how: str) -> None:
        factors = {"another factor": (1.5, 1.5), "two factors": (2.0, 3.0)}.get(how, (2.0, 2.0))
        net = _Enlarged(
            lambda x: F.interpolate(
                x, scale_factor=factors, mode="bicubic", align_corners=how == "aligned corners"
            )
        )
        model = exported(net, height=8, width=6, dynamic=False)
        assert operators(bicubic(clean(model, 8, 6, "lr", "hr"))) == ["Resize"]


class TestBicubicAsWritten:
    @given(
        factor=st.integers(2, 5), a=st.sampled_from([-0.75, -0.5]), seed=st.integers(0, 99),
        how=st.sampled_from(["half_pixel", "pytorch_half_pixel", "asymmetric"]),
    )  # fmt: skip
    def test_any_constant_and_placing(self, factor: int, a: float, seed: int, how: str) -> None:
        g = GraphBuilder(2, 5, 6, seed=seed)
        scales = g.weight(np.array([1, 1, factor, factor], np.float32))
        before = g.build(
            g.op("Resize", "lr", "", scales, mode="cubic", cubic_coeff_a=a,
                 coordinate_transformation_mode=how)
        )  # fmt: skip
        after = bicubic(before)
        assert "Resize" not in operators(after)
        assert_same_function(before, after)


class TestEdgePad:
    @given(pads=st.tuples(*[st.integers(0, 3)] * 4).filter(any), seed=st.integers(0, 999))
    def test_the_border_is_joined_to_the_image(
        self, pads: tuple[int, int, int, int], seed: int
    ) -> None:
        top, left, bottom, right = pads
        g = GraphBuilder(3, seed=seed)
        amounts = _sizes(g, 0, 0, top, left, 0, 0, bottom, right)
        before = g.build(g.leaky(g.op("Pad", g.conv("lr", (3, 4)), amounts, mode="edge")))
        assert has_edge_pad(before)
        after = edge_pad(before)
        assert_same_function(before, after, tolerance=0)
        assert "Pad" not in operators(after)

    @pytest.mark.parametrize("mode", ["reflect", "constant"])
    def test_other_padding_is_left_alone(self, mode: str) -> None:
        g = GraphBuilder(3)
        before = g.build(g.op("Pad", "lr", _sizes(g, 0, 0, 1, 1, 0, 0, 1, 1), mode=mode))
        assert not has_edge_pad(before)
        assert operators(edge_pad(before)) == ["Pad"]
