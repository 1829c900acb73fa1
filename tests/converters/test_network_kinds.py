"""The kinds of networks that the field publishes: what becomes of each before TensorFlow is needed.

benchmarks/network_kinds.py converts each of them as a whole, with all gates.
"""

import importlib
import json
from pathlib import Path

import onnx
import pytest

from converters import pipeline
from converters.onnx_graph.third_party import read_onnx
from converters.source import Source
from converters.spec import ConversionSpec
from converters.third_party_source import onnx_source
from edgesr.errors import EdgeSRError
from edgesr.runtime.vulkan import Driver
from helpers.network_kinds.table import KINDS, onnx_of

pytestmark = pytest.mark.usefixtures("one_torch_thread")

_ROOT = Path(__file__).parent.parent.parent
_HEIGHT, _WIDTH = 32, 48

#: Kind -> the operator or property that is beyond the GPU delegate.
_REFUSED = {
    "swin": r"rank 6 .*in module body\.0",
    "han": r"rank 5 .*in module cube",
    "dysample": "only operators that the GPU has a kernel for",
    "asconvsr": "Conv that makes .* computes its kernel .*, allowed a constant",
    "fourier": r"DFT in module body\.0",
}
#: Operators of graphs whose files the GPU accelerator accepted (the record of the benchmark).
_ON_THE_GPU = {
    "Add", "AveragePool", "Clip", "Concat", "Conv", "ConvTranspose", "DepthToSpace", "Div", "Exp",
    "Expand", "Gelu", "GlobalAveragePool", "HardSwish", "LeakyRelu", "MatMul", "MaxPool", "Mul",
    "PRelu", "Pad", "Pow", "ReduceL2", "ReduceMean", "Relu", "Reshape", "Resize", "Sigmoid",
    "Slice", "Softmax", "SpaceToDepth", "Split", "Sqrt", "Sub", "Tanh", "Transpose",
}  # fmt: skip


def _source(name: str, folder: Path) -> Source:
    kind, path = KINDS[name], folder / "net.onnx"
    onnx.save(onnx_of(kind, _HEIGHT, _WIDTH), str(path))
    return onnx_source(read_onnx(path), _HEIGHT, _WIDTH, value_range=kind.value_range)


def test_the_record_holds_every_kind_and_the_page_shows_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(_ROOT / "benchmarks")
    tables = importlib.import_module("network_kinds").tables
    record = json.loads((_ROOT / "benchmarks/results/network_kinds.json").read_text())
    rows = {row["network"]: row for row in record["rows"]}
    assert list(rows) == list(KINDS)
    for name, row in rows.items():
        assert row["converted"] == (name not in _REFUSED), name
        assert not row["converted"] or row["accelerator"] == "passed", name
    assert tables(record["rows"]) in (_ROOT / "docs/models.md").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(KINDS.keys() - _REFUSED.keys()))
def test_only_operators_of_the_gpu_are_left(name: str, tmp_path: Path) -> None:
    source = _source(name, tmp_path)
    assert source.scale == KINDS[name].scale
    left = source.export(_HEIGHT, _WIDTH).graph.node
    assert {node.op_type for node in left} <= _ON_THE_GPU
    modes = [a.s for node in left if node.op_type == "Resize" for a in node.attribute]
    assert b"cubic" not in modes


@pytest.mark.slow
@pytest.mark.parametrize("name", _REFUSED)
def test_what_no_pass_removes_is_refused_by_name(name: str, tmp_path: Path) -> None:
    with pytest.raises(EdgeSRError, match=_REFUSED[name]):
        _source(name, tmp_path)


@pytest.mark.slow
def test_span_as_a_whole(tmp_path: Path, vulkan_driver: Driver) -> None:
    source, spec = _source("span x4", tmp_path), ConversionSpec(_HEIGHT, _WIDTH)
    outputs = pipeline.default_outputs(source, spec, tmp_path)
    (manifest,) = pipeline.convert(source, spec, outputs, gpu_gate=True, threads=1)
    assert manifest.operators["TANH"] == 3
    assert manifest.gpu.accelerator == "passed", vulkan_driver
