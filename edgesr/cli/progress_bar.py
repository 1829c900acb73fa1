"""A progress bar on stderr for anything that takes an `edgesr.progress.ProgressCallback`."""

import contextlib
import sys
from collections.abc import Generator

from edgesr.progress import ProgressCallback, silent


@contextlib.contextmanager
def progress_bar() -> Generator[ProgressCallback]:
    """Draw one line per stage on stderr while the block runs; draw nothing where nobody looks.

    Nobody looks when stderr is no terminal (a file, a pipe, CI): then the callback is
    `edgesr.progress.silent`. The lines disappear when the block ends, so that what a command says
    on stdout and stderr is the same with a terminal and without. Inside the block, speak through
    `say`, and leave stdout for later.

    Yields:
        The callback. A stage may be reported again from its beginning (tiles of the next picture):
        its line starts anew. A total of 0 means unknown and pulses.
    """
    # A closed stderr is None here, whatever its type says.
    if sys.stderr is None or not sys.stderr.isatty():  # pyright: ignore[reportUnnecessaryComparison]
        yield silent
        return
    from rich import progress as rp
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_interactive:  # a terminal that cannot move its cursor
        yield silent
        return
    columns = (
        rp.TextColumn("{task.description}"),
        rp.BarColumn(),
        rp.MofNCompleteColumn(),
        rp.TimeElapsedColumn(),
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
                tasks[stage] = bar.add_task(stage, total=None)
            bar.update(tasks[stage], completed=done, total=total or None)

        yield report


def say(text: str) -> None:
    """Write a line to stderr, above the bar where one is drawn.

    `click.echo` would write into the bar: it goes around what rich puts in stderr's place.
    """
    sys.stderr.write(f"{text}\n")
