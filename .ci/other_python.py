"""What must work under a Python that has no torch: upscaling, and converting an ONNX file."""

import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import edgesr
from edgesr.images.test_card import draw_test_card


def _network() -> onnx.ModelProto:
    rng = np.random.default_rng(0)
    shapes = {"k1": (16, 3, 3, 3), "b1": (16,), "k2": (12, 16, 3, 3), "b2": (12,)}
    weights = [
        numpy_helper.from_array(rng.normal(0, 0.1, shape).astype(np.float32), name)
        for name, shape in shapes.items()
    ]
    nodes = [
        helper.make_node("Conv", ["lr", "k1", "b1"], ["features"], pads=[1] * 4),
        helper.make_node("Tanh", ["features"], ["bounded"]),
        helper.make_node("Conv", ["bounded", "k2", "b2"], ["parts"], pads=[1] * 4),
        helper.make_node("DepthToSpace", ["parts"], ["hr"], blocksize=2, mode="CRD"),
    ]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, *size])
        for name, size in (("lr", ("h", "w")), ("hr", ("h2", "w2")))
    ]
    graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def main() -> None:
    """Upscale, convert, and say under which Python."""
    card_hwc_u8 = draw_test_card(60, 80)
    large_hwc_u8 = edgesr.load_model("rtc").upscale(card_hwc_u8)
    assert large_hwc_u8.shape == (120, 160, 3)
    assert abs(float(large_hwc_u8.mean()) - float(card_hwc_u8.mean())) < 1
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "net.onnx")
        onnx.save(_network(), path)
        (file,) = edgesr.convert(path, size=(32, 24), output=folder)
        assert [parity.failures for parity in file.manifest.parity] == [(), ()]
    assert "torch" not in sys.modules
    print(f"Python {sys.version.split()[0]}: upscaled, converted an ONNX file")  # noqa: T201


if __name__ == "__main__":
    main()
