"""Progress of long work, reported to a callback."""

import contextlib
from collections.abc import Callable, Generator

#: Called with the name of the stage, the steps done and the steps in all (0: unknown).
ProgressCallback = Callable[[str, int, int], None]


def silent(stage: str, done: int, total: int) -> None:
    """Ignore progress: the default of every library function."""


@contextlib.contextmanager
def one_step(progress: ProgressCallback, stage: str) -> Generator[None]:
    """Report that a stage of one step begins, and that it is done."""
    progress(stage, 0, 1)
    yield
    progress(stage, 1, 1)
