"""`edgesr doctor`, as a user runs it, on machines that lack things."""

import importlib.metadata
import importlib.util
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from edgesr.networks.spec import find_spec
from edgesr.runtime.gpu import describe_device, probe_device
from edgesr.runtime.vulkan import Driver
from edgesr.weights.download import file_sha256
from helpers.commands import HEED_CTRL_C, RUN, Ran, run_alone, run_on_small_disk
from helpers.doctor_command import ANY_GPU, check, environment, job, quick, read, state


def without_bundle(**changes: str | None) -> tuple[Ran, dict[str, Any]]:
    """As an edgesr finds things with which no weights come."""
    hide = (
        "from pathlib import Path; import edgesr.weights.bundled as b; "
        "b.WEIGHTS_FOLDER = Path('none'); "
    )
    argv = [sys.executable, "-c", hide + RUN, "doctor", "--quick", "--json"]
    done = subprocess.run(argv, capture_output=True, text=True, env=environment(**changes))
    ran = Ran(done.returncode, done.stdout, done.stderr)
    return ran, read(ran)


def programs(folder: Path, *names: str) -> str:
    """A PATH on which only these programs are, besides Python."""
    folder.mkdir()
    for name in names:
        program = folder / name
        program.write_text("#!/bin/sh\nexit 1\n")
        program.chmod(0o755)
    return str(folder)


# A machine that has everything


def test_the_table_shows_every_area_and_ends_with_the_three_jobs() -> None:
    ran = run_alone("doctor", "--quick", env=environment())
    assert (ran.status, ran.err) == (0, "")
    lines = [line.rstrip() for line in ran.out.splitlines() if line.strip()]
    shown = [line.split()[0] for line in lines if line.startswith(" ") and line[1] != " "]
    areas = [word for word in shown if not word.startswith(("─", "state"))]
    assert areas == ["machine", "packages", "runtime", "weights", "folders", "GPU", "device"]
    assert lines[-3] == "main job: can run, as far as the packages say"
    assert lines[-2].startswith("GPU gate: ")
    assert lines[-1].startswith("device benchmark: ")
    assert f"torch {importlib.metadata.version('torch')}" in ran.out


def test_quick_reports_this_machine(shared: Path) -> None:
    ran, found = quick(EDGESR_SHARED=str(shared))
    assert ran.status == 0
    assert found["main_job_can_run"] is True
    assert [c["name"] for c in found["checks"] if c["needed"] and c["state"] != "ok"] == []
    assert check(found, "Python")["found"].startswith(platform.python_version())
    assert sys.executable in check(found, "Python")["found"]
    assert check(found, "imdn-rtc x2")["found"].startswith("bundled: ")
    assert check(found, "a run on the CPU")["state"] == "ok"
    assert check(found, "FP16 on the CPU")["state"] == "ok"


@pytest.mark.slow
def test_every_package_is_really_imported() -> None:
    ran = run_alone("doctor", "--json", env=environment())
    found = read(ran)
    assert ran.status == 0
    assert job(found, "main job")["text"] == "can run"
    assert "not imported" not in check(found, "extra convert")["found"]
    for package in found["packages"]:
        assert package["version"] == importlib.metadata.version(package["name"])
        if package["extra"] == "spandrel" and importlib.util.find_spec("torchvision") is None:
            # No build of torchvision fits this torch, and spandrel cannot be imported without it.
            assert package["state"] == "broken"
            assert "torchvision" in package["problem"]
            continue
        assert (package["state"], package["problem"]) == ("ok", "")


def test_the_gpu_is_the_one_that_litert_finds(vulkan_driver: Driver) -> None:
    device = probe_device()
    ran, found = quick(**ANY_GPU)
    assert ran.status == 0
    assert str(vulkan_driver) in check(found, "Vulkan driver")["found"]
    accelerator = check(found, "GPU accelerator")
    named = describe_device(device, with_precision=False)
    assert (accelerator["state"], accelerator["remedy"]) == ("ok", "")
    assert accelerator["found"] == named
    text = job(found, "GPU gate")["text"]
    assert text.startswith(f"can run on {named}")
    half = check(found, "FP16 on the GPU")["state"] == "ok"
    assert text.endswith("in FP32 and FP16" if half else "in FP32")
    assert not (half and "SwiftShader" in device.adapter)


# The GPU


