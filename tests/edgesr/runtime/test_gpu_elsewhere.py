"""The accelerator's process on a Mac and on Windows, as far as Linux can show it."""

import contextlib
import os
import subprocess
import sys
import tempfile
import threading
import time
from multiprocessing import connection
from pathlib import Path
from types import SimpleNamespace

import ai_edge_litert
import psutil
import pytest

from edgesr.doctor import gpu as doctor
from edgesr.doctor.check import Area, Check, State
from edgesr.errors import NoGpuError
from edgesr.runtime import _gpu_child, gpu, gpu_process
from edgesr.runtime.vulkan import Driver, DriverKind, find_drivers

#: Every system's accelerator, as the wheels of ai-edge-litert 2.3.0 name it.
ACCELERATORS = {
    "linux": "libLiteRtWebGpuAccelerator.so",
    "darwin": "libLiteRtMetalAccelerator.dylib",
    "win32": "libLiteRtWebGpuAccelerator.dll",
}


@pytest.mark.parametrize("system", ["darwin", "win32"])
def test_the_accelerator_is_found_without_vulkan(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, system: str
) -> None:
    monkeypatch.setattr(ai_edge_litert, "__path__", [str(tmp_path)])
    monkeypatch.setattr(sys, "platform", system)
    (tmp_path / "libLiteRt.dylib").touch()
    assert _gpu_child._missing() == "no accelerator"
    (tmp_path / ACCELERATORS[system]).touch()
    assert _gpu_child._missing() is None


def test_the_accelerator_of_this_system_has_the_name_that_is_looked_for() -> None:
    folder = Path(next(iter(ai_edge_litert.__path__)))
    assert (folder / ACCELERATORS[sys.platform]).is_file()


@pytest.mark.parametrize("system", ["darwin", "win32"])
def test_the_system_drives_its_gpu_itself(monkeypatch: pytest.MonkeyPatch, system: str) -> None:
    monkeypatch.setattr(sys, "platform", system)
    (driver,) = find_drivers({"VK_DRIVER_FILES": "/nowhere.json"})
    assert driver == Driver(DriverKind.SYSTEM, ())
    assert (driver.variables, str(driver)) == ({}, "the system's own")
    monkeypatch.setattr(gpu.GpuModel, "_open", lambda *_: False)
    with pytest.raises(NoGpuError, match="the system offers LiteRT no device"):
        gpu.probe_device()


@pytest.mark.parametrize("system", ["darwin", "win32"])
def test_doctor_asks_for_vulkan_under_linux_alone(
    monkeypatch: pytest.MonkeyPatch, system: str
) -> None:
    def found(*, half: bool) -> Check:
        return Check(Area.GPU, "FP16" if half else "FP32", State.OK, "a device")

    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(doctor, "_accelerator", found)
    assert [check.name for check in doctor.gpu_checks()] == ["FP32", "FP16"]


def test_a_log_that_is_a_file_on_disk_serves_as_well(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, vulkan_driver: Driver
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    expected = gpu.probe_device()  # read off the log
    monkeypatch.delattr(os, "memfd_create")
    monkeypatch.delattr(os, "pread")
    assert gpu.probe_device() == expected
    assert list(tmp_path.iterdir()) == []


def test_on_windows_the_child_inherits_a_handle(monkeypatch: pytest.MonkeyPatch) -> None:
    started: dict[str, object] = {}

    def start(argv: list[str], **options: object) -> None:
        started.update(options, handle=int(argv[-1]))
        raise OSError(0, "enough")

    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(subprocess, "Popen", start)
    monkeypatch.setattr(subprocess, "STARTUPINFO", SimpleNamespace, raising=False)
    monkeypatch.setattr(os, "set_handle_inheritable", os.set_inheritable, raising=False)
    with pytest.raises(gpu.AcceleratorError, match="does not start it: enough"):
        gpu_process.GpuProcess({})
    assert started["pass_fds"] == ()
    startup = started["startupinfo"]
    assert isinstance(startup, SimpleNamespace)
    assert startup.lpAttributeList == {"handle_list": [started["handle"]]}


def test_on_windows_the_pipe_is_one_of_handles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(connection, "PipeConnection", lambda n: ("handle", n), raising=False)
    assert _gpu_child._pipe(7) == ("handle", 7)


def test_the_child_ends_with_its_parent_where_the_system_does_not_see_to_it(
    tmp_path: Path,
) -> None:
    told = tmp_path / "pid"
    child = (
        "import psutil, sys, time; sys.platform = 'darwin'; from edgesr.runtime import _gpu_child; "
        "_gpu_child._die_with_parent(); import os; os.write(1, b'ready'); time.sleep(60)"
    )
    parent = (
        "import subprocess, sys, time; "
        f"child = subprocess.Popen([sys.executable, '-c', {child!r}], stdout=subprocess.PIPE); "
        f"child.stdout.read(5); open({str(told)!r}, 'w').write(str(child.pid)); sys.exit()"
    )
    subprocess.run([sys.executable, "-c", parent], check=True, timeout=60)
    orphan = None
    with contextlib.suppress(psutil.NoSuchProcess):
        orphan = psutil.Process(int(told.read_text()))
        orphan.wait(20)  # TimeoutExpired: it is still there


@pytest.mark.parametrize("system", ["linux", "darwin"])
def test_other_threads_are_waited_for(monkeypatch: pytest.MonkeyPatch, system: str) -> None:
    monkeypatch.setattr(sys, "platform", system)
    _gpu_child.wait_for_threads()  # ends where none computes
    until = time.monotonic() + 1.0

    def compute() -> None:
        while time.monotonic() < until:
            pass

    thread = threading.Thread(target=compute)
    thread.start()
    _gpu_child.wait_for_threads()
    assert time.monotonic() >= until
    thread.join()
