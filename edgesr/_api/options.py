"""Checks of arguments of the public functions."""

from collections.abc import Iterable

from edgesr.errors import OptionError

#: More than a machine that runs this has CPUs; each thread takes memory for its stack.
MOST_THREADS = 512


def check_choice(name: str, value: str, allowed: Iterable[str]) -> str:
    """Refuse a value that is none of the allowed ones.

    Raises:
        OptionError: It is none.
    """
    names = [str(choice) for choice in allowed]
    if value not in names:
        raise OptionError(f"got {name} {value!r}, allowed {', '.join(names)}")
    return value


def check_threads(threads: int | None) -> None:
    """Refuse a number of threads that no machine has.

    Raises:
        OptionError: It is not 1 to `MOST_THREADS`.
    """
    if threads is not None and not 1 <= threads <= MOST_THREADS:
        raise OptionError(f"got threads={threads}, allowed 1 to {MOST_THREADS}, or None for all")
