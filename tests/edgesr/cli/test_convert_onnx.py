"""`edgesr convert --onnx`: what is refused, in one line each, and that nothing is left."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from helpers.commands import Command, files_in
from helpers.onnx_graphs import GraphBuilder

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def _network(height: int = 32, width: int = 24) -> onnx.ModelProto:
    """Two convolutions and a shuffle."""
    g = GraphBuilder(3, height, width)
    tensor = g.conv(g.leaky(g.conv("lr", (3, 8))), (8, 12))
    return g.build(g.op("DepthToSpace", tensor, blocksize=2, mode="CRD"))


def _open_sized(model: onnx.ModelProto) -> onnx.ModelProto:
    for axis, name in ((2, "h"), (3, "w")):
        model.graph.input[0].type.tensor_type.shape.dim[axis].dim_param = name
    model.graph.output[0].type.tensor_type.ClearField("shape")
    return model


def _two_inputs() -> onnx.ModelProto:
    model = _network()
    model.graph.input.append(helper.make_tensor_value_info("second", TensorProto.FLOAT, [1]))
    return model


def _two_outputs() -> onnx.ModelProto:
    model = _network()
    first = model.graph.node[0].output[0]
    model.graph.output.append(helper.make_tensor_value_info(first, TensorProto.FLOAT, None))
    return model


def _third_party_operator() -> onnx.ModelProto:
    model = _network()
    model.graph.node[0].domain = "com.example"
    model.opset_import.append(helper.make_opsetid("com.example", 1))
    return model


def _old_opset() -> onnx.ModelProto:
    model = _network()
    model.opset_import[0].version = 6
    return model


def _integers() -> onnx.ModelProto:
    model = _network()
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8
    cast = [helper.make_node("Cast", ["lr"], ["wide"], to=TensorProto.FLOAT)]
    for node in model.graph.node:
        node.input[:] = ["wide" if name == "lr" else name for name in node.input]
    kept = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*cast, *kept])
    return model


def _two_channels() -> onnx.ModelProto:
    g = GraphBuilder(2, 32, 24)
    return g.build(g.conv("lr", (2, 3)))


def _batched() -> onnx.ModelProto:
    model = _network()
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 4
    model.graph.output[0].type.tensor_type.ClearField("shape")
    return model


def _classifier() -> onnx.ModelProto:
    g = GraphBuilder(3, 32, 24)
    return g.build(g.op("GlobalAveragePool", g.conv("lr", (3, 10))))


def _smaller() -> onnx.ModelProto:
    g = GraphBuilder(3, 32, 24)
    return g.build(g.op("MaxPool", "lr", kernel_shape=[2, 2], strides=[2, 2]))


def _wrong_colours() -> onnx.ModelProto:
    g = GraphBuilder(3, 32, 24)
    return g.build(g.conv("lr", (3, 4)))


def _nothing_done() -> onnx.ModelProto:
    return GraphBuilder(3, 32, 24).build("lr")


_REFUSED: dict[str, tuple[Callable[[], onnx.ModelProto], tuple[str, ...]]] = {
    "two inputs": (_two_inputs, ("'second'", "allowed one of each")),
    "two outputs": (_two_outputs, ("outputs", "allowed one of each")),
    "an operator of another domain": (_third_party_operator, ("com.example.Conv", "standard ONNX")),
    "an opset from before": (_old_opset, ("opset 6", "allowed 9 to 23", "opset_version=17")),
    "whole numbers": (_integers, ("uint8", "allowed float32")),
    "two channels": (_two_channels, ("[1, 2, 32, 24]", "allowed [1, 3, height, width]")),
    "four images at once": (_batched, ("[4, 3, 32, 24]", "batch 1")),
    "a classifier": (_classifier, ("[1, 10, 1, 1] of [1, 3, 32, 24]", "no super-resolution")),
    "a smaller image": (_smaller, ("[1, 3, 16, 12]", "no super-resolution network")),
    "four colours": (_wrong_colours, ("[1, 4, 32, 24]", "no super-resolution network")),
    "the input as the output": (_nothing_done, ("gives back the image",)),
}


@pytest.mark.parametrize("case", _REFUSED)
def test_a_network_of_another_kind_is_one_line_and_leaves_nothing(
    convert: Command, here: Path, case: str
) -> None:
    make, words = _REFUSED[case]
    onnx.save(make(), "net.onnx")
    convert("--onnx", "net.onnx").fails("net.onnx", *words)
    assert files_in(here) == ["net.onnx"]


def _truncated(path: Path) -> None:
    path.write_bytes(_network().SerializeToString()[:-500])


def _external(path: Path) -> None:
    onnx.save(_network(), str(path), save_as_external_data=True, location="w.bin", size_threshold=0)
    Path(path.parent, "w.bin").unlink()


_FILES: dict[str, tuple[Callable[[Path], object], tuple[str, ...]]] = {
    "missing": (lambda path: None, ("No such file",)),
    "a folder": (lambda path: path.mkdir(), ("a folder", "regular file")),
    "empty": (lambda path: path.touch(), ("is empty",)),
    "text": (lambda path: path.write_text("hello, world"), ("no ONNX file",)),
    "an image": (lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(40)), ("no ONNX",)),
    "truncated": (_truncated, ("no", "ONNX file")),
    "weights in a file that is not there": (_external, ("w.bin", "external_data=False")),
}


@pytest.mark.parametrize("case", _FILES)
def test_a_file_that_is_none_is_one_line(convert: Command, here: Path, case: str) -> None:
    make, words = _FILES[case]
    make(here / "net.onnx")
    before = files_in(here)
    convert("--onnx", "net.onnx").fails_alone("net.onnx", *words)
    assert files_in(here) == before


def test_a_size_that_the_file_does_not_take_is_one_line(convert: Command, here: Path) -> None:
    g = GraphBuilder(3, 32, 24)
    sizes = g.weight(np.array([1, 3, 64, 48], np.int64))
    onnx.save(g.build(g.op("Resize", "lr", "", "", sizes, mode="linear")), "net.onnx")
    ran = convert("--onnx", "net.onnx", "--size", "48x64")
    ran.fails("made for 32x24", "Resize", "got 48x64, allowed 32x24; take that size")
    assert files_in(here) == ["net.onnx"]


def test_a_value_range_that_the_weights_contradict_is_refused(convert: Command) -> None:
    convert("--model", "rtc", "--value-range", "255", "--size", "32x24").fails_alone(
        "checkpoint imdn-rtc_x2.safetensors is not of the value range [0, 255]", "or give 1"
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--onnx", "a.onnx", "--model", "rtc"], "leave out --model"),
        (["--onnx", "a.onnx", "--checkpoint", "a.pth"], "leave out --model, --scale, --checkpoint"),
        (["--model", "rtc", "--allow-cpu-operators"], "belongs to --onnx"),
        (["--onnx", "a.onnx", "--value-range", "0"], "--value-range"),
    ],
    ids=["a network twice", "weights twice", "an exception for ours", "range 0"],
)
def test_options_that_do_not_fit_have_status_2(
    convert: Command, words: list[str], message: str
) -> None:
    convert(*words).is_wrong_usage(message)


@pytest.mark.slow
def test_an_open_size_is_set_and_the_manifest_says_what_was_compared(
    convert: Command, here: Path
) -> None:
    onnx.save(_open_sized(_network()), "My net.onnx")
    ran = convert("--onnx", "My net.onnx", "--size", "48x64", "--threads", "1", "--json")
    assert ran.status == 0, ran.err
    (manifest,) = json.loads(ran.out)
    assert manifest["file"] == "My-net_x2_48x64_fp16.tflite"
    assert manifest["reference"].startswith("onnxruntime ")
    assert "running My net.onnx (sha256 " in manifest["reference"]
    facts = manifest["facts"]
    assert "ONNX file My net.onnx (sha256 " in facts["weights_source"]
    assert (facts["weights_licence"], facts["receptive_radius"]) == ("unknown", 2)
    assert "torch" not in facts["tool_versions"]
    assert manifest["gpu"]["rules_passed"]


@pytest.mark.slow
def test_what_the_gpu_refuses_is_named_and_needs_an_option(convert: Command, here: Path) -> None:
    g = GraphBuilder(3, 32, 24)
    tensor = g.op("Transpose", g.conv("lr", (3, 3)), perm=[0, 1, 3, 2])
    parts = g.op("Reshape", tensor, g.weight(np.array([1, 3, 4, 6, 8, 4], np.int64)))
    mixed = g.op("Transpose", parts, perm=[0, 1, 4, 3, 2, 5])
    whole = g.op("Reshape", mixed, g.weight(np.array([1, 3, 32, 24], np.int64)))
    onnx.save(g.build(g.conv(whole, (3, 3))), "net.onnx")
    words = ("--onnx", "net.onnx", "--threads", "1", "--fp32")
    ran = convert(*words)
    ran.fails("refuses", "Transpose (", "rank 6", "gpu-rank", "remedy", "--allow-cpu-operators")
    assert any(line.startswith("refused  Transpose (") for line in ran.err.splitlines()), ran.err
    assert files_in(here) == ["net.onnx"]
    ran = convert(*words, "--allow-cpu-operators")
    assert ran.status == 0, ran.err
    assert "refused: operator" in ran.out
