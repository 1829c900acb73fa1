"""`edgesr doctor`, as a user runs it, on machines that lack things."""

import importlib.metadata
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgesr.download import file_sha256
from edgesr.gpu import describe_device, probe_device
from edgesr.registry import find_spec
from edgesr.vulkan import DRIVER_VARIABLES, Driver
from helpers.commands import HEED_CTRL_C, RUN, Ran, run_alone, run_on_small_disk

_ROOT = Path(__file__).parent.parent.parent
# Trying the GPU takes a second or two: only tests on it do.
_NO_GPU = "/no/such/driver.json"
_ANY_GPU = {name: os.environ.get(name) for name in DRIVER_VARIABLES}


def environment(**changes: str | None) -> dict[str, str]:
    """This process's environment, changed; None unsets. No adb server and no GPU are found."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = str(bound.getsockname()[1])
    changed = {"ANDROID_ADB_SERVER_PORT": port, "VK_DRIVER_FILES": _NO_GPU, **changes}
    merged = os.environ | {k: v for k, v in changed.items() if v is not None}
    return {k: v for k, v in merged.items() if changed.get(k, v) is not None}


def quick(**changes: str | None) -> tuple[Ran, dict[str, Any]]:
    ran = run_alone("doctor", "--quick", "--json", env=environment(**changes))
    return ran, read(ran)


def without_bundle(**changes: str | None) -> tuple[Ran, dict[str, Any]]:
    """As an edgesr finds things with which no weights come."""
    hide = "from pathlib import Path; import edgesr.bundled as b; b.WEIGHTS_FOLDER = Path('none'); "
    argv = [sys.executable, "-c", hide + RUN, "doctor", "--quick", "--json"]
    done = subprocess.run(argv, capture_output=True, text=True, env=environment(**changes))
    ran = Ran(done.returncode, done.stdout, done.stderr)
    return ran, read(ran)


def read(ran: Ran) -> dict[str, Any]:
    assert ran.err == "", ran.err
    return json.loads(ran.out)


def check(found: dict[str, Any], name: str) -> dict[str, Any]:
    (one,) = [c for c in found["checks"] if c["name"] == name]
    return one


def state(found: dict[str, Any], name: str) -> tuple[str, str]:
    one = check(found, name)
    return one["state"], one["remedy"]


def job(found: dict[str, Any], name: str) -> dict[str, Any]:
    (one,) = [j for j in found["jobs"] if j["name"] == name]
    return one


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
    assert areas == ["machine", "packages", "runtime", "weights", "folders", "GPU", "phone"]
    assert lines[-3] == "main job: can run, as far as the packages say"
    assert lines[-2].startswith("GPU gate: ")
    assert lines[-1].startswith("phone benchmark: ")
    assert f"torch {importlib.metadata.version('torch')}" in ran.out


def test_quick_reports_this_machine(shared: Path) -> None:
    ran, found = quick(EDGESR_SHARED=str(shared))
    assert ran.status == 0
    assert found["main_job_can_run"] is True
    assert [c["name"] for c in found["checks"] if c["needed"] and c["state"] != "ok"] == []
    assert check(found, "Python")["found"].startswith("3.11.")
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
        assert (package["state"], package["problem"]) == ("ok", "")


def test_the_gpu_is_the_one_that_litert_finds(vulkan_driver: Driver) -> None:
    device = probe_device()
    ran, found = quick(**_ANY_GPU)
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


# Packages


@pytest.fixture
def make_venv(tmp_path: Path) -> Callable[..., Path]:
    """Makes environments that hold this one's packages but some; gives their site-packages."""

    def make(*without: str) -> Path:
        site = Path(importlib.metadata.distribution("click").locate_file("")).resolve()
        hidden = {
            Path(file).parts[0]
            for name in without
            for file in importlib.metadata.files(name) or []
            if Path(file).parts[0] not in ("..", "__pycache__")
        }
        if "edgesr" in without:  # installed by a link, which its list of files does not name
            hidden |= {entry.name for entry in site.iterdir() if "edgesr" in entry.name}
        venv.create(tmp_path / "venv", symlinks=True)
        target = next((tmp_path / "venv" / "lib").glob("python*/site-packages"))
        for entry in site.iterdir():
            if entry.name not in hidden:
                (target / entry.name).symlink_to(entry)
        return target

    return make


def quick_in(site: Path, *words: str, **changes: str | None) -> tuple[Ran, dict[str, Any]]:
    python = site.parent.parent.parent / "bin" / "python"
    argv = [str(python), "-c", RUN, "doctor", "--json", *words]
    env = environment(PYTHONPATH=None, **changes)
    done = subprocess.run(argv, capture_output=True, text=True, env=env, cwd=site.parent)
    ran = Ran(done.returncode, done.stdout, done.stderr)
    return ran, read(ran)


def checks_of(found: dict[str, Any], name: str) -> dict[str, dict[str, Any]]:
    return {c["state"]: c for c in found["checks"] if c["name"] == name}


