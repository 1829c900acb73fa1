"""How far a training is, on stderr: a bar on a terminal, and a line per measurement anywhere."""

import contextlib
import datetime
import sys
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING

from edgesr.cli.progress_bar import progress_bar, say

if TYPE_CHECKING:
    from edgesr.progress import ProgressCallback
    from edgesr.train.loop import Status


@contextlib.contextmanager
def training_progress() -> Generator[tuple["ProgressCallback", "Callable[[Status], None]"]]:
    """Show progress while the block runs.

    A training takes hours and its output is often looked at in a file: hence the measurements are
    said where stderr is no terminal too.

    Yields:
        What the decoding of pictures is to call, and what the training is to call.
    """
    with contextlib.ExitStack() as stack:
        # Pictures are decoded first, by a bar of their own that is gone when the training begins:
        # two bars cannot be drawn at once.
        pictures = stack.enter_context(contextlib.ExitStack())
        progress = pictures.enter_context(progress_bar())
        draw: Callable[[Status], None] | None = None

        def report(status: "Status") -> None:
            nonlocal draw
            if draw is None:
                pictures.close()
                draw = stack.enter_context(_bar())
            if status.measured:
                say(_line(status))
            draw(status)

        yield progress, report


@contextlib.contextmanager
def _bar() -> Generator["Callable[[Status], None]"]:
    from rich import progress as rp
    from rich.console import Console

    console = Console(stderr=True)
    if not (sys.stderr.isatty() and console.is_interactive):
        yield lambda status: None
        return
    columns = (
        rp.TextColumn("training"),
        rp.BarColumn(),
        rp.MofNCompleteColumn(),
        rp.TextColumn("{task.fields[facts]}"),
    )
    with rp.Progress(
        *columns, console=console, transient=True, refresh_per_second=2, redirect_stdout=False
    ) as bar:
        task = bar.add_task("training", total=None, facts="")
        yield lambda status: bar.update(
            task, completed=status.step, total=status.steps, facts=_facts(status)
        )


def _line(status: "Status") -> str:
    return f"step {status.step}/{status.steps}  {_facts(status)}"


def _facts(status: "Status") -> str:
    """Loss, PSNR, speed and the time that is left."""
    parts = [f"loss {status.loss:.4g}"]
    if status.psnr_db is not None:
        parts.append(f"PSNR {status.psnr_db:.2f} dB")
    parts.append(f"{status.steps_per_second:.3g} steps/s")
    left_s = (status.steps - status.step) / status.steps_per_second
    parts.append(f"{datetime.timedelta(seconds=round(left_s))} left")
    return "  ".join(parts)
