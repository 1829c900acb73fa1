"""Recipes: everything that decides what a training computes, as a TOML file.

Two runs of one recipe on the same images are one training; a checkpoint of another recipe is
refused. What does not change the result (device, threads, folders) is no part of a recipe.
Importing this module imports no torch.
"""

import itertools
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
)

from edgesr.common.compat import tomllib
from edgesr.common.inputs import read_regular
from edgesr.common.record import describe_problem, true_problems
from edgesr.errors import EdgeSRError
from edgesr.networks.spec import ArchSpec, find_spec

LossName = Literal["l1", "l2", "l2-luma", "psnr-luma", "charbonnier", "huber"]
#: What convolutions compute in; weights, loss and optimiser are float32. TF32 is CUDA's alone.
TrainingPrecision = Literal["float32", "tf32", "bfloat16"]

#: What is equally likely when patches are drawn, see `edgesr.training.data.patches.PatchSampler`.
Draw = Literal["positions", "images"]

_MOST_BYTES = 2**20
_SHOWN_PROBLEMS = 3

_Share = Annotated[float, Field(ge=0, lt=1)]
_Symmetries = Annotated[int, Field(ge=1, le=8)]
_Reduction = Annotated[float, Field(gt=0, lt=1)]


class RecipeError(EdgeSRError):
    """A recipe is unknown, unreadable, or says something that is not allowed."""


