"""The words of a diagnosis."""

import os
from dataclasses import dataclass

from edgesr.common.compat import StrEnum


class State(StrEnum):
    """State of a part of the machine."""

    OK = "ok"
    MISSING = "missing"
    BROKEN = "broken"
    #: Not looked at, since it was not asked for, could not be, or shows only when it is used.
    UNCHECKED = "unchecked"


class Area(StrEnum):
    """Area of a check."""

    MACHINE = "machine"
    PACKAGES = "packages"
    RUNTIME = "runtime"
    WEIGHTS = "weights"
    FOLDERS = "folders"
    GPU = "GPU"
    DEVICE = "device"


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        area: What it is about.
        name: What was looked at.
        state: How it was found.
        found: What was found, or why not.
        remedy: The command that brings it, or what to do where no command does; empty if there is
            nothing to do.
        needed: Whether the main job cannot run without it.
    """

    area: Area
    name: str
    state: State
    found: str
    remedy: str = ""
    needed: bool = False

    @property
    def is_bad(self) -> bool:
        """Whether it was looked at and cannot serve."""
        return self.state in (State.MISSING, State.BROKEN)


@dataclass(frozen=True)
class Job:
    """A use of edgesr, and whether this machine supports it.

    Attributes:
        name: The job.
        can_run: Whether everything that it needs is here; None if that was not looked at.
        text: The same for people, with the reason.
    """

    name: str
    can_run: bool | None
    text: str


def usable_cpus() -> int:
    """Count the CPUs that this process may use, without importing numpy."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def size_text(count: float) -> str:
    """Bytes for people."""
    return f"{count / 2**30:.1f} GiB"
