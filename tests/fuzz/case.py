"""One bad input to the command line: what is run, on which files, and how it ended."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

#: Finds what is wrong with a command that succeeded, from its folder and its stdout.
Check = Callable[[Path, str], list[str]]


@dataclass(frozen=True)
class Case:
    """A command to be run in a fresh folder.

    Attributes:
        words: What follows `edgesr`; or what `entry` finds in `sys.argv`.
        files: Name -> content, written into the folder before.
        check: Called where the command succeeded.
        prepare: Makes in the folder what is no regular file.
        entry: `module:function` to be called.
        environment: Variables set (or, with None, removed) for the command.
        open_files: Limit on file descriptors.
        no_folder: Whether the working folder is removed before the command begins.
        fresh: Whether the command gets an interpreter of its own instead of a forked one.
        signal: Number of a signal, and after how many seconds it is sent.
        may_write: Whether files that were written may stay where the command fails, as in a
            command on several images.
    """

    words: Sequence[str]
    files: Mapping[str, bytes] = field(default_factory=dict[str, bytes])
    check: Check | None = None
    prepare: Callable[[Path], None] | None = None
    entry: str = "edgesr.cli:main"
    environment: Mapping[str, str | None] = field(default_factory=dict[str, str | None])
    open_files: int | None = None
    no_folder: bool = False
    fresh: bool = False
    signal: tuple[int, float] | None = None
    may_write: bool = False


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        status: Exit status; minus the number of the signal that ended it.
        timed_out: Whether it was killed after the time limit.
        left_processes: Whether processes that it started went on.
        seconds: From its start to its end.
        out: Its stdout.
        err: Its stderr.
        logs: Its logs of unexpected errors.
        files: Every file in its folder afterwards -> content (the first MiB of it).
        temporary: What is left in its folder for temporary files.
    """

    status: int
    timed_out: bool
    left_processes: bool
    seconds: float
    out: bytes
    err: bytes
    logs: str
    files: Mapping[str, bytes]
    temporary: Sequence[str]


def damage(content: bytes, rng: Random) -> bytes:
    """Change a few bytes anywhere, cut, insert, or repeat a stretch."""
    changed = bytearray(content)
    at = rng.randrange(len(content) + 1)
    length = rng.choice((1, 1, 2, 4, 16, 200))
    match rng.randrange(8):
        case 0:
            return content[:at]
        case 1:
            changed[at:at] = rng.randbytes(length)
        case 2:
            del changed[at : at + length]
        case 3:
            changed[at : at + length] = bytes(len(changed[at : at + length]))
        case 4:
            source = rng.randrange(len(content) + 1)
            changed[at : at + length] = content[source : source + length]
        case 5:
            changed += content[at:]
        case _:
            for _ in range(rng.choice((1, 1, 2, 8))):
                if changed:
                    changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


#: Text that files may bring to a terminal: escape sequences, bidi, line breaks, and much of it.
NASTY_TEXT = (
    "\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07",
    "right\u202eot\u2066left",
    "two\nlines",
    "return\rline",
    "tab\there",
    "\x00nul",
    "\x9b2Jclear",
    "\u200f\ufeff\u2028end",
    "long" * 300,
    "%s {0} {x} $HOME",
    "[bold]markup[/bold] [/]",
    "",
    "../../up",
    "\ud800",
)
#: Numbers that formats can hold and programs seldom expect.
ODD_NUMBERS = (0, -1, 1, 2, 3, 7, 255, 65536, 2**31 - 1, 2**31, 2**32, 2**63, 10**30, -(2**31))
ODD_FLOATS = (0.0, -0.0, 1e-320, 1e308, -5e300, float("inf"), float("-inf"), float("nan"), 0.5)


def odd_value(rng: Random) -> object:
    """A value that JSON and TOML can hold, of any type."""
    nested: object = "x"
    for _ in range(rng.choice((1, 3, 50))):
        nested = [nested] if rng.random() < 0.5 else {"k": nested}
    return rng.choice(
        [
            rng.choice(ODD_NUMBERS),
            rng.choice(ODD_FLOATS),
            rng.choice(NASTY_TEXT),
            rng.choice([True, False, [], {}]),
            nested,
        ]
    )


def edit_tree(tree: object, rng: Random) -> None:
    """Change one value of nested dicts and lists: replace, remove, repeat, or rename its key."""
    places: list[tuple[object, object]] = []
    waiting = [tree]
    while waiting:
        here = waiting.pop()
        entries = here.items() if isinstance(here, dict) else enumerate(here)  # type: ignore[arg-type]
        for key, value in entries:
            places.append((here, key))
            if isinstance(value, dict | list):
                waiting.append(value)
    if not places:
        return
    holder, key = rng.choice(places)
    value = holder[key]  # type: ignore[index]
    match rng.randrange(6):
        case 0:
            del holder[key]  # type: ignore[attr-defined]
        case 1 if isinstance(value, list) and value:
            holder[key] = value * rng.choice((2, 100))  # type: ignore[index]
        case 2 if isinstance(holder, dict):
            holder[rng.choice(NASTY_TEXT)] = holder.pop(key)
        case 3 if isinstance(value, int | float):
            holder[key] = rng.choice((-value, value + 1, value * 1e3, str(value)))  # type: ignore[index]
        case _:
            holder[key] = odd_value(rng)  # type: ignore[index]
