"""`edgesr train`: pictures become weights."""

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

if TYPE_CHECKING:
    from edgesr.train.recipe import Recipe
    from edgesr.train.run import Outcome, Places

_EXTRA = ("torch", "safetensors", "matplotlib")


@click.command(
    "train",
    epilog="""\b
Examples:
  edgesr train --recipe smoke --data pictures/ -o first/
  edgesr train --recipe rtc-2core --data DIV2K/ --val Set5/x2 -o rtc/
  edgesr train --recipe rtc-2core --data DIV2K/ --val Set5/x2 -o rtc/ --resume
  edgesr train --recipe longer.toml --init rtc/model-training.safetensors --data DIV2K/ -o rtc2/
  torchrun --nproc-per-node 2 --no-python edgesr train --recipe rtc-gpu --data DIV2K/ -o rtc/
""",
)
@click.option(
    "--recipe",
    "recipe_name",
    required=True,
    metavar="NAME|FILE.toml",
    help="What to train and how: imdn, fmen, clb (the papers'), rtc-2core, rtc-2core-longer, "
    "rtc-2core-sharp, rtc-2core-last, rtc-2core-drawn, rtc-gpu, fmen-s-2core, fmen-s-2core-sharp, "
    "fmen-s-gpu (ours), smoke, or a file of your own.",
)
@click.option(
    "--data",
    required=True,
    multiple=True,
    type=click.Path(path_type=Path),
    help="Folder of training pictures, searched with all below; may be given several times.",
)
@click.option(
    "--val",
    "validation",
    type=click.Path(path_type=Path),
    help="Folder to measure on: pictures, or HR/ and LR/. Default: a few training pictures that "
    "are then not trained on.",
)
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder for weights, checkpoint, log and curve; made if it is missing.",
)
@click.option(
    "--resume",
    is_flag=True,
    help="Go on with the training of the same recipe and data that lies in the output folder; "
    "where there is none, begin one.",
)
@click.option(
    "--init",
    "first_weights",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Weights to begin with instead of random ones: the model-training.safetensors of another "
    "training of the same network.",
)
@click.option(
    "--steps", type=click.IntRange(1), help="The whole recipe in so many steps, in proportion."
)
@click.option("--threads", type=click.IntRange(1), help="CPU threads. Default: all.")
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="What computes.",
)
@click.option(
    "--cache",
    type=click.Path(path_type=Path),
    help="Folder for decoded pictures. Default: the user's cache.",
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
    `curve.png`, `recipe.toml` and `run.json`. A training that is stopped by Ctrl-C, or killed, goes
    on with --resume and ends with the same weights.
    """
    from edgesr.cli.needs import require
    from edgesr.train.recipe import load_recipe

    recipe = load_recipe(recipe_name)
    if steps is not None:
        recipe = recipe.in_steps(steps)
    require("training", _EXTRA, "train")
    from edgesr.train.run import Places

    places = Places(data, output, validation, cache, device, threads, first_weights)
    return _run(recipe, places, resume=resume, as_json=as_json)


def _run(recipe: "Recipe", places: "Places", *, resume: bool, as_json: bool) -> int:
    """Train with a progress bar, and say what came out; the exit status."""
    from edgesr.cli.train_progress import training_progress
    from edgesr.train.run import train

    with _stop_signals() as stop, training_progress() as (progress, report):
        outcome = train(
            recipe,
            places,
            resume=resume,
            progress=progress,
            report=report,
            should_stop=lambda: stop.signal is not None,
        )
    if stop.signal is None or outcome.finished:
        _show(outcome, as_json=as_json)
        return 0
    # As the shell counts: 130 after Ctrl-C, 143 after SIGTERM.
    if _first_process():
        click.echo(
            f"edgesr: stopped after step {outcome.step} of {outcome.steps}; go on with: "
            f"{_resume_command()}",
            err=True,
        )
    return 128 + stop.signal


class _Stop:
    """Which signal has asked the training to stop."""

    signal: int | None = None


@contextlib.contextmanager
def _stop_signals() -> Generator[_Stop]:
    """Turn the first SIGINT or SIGTERM into a wish to stop; a second one ends the process."""
    stop = _Stop()

    def note(number: int, frame: FrameType | None) -> None:
        if stop.signal is not None:
            # As if killed: the checkpoint before is whole, and the training goes on from that.
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        stop.signal = number

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
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
        from edgesr.cli import report

        values = dataclasses.asdict(outcome)
        report.as_json(values | {"folder": str(outcome.folder)})
        return
    psnr = (
        "" if outcome.psnr_db is None else f"{outcome.psnr_db:.2f} dB at step {outcome.best_step}"
    )
    click.echo(f"best PSNR on Y: {psnr} (bicubic {outcome.bicubic_db:.2f} dB)")
    click.echo(f"{outcome.folder}  {outcome.steps} steps in {outcome.seconds:.0f} s")
