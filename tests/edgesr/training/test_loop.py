"""Trainings from end to end: what they leave, and that a stop at any moment changes nothing."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from edgesr.errors import EdgeSRError, ImageError, OutputError
from edgesr.training.export import read_facts
from edgesr.training.log import read_rows
from edgesr.training.loop import DivergedError, Status
from edgesr.training.recipe import Adam, Cosine, Halving, LossName, Recipe, Soap, Stage, load_recipe
from edgesr.training.run import train
from edgesr.training.state import ResumeError
from edgesr.weights.checkpoints import load
from helpers.commands import files_in
from helpers.training import (
    STEPS,
    assert_same_training,
    draw_images,
    places,
    short_recipe,
    weights,
)

pytestmark = pytest.mark.usefixtures("one_torch_thread")

_LEFT = [
    ".lock",
    "best.safetensors",
    "checkpoint.pt",
    "curve.png",
    "log.csv",
    "model.safetensors",
    "recipe.toml",
    "run.json",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images, and in `whole` a training that was never stopped."""
    folder = tmp_path_factory.mktemp("training")
    draw_images(folder / "images")
    train(short_recipe(), places(folder, "whole"))
    return folder


def _one_stage(steps: int, rate: float = 1e-3, loss: LossName = "l1", **changes: object) -> Recipe:
    schedule = Halving(kind="halving", rate=rate, every=1000)
    stage = Stage(steps=steps, lr_patch=12, batch=4, loss=loss, schedule=schedule)
    return short_recipe(stages=(stage,), **changes)


