"""The CPU's runtime where LiteRT is absent: tflite-runtime, TensorFlow, none."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgesr.common.litert import require_litert
from edgesr.errors import MissingDependencyError, ModelFileError
from edgesr.runtime.integrity import check_integrity
from edgesr.runtime.interpreter import interpreter_class, native_reason
from edgesr.runtime.session import open_model
from helpers.commands import Ran, run_alone
from helpers.litert_copies import RUNTIME, put_litert
from helpers.tflite_builder import TfliteBuilder, sr_model

_ROOT = Path(__file__).parents[3]
_LITERT = ("ai_edge_litert", "ai_edge_litert.interpreter", "ai_edge_litert.compiled_model")
_HIDE_LITERT = f"import sys; sys.modules.update(dict.fromkeys({_LITERT}))\n"

# Prints the runtime in use, the output, and what is said of the backends that need LiteRT.
_RUN = """
import json, sys
from pathlib import Path
import numpy as np
from edgesr.errors import EdgeSRError
from edgesr.runtime.gpu import probe_device
from edgesr.runtime.session import Backend, open_model
path, lr_nhwc = Path(sys.argv[1]), np.load(sys.argv[2])
runner = open_model(path, threads=1)
said = {"module": type(runner._interpreter).__module__, "refused": {}}
np.save(sys.argv[3], runner.run(lr_nhwc))
for name, action in {
    "cpu-fp16": lambda: open_model(path, Backend.CPU_FP16),
    "gpu": lambda: open_model(path, Backend.GPU),
    "gpu-fp16": lambda: open_model(path, Backend.GPU_FP16),
    "probe": probe_device,
}.items():
    try:
        action()
    except EdgeSRError as error:
        said["refused"][name] = f"{type(error).__name__}: {error}"
