"""`edgesr train`: train a network by a recipe."""

import contextlib
import dataclasses
import os
import shlex
import signal
import sys
from collections.abc import Generator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import click

from edgesr.cli.support.lines import print_line
from edgesr.cli.support.termination import TERMINATED, TerminatedError, no_time_limit
from edgesr.cli.support.threads import threads_option

if TYPE_CHECKING:
    from edgesr.training.recipe import Recipe
    from edgesr.training.run import Outcome, Places

_EXTRA = ("torch", "safetensors", "matplotlib")


@click.command(
    "train",
    epilog="""\b
Examples:
  edgesr train --recipe smoke --data images/ -o first/
  edgesr train --recipe rtc --data DIV2K/ --val Set5/x2 -o rtc/
  edgesr train --recipe rtc --data DIV2K/ --val Set5/x2 -o rtc/ --resume
  edgesr train --recipe longer.toml --init rtc/model-training.safetensors --data DIV2K/ -o rtc2/
  torchrun --nproc-per-node 2 --no-python edgesr train --recipe rtc --data DIV2K/ -o rtc/
""",
)
@click.option(
    "--recipe",
    "recipe_name",
    required=True,
    metavar="NAME|FILE.toml",
    help="Recipe: imdn, fmen, clb (the papers'), rtc, fmen-s (ours), smoke, or a file of your own.",
)
@click.option(
    "--data",
    required=True,
    multiple=True,
    type=click.Path(path_type=Path),
    help="Folder of training images, searched with all below; may be given several times.",
)
@click.option(
    "--val",
    "validation",
    type=click.Path(path_type=Path),
    help="Folder to measure on: images, or HR/ and LR/. Default: a few training images that "
    "are then not trained on.",
)
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder for weights, checkpoint, log and curve; created if it is missing.",
)
@click.option(
    "--resume",
    is_flag=True,
    help="Continue the training of the same recipe and data in the output folder; without one, "
    "start it.",
)
@click.option(
    "--init",
    "first_weights",
    type=click.Path(path_type=Path),
    metavar="FILE|bundled",
    help="Initial weights instead of random ones: the model-training.safetensors of another "
    "training of the same network, or its bundled weights.",
)
@click.option("--steps", type=click.IntRange(1), help="Scale the whole recipe to this many steps.")
@threads_option
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="Device that trains.",
)
@click.option(
    "--cache",
    type=click.Path(path_type=Path),
    help="Folder for decoded images. Default: the user's cache.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on stdout.")
def command(
    *,
    recipe_name: str,
    data: tuple[Path, ...],
    validation: Path | None,
    output: Path,
    resume: bool,
    first_weights: Path | None,
    steps: int | None,
    threads: int | None,
    device: str,
    cache: Path | None,
    as_json: bool,
) -> int:
    """Train a network by a recipe.

    The output folder receives `model.safetensors` (averaged weights, folded), `best.safetensors`
    (the same where they measured best), `model-training.safetensors` (unfolded), `log.csv`,
    `curve.png`, `recipe.toml` and `run.json`. A training stopped by Ctrl-C, or killed, continues
    with --resume and ends with the same weights.
    """
    from edgesr.common.requirements import require
    from edgesr.training.recipe import load_recipe

    recipe = load_recipe(recipe_name)
    if steps is not None:
        recipe = recipe.in_steps(steps)
    require("training", _EXTRA, "train")
    from edgesr.training.run import Places
    from edgesr.weights.bundled import bundled_checkpoint

    if first_weights == Path("bundled"):
        first_weights = bundled_checkpoint(recipe.spec)
    places = Places(data, output, validation, cache, device, threads, first_weights)
    return _run(recipe, places, resume=resume, as_json=as_json)


def _run(recipe: "Recipe", places: "Places", *, resume: bool, as_json: bool) -> int:
    """Train with a progress bar, print the result, and return the exit status."""
    from edgesr.cli.support.train_progress import training_progress
    from edgesr.training.run import train

    with _stop_signals() as stop, training_progress() as (progress, report):
        outcome = train(
            recipe,
            places,
            resume=resume,
            progress=progress,
            report=report,
            should_stop=stop.is_requested,
        )
    if stop.signal is None or outcome.finished:
        _show(outcome, as_json=as_json)
        return 0
    # As the shell counts: 130 after Ctrl-C, 143 after SIGTERM.
    if _first_process():
        print_line(
            f"edgesr: stopped after step {outcome.step} of {outcome.steps}; continue with: "
            f"{_resume_command()}",
            err=True,
        )
    return 128 + stop.signal


class _Stop:
    """Signal that requested the training to stop.

    Attributes:
        signal: Its number.
        can_wait: Whether the training has begun, and so ends by itself soon, its state written.
    """

    signal: int | None = None
    can_wait = False

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self._stack = stack

    def is_requested(self) -> bool:
        """Whether to stop; called between steps."""
        if not self.can_wait:
            self.can_wait = True
            self._stack.enter_context(no_time_limit())
        return self.signal is not None


@contextlib.contextmanager
def _stop_signals() -> Generator[_Stop]:
    """Turn the first SIGINT or SIGTERM into a request to stop; a second one ends the process.

    Before the first step there is nothing to be written, and either ends the process at once.
    """
    stack = contextlib.ExitStack()
    stop = _Stop(stack)

    def note(number: int, frame: FrameType | None) -> None:
        if not stop.can_wait:
            raise KeyboardInterrupt if number == signal.SIGINT else TerminatedError(TERMINATED)
        if stop.signal is not None:
            # As if killed: the checkpoint before is whole, and the training goes on from that.
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        stop.signal = number

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with stack:
            yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _resume_command() -> str:
    words = ["edgesr", *sys.argv[1:]]
    return shlex.join(words if "--resume" in words else [*words, "--resume"])


def _first_process() -> bool:
    return os.environ.get("RANK", "0") == "0"


def _show(outcome: "Outcome", *, as_json: bool) -> None:
    if not _first_process():
        return
    if as_json:
        from edgesr.cli.support import printing as report

        values = dataclasses.asdict(outcome)
        report.as_json(values | {"folder": str(outcome.folder)})
        return
    psnr = (
        "" if outcome.psnr_db is None else f"{outcome.psnr_db:.2f} dB at step {outcome.best_step}"
    )
    print_line(f"best PSNR on Y: {psnr} (bicubic {outcome.bicubic_db:.2f} dB)")
    print_line(f"{outcome.folder}  {outcome.steps} steps in {outcome.seconds:.0f} s")