def test_a_training_leaves_weights_log_curve_recipe_and_record(folder: Path) -> None:
    whole = folder / "whole"
    assert files_in(whole) == _LEFT
    rows = read_rows(whole / "log.csv")
    assert [row.step for row in rows] == [4, 7, 8, 12, 14, 16, 20, 21, 24]
    assert [row.step for row in rows if row.psnr_y_db] == [7, 14, 21, 24]
    assert load_recipe(str(whole / "recipe.toml")) == short_recipe()
    record = json.loads((whole / "run.json").read_text())
    assert record["result"]["finished"] is True
    assert record["result"]["step"] == STEPS
    assert record["machine"]["torch"] == torch.__version__
    assert (whole / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_the_best_and_the_last_average_are_kept_with_their_psnr(folder: Path) -> None:
    measured = {r.step: r.psnr_y_db for r in read_rows(folder / "whole" / "log.csv") if r.psnr_y_db}
    facts = read_facts(folder / "whole" / "best.safetensors")
    assert facts["psnr_y_db"] == max(measured.values())
    assert measured[facts["step"]] == facts["psnr_y_db"]
    last = read_facts(folder / "whole" / "model.safetensors")
    assert last["step"] == STEPS
    assert last["psnr_y_db"] == measured[STEPS]
    assert last["recipe"] == short_recipe().model_dump(mode="json")
    assert last["commit"]


def test_each_stage_begins_with_a_new_optimiser(folder: Path) -> None:
    saved = torch.load(folder / "whole" / "checkpoint.pt", weights_only=True)
    steps = {int(moments["step"]) for moments in saved["optimizer"]["state"].values()}
    assert steps == {short_recipe().stages[1].steps}


def test_the_written_weights_are_a_checkpoint_of_the_network(folder: Path) -> None:
    loaded = load(folder / "whole" / "model.safetensors", "rtc")
    assert not loaded.training_form
    with safe_open(folder / "whole" / "model.safetensors", "pt") as file:
        assert list(file.metadata()) == ["edgesr"]
    averaged = load(folder / "whole" / "checkpoint.pt", "rtc")
    for name, tensor in averaged.net.state_dict().items():
        assert torch.equal(tensor, loaded.net.state_dict()[name]), name


def test_the_same_recipe_and_images_give_the_same_bits(folder: Path) -> None:
    train(short_recipe(), places(folder, "again"))
    assert_same_training(folder / "whole", folder / "again")


def test_soap_on_reduced_images_goes_on_to_the_bit_where_it_was_stopped(
    folder: Path, tmp_path: Path
) -> None:
    # 20 gradients are gathered before the first move, so there must be more in the stage.
    recipe = _one_stage(40, loss="psnr-luma", optimizer=Soap(), reductions=(0.6,))
    whole, parts = (places(folder, output=tmp_path / name) for name in ("whole", "parts"))
    train(recipe, whole)
    stopped = train(recipe, parts, should_stop=_after(31))
    assert not stopped.finished
    train(recipe, parts, resume=True)
    assert_same_training(whole.output, parts.output)
    record = json.loads((parts.output / "run.json").read_text())
    assert record["training_images"] + len(record["validation_images"]) == 12


def test_another_seed_gives_other_weights(folder: Path) -> None:
    train(short_recipe(seed=1), places(folder, "seed"))
    ours, theirs = (weights(folder / name / "model.safetensors") for name in ("whole", "seed"))
    assert not torch.equal(ours["model.0.weight"], theirs["model.0.weight"])


@pytest.mark.parametrize(
    "stops", [range(1, STEPS), [3], [13], [14], [20]], ids=["each", "3", "13", "14", "20"]
)
def test_a_training_that_was_stopped_ends_as_one_that_was_not(
    folder: Path, tmp_path: Path, stops: range | list[int]
) -> None:
    """Step 3 is a checkpoint's, 13 none's, 14 the end of a stage, 20 the log's."""
    into = places(folder, output=tmp_path / "out")
    done = 0
    for step in stops:
        outcome = train(short_recipe(), into, resume=True, should_stop=_after(step - done))
        assert (outcome.finished, outcome.step) == (False, step)
        done = step
    assert train(short_recipe(), into, resume=True).finished
    assert_same_training(folder / "whole", tmp_path / "out")


def _after(steps: int) -> Callable[[], bool]:
    """Says yes when it is asked for that time; it is asked after every step but the last."""
    asked = iter(range(1, 1000))
    return lambda: next(asked) >= steps


@pytest.mark.slow
@pytest.mark.parametrize("how", ["files", "time"])
def test_a_training_that_is_killed_again_and_again_ends_as_one_that_was_not(
    folder: Path, tmp_path: Path, how: str
) -> None:
    (tmp_path / "images").symlink_to(folder / "images")
    (tmp_path / "cache").symlink_to(folder / "cache")
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-m", "helpers.kill_training", str(tmp_path), how],
        env=os.environ | {"PYTHONPATH": f"{root}:{root / 'tests'}", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= (20 if how == "files" else 2), "too few were killed to say anything"
    assert_same_training(folder / "whole", tmp_path / "out")
    assert files_in(tmp_path / "out") == _LEFT


def test_a_finished_training_is_left_as_it_is(folder: Path, tmp_path: Path) -> None:
    into = places(folder, output=tmp_path / "out")
    train(short_recipe(), into)
    before = (tmp_path / "out" / "log.csv").read_bytes()
    outcome = train(short_recipe(), into, resume=True)
    assert outcome.finished
    assert outcome.step == STEPS
    assert (tmp_path / "out" / "log.csv").read_bytes() == before
    assert_same_training(folder / "whole", tmp_path / "out")


def test_a_folder_with_a_training_is_refused_without_resume(folder: Path) -> None:
    with pytest.raises(OutputError, match=r"whole holds a training; pass --resume"):
        train(short_recipe(), places(folder, "whole"))


def test_a_folder_with_files_of_somebody_else_is_refused(folder: Path, tmp_path: Path) -> None:
    mine = tmp_path / "out" / "model.safetensors"
    mine.parent.mkdir()
    mine.write_text("mine")
    with pytest.raises(OutputError, match=r"model\.safetensors exists but no checkpoint\.pt"):
        train(short_recipe(), places(folder, output=tmp_path / "out"), resume=True)
    assert mine.read_text() == "mine"


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        pytest.param({"seed": 7}, "recipe.seed was 0, now 7", id="seed"),
        pytest.param({"training_form": True}, "recipe.training_form was False", id="form"),
        pytest.param({"optimizer": Adam(eps=1e-6)}, "recipe.optimizer.eps was 1e-08", id="eps"),
    ],
)
def test_another_recipe_does_not_go_on_with_a_training(
    folder: Path, changes: dict[str, object], named: str
) -> None:
    with pytest.raises(ResumeError, match=named):
        train(short_recipe(**changes), places(folder, "whole"), resume=True)


def test_other_images_do_not_go_on_with_a_training(folder: Path, tmp_path: Path) -> None:
    other = draw_images(tmp_path / "images", 11)
    with pytest.raises(ResumeError, match=r"data\.training was '\w+', now '\w+'"):
        train(short_recipe(), places(folder, "whole", data=(other,)), resume=True)


def test_two_trainings_do_not_share_a_folder(folder: Path, tmp_path: Path) -> None:
    into = places(folder, output=tmp_path / "out")

    def second(status: Status) -> None:
        with pytest.raises(OutputError, match="another training is at work in"):
            train(short_recipe(), into, resume=True)

    train(_one_stage(4), into, report=second)


