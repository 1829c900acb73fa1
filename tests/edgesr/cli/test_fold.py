"""`edgesr fold` as users run it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch

from edgesr.networks.spec import build, find_spec
from edgesr.training.export import read_facts
from edgesr.training.run import train
from edgesr.weights.checkpoints import load
from helpers.commands import RUN, Ran, files_in, run_alone, run_here
from helpers.networks import assert_same, random_image, randomise
from helpers.training import assert_same_bits, draw_images, places, short_recipe, weights

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def _checkpoint(path: Path, model: str, *, training_form: bool = True) -> Path:
    """A network as it begins to train, with batch norm's statistics of a few images."""
    torch.manual_seed(0)
    spec = find_spec(model)
    net = build(spec, training_form=training_form).train()
    with torch.no_grad():
        for seed in range(3):
            net(spec.value_range * random_image(seed, 2, 3, 24, 24, dtype=torch.float32))
    torch.save(net.state_dict(), path)
    return path


@pytest.mark.parametrize("model", ["rtc", "fmen-s"])
def test_plain_weights_come_out_under_published_names_and_equal(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    model: str,
) -> None:
    spec = find_spec(model)
    source = _checkpoint(tmp_path / "wide.pth", model)
    out = tmp_path / "plain.safetensors"
    ran = run_here(monkeypatch, capsys, "fold", source, "-o", out, "--json")
    assert ran.status == 0, ran.err
    result = json.loads(ran.out)
    assert result["parameters"] == spec.parameters < result["parameters_before"]
    assert result["psnr_db"] > 80
    assert result["equality"]["max_abs_float64"] <= 1e-10 * result["equality"]["output_range"]
    plain, wide = load(out, model), load(source, model)
    assert (plain.training_form, wide.training_form) == (False, True)
    lr_nchw = random_image(1, 1, 3, 40, 30, dtype=torch.float32) * spec.value_range
    with torch.no_grad():
        assert_same(wide.net(lr_nchw), plain.net(lr_nchw), 1e-4)
    facts = read_facts(out)
    assert facts["folded_from"] == "wide.pth"
    assert facts["folded_from_sha256"] == wide.sha256


def test_the_equality_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = run_here(monkeypatch, capsys, "fold", _checkpoint(tmp_path / "wide.pth", "rtc"))
    assert ran.status == 0, ran.err
    for word in ("fold into 20,190", "max abs", "in float64", "in float32", "PSNR"):
        assert word in ran.out
    assert ran.out.splitlines()[-1] == "wide-folded.safetensors"
    assert files_in(tmp_path) == ["wide-folded.safetensors", "wide.pth"]


def test_the_checkpoint_of_a_training_folds_to_the_weights_it_wrote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    draw_images(tmp_path / "images")
    train(short_recipe(training_form=True).in_steps(6), places(tmp_path))
    for number, name in enumerate(("checkpoint.pt", "model-training.safetensors")):
        out = tmp_path / f"{number}.safetensors"
        assert run_here(monkeypatch, capsys, "fold", tmp_path / "out" / name, "-o", out).status == 0
        assert_same_bits(weights(tmp_path / "out" / "model.safetensors"), weights(out), name)


@pytest.mark.parametrize("model", ["rtc", "fmen-s"])
def test_a_plain_checkpoint_is_said_to_be_plain(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    model: str,
) -> None:
    source = _checkpoint(tmp_path / "plain.pth", model, training_form=False)
    ran = run_here(monkeypatch, capsys, "fold", source, "-o", tmp_path / "out.safetensors")
    ran.fails_alone("is plain already", "nothing to fold; use it as it is")
    assert files_in(tmp_path) == ["plain.pth"]


def test_an_output_that_exists_is_replaced_only_by_force(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = _checkpoint(tmp_path / "wide.pth", "rtc"), tmp_path / "out.safetensors"
    out.write_text("mine")
    run_here(monkeypatch, capsys, "fold", source, "-o", out).fails_alone("exists", "--force")
    assert out.read_text() == "mine"
    assert run_here(monkeypatch, capsys, "fold", source, "-o", out, "--force").status == 0
    assert safetensors.torch.load_file(out)
    assert files_in(tmp_path) == ["out.safetensors", "wide.pth"]


@pytest.mark.parametrize(
    ("output", "named"),
    [
        pytest.param("out.pth", "allowed a name ending in .safetensors", id="suffix"),
        pytest.param("none/out.safetensors", "none does not exist", id="folder"),
    ],
)
def test_an_output_that_cannot_be_is_refused_before_any_work(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    output: str,
    named: str,
) -> None:
    ran = run_here(monkeypatch, capsys, "fold", tmp_path / "unread.pth", "-o", tmp_path / output)
    ran.fails_alone(named)


def test_weights_whose_rounding_shows_are_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Random weights of this size drive FMEN-S's branches to where float32 rounds coarsely."""
    net = randomise(build(find_spec("fmen-s"), training_form=True), 0)
    torch.save(net.state_dict(), tmp_path / "wide.pth")
    out = tmp_path / "out.safetensors"
    ran = run_here(monkeypatch, capsys, "fold", tmp_path / "wide.pth", "-o", out)
    ran.fails_alone("the folded form differs by", "nothing was written")
    assert files_in(tmp_path) == ["wide.pth"]


@pytest.mark.slow
def test_without_torch_it_is_one_line(tmp_path: Path) -> None:
    hide = "import sys; sys.modules['torch'] = None; "
    argv = [sys.executable, "-c", hide + RUN, "fold", str(tmp_path / "wide.pth")]
    done = subprocess.run(argv, capture_output=True, text=True, cwd=tmp_path)
    ran = Ran(done.returncode, done.stdout, done.stderr)
    ran.fails_alone("folding needs torch, which is not installed", "edgesr[train]")
    assert run_alone("fold", tmp_path / "none.pth", cwd=tmp_path).status == 1
