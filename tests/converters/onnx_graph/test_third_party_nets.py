"""Third-party models, by both of torch's exporters, are converted at a small size.

Conversions take half a minute each on busy cores: one per network and exporter, the open size for
one exporter of a network and the fixed one for the other. What costs little is tried for all.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from converters import pipeline
from converters.manifest import Manifest
from converters.onnx_graph.third_party import read_onnx
from converters.source import Source
from converters.spec import ConversionSpec, Precision
from converters.third_party_source import onnx_source
from helpers.onnx_graphs import operators, run
from helpers.third_party_nets import NETS, Exporter, built, exported

pytestmark = [pytest.mark.usefixtures("one_torch_thread"), pytest.mark.slow]

_SIZE = (48, 64)
_EXPORTERS: tuple[Exporter, ...] = ("old", "new")
_CASES = [(name, exporter) for name in NETS for exporter in _EXPORTERS]
#: Operators of each network's file, without DEQUANTIZE.
_TFLITE = {
    "espcn": {"CONV_2D", "TANH", "DEPTH_TO_SPACE"},
    "espcn x3": {"CONV_2D", "TANH", "DEPTH_TO_SPACE"},
    "edsr x4": {"CONV_2D", "ADD", "DEPTH_TO_SPACE"},
    "sesr": {"CONV_2D", "PRELU", "ADD", "DEPTH_TO_SPACE"},
    "sesr x4": {"CONV_2D", "PRELU", "ADD", "DEPTH_TO_SPACE"},
    "ecbsr": {"CONV_2D", "PRELU", "ADD", "DEPTH_TO_SPACE"},
    "rlfn": {
        "CONV_2D", "LEAKY_RELU", "ADD", "MAX_POOL_2D", "RESIZE_BILINEAR", "LOGISTIC", "MUL",
        "DEPTH_TO_SPACE",
    },
}  # fmt: skip
#: Radius of tiles; whether the receptive field is global.
_REACH = {
    "espcn": (4, False), "espcn x3": (4, False), "edsr x4": (8, False), "sesr": (6, False),
    "sesr x4": (6, False), "ecbsr": (5, False), "rlfn": (9, True),
}  # fmt: skip

Make = Callable[[str, Exporter, bool], Source]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """The network of a file by one exporter; exporting lasts seconds, so it is done once."""
    folder = tmp_path_factory.mktemp("exported")

    def make(name: str, exporter: Exporter, open_sized: bool) -> Source:
        make_net, _, value_range = NETS[name]
        path = folder / f"{name.replace(' ', '_')}-{exporter}-{open_sized}.onnx"
        if not path.exists():
            height, width = _SIZE
            model = exported(
                built(make_net), exporter, height=height, width=width, dynamic=open_sized
            )
            onnx.save(model, str(path))
        return onnx_source(read_onnx(path), *_SIZE, value_range=value_range)

    return make


@pytest.mark.parametrize("open_sized", [True, False], ids=["open size", "fixed size"])
@pytest.mark.parametrize(("name", "exporter"), _CASES)
def test_the_passes_for_third_party_models_keep_the_function(
    source: Make, name: str, exporter: Exporter, open_sized: bool
) -> None:
    found = source(name, exporter, open_sized)
    value_range = np.float32(found.value_range)
    lr_nchw = np.random.default_rng(0).random((1, 3, *_SIZE), dtype=np.float32)
    wanted = found.reference(lr_nchw.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    graph = found.export(*_SIZE)
    got = run(graph, lr_nchw * value_range) / value_range
    difference = float(np.abs(got - wanted).max())
    assert difference <= 1e-5 * float(np.ptp(wanted)), f"max error {difference:.3g}"
    assert found.scale == NETS[name][1]
    assert (found.receptive_radius, found.whole_image) == _REACH[name]
    assert not {"Shape", "Gather", "Transpose", "Reshape", "Tile", "Expand"} & set(operators(graph))


@pytest.mark.parametrize(("name", "exporter"), _CASES)
def test_a_third_party_model_becomes_a_verified_gpu_clean_file(
    source: Make, tmp_path: Path, name: str, exporter: Exporter
) -> None:
    open_sized = (list(NETS).index(name) + _EXPORTERS.index(exporter)) % 2 == 0
    found = source(name, exporter, open_sized)
    spec = ConversionSpec(*_SIZE)
    outputs = pipeline.default_outputs(found, spec, tmp_path)
    (manifest,) = pipeline.convert(found, spec, outputs, threads=1)
    _assert_verified(manifest, name)
    assert outputs[Precision.FP16].is_file()


def _assert_verified(manifest: Manifest, name: str) -> None:
    assert set(manifest.operators) - {"DEQUANTIZE"} == _TFLITE[name]
    assert manifest.gpu.rules_passed, manifest.gpu.violations
    assert [parity.backend for parity in manifest.parity] == ["cpu", "cpu-fp16"]
    assert not [failure for parity in manifest.parity for failure in parity.failures]
    assert manifest.facts.scale == NETS[name][1]
    assert manifest.reference.startswith("onnxruntime ")
