"""`edgesr info`, as a user runs it."""

import json
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from safetensors.torch import save_file

from converters.gpu.audit import audit
from edgesr.networks.spec import build, find_spec
from edgesr.weights.bundled import shipped_file
from helpers.commands import Ran, run_here
from helpers.onnx_graphs import GraphBuilder

Info = Callable[..., Ran]

pytestmark = pytest.mark.usefixtures("one_torch_thread")


@pytest.fixture
def info(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Info:
    def run(*words: object) -> Ran:
        return run_here(monkeypatch, capsys, "info", *words)

    return run


def test_a_name_needs_no_weights_and_prints_the_published_figures(info: Info) -> None:
    ran = info("fmen-s")
    assert ran.status == 0, ran.err
    for words in (
        "fmen-s x4, plain, input 256x256",
        "341,066  (341K)",
        "22.28G",
        "72.09M",
        "69x69",
    ):
        assert words in ran.out
    assert "50.0 MiB of activations, at warmup.1" in ran.out


def test_a_checkpoint_is_recognised_and_its_layers_add_up(info: Info, checkpoint: Path) -> None:
    found = json.loads(info(checkpoint, "--size", "72x48", "--layers", "--json").out)
    assert (found["network"], found["form"]) == ("imdn-rtc x2", "plain")
    assert found["input"] == {"height": 72, "width": 48}
    assert found["parameters"] == 20_190
    assert sum(layer["macs"] for layer in found["layers"]) == found["macs"]
    assert sum(layer["parameters"] for layer in found["layers"]) == found["parameters"]
    training = json.loads(info(checkpoint, "--form", "training", "--size", "72x48", "--json").out)
    assert training["convolutions"] > found["convolutions"]
    assert "layers" not in training


def test_a_tflite_has_counts_of_its_own(info: Info) -> None:
    path = shipped_file(find_spec("imdn-rtc"))
    assert path is not None
    found, own = json.loads(info(path, "--layers", "--json").out), audit(path)
    assert found["parameters"] == own.parameters > 20_190  # the passes store zeros
    assert found["macs"] == own.macs
    assert found["peak"]["bytes"] == own.peak_activation_bytes
    assert found["convolutions"] == sum(o.name == "CONV_2D" for o in own.operators)
    assert found["receptive_field"] == 45
    assert "DEQUANTIZE" not in {layer["op"] for layer in found["layers"]}
    assert info(path, "--size", "720x480").status == 0
    info(path, "--size", "64x64").fails_alone("--size 64x64", "fixed", "allowed 720x480")


def _network(height: int, width: int) -> onnx.ModelProto:
    built = GraphBuilder(3, height, width)
    return built.build(built.op("Relu", built.conv("lr", (3, 12))))


def test_an_onnx_file_is_counted_as_it_is(info: Info, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    onnx.save(_network(20, 24), path)
    found = json.loads(info(path, "--json").out)
    assert found["input"] == {"height": 20, "width": 24}
    assert (found["convolutions"], found["activations"]) == (1, 12 * 20 * 24)
    assert found["operations"] - found["macs"] == found["rectified"] == 12 * 20 * 24
    info(path, "--size", "64x64").fails_alone("fixed", "allowed 20x24")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        pytest.param(["nope"], ["unknown model 'nope'", "did you mean"], id="no-network"),
        pytest.param(["nope.pth"], ["nope.pth"], id="no-checkpoint"),
        pytest.param(["nope.onnx"], ["nope.onnx"], id="no-onnx"),
        pytest.param(["nope.tflite"], ["nope.tflite"], id="no-tflite"),
        pytest.param(["imdn"], ["allowed 2, 3, 4"], id="several-scales"),
        pytest.param(["rtc", "--size", "12"], ["HEIGHTxWIDTH"], id="no-size"),
        pytest.param(["imdn-rte", "--size", "65x64"], ["multiples of 2"], id="no-multiple"),
        pytest.param(["imdn-rte", "--form", "training"], ["no training form"], id="no-form"),
    ],
)
def test_what_cannot_be_counted_is_one_line(
    info: Info, words: list[str], expected: list[str]
) -> None:
    info(*words).fails_alone(*expected)


def test_a_checkpoint_is_of_its_own_scale(info: Info, tmp_path: Path) -> None:
    path = tmp_path / "rtc.safetensors"
    save_file(build(find_spec("rtc")).state_dict(), path)
    info(path, "--scale", "3").fails_alone("holds imdn-rtc x2, got --scale 3", "leave out --scale")


def test_form_is_for_pytorch(info: Info) -> None:
    info("x.tflite", "--form", "training").is_wrong_usage("--form", "PyTorch")
