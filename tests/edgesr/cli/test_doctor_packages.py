"""`edgesr doctor` where packages are missing, broken, or not those it asks for."""

import importlib.metadata
import subprocess
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from helpers.commands import RUN, Ran
from helpers.doctor_command import ANY_GPU, check, environment, job, read, state

_ROOT = Path(__file__).parents[3]


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
    assert checks_of(found, "extra convert")["ok"]["found"].count(",") == 6


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
        Requirement(line).name
        for line in importlib.metadata.requires("edgesr") or []
        if any(f'extra == "{extra}"' in line for extra in ("onnx", "convert", "train"))
        and not line.startswith("edgesr")
    ]
    site = make_venv(*extras)
    for name, code in (
        ("onnx", "raise ImportError('libnothing.so: cannot open\\nmore')"),
        ("onnxruntime", "import os; print('chatter'); os.abort()"),
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
        "onnxruntime": "crashed with SIGABRT",
        "safetensors": "allowed >=0.4",
        "sng4onnx": "has no module sng4onnx",
    }
    remedies = [c["remedy"] for c in found["checks"] if c["name"] == "extra convert"]
    assert "pip install --force-reinstall 'onnx<2,>=1.20'" in remedies
    assert check(found, "base")["state"] == "ok"


def test_without_litert_the_runtime_is_missing(make_venv: Callable[..., Path]) -> None:
    ran, found = quick_in(make_venv("ai-edge-litert"), "--quick", **ANY_GPU)
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
    ran, found = quick_in(make_venv(package), "--quick", EDGESR_SHARED=None, **ANY_GPU)
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