def test_a_wrong_driver_path_stops_the_gpu_but_not_the_main_job(tmp_path: Path) -> None:
    ran, found = quick(VK_ICD_FILENAMES=str(tmp_path / "none.json"), VK_DRIVER_FILES=None)
    assert ran.status == 0
    driver = check(found, "Vulkan driver")
    assert (driver["state"], driver["remedy"]) == (
        "broken",
        "unset VK_DRIVER_FILES VK_ICD_FILENAMES",
    )
    assert str(tmp_path / "none.json") in driver["found"]
    assert check(found, "GPU accelerator")["state"] == "unchecked"
    assert job(found, "GPU gate")["text"].startswith("cannot run: Vulkan driver broken")


def test_a_damaged_driver_is_found_out_by_using_it(vulkan_driver: Driver, tmp_path: Path) -> None:
    (tmp_path / "empty.so").touch()
    manifest = {"file_format_version": "1.0.0", "ICD": {"api_version": "1.1.0"}}
    manifest["ICD"]["library_path"] = str(tmp_path / "empty.so")
    (tmp_path / "icd.json").write_text(json.dumps(manifest))
    ran, found = quick(VK_ICD_FILENAMES=str(tmp_path / "icd.json"), VK_DRIVER_FILES=None)
    assert ran.status == 0
    accelerator = check(found, "GPU accelerator")
    assert accelerator["state"] == "broken"
    assert "offers LiteRT no device" in accelerator["found"]
    assert accelerator["remedy"] == "unset VK_DRIVER_FILES VK_ICD_FILENAMES"
    assert job(found, "GPU gate")["can_run"] is False


def test_a_damaged_loader_is_broken(tmp_path: Path) -> None:
    (tmp_path / "libvulkan.so.1").touch()
    ran, found = quick(**ANY_GPU, LD_LIBRARY_PATH=str(tmp_path))
    assert ran.status == 0
    loader = check(found, "Vulkan loader")
    assert loader["state"] == "broken"
    assert "file too short" in loader["found"]


def test_without_a_driver_the_command_brings_chromium(vulkan_driver: Driver) -> None:
    """SwiftShader, the only driver here, is hidden by a disk mounted in its place."""
    if list(vulkan_driver.manifests[0].parent.glob("vk_swiftshader_icd.json")) == []:
        pytest.skip("there is a driver that cannot be hidden")
    folder = vulkan_driver.manifests[0].parent
    ran = run_on_small_disk(folder, "doctor", "--quick", "--json", size="8k")
    found = read(ran)
    assert ran.status == 0
    assert check(found, "Vulkan driver")["state"] == "missing"
    assert check(found, "Vulkan driver")["remedy"] == "apt-get install chromium"
    assert job(found, "GPU gate")["can_run"] is False


# adb


def test_without_adb_the_command_brings_it(tmp_path: Path) -> None:
    path = programs(tmp_path / "bin", "apt-get")
    ran, found = quick(PATH=path)
    assert ran.status == 0
    assert state(found, "adb") == ("missing", "apt-get install adb")
    assert job(found, "device benchmark")["text"] == "cannot run: adb missing (not in PATH)"


def test_where_there_is_no_apt_the_package_is_named(tmp_path: Path) -> None:
    _, found = quick(PATH=programs(tmp_path / "bin"))
    remedy = "install adb (Debian's package adb) with your system's package manager"
    assert state(found, "adb") == ("missing", remedy)


@pytest.mark.parametrize(
    ("content", "found_text"),
    [
        pytest.param("#!/bin/sh\necho no library >&2; exit 127\n", "no library", id="fails"),
        pytest.param("#!/bin/sh\necho hello\n", "names no version", id="something else"),
        pytest.param("#!/bin/sh\nkill -SEGV $$\n", "crashed with SIGSEGV", id="crashes"),
        pytest.param("no program", "cannot be started", id="no program"),
    ],
)
def test_an_adb_that_does_not_work_is_broken(tmp_path: Path, content: str, found_text: str) -> None:
    path = programs(tmp_path / "bin", "adb")
    (tmp_path / "bin" / "adb").write_text(content)
    ran, found = quick(PATH=f"{path}:{os.environ['PATH']}")
    assert ran.status == 0
    assert check(found, "adb")["state"] == "broken"
    assert found_text in check(found, "adb")["found"]


