"""Parse the log of LiteRT's GPU accelerator.

Devices, refusals and errors of a run stand in the log alone.

Every pattern here was read off the log of ai-edge-litert 2.3.0 on Linux; Metal's line, which names
no device, off the texts in its library for macOS.
"""

import re
from dataclasses import dataclass

_ADAPTER = re.compile(
    r"Selected adapter: (?P<name>.*), arch=.*, backend=(?P<api>\w+), adapterType=(?P<type>.*)"
)
_METAL = re.compile(r"Created (?:a|default) Metal device\.")
_REFUSALS = re.compile(
    r"^ERROR: Following operations are not supported by GPU delegate:\n(?P<lines>(?:.*: .*\n)*?)"
    r"(?P<gpu>\d+|No) operations? will run on the GPU(?:, and (?:the remaining|all) (?P<cpu>\d+))?",
    re.MULTILINE,
)
# Between the reason and the operator may stand a line with a link.
_UNPREPARED = re.compile(
    r"(?:^ERROR: (?P<reason>(?!Node number).*)\n(?:(?!ERROR: ).*\n)?)?"
    r"^ERROR: Node number (?P<index>\d+) \((?P<operator>[^)]*)\) failed to prepare",
    re.MULTILINE,
)
# The first one ends the loading: how many more there are nobody knows.
_UNKNOWN = re.compile(
    r"^ERROR: (?P<reason>Didn't find op for builtin opcode '(?P<operator>\w+)' version '\d+')",
    re.MULTILINE,
)
# Severity E or F of Google's log, LiteRT's own prefix, and the libraries' last words.
_ERROR = re.compile(r"^(?:[EF]\d{4} [\d:.]+\s+\d+ [^\]]*\] |ERROR: (?:\[[^\]]*\] )?)(?P<text>.+)$")
_NO_MEMORY = re.compile(
    r"out of memory|OUT_OF_\w*MEMORY|RESOURCE_EXHAUSTED|bad_alloc|(?:fail\w*|cannot) to allocate",
    re.IGNORECASE,
)
_LAST_WORDS = re.compile(r"terminate called|what\(\)|Check failed|Assertion|Segmentation|Aborted")
# What every start prints and nobody needs: plug-ins that are not there, libraries that come and go.
_CHATTER = re.compile(
    r"^(?:INFO|WARNING|VERBOSE)\b|^I\d{4} |^W\d{4} |^ERROR: \[litert/compiler/plugin|^\s*└|^=== "
)
_LINE_LENGTH = 300


@dataclass(frozen=True)
class Adapter:
    """The device that the accelerator chose.

    Attributes:
        name: Its name.
        api: What it is driven by, e.g. `Vulkan`.
        software: Whether a CPU plays the device.
    """

    name: str
    api: str
    software: bool


@dataclass(frozen=True)
class Refusal:
    """Operators that the accelerator did not take.

    Attributes:
        operator: Their name.
        reason: The accelerator's own words.
    """

    operator: str
    reason: str


@dataclass(frozen=True)
class Refusals:
    """Everything that the accelerator did not take of a file.

    Attributes:
        refused: Operator by operator; equal ones appear once.
        on_gpu: How many operators it took; 0 if the file could not be prepared at all.
        on_cpu: How many were left; None if the file could not be prepared.
    """

    refused: tuple[Refusal, ...]
    on_gpu: int
    on_cpu: int | None


def adapter(log: str) -> Adapter | None:
    """The device in use; None if the log names none."""
    found = _ADAPTER.search(log)
    if found is None:
        return Adapter("default device", "Metal", software=False) if _METAL.search(log) else None
    kind = found["type"].lower()
    return Adapter(found["name"], found["api"], "cpu" in kind or "software" in kind)


def accelerator_is_loaded(log: str) -> bool:
    """Whether LiteRT found and could load a GPU accelerator at all."""
    return "Dynamically loaded GPU accelerator" in log


def refusals(log: str) -> Refusals | None:
    """Refused operators of a file; None if the log holds no refusal."""
    found = _REFUSALS.search(log)
    if found is not None:
        pairs = [line.split(": ", 1) for line in found["lines"].splitlines()]
        refused = tuple(Refusal(operator, reason) for operator, reason in pairs)
        on_gpu = 0 if found["gpu"] == "No" else int(found["gpu"])
        return Refusals(refused, on_gpu, int(found["cpu"]) if found["cpu"] else None)
    found = _UNPREPARED.search(log)
    if found is not None:
        # One reason is a whole paragraph of advice; its first sentence is enough.
        reason = (found["reason"] or "no reason given").split(". ")[0]
        what = f"operator {found['index']} cannot be prepared: {reason}"
        return Refusals((Refusal(found["operator"], what),), 0, None)
    found = _UNKNOWN.search(log)
    if found is not None:
        return Refusals((Refusal(found["operator"], found["reason"]),), 0, None)
    return None


def errors(log: str) -> list[str]:
    """The errors in a log, in order, each once.

    WebGPU continues after an error and returns zeros: a run counts only if its log holds none.
    """
    found = (_ERROR.match(line) for line in log.splitlines())
    return list(dict.fromkeys(line["text"][:_LINE_LENGTH] for line in found if line))


def is_out_of_memory(log: str) -> bool:
    """Whether the log holds an out-of-memory error."""
    return any(_NO_MEMORY.search(text) for text in (*errors(log), *_dying_words(log)))


def last_words(log: str, count: int = 3) -> str:
    """The errors in a log, or its last lines that are more than chatter, for an error message."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    telling = [line for line in lines if not _CHATTER.match(line)]
    shown = ([*errors(log), *_dying_words(log)] or telling or lines)[-count:]
    return " | ".join(line[:_LINE_LENGTH] for line in shown) or "it logged nothing"


def _dying_words(log: str) -> list[str]:
    """Lines that libraries print when they abort, without an error mark."""
    lines = (line.strip() for line in log.splitlines())
    return [line for line in lines if _LAST_WORDS.search(line) and not _ERROR.match(line)]
