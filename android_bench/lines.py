"""The lines of a log of benchmark_model, without what was put before them."""

import re
from typing import NamedTuple

_PREFIX = re.compile(
    # logcat's, then the level, then LiteRT's file and line.
    r"(?:\S.{0,80}?\b(?:tflite|litert)\s*(?:\(\s*\d+\))?: )?"
    r"(?:(?P<level>VERBOSE|INFO|WARN(?:ING)?|ERROR|FATAL): )?"
    r"(?:\[\S{1,200}:\d+\] ?)?(?P<text>.*)"
)
_UNKNOWN_FLAGS = re.compile(r"Unconsumed cmdline flags: (.+)")


class Line(NamedTuple):
    """One line without what was put before it.

    Attributes:
        level: VERBOSE, INFO, WARN, WARNING, ERROR or FATAL; empty in old tools.
        text: The rest.
    """

    level: str
    text: str


def split_lines(log: str) -> list[Line]:
    """The whole lines of a log, without prefixes; a last line without its end is left out."""
    # Only \n ends a line here: str.splitlines would make two of one at a stray control character.
    return [
        Line(match["level"] or "", match["text"])
        for raw in log.split("\n")[:-1]
        if (match := _PREFIX.fullmatch(raw.rstrip("\r"))) is not None
    ]


def unknown_flags(log: str) -> str:
    """The flags that the tool did not know and ignored; empty where it knew all."""
    found = [m[1] for line in split_lines(log) if (m := _UNKNOWN_FLAGS.fullmatch(line.text))]
    return " ".join(found).strip()
