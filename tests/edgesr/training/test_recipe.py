"""Recipes: what the files that come with edgesr say, and what is refused in any."""

from pathlib import Path

import pytest

from edgesr.training.folder import as_toml
from edgesr.training.optimisers import learning_rate
from edgesr.training.recipe import (
    Cosine,
    Halving,
    RecipeError,
    load_recipe,
    parse_recipe,
    recipe_names,
)
from helpers.training import short_recipe

_GOOD = """\
description = "mine"
model = "rtc"
scale = 2
[[stages]]
steps = 10
lr_patch = 16
batch = 4
[stages.schedule]
kind = "cosine"
rate = 1e-3
"""


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_of_edgesr_is_valid_and_names_a_network(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.spec.scale == recipe.scale
    assert recipe.description


def test_the_recipes_are_those_that_are_promised() -> None:
    assert recipe_names() == ["clb", "fmen", "fmen-s", "imdn", "rtc", "smoke"]


@pytest.mark.parametrize(
    ("name", "hr_patch", "batch", "rate"),
    [("imdn", 192, 16, 2e-4), ("fmen", 256, 64, 5e-4)],
    ids=["imdn", "fmen"],
)
def test_the_papers_recipes_are_the_papers(
    name: str, hr_patch: int, batch: int, rate: float
) -> None:
    recipe = load_recipe(name)
    (stage,) = recipe.stages
    assert stage.lr_patch * recipe.scale == hr_patch
    assert (stage.batch, stage.loss, stage.steps) == (batch, "l1", 1_000_000)
    assert stage.schedule == Halving(kind="halving", rate=rate, every=200_000)
    assert (recipe.optimizer.betas, recipe.optimizer.eps) == ((0.9, 0.999), 1e-8)
    assert learning_rate(stage, 199_999) == rate
    assert learning_rate(stage, 200_000) == rate / 2


def test_the_collapsible_network_trains_in_two_stages() -> None:
    assert [stage.lr_patch for stage in load_recipe("clb").stages] == [64, 160]


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        pytest.param("scale = 2", "scale = 2\nsteps = 5", "steps: unknown key", id="unknown"),
        pytest.param("rate", "rat", "stages.1.schedule.rat: unknown key", id="misspelt"),
        pytest.param("batch = 4\n", "", "stages.1.batch: missing", id="missing"),
        pytest.param("steps = 10", "steps = 0", "stages.1.steps: got 0, ", id="zero"),
        pytest.param(
            '"cosine"',
            '"linear"',
            "stages.1.schedule.kind: got 'linear', allowed 'cosine', 'halving'",
            id="schedule",
        ),
        pytest.param('kind = "cosine"\n', "", "stages.1.schedule.kind: missing", id="no-schedule"),
        pytest.param(
            "[[stages]]",
            "[optimizer]\nkind = 'sgd'\n[[stages]]",
            "optimizer.kind: got 'sgd', allowed 'adam', 'soap'",
            id="optimizer",
        ),
        pytest.param(
            "[[stages]]",
            "[optimizer]\neps = 1e-8\n[[stages]]",
            "optimizer.kind: missing",
            id="no-optimizer",
        ),
        pytest.param(
            "[[stages]]",
            "[optimizer]\nkind = 'soap'\nrefresh_every = 0\n[[stages]]",
            "optimizer.refresh_every: got 0",
            id="refresh",
        ),
        pytest.param(
            "scale = 2", "scale = 2\nreductions = [1.5]", "reductions.1: got 1.5", id="up"
        ),
        pytest.param("scale = 2", "scale = 2\ndraw = 'lines'", "draw: got 'lines'", id="draw"),
        pytest.param("1e-3", "1e-3\nwarm_up = 10", "warm_up: got 10, allowed less", id="warm-up"),
        pytest.param("16", "16\nloss = 'l3'", "stages.1.loss: got 'l3'", id="loss"),
        pytest.param("[[stages]]", "[stages]", "stages: ", id="table"),
        pytest.param("scale = 2", "scale =", "is not TOML", id="syntax"),
        pytest.param("scale = 2", "scale = 2\nema_decay = 1.0", "ema_decay: got 1.0", id="decay"),
        pytest.param("scale = 2", "scale = 2\nprecision = 'fp8'", "precision: got 'fp8'", id="fp8"),
        pytest.param("rate = 1e-3", "rate = nan", "stages.1.schedule.rate: got nan", id="nan"),
        pytest.param("rate = 1e-3", "rate = inf", "stages.1.schedule.rate: got inf", id="inf"),
    ],
)
def test_what_is_wrong_is_named_with_file_and_key(
    tmp_path: Path, old: str, new: str, named: str
) -> None:
    file = tmp_path / "mine.toml"
    assert _GOOD.count(old) == 1
    file.write_text(_GOOD.replace(old, new))
    with pytest.raises(RecipeError) as caught:
        load_recipe(str(file))
    message = str(caught.value)
    assert message.startswith(f"recipe {file}")
    assert named in message
    assert "\n" not in message