def test_temporary_files_of_a_killed_training_are_cleared(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    own_number = f".edgesr-{os.getpid()}-0.old.pt"  # process numbers come again
    for name in (own_number, ".edgesr-17-3.part.safetensors"):
        (out / name).write_bytes(b"half")
    train(_one_stage(4), places(folder, output=out))
    assert files_in(out) == _LEFT


def test_a_training_that_diverges_stops_and_saves_nothing_of_it(
    folder: Path, tmp_path: Path
) -> None:
    recipe = _one_stage(30, rate=1e20, checkpoint_every=1)
    with pytest.raises(DivergedError, match=r"no longer finite after step \d+; .* lower the rate"):
        train(recipe, places(folder, output=tmp_path / "out"))
    saved = torch.load(tmp_path / "out" / "checkpoint.pt", weights_only=True)
    assert all(bool(tensor.isfinite().all()) for tensor in saved["params"].values())


def test_gradient_clipping_limits_the_step(folder: Path, tmp_path: Path) -> None:
    # Adam divides by the gradient's own size; a large eps makes the step follow the gradient.
    for name, clip in (("clipped", 1e-6), ("free", None)):
        recipe = _one_stage(3, gradient_clip=clip, optimizer=Adam(eps=1.0), ema_decay=0.0)
        train(recipe, places(folder, output=tmp_path / name))
    first = torch.load(tmp_path / "free" / "checkpoint.pt", weights_only=True)["identity"]
    assert first["recipe"]["gradient_clip"] is None
    clipped, free = (weights(tmp_path / n / "model.safetensors") for n in ("clipped", "free"))
    start = train(
        _one_stage(3, ema_decay=0.0, optimizer=Adam(eps=1e9)), places(folder, output=tmp_path / "s")
    )
    begun = weights(start.folder / "model.safetensors")
    moved = {
        name: sum(float((w[k] - begun[k]).abs().sum()) for k in begun)
        for name, w in (("clipped", clipped), ("free", free))
    }
    assert 0 <= moved["clipped"] < 1e-3 * moved["free"], moved


@pytest.mark.slow
def test_fmen_s_trains_in_its_own_value_range_and_is_written_in_both_forms(
    folder: Path, tmp_path: Path
) -> None:
    schedule = Cosine(kind="cosine", rate=2e-3)
    stage = Stage(steps=60, lr_patch=12, batch=4, schedule=schedule)
    recipe = short_recipe(
        model="fmen-s", scale=4, training_form=True, stages=(stage,), ema_decay=0.0
    )
    losses: list[float] = []
    train(
        recipe,
        places(folder, output=tmp_path / "out"),
        report=lambda status: losses.append(status.loss),
    )
    assert losses[0] > 10, "the loss is not in grey levels"
    assert losses[-1] < losses[0] / 2
    plain = load(tmp_path / "out" / "model.safetensors", "fmen-s")
    wide = load(tmp_path / "out" / "model-training.safetensors", "fmen-s")
    assert (plain.training_form, wide.training_form) == (False, True)


def test_without_validation_images_the_last_ones_are_held_out(folder: Path) -> None:
    record = json.loads((folder / "whole" / "run.json").read_text())
    assert record["training_images"] == 11
    assert record["validation_images"] == ["p11"]


def test_too_few_images_to_hold_any_out_are_refused(folder: Path, tmp_path: Path) -> None:
    few = draw_images(tmp_path / "few", 9)
    with pytest.raises(ImageError, match=r"got 9 training images, allowed 10 .* --val"):
        train(short_recipe(), places(folder, output=tmp_path / "out", data=(few,)))


def test_a_folder_to_validate_on_leaves_all_images_to_train_on(
    folder: Path, tmp_path: Path
) -> None:
    validation = draw_images(tmp_path / "validation", 2)
    out = tmp_path / "out"
    train(_one_stage(4), places(folder, output=out, validation=validation))
    record = json.loads((out / "run.json").read_text())
    assert record["training_images"] == 12
    assert record["validation_images"] == ["p00", "p01"]


def test_training_leaves_torch_as_it_was(folder: Path, tmp_path: Path) -> None:
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    train(_one_stage(2), places(folder, output=tmp_path / "out", threads=2))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads


def test_a_gpu_that_is_not_there_is_one_line(folder: Path, tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(EdgeSRError, match="got --device cuda, but torch sees no CUDA GPU"):
        train(short_recipe(), places(folder, output=tmp_path / "out", device="cuda"))
