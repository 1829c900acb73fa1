"""Operators that no pass removes are named from the ONNX graph, with their module."""

import time
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from converters.gpu.onnx_check import check_graph, modules_of
from converters.gpu.refusal import NotCleanError
from converters.onnx_graph.graph import Graph
from converters.onnx_graph.third_party import read_onnx
from converters.third_party_source import onnx_source
from edgesr.errors import ConversionError
from helpers.onnx_graphs import GraphBuilder
from helpers.third_party_nets import Exporter, conv, exported

pytestmark = pytest.mark.usefixtures("one_torch_thread")


class _Attention(nn.Module):
    """A softmax over the pixels of each window of 4 x 4, and an error function."""

    def __init__(self) -> None:
        super().__init__()
        self.narrow = conv(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        n, c, height, width = x.shape
        rows, columns = height // 4, width // 4
        windows = x.view(n, c, rows, 4, columns, 4).permute(0, 2, 4, 3, 5, 1).reshape(-1, 16, c)
        mask = windows.softmax(1).view(n, rows, columns, 4, 4, c).permute(0, 5, 1, 3, 2, 4)
        return x + torch.erf(self.narrow(x)) * mask.reshape(n, c, height, width)


class _Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = _Attention()

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.attention(x))


def _net() -> nn.Module:
    net = nn.Sequential(conv(3, 8))
    net.add_module("body", nn.Sequential(_Block(), _Block()))
    net.add_module("tail", nn.Sequential(conv(8, 12), nn.PixelShuffle(2)))
    return net.eval()


@pytest.mark.slow
@pytest.mark.parametrize("exporter", ["old", "new"])
def test_a_refusal_names_the_module_within_two_seconds(tmp_path: Path, exporter: Exporter) -> None:
    path = tmp_path / "net.onnx"
    onnx.save(exported(_net(), exporter, height=16, width=24, dynamic=False), str(path))
    begin = time.process_time()
    with pytest.raises(NotCleanError) as caught:
        onnx_source(read_onnx(path), 16, 24)
    assert time.process_time() - begin < 2
    erf, transpose = caught.value.refusals
    assert (erf.operator, erf.count) == ("Erf", 2)
    assert erf.reason == "got Erf in module body.0.attention and 1 more"
    assert (transpose.operator, transpose.count, transpose.of) == ("Transpose", 4, 4)
    assert transpose.reason == (
        "got rank 6 (window attention cuts the image so) in module body.0.attention and 1 more"
    )
    allowed = onnx_source(read_onnx(path), 16, 24, allow_refused=True)
    assert not allowed.must_be_clean


def test_an_operator_without_a_conversion_is_refused_whatever_is_allowed() -> None:
    g = GraphBuilder(3)
    g.op("DFT", g.op("Unsqueeze", "lr", g.weight(np.array([4]))), axis=2)
    parts = g.nodes[-1].output[0]
    graph = Graph(g.build(g.op("ReduceMean", parts, axes=[4], keepdims=0)))
    with pytest.raises(
        ConversionError, match=r"operator DFT in module head\.fft has no conversion"
    ):
        check_graph(graph, {parts: "head.fft"}, allow_refused=True)


def test_reshapes_alone_may_pass_through_more_dimensions() -> None:
    g = GraphBuilder(4)
    sizes = [g.weight(np.array(size)) for size in ([1, 2, 2, 13, 10], [1, 4, 13, 10])]
    flat = g.op("Reshape", g.op("Reshape", "lr", sizes[0]), sizes[1])
    check_graph(Graph(g.build(g.op("Tanh", flat))))


def test_a_graph_without_names_has_no_modules() -> None:
    g = GraphBuilder(3)
    model = g.build(g.op("Erf", "lr"))
    assert modules_of(model) == {}
    with pytest.raises(NotCleanError, match=r"got Erf; the GPU delegate accepts only operators"):
        check_graph(Graph(model))
