"""`edgesr convert --onnx` and `edgesr info`: damaged and self-contradictory ONNX files.

Each is refused in one line that names the file and, where a library does, the operator.
"""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import AttributeProto, TensorProto, helper, numpy_helper

from converters.passes.clean import clean
from helpers.commands import Command, files_in, run_here
from helpers.onnx_graphs import GraphBuilder, assert_same_function, operators

pytestmark = pytest.mark.usefixtures("one_torch_thread")


@pytest.fixture
def info(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs `edgesr info` in this process."""
    return lambda *words: run_here(monkeypatch, capsys, "info", *words)


_INPUT = helper.make_tensor_value_info("lr", TensorProto.FLOAT, [1, 3, 32, 24])
_OUTPUT = helper.make_tensor_value_info("hr", TensorProto.FLOAT, None)
_KERNEL = np.random.default_rng(0).normal(0, 0.2, (3, 3, 3, 3)).astype(np.float32)
_CONV = helper.make_node("Conv", ["lr", "kernel"], ["features"], name="head", pads=[1] * 4)


def _network() -> onnx.ModelProto:
    """Two convolutions and a shuffle, 32x24, x2."""
    g = GraphBuilder(3, 32, 24)
    tensor = g.conv(g.leaky(g.conv("lr", (3, 8))), (8, 12))
    return g.build(g.op("DepthToSpace", tensor, blocksize=2, mode="CRD"))


def _behind_a_convolution(
    opset: int, *nodes: onnx.NodeProto, **weights: np.ndarray
) -> onnx.ModelProto:
    tensors = [numpy_helper.from_array(v, n) for n, v in {"kernel": _KERNEL, **weights}.items()]
    graph = helper.make_graph([_CONV, *nodes], "test", [_INPUT], [_OUTPUT], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 8
    return model


def _with_bytes(change: Callable[[bytes], bytes]) -> onnx.ModelProto:
    model = _network()
    weight = model.graph.initializer[0]
    weight.raw_data = change(weight.raw_data)
    return model


def _with_type(number: int) -> onnx.ModelProto:
    model = _network()
    model.graph.initializer[0].data_type = number
    return model


def _with_dimension(side: int) -> onnx.ModelProto:
    model = _network()
    model.graph.initializer[0].dims[0] = side
    return model


def _of_type(end: str, number: int) -> onnx.ModelProto:
    model = _network()
    (value,) = getattr(model.graph, end)
    value.type.tensor_type.elem_type = number
    return model


def _with_attribute(attribute: AttributeProto) -> onnx.ModelProto:
    model = _network()
    node = model.graph.node[0]
    for old in [a for a in node.attribute if a.name == attribute.name]:
        node.attribute.remove(old)
    node.attribute.append(attribute)
    return model


def _of_ir_version(number: int) -> onnx.ModelProto:
    model = _network()
    model.ir_version = number
    return model


def _resize(opset: int, *inputs: str) -> onnx.ModelProto:
    scales = np.array([1, 1, 2, 2], np.float32)
    node = helper.make_node("Resize", ["features", *inputs], ["hr"], name="up", mode="linear")
    return _behind_a_convolution(opset, node, scales=scales)


def _shape_of_the_run() -> onnx.ModelProto:
    """A Reshape to 7x7, which no shape inference sees: the size comes out of the image."""
    return _behind_a_convolution(
        17,
        helper.make_node("ReduceSum", ["features"], ["sum"], keepdims=0),
        helper.make_node("Cast", ["sum"], ["whole"], to=TensorProto.INT64),
        helper.make_node("Mul", ["whole", "zero"], ["nothing"]),
        helper.make_node("Add", ["nothing", "seven"], ["size"]),
        helper.make_node("Reshape", ["features", "size"], ["small"], name="fold"),
        helper.make_node("Reshape", ["small", "image"], ["hr"]),
        zero=np.array(0),
        seven=np.array([1, 3, 7, 7]),
        image=np.array([1, 3, 32, 24]),
    )


def _typeless() -> AttributeProto:
    attribute = helper.make_attribute("strides", [1, 1])
    attribute.type = AttributeProto.UNDEFINED
    return attribute


_DAMAGED: dict[str, tuple[Callable[[], onnx.ModelProto], tuple[str, ...]]] = {
    "bytes cut off": (lambda: _with_bytes(lambda b: b[:-3]), ("'t1'", "861 bytes")),
    "bytes too many": (lambda: _with_bytes(lambda b: b + b"12345678"), ("'t1'", "872 bytes")),
    "bytes of another type": (lambda: _with_type(TensorProto.DOUBLE), ("Conv", "double")),
    "text as weights": (lambda: _with_type(TensorProto.STRING), ("Conv", "string")),
    "weights of type 99": (lambda: _with_type(99), ("'t1'", "valid data type")),
    "an input of type 99": (lambda: _of_type("input", 99), ("lr is of unknown type 99", "float32")),
    "an output of type 99": (lambda: _of_type("output", 99), ("hr is of unknown type 99",)),
    "a negative dimension": (lambda: _with_dimension(-8), ("dimensions",)),
    "an endless dimension": (lambda: _with_dimension(2**50), ("'t1'", "bytes")),
    "Resize with an empty input": (
        lambda: _resize(11, "", "scales"), ("operator Resize up", "empty")
    ),
    "Resize from before its time": (lambda: _resize(9, "scales"), ("opset 17", "Resize")),
    "Reshape to what does not fit": (_shape_of_the_run, ("operator Reshape fold", "{1,3,7,7}")),
    "an attribute without a type": (lambda: _with_attribute(_typeless()), ("Conv t3", "strides")),
    "an attribute of text": (
        lambda: _with_attribute(helper.make_attribute("strides", "two")), ("Conv t3", "strides")
    ),
    "too few paddings": (
        lambda: _with_attribute(helper.make_attribute("pads", [1, 1])), ("Conv", "pads")
    ),
    "no group": (lambda: _with_attribute(helper.make_attribute("group", 0)), ("Conv", "group: 0")),
    "padding of noise": (
        lambda: _with_attribute(AttributeProto(name="auto_pad", type=3, s=b"\xff\xfe\x1b[31m")),
        ("AutoPadType",),
    ),
    "a format of the future": (lambda: _of_ir_version(99), ("IR version: 99",)),
}  # fmt: skip


@pytest.mark.parametrize("case", _DAMAGED)
def test_a_damaged_file_is_refused_in_one_line(convert: Command, here: Path, case: str) -> None:
    make, words = _DAMAGED[case]
    Path("net.onnx").write_bytes(make().SerializeToString())
    ran = convert("--onnx", "net.onnx", "--threads", "1")
    ran.fails("net.onnx", *words)
    _assert_plain(ran.err)
    assert files_in(here) == ["net.onnx"]


def _assert_plain(err: str) -> None:
    """One line, nothing of C++ or Python in it, and its reason not cut off at the front."""
    (line,) = err.splitlines()
    for stray in ("::", "ONNXRuntimeError", ".cc:", "Error:", "Assertion", "buffer size", ": ]"):
        assert stray not in line, line


@pytest.mark.parametrize("case", ["bytes cut off", "weights of type 99", "an attribute of text"])
def test_counting_a_damaged_file_is_refused_alike(info: Command, here: Path, case: str) -> None:
    Path("net.onnx").write_bytes(_DAMAGED[case][0]().SerializeToString())
    ran = info("net.onnx")
    ran.fails("net.onnx", *_DAMAGED[case][1])
    _assert_plain(ran.err)


@pytest.mark.parametrize("version", [3, 4])
def test_a_file_of_an_old_format_is_read(info: Command, here: Path, version: int) -> None:
    """Before version 4 weights had to be inputs too, which old exporters still write."""
    model = _of_ir_version(version)
    for weight in model.graph.initializer:
        model.graph.input.append(
            helper.make_tensor_value_info(weight.name, weight.data_type, weight.dims)
        )
    model.opset_import[0].version = 12  # goes through the conversion of versions
    onnx.save(model, "net.onnx")
    ran = info("net.onnx", "--json")
    assert ran.status == 0, ran.err
    cleaned = clean(model, 32, 24, "lr", "hr")
    assert operators(cleaned) == ["Conv", "LeakyRelu", "Conv", "DepthToSpace"]
    assert_same_function(model, cleaned)


def test_no_onnx_file_is_read_that_is_no_regular_file(convert: Command, here: Path) -> None:
    os.mkfifo("pipe.onnx")
    convert("--onnx", "pipe.onnx").fails("pipe.onnx", "named pipe", "regular file")
    Path("empty.onnx").touch()
    convert("--onnx", "empty.onnx").fails("empty.onnx", "is empty", "torch.onnx.export")
