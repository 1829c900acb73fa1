"""The contrast that a network takes is looked at before the Clip that it ends in."""

import numpy as np
import pytest

from converters.onnx_graph.calibration import unclipped
from converters.parity.test_inputs import InputImage, reduce_contrast
from helpers.onnx_graphs import GraphBuilder


def _tripled(made: GraphBuilder, source: str) -> str:
    return made.op("Mul", source, made.weight(np.float32(3)))


def _clipped(made: GraphBuilder, source: str, white: float) -> str:
    ends = (made.weight(np.float32(end)) for end in (0, white))
    return made.op("Clip", source, *ends)


@pytest.mark.parametrize("value_range", [1.0, 255.0])
def test_a_last_clip_is_left_out(value_range: float) -> None:
    made = GraphBuilder(3, 4, 4)
    network = unclipped(made.build(_clipped(made, _tripled(made, "lr"), value_range)), value_range)
    assert network is not None
    lr_nhwc = np.linspace(0, 1, 4 * 4 * 3, dtype=np.float32).reshape(1, 4, 4, 3)
    assert np.allclose(network(lr_nhwc), 3 * lr_nhwc, rtol=1e-6)
    image = InputImage("steep", lr_nhwc)
    assert reduce_contrast(image, lambda x: 0.2 + network(x - 0.4).clip(0, 1))[0].contrast == 1
    assert reduce_contrast(image, lambda x: 0.2 + network(x - 0.4))[0].contrast < 1


def test_a_graph_without_a_last_clip_is_taken_as_it_is() -> None:
    made = GraphBuilder(3, 4, 4)
    assert unclipped(made.build(_tripled(made, _clipped(made, "lr", 1.0))), 1.0) is None