def test_missing_packages_are_named_with_the_one_command(make_venv: Callable[..., Path]) -> None:
    ran, found = quick_in(make_venv("torch", "onnx"), "--quick")
    assert ran.status == 1
    missing = checks_of(found, "extra convert")["missing"]
    assert missing["found"] == "torch, onnx"
    assert missing["remedy"] == "pip install torch==2.13.0 'onnx<2,>=1.20'"
    assert checks_of(found, "extra train")["missing"]["remedy"] == "pip install torch==2.13.0"
    main = job(found, "main job")
    assert (main["can_run"], found["main_job_can_run"]) == (False, False)
    assert main["text"] == "cannot run: extra convert missing (torch, onnx)"
    assert checks_of(found, "extra convert")["ok"]["found"].count(",") == 7


def test_what_only_training_needs_does_not_stop_the_main_job(
    make_venv: Callable[..., Path],
) -> None:
    ran, found = quick_in(make_venv("matplotlib"), "--quick")
    assert ran.status == 0
    assert checks_of(found, "extra train")["missing"]["found"] == "matplotlib"


@pytest.mark.slow
def test_packages_that_cannot_be_imported_are_broken(make_venv: Callable[..., Path]) -> None:
    """One raises, one crashes, one has an old version, one lacks its module."""
    extras = [
        p.split("=")[0].split("<")[0].split(">")[0]
        for p in importlib.metadata.requires("edgesr") or []
        if 'extra == "convert"' in p or 'extra == "train"' in p
    ]
    site = make_venv(*extras)
    for name, code in (
        ("onnx", "raise ImportError('libnothing.so: cannot open\\nmore')"),
        ("psutil", "import os; print('chatter'); os.abort()"),
        ("safetensors", ""),
        ("sng4onnx", None),
    ):
        version = "0.1" if name == "safetensors" else importlib.metadata.version(name)
        info = site / f"{name}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        if code is not None:
            (site / name).mkdir()
            (site / name / "__init__.py").write_text(code)
    ran, found = quick_in(site)
    assert ran.status == 1
    problems = {
        p["name"]: p["problem"]
        for p in found["packages"]
        if p["state"] == "broken" and p["extra"] == "convert"
    }
    assert problems == {
        "onnx": "ImportError: libnothing.so: cannot open",
        "psutil": "crashed with SIGABRT",
        "safetensors": "allowed >=0.4",
        "sng4onnx": "has no module sng4onnx",
    }
    remedies = [c["remedy"] for c in found["checks"] if c["name"] == "extra convert"]
    assert "pip install --force-reinstall 'onnx<2,>=1.20'" in remedies
    assert check(found, "base")["state"] == "ok"


def test_without_litert_the_runtime_is_missing(make_venv: Callable[..., Path]) -> None:
    ran, found = quick_in(make_venv("ai-edge-litert"), "--quick", **_ANY_GPU)
    assert ran.status == 1
    runtime = check(found, "ai-edge-litert")
    assert runtime["state"] == "missing"
    assert runtime["remedy"] == "pip install 'ai-edge-litert>=2.3,<3'"
    version = importlib.metadata.version("tensorflow")
    assert f"tensorflow {version} can run files on the CPU" in runtime["found"]
    assert check(found, "a run on the CPU")["state"] == "unchecked"
    assert check(found, "GPU accelerator")["state"] in ("broken", "unchecked")


@pytest.mark.parametrize("package", ["numpy", "flatbuffers", "platformdirs", "imagecodecs"])
def test_a_base_package_that_is_missing_is_no_traceback(
    make_venv: Callable[..., Path], package: str
) -> None:
    ran, found = quick_in(make_venv(package), "--quick", EDGESR_SHARED=None, **_ANY_GPU)
    assert ran.status == 1
    assert checks_of(found, "base")["missing"]["found"] == package


def test_the_one_package_that_it_needs_itself_is_one_line(make_venv: Callable[..., Path]) -> None:
    site = make_venv("packaging")
    argv = [str(site.parent.parent.parent / "bin" / "python"), "-c", RUN, "doctor", "--quick"]
    done = subprocess.run(argv, capture_output=True, text=True, cwd=site.parent)
    Ran(done.returncode, done.stdout, done.stderr).fails_alone("pip install packaging")


def test_an_edgesr_that_is_not_installed_is_said(make_venv: Callable[..., Path]) -> None:
    site = make_venv("edgesr")
    for name in ("edgesr", "converters", "android_bench"):
        (site / name).symlink_to(_ROOT / name)
    ran, found = quick_in(site, "--quick")
    assert ran.status == 1
    assert state(found, "edgesr") == ("broken", "pip install .")


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
    ran, found = quick(**_ANY_GPU, LD_LIBRARY_PATH=str(tmp_path))
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
    assert job(found, "phone benchmark")["text"] == "cannot run: adb missing (not in PATH)"


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
    env = environment(**folders, **_ANY_GPU, XDG_CACHE_HOME=None)
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
    deadline = time.monotonic() + 30
    while not (started := children.read_text().split()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert started
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=10)
    assert (process.returncode, out) == (130, "")
    assert err.strip() == "edgesr: interrupted; nothing was written"
    assert [pid for pid in started if Path(f"/proc/{pid}").exists()] == []
