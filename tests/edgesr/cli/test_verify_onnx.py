"""`edgesr verify --onnx`: a `.tflite` against the ONNX file that it was made from."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from helpers.commands import Ran, run_alone, run_here
from helpers.onnx_graphs import GraphBuilder

pytestmark = pytest.mark.usefixtures("one_torch_thread")

_TFLITE = "net_x2_32x24_fp16.tflite"

Run = Callable[..., Ran]


def _network(scale: int = 2, seed: int = 0) -> onnx.ModelProto:
    """Two convolutions and a shuffle, for 32x24 alone."""
    g = GraphBuilder(3, 32, 24, seed=seed)
    tensor = g.conv(g.leaky(g.conv("lr", (3, 8))), (8, 3 * scale**2))
    return g.build(g.op("DepthToSpace", tensor, blocksize=scale, mode="CRD"))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `net.onnx` and what was made of it."""
    folder = tmp_path_factory.mktemp("made")
    onnx.save(_network(), folder / "net.onnx")
    words = ("convert", "--onnx", "net.onnx", "--size", "32x24")
    alone = {name: value for name, value in os.environ.items() if name != "EDGESR_SHARED"}
    ran = run_alone(*words, env=alone, cwd=folder)
    assert ran.status == 0, ran.err
    return folder


@pytest.fixture
def run(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """Runs a command in this process, in a copy of that folder."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EDGESR_SHARED", raising=False)

    def words(*arguments: object) -> Ran:
        return run_here(monkeypatch, capsys, *arguments)

    return words


def test_a_file_equals_the_onnx_file_it_was_made_from(run: Run) -> None:
    ran = run("verify", _TFLITE, "--onnx", "net.onnx", "--json")
    assert ran.status == 0, ran.err
    backends = json.loads(ran.out)
    assert {backend["backend"] for backend in backends} == {"cpu", "cpu-fp16"}
    assert all(backend["inputs"] and not backend["failures"] for backend in backends)


def test_other_weights_fail_and_the_reference_runtime_is_named(run: Run, tmp_path: Path) -> None:
    onnx.save(_network(seed=1), tmp_path / "other.onnx")
    ran = run("verify", _TFLITE, "--onnx", "other.onnx")
    ran.fails("not equal to onnxruntime")
    assert "FAILED" in ran.out


def test_another_scale_ends_in_one_line(run: Run, tmp_path: Path) -> None:
    onnx.save(_network(scale=3), tmp_path / "three.onnx")
    ran = run("verify", _TFLITE, "--onnx", "three.onnx")
    ran.fails_alone("upscales by 2, three by 3", "give the one that the file was made from")


def test_a_file_without_its_network_says_which_one_to_name(run: Run) -> None:
    run("verify", _TFLITE).fails_alone("ONNX file net.onnx", "--onnx FILE")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--onnx", "net.onnx", "--model", "rtc"), "leave out --model"),
        (("--onnx", "net.onnx", "--checkpoint", "a.pth"), "leave out --model, --checkpoint"),
    ],
    ids=["with a name", "with a checkpoint"],
)
def test_options_that_do_not_go_together(run: Run, words: tuple[str, ...], message: str) -> None:
    run("verify", _TFLITE, *words).is_wrong_usage(message)
