"""How long work tells its caller how far it is, without knowing whether anybody looks."""

from collections.abc import Callable

#: Called with the name of the stage, the steps done and the steps in all (0: unknown).
ProgressCallback = Callable[[str, int, int], None]


def silent(stage: str, done: int, total: int) -> None:
    """Ignore progress: the default of every library function."""
