"""The receptive field by the graph equals the one measured by changing single pixels."""

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.onnx_graph.graph import Graph
from converters.onnx_graph.receptive_field import reach
from helpers.onnx_graphs import Array, GraphBuilder, run

_SIDE = 36
_COLOURS = 3

Step = Callable[[GraphBuilder, str], str]


def _kernel(g: GraphBuilder, *shape: int) -> str:
    return g.weight(g.rng.uniform(0.5, 1.0, shape).astype(np.float32))


def _conv(size: int, dilation: int = 1) -> Step:
    def add(g: GraphBuilder, source: str) -> str:
        pads = [dilation * (size // 2)] * 4
        kernel = _kernel(g, _COLOURS, _COLOURS, size, size)
        return g.op("Conv", source, kernel, pads=pads, dilations=[dilation] * 2)

    return add


def _padded(mode: str, size: int, *, at_once: bool = True) -> Step:
    """Padding as an operator of its own, before a convolution that pads nothing."""

    def add(g: GraphBuilder, source: str) -> str:
        half = size // 2
        pads = g.weight(np.array([0, 0, half, half, 0, 0, half, half], np.int64))
        padded = g.op("Pad", source, pads, mode=mode)
        if at_once:
            return g.op("Conv", padded, _kernel(g, _COLOURS, _COLOURS, size, size))
        row = g.op("Conv", padded, _kernel(g, _COLOURS, _COLOURS, size, 1))
        return g.op("Conv", row, _kernel(g, _COLOURS, _COLOURS, 1, size))

    return add


def _transposed(size: int, stride: int) -> Step:
    """As FSRCNN ends: `stride` times as many pixels, whatever the size of the kernel."""

    def add(g: GraphBuilder, source: str) -> str:
        pad = max(0, size - stride + 1) // 2
        more = stride - size + 2 * pad
        kernel = _kernel(g, _COLOURS, _COLOURS, size, size)
        return g.op(
            "ConvTranspose", source, kernel,
            strides=[stride] * 2, pads=[pad] * 4, output_padding=[more] * 2,
        )  # fmt: skip

    return add


def _halved_and_back(g: GraphBuilder, source: str) -> str:
    """Half the resolution, there and back, behind a mirrored border."""
    pads = g.weight(np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64))
    mirrored = g.op("Pad", source, pads, mode="reflect")
    kernel = _kernel(g, 4 * _COLOURS, _COLOURS, 3, 3)
    half = g.op("Conv", mirrored, kernel, strides=[2, 2])
    return g.op("DepthToSpace", half, blocksize=2, mode="CRD")


def _resized(mode: str) -> Step:
    def add(g: GraphBuilder, source: str) -> str:
        return g.op("Resize", source, "", g.weight(np.float32([1, 1, 2, 2])), mode=mode)

    return add


_STEPS: dict[str, Step] = {
    "3x3": _conv(3),
    "5x5": _conv(5),
    "3x3 dilated": _conv(3, 2),
    "3x3 behind reflection": _padded("reflect", 3),
    "5x5 behind reflection": _padded("reflect", 5),
    "3x3 in two behind reflection": _padded("reflect", 3, at_once=False),
    "5x5 behind edges": _padded("edge", 5),
    "3x3 behind zeros": _padded("constant", 3),
    "halved and back": _halved_and_back,
}
_ENDS: dict[str, Step] = {
    "none": lambda g, source: source,
    "transposed 2x2": _transposed(2, 2),
    "transposed 4x4": _transposed(4, 2),
    "transposed 9x9": _transposed(9, 2),
    "transposed 5x5, x3": _transposed(5, 3),
    "transposed 3x3, x1": _transposed(3, 1),
    "nearest": _resized("nearest"),
    "linear": _resized("linear"),
    "cubic": _resized("cubic"),
}


def _network(steps: list[str], end: str, side: int = _SIDE) -> onnx.ModelProto:
    g = GraphBuilder(_COLOURS, side, side)
    tensor = "lr"
    for name in steps:
        tensor = _STEPS[name](g, tensor)
    tensor = _ENDS[end](g, tensor)
    return g.build(g.op("Mul", tensor, g.weight(np.float32([1]))))


def _measured(model: onnx.ModelProto) -> int:
    """How far a change of one pixel is seen, over all rows and over all columns."""
    lr_nchw = np.random.default_rng(1).random((1, _COLOURS, _SIDE, _SIDE), np.float32)
    hr_nchw = run(model, lr_nchw)
    scale = hr_nchw.shape[3] // _SIDE
    farthest = 0
    for place in range(_SIDE):
        changed = lr_nchw.copy()
        changed[:, :, place, place] += 1000
        touched = np.nonzero(run(model, changed) != hr_nchw)
        seen = [np.abs(axis // scale - place).max() for axis in touched[2:]]
        farthest = max(farthest, *map(int, seen))
    return farthest


_KINDS = st.lists(st.sampled_from(sorted(_STEPS)), min_size=1, max_size=3)


@given(steps=_KINDS, end=st.sampled_from(sorted(_ENDS)))
def test_the_radius_is_what_a_change_of_one_pixel_shows(steps: list[str], end: str) -> None:
    model = _network(steps, end)
    found = reach(Graph(model))
    assert not found.whole_image, found.why
    assert found.radius == _measured(model)


@given(steps=_KINDS, end=st.sampled_from(sorted(_ENDS)), first=st.booleans())
def test_a_tile_equals_the_whole_image_beyond_the_radius(
    steps: list[str], end: str, first: bool
) -> None:
    """A tile of two thirds of the image, at its top left or at its bottom right."""
    found = reach(Graph(_network(steps, end)))
    assert found.radius is not None
    lr_nchw = np.random.default_rng(1).random((1, _COLOURS, _SIDE, _SIDE), np.float32)
    tile = _SIDE * 2 // 3
    start = 0 if first else _SIDE - tile
    assert start % found.size_multiple == 0
    whole = run(_network(steps, end), lr_nchw)
    cut = np.ascontiguousarray(lr_nchw[:, :, start : start + tile, start : start + tile])
    part = run(_network(steps, end, tile), cut)
    scale = whole.shape[3] // _SIDE
    kept = slice(0, tile - found.radius) if first else slice(found.radius, tile)
    inside = _pixels(part, kept, scale)
    beside = _pixels(whole, slice(start + kept.start, start + kept.stop), scale)
    np.testing.assert_allclose(inside, beside, rtol=1e-5)


def _pixels(hr_nchw: Array, of: slice, scale: int) -> Array:
    here = slice(scale * of.start, scale * of.stop)
    return hr_nchw[:, :, here, here]


def _cut_and_continued(g: GraphBuilder) -> str:
    """A border inside the image: a negative padding, and a convolution that pads with zeros."""
    less = g.weight(np.array([0, 0, -3, -3, 0, 0, -3, -3], np.int64))
    more = g.weight(np.array([0, 0, 3, 3, 0, 0, 3, 3], np.int64))
    return g.op("Pad", _conv(3)(g, g.op("Pad", "lr", less)), more)


def _kernel_of_the_image(g: GraphBuilder) -> str:
    """A convolution whose kernel is computed, as dynamic networks have it."""
    mean = g.op("GlobalAveragePool", "lr")
    square = g.op("Mul", g.weight(g.rng.random((3, 3, 1, 1), np.float32)), mean)
    return g.op("Conv", "lr", square)


_UNBOUNDED: dict[str, tuple[Callable[[GraphBuilder], str], str]] = {
    "cut and continued": (_cut_and_continued, "Pad cuts a part out of the image"),
    "wrapped around": (
        lambda g: g.op("Conv", g.op(
            "Pad", "lr", g.weight(np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64)), mode="wrap"
        ), _kernel(g, 3, 3, 3, 3)),
        "Pad may have a global receptive field",
    ),
    "a kernel of the image": (_kernel_of_the_image, "GlobalAveragePool has a global"),
}  # fmt: skip


@pytest.mark.parametrize("case", _UNBOUNDED)
def test_what_tiles_cannot_equal_has_no_bound(case: str) -> None:
    draw, why = _UNBOUNDED[case]
    g = GraphBuilder(3, 24, 24)
    model = _of_opset_19(g, draw(g)) if case == "wrapped around" else g.build(draw(g))
    found = reach(Graph(model))
    assert found.whole_image
    assert why in found.why


def _of_opset_19(g: GraphBuilder, output: str) -> onnx.ModelProto:
    nodes = [*g.nodes, onnx.helper.make_node("Identity", [output], ["hr"])]
    ends = [onnx.helper.make_tensor_value_info(n, 1, g.input_shape) for n in ("lr", "hr")]
    graph = onnx.helper.make_graph(nodes, "test", ends[:1], ends[1:], g.weights)
    opset = onnx.helper.make_opsetid("", 19)
    return onnx.helper.make_model(graph, opset_imports=[opset], ir_version=8)