def test_several_mistakes_are_named_at_once() -> None:
    with pytest.raises(RecipeError, match=r"scale: got -1, .*; stages\.1\.batch: got 'x'"):
        parse_recipe(
            _GOOD.replace("scale = 2", "scale = -1").replace("batch = 4", "batch = 'x'"), "f"
        )


@pytest.mark.parametrize(
    ("given", "named"),
    [
        pytest.param("rtx", "unknown recipe 'rtx', allowed: clb, fmen", id="unknown-name"),
        pytest.param("none.toml", "cannot read none.toml: No such file", id="no-file"),
    ],
)
def test_a_recipe_that_is_not_there_is_one_line(given: str, named: str) -> None:
    with pytest.raises(RecipeError, match=named):
        load_recipe(given)


def test_a_file_that_is_no_text_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecipeError, match="is no text in UTF-8"):
        load_recipe(str(file))


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_is_written_as_it_is_read(name: str) -> None:
    recipe = load_recipe(name)
    assert parse_recipe(as_toml(recipe), "again") == recipe


def test_odd_descriptions_and_absent_values_survive_writing() -> None:
    recipe = short_recipe(description='"quoted" \\ back\nline \x7f é', gradient_clip=None)
    assert parse_recipe(as_toml(recipe), "again") == recipe


@pytest.mark.parametrize("steps", [2, 7, 100, 12345, 2_000_000])
def test_a_recipe_in_other_steps_keeps_its_proportions(steps: int) -> None:
    recipe = load_recipe("clb").in_steps(steps)
    assert recipe.steps == steps
    assert recipe.stages[0].steps == pytest.approx(0.8 * steps, abs=1)
    schedule = recipe.stages[0].schedule
    assert isinstance(schedule, Halving)
    assert schedule.every == max(1, round(0.2 * steps))


def test_fewer_steps_than_stages_are_refused() -> None:
    with pytest.raises(RecipeError, match="got 1 steps, allowed 2 or more"):
        load_recipe("clb").in_steps(1)


def test_a_step_lies_in_the_stage_that_holds_it() -> None:
    recipe = short_recipe()
    assert [recipe.at(step).step for step in (0, 13, 14, 23)] == [0, 13, 0, 9]
    assert recipe.at(13).stage is recipe.stages[0]
    assert recipe.at(14).stage is recipe.stages[1]


def test_a_cosine_rises_linearly_and_falls_to_its_final_rate() -> None:
    schedule = Cosine(kind="cosine", rate=1.0, final_rate=0.1, warm_up=4)
    stage = short_recipe().stages[0].model_copy(update={"steps": 15, "schedule": schedule})
    rates = [learning_rate(stage, step) for step in range(15)]
    assert rates[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert rates[9] == pytest.approx(0.55)  # half way
    assert rates[14] == pytest.approx(0.1)
    assert rates[4:] == sorted(rates[4:], reverse=True)


def test_a_halving_rate_keeps_its_steps_from_the_beginning_of_the_stage() -> None:
    schedule = Halving(kind="halving", rate=1.0, every=5, warm_up=1)
    stage = short_recipe().stages[0].model_copy(update={"steps": 12, "schedule": schedule})
    rates = [learning_rate(stage, step) for step in range(12)]
    assert rates == [0.5, 1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25]


def test_many_mistakes_are_counted() -> None:
    keys = "".join(f"unknown{index} = 1\n" for index in range(100))
    with pytest.raises(RecipeError, match=r"and 10[0-9] more") as caught:
        parse_recipe(keys, "f")
    assert len(str(caught.value)) < 300