# Weights and folders


def test_weights_that_are_not_here_will_be_downloaded(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    ran, found = without_bundle(EDGESR_CACHE=str(cache), EDGESR_SHARED=None)
    assert ran.status == 0
    assert state(found, "imdn-rtc x2") == ("unchecked", "edgesr convert --model imdn-rtc")
    assert "github.com/Zheng222/IMDN" in check(found, "imdn-rtc x2")["found"]
    assert "after downloading the weights" in job(found, "main job")["text"]
    assert not cache.exists()


def test_downloaded_weights_are_found(tmp_path: Path, shared: Path) -> None:
    weights = find_spec("rtc").published
    assert weights is not None
    shutil.copy(shared / "reference" / weights.filename, tmp_path)
    _, found = without_bundle(EDGESR_SHARED=None, EDGESR_CACHE=str(tmp_path))
    rtc = check(found, "imdn-rtc x2")
    assert (rtc["state"], rtc["found"]) == ("ok", f"{tmp_path / weights.filename} (downloaded)")


def test_weights_that_are_not_the_published_ones_stop_the_main_job(tmp_path: Path) -> None:
    reference = tmp_path / "reference"
    reference.mkdir()
    (reference / "model_RTC.pth").write_bytes(b"something else")
    assert file_sha256(reference / "model_RTC.pth")
    ran, found = without_bundle(EDGESR_SHARED=str(tmp_path))
    assert ran.status == 1
    assert state(found, "imdn-rtc x2") == ("broken", "unset EDGESR_SHARED")
    assert "imdn-rtc x2 broken" in job(found, "main job")["text"]


def test_a_cache_that_cannot_be_written_stops_what_must_be_downloaded(
    tmp_path: Path, shared: Path
) -> None:
    cache = tmp_path / "file"
    cache.touch()
    ran, found = without_bundle(EDGESR_CACHE=str(cache), EDGESR_SHARED=None)
    assert ran.status == 1
    assert check(found, "cache of downloads")["state"] == "broken"
    ran, _ = without_bundle(EDGESR_CACHE=str(cache), EDGESR_SHARED=str(shared))
    assert ran.status == 0


def test_a_tmpdir_that_python_passes_over_is_said(tmp_path: Path) -> None:
    ran, found = quick(TMPDIR=str(tmp_path / "none"))
    assert ran.status == 0
    assert state(found, "temporary files") == ("broken", "unset TMPDIR TEMP TMP")
    assert str(tmp_path / "none") in check(found, "temporary files")["found"]


def test_without_any_folder_for_temporary_files_the_main_job_cannot_run(tmp_path: Path) -> None:
    # Read-only as they are, not hidden: this project may lie in one of them.
    folders = ("/tmp", "/var/tmp")
    prepare = " && ".join(f"mount --bind {f} {f} && mount -o remount,ro,bind {f}" for f in folders)
    small = tmp_path / "small"
    small.mkdir()
    words = ("doctor", "--quick", "--json")
    ran = run_on_small_disk(small, *words, size="8k", prepare=f"{prepare} && cd /tmp")
    found = read(ran)
    assert ran.status == 1
    assert check(found, "temporary files")["state"] == "broken"
    assert "temporary files broken" in job(found, "main job")["text"]


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    for name in ("tmp", "home", "here"):
        (tmp_path / name).mkdir()
    folders = {"TMPDIR": str(tmp_path / "tmp"), "HOME": str(tmp_path / "home")}
    env = environment(**folders, **ANY_GPU, XDG_CACHE_HOME=None)
    ran = run_alone("doctor", "--quick", env=env, cwd=tmp_path / "here")
    assert ran.status == 0
    assert [str(path) for path in tmp_path.rglob("*") if path.is_file()] == []
    assert list((tmp_path / "tmp").iterdir()) == []
    assert list((tmp_path / "here").iterdir()) == []


def test_ctrl_c_while_importing_ends_at_once() -> None:
    argv = [sys.executable, "-c", HEED_CTRL_C + RUN, "doctor"]
    process = subprocess.Popen(
        argv, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    deadline = time.monotonic() + 120
    while not (started := children.read_text().split()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert started
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (130, "")
    assert err.strip() == "edgesr: interrupted; nothing half-written is left"
    assert [pid for pid in started if Path(f"/proc/{pid}").exists()] == []