print(json.dumps(said))
"""


def run_in(python: Path | str, folder: Path, before: str = "") -> tuple[dict[str, Any], float]:
    """Run a file in a process of its own; what it says, and how far it is from LiteRT."""
    (folder / "m.tflite").write_bytes(sr_model(12, 16))
    lr_nhwc = np.random.default_rng(1).random((1, 12, 16, 3), dtype=np.float32)
    np.save(folder / "lr.npy", lr_nhwc)
    words = [folder / name for name in ("m.tflite", "lr.npy", "hr.npy")]
    environment = {**os.environ, "PYTHONPATH": str(_ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [python, "-c", before + _RUN, *words], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    wanted = open_model(folder / "m.tflite").run(lr_nhwc)
    return json.loads(done.stdout), float(np.abs(np.load(folder / "hr.npy") - wanted).max())


def refuses_what_only_litert_can_do(said: dict[str, Any]) -> None:
    needs = "needs LiteRT: `pip install 'ai-edge-litert>=2.3,<3'`"
    assert said["refused"] == {
        "cpu-fp16": f"MissingDependencyError: the backend cpu-fp16 {needs}",
        "gpu": f"MissingDependencyError: the backend gpu {needs}",
        "gpu-fp16": f"MissingDependencyError: the backend gpu-fp16 {needs}",
        "probe": f"MissingDependencyError: the GPU accelerator {needs}",
    }


@pytest.mark.slow
def test_tflite_runtime_runs_what_litert_runs(tmp_path: Path) -> None:
    """In an environment of its own, with the base's numpy and pydantic and nothing else."""
    venv, python = tmp_path / "venv", tmp_path / "venv" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    pip = [sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check"]
    install = [*pip, "install", "--quiet", "tflite-runtime==2.14.0", "numpy<2", "pydantic>=2.7"]
    done = subprocess.run(install, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said, error = run_in(python, tmp_path)
    assert said["module"] == "tflite_runtime.interpreter"
    assert error <= 1e-5
    refuses_what_only_litert_can_do(said)


@pytest.mark.slow
def test_tensorflow_runs_what_litert_runs(tmp_path: Path) -> None:
    said, error = run_in(sys.executable, tmp_path, _HIDE_LITERT)
    assert said["module"] == "tensorflow.lite.python.interpreter"
    assert error <= 1e-5
    refuses_what_only_litert_can_do(said)


@pytest.fixture
def no_litert(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in _LITERT:
        monkeypatch.setitem(sys.modules, module, None)


@pytest.mark.usefixtures("no_litert")
def test_without_any_runtime_all_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for module in ("tflite_runtime", "tensorflow", "tensorflow.lite.python.interpreter"):
        monkeypatch.setitem(sys.modules, module, None)
    path = tmp_path / "m.tflite"
    path.write_bytes(sr_model())
    message = (
        "no TFLite runtime is installed, allowed any of ai-edge-litert, tflite-runtime, "
        "tensorflow; `pip install ai-edge-litert`"
    )
    for action in (interpreter_class, lambda: open_model(path)):
        with pytest.raises(MissingDependencyError) as caught:
            action()
        assert str(caught.value) == message


def test_litert_comes_first() -> None:
    assert interpreter_class().__module__ == "ai_edge_litert.interpreter"
    require_litert("the backend gpu")


@pytest.mark.usefixtures("no_litert")
def test_what_needs_litert_says_so() -> None:
    with pytest.raises(MissingDependencyError, match=r"^the backend gpu needs LiteRT: `pip "):
        require_litert("the backend gpu")


@pytest.mark.parametrize("damaged", [RUNTIME, "_pywrap_litert_interpreter_wrapper.so"])
@pytest.mark.parametrize("backend", ["cpu", "cpu-fp16"])
def test_a_damaged_runtime_is_told_and_how_to_repair_it(
    tmp_path: Path, damaged: str, backend: str
) -> None:
    """An empty library, as a full disk leaves it."""
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "a.png")
    ran = _run_damaged(tmp_path, damaged, "upscale", tmp_path / "a.png", "--backend", backend)
    _says_damaged(ran, damaged)


def test_reading_a_file_tells_of_a_damaged_runtime_too(tmp_path: Path) -> None:
    (tmp_path / "m.tflite").write_bytes(sr_model())
    _says_damaged(_run_damaged(tmp_path, RUNTIME, "inspect", tmp_path / "m.tflite"), RUNTIME)


def _run_damaged(folder: Path, damaged: str, *words: object) -> Ran:
    put_litert(folder, damaged, b"")
    path = os.pathsep.join([str(folder), str(_ROOT)])
    return run_alone(*words, env={**os.environ, "PYTHONPATH": path})


def _says_damaged(ran: Ran, damaged: str) -> None:
    ran.fails_alone(
        "ai-edge-litert is installed but damaged",
        f"{damaged}: file too short",
        "`pip install --force-reinstall ai-edge-litert`",
    )


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        pytest.param(
            "FlexSplitV",
            "operator 0 FlexSplitV cannot be prepared: Select TensorFlow op(s), included in the "
            "given model, is(are) not supported by this interpreter",
            id="Flex",
        ),
        pytest.param(
            "MyOp",
            "operator 0 MyOp cannot be prepared: Encountered unresolved custom op: MyOp",
            id="custom",
        ),
    ],
)
def test_an_operator_outside_tflite_is_named_without_advice(name: str, reason: str) -> None:
    made = TfliteBuilder()
    lr, hr = made.tensor([1, 4, 6, 3]), made.tensor([1, 4, 6, 3])
    made.operator("CUSTOM", [lr], [hr], custom=name)
    with pytest.raises(ModelFileError) as caught:
        check_integrity(made.finish([lr], [hr]), "m.tflite")
    assert str(caught.value) == f"LiteRT cannot load m.tflite: {reason}"


@pytest.mark.parametrize(
    ("text", "reason"),
    [("", "no reason given"), ("\none\ntwo", "one")],
    ids=["nothing", "several lines"],
)
def test_a_reason_is_one_line(text: str, reason: str) -> None:
    assert native_reason(RuntimeError(text)) == reason


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError(
            "XNNPack delegate failed to reshape runtimeNode number 9 (TfLiteXNNPackDelegate) "
            "failed to invoke."
        ),
        RuntimeError("std::bad_alloc"),
        MemoryError(),
    ],
    ids=["XNNPACK", "C++", "Python"],
)
def test_a_lack_of_memory_is_called_that(error: Exception) -> None:
    assert "memory that is free does not suffice" in native_reason(error)
