"""The accelerator's process: killed, stopped and hung here at its work, it ends in one line."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator
from pathlib import Path

import psutil
import pytest

from edgesr.errors import AcceleratorError
from edgesr.runtime._gpu_child import SOFTWARE, wait_for_threads
from edgesr.runtime.gpu import probe_device
from edgesr.runtime.gpu_process import GpuProcess
from edgesr.runtime.vulkan import Driver
from helpers.tflite_builder import sr_model

#: Large enough for SwiftShader to compute seconds on it.
SIDE = 768
IMAGE = bytes(4 * 3 * SIDE * SIDE)
LIMIT_S = 60.0


@pytest.fixture
def process(slow_driver: Driver) -> Generator[GpuProcess]:
    started = GpuProcess(slow_driver.variables)
    yield started
    started.close()


def compiled(process: GpuProcess) -> GpuProcess:
    request = {"half": False, "output_shape": [1, 2 * SIDE, 2 * SIDE, 3]}
    words = [json.dumps(request).encode(), sr_model(SIDE, SIDE)]
    answer = json.loads(process.ask(words, LIMIT_S, "compiling m.tflite"))
    assert answer == {"precision": "fp32", "accelerated": True}
    return process


def child_of(process: GpuProcess) -> int:
    return process._child.pid


def is_alive(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False
    return "State:\tZ" not in status  # a zombie that nobody asked for its status


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def later(action: Callable[[], object], seconds: float) -> threading.Timer:
    timer = threading.Timer(seconds, action)
    timer.start()
    return timer


DEATHS = {
    signal.SIGSEGV: "was killed by SIGSEGV while running m.tflite; its last words: ",
    signal.SIGABRT: "was killed by SIGABRT while running m.tflite; its last words: ",
    signal.SIGKILL: "was killed by SIGKILL while running m.tflite, probably out of memory: "
    "convert at a smaller --size; its last words: ",
}


@pytest.mark.parametrize("killer", DEATHS, ids=[killer.name for killer in DEATHS])
def test_death_at_work_is_reported_with_the_last_words(
    killer: signal.Signals, process: GpuProcess
) -> None:
    pid = child_of(compiled(process))
    killing = later(lambda: os.kill(pid, killer), 0.3)
    with pytest.raises(AcceleratorError) as caught:
        process.ask([SOFTWARE, IMAGE], LIMIT_S, "running m.tflite")
    killing.join()
    message = str(caught.value)
    assert DEATHS[killer] in message
    assert "WebGPU" in message
    assert len(message.splitlines()) == 1
    assert not is_alive(pid)


def test_a_killed_probe_gives_no_hint_of_sizes(slow_driver: Driver) -> None:
    """Its model is of 8x8 pixels: no `--size` is at fault."""

    def kill() -> None:
        deadline = time.monotonic() + LIMIT_S
        while time.monotonic() < deadline:
            for child in psutil.Process().children():
                if "edgesr.runtime._gpu_child" in child.cmdline():
                    child.kill()
                    return

    killing = later(kill, 0)
    with pytest.raises(AcceleratorError, match="was killed by SIGKILL") as caught:
        probe_device()
    killing.join()
    assert "probably out of memory: close other programs" in str(caught.value)
    assert "--size" not in str(caught.value)


def test_a_child_that_is_dead_already_is_reported(process: GpuProcess) -> None:
    os.kill(child_of(process), signal.SIGSEGV)
    time.sleep(0.1)
    with pytest.raises(AcceleratorError, match="was killed by SIGSEGV while compiling"):
        process.ask([b"{}", bytes(10**7)], LIMIT_S, "compiling m.tflite")


def test_work_beyond_the_time_limit_is_stopped(process: GpuProcess) -> None:
    pid = child_of(compiled(process))
    with pytest.raises(AcceleratorError, match=r"did not finish running m\.tflite within 0\.3 s"):
        process.ask([SOFTWARE, IMAGE], 0.3, "running m.tflite")
    assert not is_alive(pid)


@pytest.mark.parametrize("when", ["before", "while"])
def test_a_child_that_hangs_is_stopped(when: str, process: GpuProcess) -> None:
    """Stopped before, it does not even read: the image is larger than what a pipe holds."""
    pid = child_of(compiled(process))
    stopping = later(lambda: os.kill(pid, signal.SIGSTOP), 0 if when == "before" else 0.2)
    if when == "before":
        stopping.join()
    with pytest.raises(AcceleratorError, match=r"did not finish running m\.tflite within 0\.6 s"):
        process.ask([SOFTWARE, IMAGE], 0.6, "running m.tflite")
    stopping.join()
    assert not is_alive(pid)


def test_an_error_in_the_child_is_told_by_its_last_line(process: GpuProcess) -> None:
    with pytest.raises(AcceleratorError, match=r"ended with status 1 .*JSONDecodeError"):
        process.ask([b"no request", b"", b""], LIMIT_S, "compiling m.tflite")


def test_what_is_asked_after_the_end_is_refused(process: GpuProcess) -> None:
    process.close()
    with pytest.raises(AcceleratorError, match=r"ended before running m\.tflite; open the model"):
        process.ask([SOFTWARE, IMAGE], LIMIT_S, "running m.tflite")


def test_an_interrupted_question_is_never_answered_to_the_next(process: GpuProcess) -> None:
    compiled(process)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    interrupting = later(lambda: os.kill(os.getpid(), signal.SIGINT), 0.2)
    try:
        with pytest.raises(KeyboardInterrupt):
            process.ask([SOFTWARE, IMAGE], LIMIT_S, "running m.tflite")
    finally:
        interrupting.join()
        signal.signal(signal.SIGINT, before)
    assert not is_alive(child_of(process))


def test_closing_leaves_nothing_behind(
    slow_driver: Driver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = descriptors()
    process = compiled(GpuProcess(slow_driver.variables))
    assert process.log
    process.close()
    process.close()
    assert not is_alive(child_of(process))
    assert process.log == ""
    assert descriptors() == before
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_cannot_be_started_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    before = descriptors()
    with pytest.raises(AcceleratorError, match="does not start it: No such file or directory"):
        GpuProcess({})
    assert descriptors() == before


def test_variables_are_set_in_the_child_alone(slow_driver: Driver) -> None:
    before = dict(os.environ)
    process = GpuProcess({**slow_driver.variables, "EDGESR_TEST": "here"})
    try:
        deadline = time.monotonic() + LIMIT_S  # empty until the new program is in place
        while not (text := Path(f"/proc/{child_of(process)}/environ").read_bytes()):
            assert time.monotonic() < deadline
        environment = text.split(b"\0")
    finally:
        process.close()
    assert b"EDGESR_TEST=here" in environment
    assert dict(os.environ) == before


def test_modules_in_the_working_folder_are_not_imported(
    slow_driver: Driver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "json.py").write_text("raise RuntimeError('imported from the working folder')")
    monkeypatch.chdir(tmp_path)
    process = GpuProcess(slow_driver.variables)
    try:
        compiled(process)
    finally:
        process.close()


def test_a_parent_that_is_killed_takes_the_child_with_it(slow_driver: Driver) -> None:
    code = (
        "import sys, time; from edgesr.runtime.gpu_process import GpuProcess\n"
        "print(GpuProcess({})._child.pid, flush=True); time.sleep(60)"
    )
    argv = [sys.executable, "-c", code]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    with subprocess.Popen(argv, stdout=subprocess.PIPE, env=environment) as parent:
        assert parent.stdout
        child = int(parent.stdout.readline())
        parent.kill()
    deadline = time.monotonic() + LIMIT_S
    while is_alive(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_alive(child)


def test_the_log_is_shown_on_request(
    slow_driver: Driver,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("EDGESR_NATIVE_LOG", "1")
    process = compiled(GpuProcess(slow_driver.variables))
    process.close()
    process.close()
    assert capsys.readouterr().err.count("Selected adapter") == 2  # the probe's and the model's


def test_a_child_that_hangs_ends_with_its_parent_too(slow_driver: Driver) -> None:
    """A run of minutes would go on for nobody, under `timeout` or in a job that is cancelled."""
    script = (
        "import sys, time; sys.path[:0] = sys.argv[1].split('|');"
        "from edgesr.runtime.gpu_process import GpuProcess;"
        "process = GpuProcess(dict([sys.argv[2].split('=', 1)]));"
        "print(process._child.pid, flush=True); time.sleep(60)"
    )
    (name, value), *_ = slow_driver.variables.items()
    argv = [sys.executable, "-c", script, "|".join(sys.path), f"{name}={value}"]
    parent = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    time.sleep(3)  # by then it has asked to be told of its parent's end
    os.kill(child, signal.SIGSTOP)  # only a kill ends it now
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + LIMIT_S
    while is_alive(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    alive = is_alive(child)
    if alive:
        os.kill(child, signal.SIGKILL)
    assert not alive


def test_a_played_gpu_is_waited_for_while_its_threads_compute() -> None:
    """Hashing lets go of the interpreter, as native code does."""
    done = threading.Event()

    def compute() -> None:
        hashlib.pbkdf2_hmac("sha256", b"", b"", 600_000)
        done.set()

    threading.Thread(target=compute).start()
    wait_for_threads()
    assert done.is_set()
