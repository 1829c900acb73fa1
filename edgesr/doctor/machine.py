"""Python, the operating system, memory, and folders to write to."""

import math
import os
import platform
import shutil
import sys
import tempfile
from pathlib import Path

from edgesr.common.machine import free_bytes, system_package
from edgesr.doctor.check import Area, Check, State, size_text, usable_cpus

_PYTHONS, _CONVERT_PYTHONS = ((3, 10), (3, 14)), ((3, 11), (3, 13))
_BEST_PYTHON = "3.11"
# What a conversion of RTC at 720x480 took (benchmarks/convert_cost.py).
_CONVERT_BYTES = 2.15 * 2**30


def machine_checks() -> list[Check]:
    """Python, platform, CPUs and free memory."""
    return [_python(), _platform(), _cpus(), _memory()]


def folder_checks(others: list[Check]) -> list[Check]:
    """Temporary files and the cache.

    Args:
        others: Checks made before: the cache is needed where weights are still to be fetched.
    """
    to_fetch = any(
        c.area is Area.WEIGHTS and c.needed and c.state is State.UNCHECKED for c in others
    )
    return [_temporary(), _cache(needed=to_fetch)]


def _python() -> Check:
    found, version = f"{platform.python_version()}, {sys.executable}", sys.version_info[:2]
    if _CONVERT_PYTHONS[0] <= version <= _CONVERT_PYTHONS[1]:
        return Check(Area.MACHINE, "Python", State.OK, found, needed=True)
    if _PYTHONS[0] <= version <= _PYTHONS[1]:
        found += "; upscaling and inspecting run, converting needs 3.11 to 3.13"
        return Check(Area.MACHINE, "Python", State.MISSING, found, _other_python())
    found += "; edgesr needs 3.10 to 3.14"
    return Check(Area.MACHINE, "Python", State.BROKEN, found, _other_python(), needed=True)


def _other_python() -> str:
    if shutil.which(f"python{_BEST_PYTHON}"):
        return f"python{_BEST_PYTHON} -m venv .venv"
    return system_package(f"python{_BEST_PYTHON}-venv", f"Python {_BEST_PYTHON}")


def _platform() -> Check:
    name = platform.platform()
    if sys.platform != "linux":
        name += "; edgesr is tested on Linux only"
    return Check(Area.MACHINE, "platform", State.OK, name, needed=True)


def _cpus() -> Check:
    found = f"{usable_cpus()} of {os.cpu_count()} ({platform.machine()})"
    return Check(Area.MACHINE, "CPUs", State.OK, found)


def _memory() -> Check:
    free = free_bytes()
    if math.isinf(free):
        found = "the system does not tell how much is free"
        return Check(Area.MACHINE, "memory", State.UNCHECKED, found, needed=True)
    if free >= _CONVERT_BYTES:
        return Check(Area.MACHINE, "memory", State.OK, f"{size_text(free)} free", needed=True)
    return Check(
        Area.MACHINE,
        "memory",
        State.BROKEN,
        f"{size_text(free)} free; converting imdn-rtc at 720x480 takes {size_text(_CONVERT_BYTES)}",
        "close other programs, or convert at a smaller --size",
        needed=True,
    )


def _temporary() -> Check:
    """Folder for temporary files; Python silently chooses another where TMPDIR fails."""
    wanted = next((os.environ[v] for v in ("TMPDIR", "TEMP", "TMP") if os.environ.get(v)), None)
    try:
        folder = tempfile.gettempdir()
    except OSError as error:
        return Check(
            Area.FOLDERS,
            "temporary files",
            State.BROKEN,
            error.strerror or str(error),
            "export TMPDIR=FOLDER, one that can be written to",
            needed=True,
        )
    found = f"{folder}, {_free_disk(Path(folder))}"
    if wanted is None or os.path.abspath(wanted) == folder:
        return Check(Area.FOLDERS, "temporary files", State.OK, found, needed=True)
    return Check(
        Area.FOLDERS,
        "temporary files",
        State.BROKEN,
        f"{wanted} cannot be written to; Python takes {found}",
        "unset TMPDIR TEMP TMP",
    )


def _cache(*, needed: bool) -> Check:
    """The cache folder, or the folder in which it would be made."""
    from edgesr.weights.download import cache_folder

    name = "cache of downloads"
    try:
        folder = cache_folder()
    except ImportError as error:  # platformdirs is missing
        return Check(
            Area.FOLDERS, name, State.BROKEN, str(error), "pip install platformdirs", needed
        )
    try:
        there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        reason = f"{folder} cannot be written to: {error.strerror or error}"
        remedy = "export EDGESR_CACHE=FOLDER, one that can be written to"
        return Check(Area.FOLDERS, name, State.BROKEN, reason, remedy, needed)
    state = "" if there == folder else ", made at the first download"
    return Check(
        Area.FOLDERS, name, State.OK, f"{folder}, {_free_disk(there)}{state}", needed=needed
    )


def _free_disk(folder: Path) -> str:
    return f"{size_text(shutil.disk_usage(folder).free)} free"