class _Strict(BaseModel):
    """Unknown keys are errors: a misspelt one would silently train something else."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Cosine(_Strict):
    """Half a cosine wave from `rate` down to `final_rate` over the stage.

    Attributes:
        rate: The highest learning rate.
        final_rate: The lowest, at the end of the stage.
        warm_up: Steps in which the rate rises from near zero, in equal parts.
    """

    kind: Literal["cosine"]
    rate: PositiveFloat
    final_rate: NonNegativeFloat = 0.0
    warm_up: NonNegativeInt = 0


class Halving(_Strict):
    """`rate`, halved after every `every` steps of the stage.

    Attributes:
        rate: The first learning rate.
        every: Steps between halvings.
        warm_up: Steps in which the rate rises from near zero, in equal parts.
    """

    kind: Literal["halving"]
    rate: PositiveFloat
    every: PositiveInt
    warm_up: NonNegativeInt = 0


class Adam(_Strict):
    """Adam as Kingma and Ba give it ("Adam: A Method for Stochastic Optimization", ICLR 2015).

    Attributes:
        betas: Decay of the two moments.
        eps: Summand of the denominator.
    """

    kind: Literal["adam"] = "adam"
    betas: tuple[_Share, _Share] = (0.9, 0.999)
    eps: PositiveFloat = 1e-8


class Soap(_Strict):
    """Adam in the eigenbases of Shampoo's preconditioners, see `edgesr.training.optimisers`.

    Attributes:
        betas: Decay of the two moments.
        shampoo_beta: Decay of the gradients' covariances, whose eigenbases are taken.
        eps: Summand of the denominator.
        refresh_every: Steps between two computations of the eigenbases.
    """

    kind: Literal["soap"] = "soap"
    betas: tuple[_Share, _Share] = (0.95, 0.99)
    shampoo_beta: _Share = 0.995
    eps: PositiveFloat = 1e-8
    refresh_every: PositiveInt = 10


class Teacher(_Strict):
    """Published networks whose outputs are targets, see `edgesr.training.teacher`.

    Attributes:
        networks: Their names or aliases; the weights are their authors'.
        hr_share: How much of a target is HR, where there is one; the rest is the networks' mean.
        symmetries: Of the square, over which each network's output is averaged.
        unlabelled: Those of the recipe's `reductions` whose HR images become LR ones too, for
            which there is no HR but the networks' mean.
        unlabelled_symmetries: As `symmetries`, for these.
        untaught: Folders, by name, whose images are learnt from HR alone: where photographs are all
            that the networks know.
    """

    networks: Annotated[tuple[str, ...], Field(min_length=1)]
    hr_share: Annotated[float, Field(ge=0, le=1)] = 0.3
    symmetries: _Symmetries = 8
    unlabelled: tuple[_Reduction, ...] = ()
    unlabelled_symmetries: _Symmetries = 8
    untaught: tuple[str, ...] = ()


class Stage(_Strict):
    """A part of a training; each begins with a new optimiser, as a fine-tuning does.

    Attributes:
        steps: Batches.
        lr_patch: Side of the square LR patches, in pixels.
        batch: Patches per step, over all processes.
        loss: Name of the loss; its mean over all values.
        ssim_weight: What is added of 1 - SSIM on luma, in the loss's own unit.
        schedule: The learning rate over the steps of this stage.
    """

    steps: PositiveInt
    lr_patch: Annotated[int, Field(ge=4)]
    batch: PositiveInt
    loss: LossName = "l1"
    ssim_weight: NonNegativeFloat = 0.0
    schedule: Annotated[Cosine | Halving, Field(discriminator="kind")]


class Recipe(_Strict):
    """What to train and how.

    Attributes:
        description: One line for people.
        model: The network's name or alias.
        scale: Its upscaling factor.
        training_form: Whether the form that folds is trained, where the network has one.
        seed: Of the first weights and of the patches.
        precision: What convolutions compute in; "tf32" is float32 on a CPU.
        ema_decay: Decay per step of the averaged weights, which are what is validated and saved.
        gradient_clip: Largest L2 norm of all gradients together; None: any.
        optimizer: Adam or SOAP, and its constants.
        reductions: Factors by which every image is also reduced, as MATLAB does, to be trained on
            beside itself: what a lens, a camera or JPEG left soft is sharp in a smaller image, as
            drawings and writing are.
        teacher: Networks that give targets beside HR; None: HR alone is the target.
        draw: Whether all positions of patches are equally likely, or all images; each reduction
            counts as an image.
        stages: One after the other.
        log_every: Steps between rows of the log.
        validate_every: Steps between measurements on the validation images.
        checkpoint_every: Steps between checkpoints; at most so many are lost.
    """

    description: str
    model: str
    scale: PositiveInt
    training_form: bool = True
    seed: NonNegativeInt = 0
    precision: TrainingPrecision = "float32"
    ema_decay: _Share = 0.999
    gradient_clip: PositiveFloat | None = None
    optimizer: Annotated[Adam | Soap, Field(discriminator="kind")] = Adam()
    reductions: tuple[_Reduction, ...] = ()
    teacher: Teacher | None = None
    draw: Draw = "positions"
    stages: Annotated[tuple[Stage, ...], Field(min_length=1)]
    log_every: PositiveInt = 100
    validate_every: PositiveInt = 5000
    checkpoint_every: PositiveInt = 1000

    @property
    def steps(self) -> int:
        """Steps of all stages together."""
        return sum(stage.steps for stage in self.stages)

    @property
    def spec(self) -> ArchSpec:
        """The registered network that this recipe trains.

        Raises:
            ArchitectureError: No network has that name at that scale.
        """
        return find_spec(self.model, self.scale)

    def at(self, step: int) -> "Position":
        """Where in the stages a step lies; steps count from 0."""
        ends = list(itertools.accumulate(stage.steps for stage in self.stages))
        index = next((i for i, end in enumerate(ends) if step < end), len(ends) - 1)
        stage = self.stages[index]
        return Position(stage, step - (ends[index] - stage.steps))

    def in_steps(self, steps: int) -> "Recipe":
        """The same recipe in so many steps: every stage and schedule in proportion.

        Raises:
            RecipeError: There are more stages than steps.
        """
        if steps < len(self.stages):
            raise RecipeError(f"got {steps} steps, allowed {len(self.stages)} or more: one a stage")
        share = steps / self.steps
        ends = itertools.accumulate(stage.steps for stage in self.stages)
        cuts = [0]
        for left, end in zip(reversed(range(len(self.stages))), ends, strict=True):
            # The ends are rounded, not the lengths, so that the lengths add up; none may vanish.
            cuts.append(min(max(round(end * share), cuts[-1] + 1), steps - left))
        stages = tuple(
            _scaled(stage, end - start, share)
            for stage, (start, end) in zip(self.stages, itertools.pairwise(cuts), strict=True)
        )
        return self.model_copy(update={"stages": stages})


class Position(NamedTuple):
    """A step's place.

    Attributes:
        stage: The stage it belongs to.
        step: Its number in the stage, from 0.
    """

    stage: Stage
    step: int


def _scaled(stage: Stage, steps: int, share: float) -> Stage:
    schedule = stage.schedule
    changes: dict[str, int] = {"warm_up": round(schedule.warm_up * share)}
    if isinstance(schedule, Halving):
        changes["every"] = max(1, round(schedule.every * share))
    return stage.model_copy(
        update={"steps": steps, "schedule": schedule.model_copy(update=changes)}
    )


def recipe_names() -> list[str]:
    """The recipes that come with edgesr."""
    folder = resources.files("edgesr.training") / "recipes"
    return sorted(
        file.name.removesuffix(".toml") for file in folder.iterdir() if file.name.endswith(".toml")
    )


def load_recipe(name_or_file: str) -> Recipe:
    """Read a recipe that comes with edgesr, by its name, or one of the user's own, by its path.

    Raises:
        RecipeError: There is no such recipe, or it holds what is not allowed; the message names
            the file and the key.
    """
    if name_or_file in recipe_names():
        file = resources.files("edgesr.training") / "recipes" / f"{name_or_file}.toml"
        return parse_recipe(file.read_text("utf-8"), str(file))
    path = Path(name_or_file)
    if path.suffix != ".toml":
        raise RecipeError(
            f"unknown recipe {name_or_file!r}, allowed: {', '.join(recipe_names())}, or a file "
            "ending in .toml"
        )
    content = read_regular(path, RecipeError, limit=_MOST_BYTES)
    try:
        return parse_recipe(content.decode("utf-8"), name_or_file)
    except UnicodeDecodeError as error:
        raise RecipeError(f"recipe {path} is no text in UTF-8; write it as TOML") from error


def parse_recipe(text: str, source: str) -> Recipe:
    """Check the text of a recipe.

    Args:
        text: TOML.
        source: The file it comes from, for messages.

    Raises:
        RecipeError: It is not TOML, or a key is missing, unknown or of a value not allowed.
    """
    try:
        recipe = Recipe.model_validate(tomllib.loads(text))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise RecipeError(f"recipe {source} is not TOML: {str(error)[:200]}") from error
    except ValidationError as error:
        found = true_problems(error)
        shown = "; ".join(_problem(detail) for detail in found[:_SHOWN_PROBLEMS])
        more = len(found) - _SHOWN_PROBLEMS
        rest = f"; and {more} more" if more > 0 else ""
        raise RecipeError(f"recipe {source}: {shown}{rest}") from error
    strange = set(recipe.teacher.unlabelled if recipe.teacher else ()) - set(recipe.reductions)
    if strange:
        raise RecipeError(
            f"recipe {source}: teacher.unlabelled: got {min(strange)}, allowed only what is in "
            f"reductions, {list(recipe.reductions)}"
        )
    for number, stage in enumerate(recipe.stages, 1):
        if stage.schedule.warm_up >= stage.steps:
            raise RecipeError(
                f"recipe {source}: stages.{number}.schedule.warm_up: got {stage.schedule.warm_up}, "
                f"allowed less than the stage's {stage.steps} steps"
            )
    return recipe


def _problem(detail: Mapping[str, Any]) -> str:
    """One line for one of pydantic's errors: the key, what it holds, what is wrong with that."""
    # The kind of a schedule or optimiser appears in the location, although no such key stands in
    # the file; stages are counted from 1, as people count.
    parts = [
        str(part + 1) if isinstance(part, int) else part
        for part in detail["loc"]
        if part not in ("cosine", "halving", "adam", "soap")
    ]
    key = ".".join(parts)
    match detail["type"]:
        case "union_tag_not_found":
            return f"{key}.kind: missing; add it"
        case "union_tag_invalid":
            found = detail["ctx"]
            return f"{key}.kind: got {found['tag']!r}, allowed {found['expected_tags']}"
        case _:
            return describe_problem(key, detail)
