"""Progress of a training on stderr: a bar on a terminal, and a line per measurement."""

import contextlib
import datetime
import sys
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING

from edgesr.cli.support.progress_bar import log_line, progress_bar

if TYPE_CHECKING:
    from edgesr.common.progress import ProgressCallback
    from edgesr.training.loop import Status


@contextlib.contextmanager
def training_progress() -> Generator[tuple["ProgressCallback", "Callable[[Status], None]"]]:
    """Show progress while the block runs.

    A training takes hours and its output is often read in a file: hence the measurements are
    logged where stderr is no terminal too.

    Yields:
        A callback for decoding images, and one for the training's status.
    """
    with contextlib.ExitStack() as stack:
        # Images are decoded first, with a bar of their own that ends when the training begins:
        # two bars cannot be drawn at once.
        images = stack.enter_context(contextlib.ExitStack())
        progress = images.enter_context(progress_bar())
        draw: Callable[[Status], None] | None = None

        def report(status: "Status") -> None:
            nonlocal draw
            if draw is None:
                images.close()
                draw = stack.enter_context(_bar())
            if status.measured:
                log_line(_line(status))
            draw(status)

        yield progress, report


@contextlib.contextmanager
def _bar() -> Generator["Callable[[Status], None]"]:
    from rich import progress as rp

    from edgesr.cli.support.tables import make_console

    console = make_console(err=True)
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
    """Loss, PSNR, speed and remaining time."""
    parts = [f"loss {status.loss:.4g}"]
    if status.psnr_db is not None:
        parts.append(f"PSNR {status.psnr_db:.2f} dB")
    parts.append(f"{status.steps_per_second:.3g} steps/s")
    left_s = (status.steps - status.step) / status.steps_per_second
    parts.append(f"{datetime.timedelta(seconds=round(left_s))} left")
    return "  ".join(parts)
