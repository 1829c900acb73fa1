"""`edgesr train` as users run it."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from importlib import resources
from pathlib import Path

import pytest

from edgesr.training.folder import as_toml
from edgesr.training.log import read_rows
from helpers.commands import HEED_CTRL_C, RUN, Ran, run_alone, run_here
from helpers.training import STEPS, assert_same_training, draw_images, short_recipe

pytestmark = pytest.mark.usefixtures("one_torch_thread")


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    """A training of a second, to be followed by more options."""
    draw_images(tmp_path / "images")
    (tmp_path / "short.toml").write_text(as_toml(short_recipe()))
    return [
        *("train", "--recipe", str(tmp_path / "short.toml")),
        *("--data", str(tmp_path / "images"), "--cache", str(tmp_path / "cache")),
        *("--device", "cpu", "--threads", "1", "-o", str(tmp_path / "out")),
    ]


def test_a_training_says_what_it_reached(
    words: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ran = run_here(monkeypatch, capsys, *words)
    assert ran.status == 0, ran.err
    assert ran.out.startswith("best PSNR on Y: ")
    assert f"{tmp_path / 'out'}  {STEPS} steps in " in ran.out
    lines = ran.err.splitlines()
    assert [line.split()[1] for line in lines] == ["7/24", "14/24", "21/24", "24/24"]
    assert all(" loss " in line and " PSNR " in line and " left" in line for line in lines)


def test_json_is_the_result_and_nothing_else(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = run_here(monkeypatch, capsys, *words, "--json", "--steps", "6")
    result = json.loads(ran.out)
    assert (result["finished"], result["step"], result["steps"]) == (True, 6, 6)
    assert result["psnr_db"] > 0
    assert result["bicubic_db"] > 0


def test_what_is_there_is_refused_and_resumed(
    words: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run_here(monkeypatch, capsys, *words, "--resume").status == 0
    run_here(monkeypatch, capsys, *words).fails_alone("holds a training; pass --resume")
    assert run_here(monkeypatch, capsys, *words, "--resume").status == 0
    ran = run_here(monkeypatch, capsys, *words, "--resume", "--steps", "30")
    ran.fails_alone("is of another training: recipe.stages was", "or train into another folder")


@pytest.mark.parametrize(
    ("options", "named"),
    [
        pytest.param(["--recipe", "none"], ["unknown recipe 'none', allowed: clb"], id="recipe"),
        pytest.param(["--data", "none"], ["none is not a folder"], id="data"),
        pytest.param(["--val", "none"], ["none is not a folder"], id="validation"),
        pytest.param(["--steps", "1"], ["got 1 steps, allowed 2 or more"], id="steps"),
        pytest.param(["-o", "/proc/none"], ["cannot write /proc/none/.lock"], id="output"),
    ],
)
def test_what_cannot_be_is_one_line_and_leaves_nothing(
    words: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    named: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    run_here(monkeypatch, capsys, *words, *options).fails_alone(*named)
    assert not (tmp_path / "out").exists()


def test_options_are_required(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_here(monkeypatch, capsys, "train", "--recipe", "smoke").is_wrong_usage("--data")


@pytest.mark.parametrize("library", ["torch", "safetensors", "matplotlib"])
def test_a_library_that_is_missing_is_one_line(
    words: list[str], tmp_path: Path, library: str
) -> None:
    hide = f"import sys; sys.modules[{library!r}] = None; "
    ran = _alone(hide + RUN, words)
    ran.fails_alone(f"training needs {library}, which is not installed", "edgesr[train]")
    assert not (tmp_path / "out").exists()


def _alone(code: str, words: list[str]) -> Ran:
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
    return Ran(done.returncode, done.stdout, done.stderr)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["Ctrl-C", "TERM"]
)
def test_a_signal_saves_and_says_how_to_go_on(
    words: list[str], tmp_path: Path, number: signal.Signals, status: int
) -> None:
    stages = tuple(s.model_copy(update={"steps": 200}) for s in short_recipe().stages[:1])
    recipe = short_recipe(stages=stages, validate_every=1000, checkpoint_every=1000)
    (tmp_path / "short.toml").write_text(as_toml(recipe))
    process = subprocess.Popen(
        [sys.executable, "-c", HEED_CTRL_C + RUN, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    log, deadline = tmp_path / "out" / "log.csv", time.monotonic() + 120
    while not (log.exists() and read_rows(log)):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == status, err
    assert out == ""
    (line,) = err.splitlines()
    assert line.startswith("edgesr: stopped after step ")
    # The line itself is the command.
    command = shlex.split(line.partition("continue with: ")[2])
    assert command[:2] == ["edgesr", "train"]
    assert command[-1] == "--resume"
    ran = run_alone(*command[1:])
    assert ran.status == 0, ran.err
    whole = [str(tmp_path / "whole") if w == str(tmp_path / "out") else w for w in words]
    assert run_alone(*whole).status == 0
    assert_same_training(tmp_path / "whole", tmp_path / "out")


@pytest.mark.slow
def test_half_of_the_smoke_recipe_beats_bicubic(shared: Path, tmp_path: Path) -> None:
    """On a part of the images, which are decoded sooner.

    How long it takes depends on who else uses the machine: the test asks for the result.
    """
    recipe = tmp_path / "half.toml"
    whole = (resources.files("edgesr.training") / "recipes" / "smoke.toml").read_text()
    recipe.write_text(whole.replace("steps = 1000", "steps = 500"))
    assert recipe.read_text() != whole
    # Two threads on shared cores wait for each other: ten times as long.
    words = ["train", "--recipe", recipe, "--device", "cpu", "--threads", "1"]
    words += ["--data", shared / "train" / "sunhays"]
    words += ["--val", shared / "data" / "Set5" / "x2", "-o", tmp_path / "out"]
    ran = run_alone(*words, "--json", env=os.environ | {"EDGESR_CACHE": str(tmp_path / "cache")})
    assert ran.status == 0, ran.err
    result = json.loads(ran.out)
    assert result["psnr_db"] > result["bicubic_db"] + 0.2
