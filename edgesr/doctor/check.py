"""The words of a diagnosis."""

import enum
import os
import shutil
from dataclasses import dataclass


class State(enum.StrEnum):
    """How something was found."""

    OK = "ok"
    MISSING = "missing"
    BROKEN = "broken"
    #: Not looked at, since it was not asked for, could not be, or shows only when it is used.
    UNCHECKED = "unchecked"


class Area(enum.StrEnum):
    """What a check is about."""

    MACHINE = "machine"
    PACKAGES = "packages"
    RUNTIME = "runtime"
    WEIGHTS = "weights"
    FOLDERS = "folders"
    GPU = "GPU"
    PHONE = "phone"


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
    """What a user wants of edgesr.

    Attributes:
        name: The job.
        can_run: Whether everything that it needs is here; None if that was not looked at.
        text: The same for people, with the reason.
    """

    name: str
    can_run: bool | None
    text: str


def system_package(package: str, what: str) -> str:
    """The command that installs a Debian package, or what to install where there is no apt."""
    if shutil.which("apt-get"):
        return f"apt-get install {package}"
    return f"install {what} (Debian's package {package}) with your system's package manager"


def usable_cpus() -> int:
    """The number of CPUs that this process may use, told without numpy, which may be missing."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def size_text(count: float) -> str:
    """Bytes for people."""
    return f"{count / 2**30:.1f} GiB"
