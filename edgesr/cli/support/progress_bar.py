"""Progress bar on stderr for functions with an `edgesr.common.progress.ProgressCallback`."""

import contextlib
import sys
from collections.abc import Generator
from typing import TYPE_CHECKING

from edgesr.common.progress import ProgressCallback, silent
from edgesr.common.text import printable

if TYPE_CHECKING:
    from rich.progress import Task


@contextlib.contextmanager
def progress_bar() -> Generator[ProgressCallback]:
    """Draw one line per stage on stderr while the block runs, on a terminal only.

    Where stderr is no terminal (a file, a pipe, CI), the callback is
    `edgesr.common.progress.silent`. The lines disappear when the block ends, so that the
    output of a command is the same with a terminal and without. Inside the block, log with
    `log_line`, and print to stdout after it.

    Yields:
        The callback. A stage may be reported again from its beginning (tiles of the next image):
        its line starts again. A total of 0 means unknown and pulses.
    """
    # A closed stderr is None here, whatever its type says.
    if sys.stderr is None or not sys.stderr.isatty():  # pyright: ignore[reportUnnecessaryComparison]
        yield silent
        return
    from rich import progress as rp

    from edgesr.cli.support.tables import make_console

    console = make_console(err=True)
    if not console.is_interactive:  # a terminal that cannot move its cursor
        yield silent
        return
    columns = (
        rp.TextColumn("{task.description}", markup=False),
        rp.BarColumn(),
        rp.MofNCompleteColumn(),
        rp.TimeElapsedColumn(),
        rp.TextColumn("{task.fields[rate]}"),
        rp.TimeRemainingColumn(),
    )
    tasks: dict[str, rp.TaskID] = {}
    with rp.Progress(
        *columns,
        console=console,
        transient=True,
        refresh_per_second=5,
        redirect_stdout=False,  # rich would send it to stderr, also where a pipe waits for it
    ) as bar:

        def report(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(printable(stage), total=None, rate="")
            bar.update(tasks[stage], completed=done, total=total or None)
            if stage == "frames":
                bar.update(tasks[stage], rate=_rate(bar.tasks[bar.task_ids.index(tasks[stage])]))

        yield report


def _rate(task: "Task") -> str:
    return "" if task.speed is None else f"{task.speed:.1f}/s"


def log_line(text: str) -> None:
    """Write a line to stderr, above the bar where one is drawn, text out of files cleaned.

    `click.echo` would write into the bar, since it bypasses rich's replacement of stderr.
    """
    sys.stderr.write(f"{printable(text)}\n")
