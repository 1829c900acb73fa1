"""PixelUnshuffle becomes SPACE_TO_DEPTH or a strided convolution, exactly."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from converters.passes.third_party.shuffle_patterns import shuffle_patterns
from converters.passes.third_party.space_to_depth import space_to_depth
from helpers.onnx_graphs import GraphBuilder, assert_same_function, operators


def _sizes(g: GraphBuilder, *values: int) -> str:
    return g.weight(np.array(values, np.int64))


class TestSpaceToDepth:
    @given(
        writing=st.sampled_from(["rank 6", "SpaceToDepth", "DCR by hand"]),
        block=st.integers(2, 4),
        reader=st.sampled_from(["conv", "two convs", "relu", "grouped"]),
        seed=st.integers(0, 999),
    )
    def test_every_writing_becomes_one_operator(
        self, writing: str, block: int, reader: str, seed: int
    ) -> None:
        g = GraphBuilder(3, 12, 24, seed=seed)
        inside = g.conv("lr", (3, 5))
        parts, count = _unshuffled(g, inside, writing, block), 5 * block**2
        if reader == "two convs":
            before = g.build(g.op("Add", g.conv(parts, (count, 3)), g.conv(parts, (count, 3), 1)))
        elif reader == "grouped":
            kernel = g.weight(g.rng.random((count, 1, 3, 3), np.float32))
            before = g.build(g.op("Conv", parts, kernel, group=count, pads=[1] * 4))
        else:
            before = g.build(g.conv(parts if reader == "conv" else g.leaky(parts), (count, 3)))
        after = space_to_depth(shuffle_patterns(before))
        assert_same_function(before, after)
        plain = writing != "rank 6" or "conv" in reader
        assert operators(after)[1] == ("SpaceToDepth" if plain else "Conv")
        assert len(operators(after)) == {"conv": 3, "two convs": 5, "relu": 4, "grouped": 3}[reader]

    def test_what_mixes_blocks_is_left_alone(self) -> None:
        g = GraphBuilder(3, 12, 24)
        parts = g.op("Reshape", g.leaky("lr"), _sizes(g, 1, 3, 2, 6, 2, 12))
        moved = g.op("Transpose", parts, perm=[0, 1, 2, 4, 3, 5])
        before = g.build(g.conv(g.op("Reshape", moved, _sizes(g, 1, 12, 6, 12)), (12, 3)))
        after = space_to_depth(before)
        assert operators(after) == operators(before)[:-1]

    def test_back_and_forth_is_nothing(self) -> None:
        g = GraphBuilder(3, 12, 24)
        parts = _unshuffled(g, g.leaky("lr"), "rank 6", 2)
        before = g.build(g.conv(g.op("DepthToSpace", parts, blocksize=2, mode="CRD"), (3, 3)))
        after = space_to_depth(shuffle_patterns(before))
        assert operators(after) == ["LeakyRelu", "Conv"]
        assert_same_function(before, after)


def _unshuffled(g: GraphBuilder, tensor: str, writing: str, block: int) -> str:
    """PixelUnshuffle of 5 channels, or 3, of 12 x 24 pixels."""
    if writing == "SpaceToDepth":
        return g.op("SpaceToDepth", tensor, blocksize=block)
    channels = 3 if tensor != "lr" and g.nodes[-1].op_type == "LeakyRelu" else 5
    sizes = _sizes(g, 1, channels, 12 // block, block, 24 // block, block)
    perm = [0, 1, 3, 5, 2, 4] if writing == "rank 6" else [0, 3, 5, 1, 2, 4]
    moved = g.op("Transpose", g.op("Reshape", tensor, sizes), perm=perm)
    whole = _sizes(g, 1, channels * block**2, 12 // block, 24 // block)
    return g.op("Reshape", moved, whole)
