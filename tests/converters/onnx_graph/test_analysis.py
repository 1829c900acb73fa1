"""The receptive field by analysis equals the one measured by changing single pixels."""

from collections.abc import Callable

import numpy as np
import pytest

from converters.onnx_graph.analysis import size_bound
from converters.onnx_graph.graph import Graph
from converters.onnx_graph.receptive_field import reach
from edgesr.tflite.facts import Reach
from helpers.onnx_graphs import GraphBuilder, run

Draw = Callable[[GraphBuilder], str]


def _strided(g: GraphBuilder) -> str:
    """Half the resolution, a 3x3 there, back by a shuffle."""
    kernel = g.weight(g.rng.normal(0, 0.3, (8, 3, 3, 3)).astype(np.float32))
    coarse = g.op("Conv", "lr", kernel, pads=[1] * 4, strides=[2, 2])
    return g.op("DepthToSpace", g.conv(coarse, (8, 12)), blocksize=2, mode="CRD")


def _upscaled(g: GraphBuilder) -> str:
    """Two 3x3 behind a shuffle: two of its pixels are one of the input's."""
    large = g.op("DepthToSpace", g.conv("lr", (3, 12)), blocksize=2, mode="CRD")
    return g.conv(g.leaky(g.conv(large, (3, 3))), (3, 3), 5)


def _bilinear(g: GraphBuilder) -> str:
    scales = g.weight(np.array([1, 1, 3, 3], np.float32))
    return g.op("Resize", g.conv("lr", (3, 3)), "", scales, mode="linear")


def _attention(g: GraphBuilder) -> str:
    features = g.conv("lr", (3, 4))
    mask = g.op("Sigmoid", g.conv(g.op("GlobalAveragePool", features), (4, 4), 1))
    return g.conv(g.op("Mul", features, mask), (4, 3))


def _dilated(g: GraphBuilder) -> str:
    kernel = g.weight(g.rng.normal(0, 0.3, (3, 3, 3, 3)).astype(np.float32))
    return g.op("Conv", g.op("MaxPool", "lr", kernel_shape=[3, 3], pads=[1] * 4), kernel,
                pads=[3] * 4, dilations=[3, 3])  # fmt: skip


_NETS: dict[str, tuple[Draw, Reach]] = {
    "plain": (lambda g: g.conv(g.leaky(g.conv("lr", (3, 6), 5)), (6, 3)), Reach(3)),
    "upscaled": (_upscaled, Reach(3)),
    "dilated behind a pool": (_dilated, Reach(4)),
    "bilinear": (_bilinear, Reach(2)),
    "strided": (_strided, Reach(4, size_multiple=2)),
    "attention": (
        _attention, Reach(2, whole_image=True, why="GlobalAveragePool has a global receptive field")
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", _NETS)
def test_the_reach_is_read_off_the_operators(name: str) -> None:
    draw, wanted = _NETS[name]
    g = GraphBuilder(3, 24, 24)
    assert reach(Graph(g.build(draw(g)))) == wanted


@pytest.mark.parametrize("name", [n for n, (_, r) in _NETS.items() if not r.whole_image])
def test_no_pixel_beyond_the_reach_matters_and_one_just_inside_does(name: str) -> None:
    draw, wanted = _NETS[name]
    g = GraphBuilder(3, 24, 24)
    model = g.build(draw(g))
    assert wanted.radius is not None
    lr_nchw = g.rng.random((1, 3, 24, 24), np.float32)
    hr_nchw = run(model, lr_nchw)
    scale = hr_nchw.shape[3] // 24
    farthest = 0
    for column in range(24):
        changed = lr_nchw.copy()
        changed[..., column] += 1
        touched = np.nonzero(run(model, changed) != hr_nchw)[3] // scale
        farthest = max(farthest, int(np.abs(touched - column).max()))
    assert wanted.radius - wanted.size_multiple < farthest <= wanted.radius


def test_pools_of_no_whole_factor_leave_the_grid() -> None:
    g = GraphBuilder(3, 24, 24)
    pooled = g.op("MaxPool", g.conv("lr", (3, 3)), kernel_shape=[7, 7], strides=[3, 3])
    sizes = g.weight(np.array([1, 3, 24, 24], np.int64))
    large = g.op("Resize", pooled, "", "", sizes, mode="linear")
    graph = Graph(g.build(g.op("Add", "lr", g.op("Sigmoid", large))))
    found = reach(graph)
    assert (found.radius, found.whole_image) == (0, True)
    assert "MaxPool" in found.why
    bound = size_bound(graph)
    assert bound is not None
    assert bound.op == "Resize"


def test_an_unknown_operator_leaves_no_radius() -> None:
    g = GraphBuilder(3, 24, 24)
    found = reach(Graph(g.build(g.op("MatMul", "lr", g.conv("lr", (3, 3))))))
    assert found == Reach(None, whole_image=True, why="MatMul may have a global receptive field")


def _whole_window(g: GraphBuilder) -> str:
    return g.op("AveragePool", "lr", kernel_shape=[24, 24])


_BOUND: dict[str, tuple[Draw, str | None]] = {
    "nothing": (lambda g: g.leaky(g.conv("lr", (3, 3))), None),
    "a mean over the whole image": (_attention, None),
    "a window of the whole image": (_whole_window, "AveragePool"),
    "a summand per pixel": (
        lambda g: g.op("Add", "lr", g.weight(g.rng.random((1, 3, 24, 24), np.float32))), "Add"
    ),
    "a summand per channel": (
        lambda g: g.op("Add", "lr", g.weight(g.rng.random((1, 3, 1, 1), np.float32))), None
    ),
    "a reshape": (
        lambda g: g.op("Reshape", "lr", g.weight(np.array([1, 3, 24, 24], np.int64))), "Reshape"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", _BOUND)
def test_what_fits_one_size_only_is_found(name: str) -> None:
    draw, wanted = _BOUND[name]
    g = GraphBuilder(3, 24, 24)
    bound = size_bound(Graph(g.build(draw(g))))
    assert (bound.op if bound else None) == wanted
