"""Checks of the required Python packages: installed, right version, importable."""

import asyncio
import importlib.metadata
import importlib.util
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from edgesr.common import subprocesses
from edgesr.common.compat import SAFE_PATH
from edgesr.common.progress import ProgressCallback, silent
from edgesr.doctor.check import Area, Check, State, usable_cpus

_IMPORT_LIMIT_S = 120.0
#: The extras that users install; the base is "".
_EXTRAS = ("", "convert", "train", "spandrel", "heif", "video")
# Packages whose module has another name.
_MODULES = {"pillow": "PIL"}
# The reason goes behind a NUL: libraries write to standard error as they like.
_IMPORT = """\
import importlib, sys
try:
    importlib.import_module(sys.argv[1])
except BaseException as error:
    first = next(iter(str(error).strip().splitlines()), "")
    sys.exit(f"\\0{type(error).__name__}: {first}")
"""


@dataclass(frozen=True)
class Package:
    """A package that edgesr asks for.

    Attributes:
        name: Its name for pip.
        extra: The extra of edgesr that asks for it; "" for the base.
        requirement: As pip takes it: name and allowed versions.
        version: The version that is installed; None if none is.
        state: How it was found.
        problem: Why it cannot serve; empty if it can.
    """

    name: str
    extra: str
    requirement: str
    version: str | None
    state: State
    problem: str = ""

    @property
    def module(self) -> str:
        """Name of the module to import."""
        return _MODULES.get(self.name, self.name.replace("-", "_"))

    def __str__(self) -> str:
        return f"{self.name} {self.version}" if self.version else self.name


def look_at_packages(*, quick: bool, progress: ProgressCallback = silent) -> list[Package]:
    """Examine every package of the base and the extras for users.

    None if edgesr is not installed.

    Args:
        quick: Whether to leave out importing them, which takes seconds.
        progress: Told of every package that was imported.
    """
    found = [_look(*asked) for asked in _asked()]
    to_try = sorted({p.module for p in found if p.state is State.OK})
    if quick or not to_try:
        return found
    problems = asyncio.run(_import_all(to_try, progress))
    return [
        replace(p, state=State.BROKEN, problem=problems[p.module])
        if p.state is State.OK and problems[p.module]
        else p
        for p in found
    ]


def summary(packages: Sequence[Package], *, quick: bool) -> list[Check]:
    """Summarise the packages of each extra by state.

    Args:
        packages: As `look_at_packages` gives them.
        quick: Whether they were not imported.
    """
    if not packages:
        found = "it runs without being installed, so that its packages are not known"
        return [Check(Area.PACKAGES, "edgesr", State.BROKEN, found, "pip install .", needed=True)]
    checks: list[Check] = []
    for extra in _EXTRAS:
        of_extra = [p for p in packages if p.extra == extra]
        checks += _group(extra, [p for p in of_extra if p.state is State.OK], quick=quick)
        checks += _group(extra, [p for p in of_extra if p.state is State.MISSING], quick=quick)
        for package in of_extra:
            if package.state is State.BROKEN:
                checks += _group(extra, [package], quick=quick)
    return checks


def _group(extra: str, packages: Sequence[Package], *, quick: bool) -> list[Check]:
    """One check for packages of one extra and one state."""
    if not packages:
        return []
    state = packages[0].state
    found = ", ".join(f"{p}: {p.problem}" if p.problem else str(p) for p in packages)
    if state is State.OK and quick:
        found += " (not imported)"
    words = " ".join(shlex.quote(p.requirement) for p in packages)
    remedies = {
        State.MISSING: f"pip install {words}",
        State.BROKEN: f"pip install --force-reinstall {words}",
    }
    name = f"extra {extra}" if extra else "base"
    needed = extra in ("", "convert")
    return [Check(Area.PACKAGES, name, state, found, remedies.get(state, ""), needed)]


def _asked() -> list[tuple[str, str, str]]:
    """List name, extra and allowed versions of all requirements of edgesr."""
    try:
        lines = importlib.metadata.requires("edgesr") or []
    except importlib.metadata.PackageNotFoundError:
        return []
    parsed = [Requirement(line) for line in lines]
    return [
        (r.name, extra, str(r.specifier)) for extra in _EXTRAS for r in _asked_by(extra, parsed)
    ]


def _asked_by(extra: str, all_of_them: Sequence[Requirement]) -> list[Requirement]:
    """What an extra asks for beyond the base, also through other extras; the base is ""."""
    found: list[Requirement] = []
    through_others: list[Requirement] = []
    for requirement in all_of_them:
        marker = requirement.marker
        if extra and (marker is None or marker.evaluate({"extra": ""})):
            continue  # it is the base's
        if marker is not None and not marker.evaluate({"extra": extra}):
            continue
        if requirement.name == "edgesr":
            for other in requirement.extras:
                through_others += _asked_by(other, all_of_them)
        else:
            found.append(requirement)
    return found + through_others


def _look(name: str, extra: str, versions: str) -> Package:
    """A package as it describes itself, without importing it."""
    requirement = name + versions
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return Package(name, extra, requirement, None, State.MISSING)
    package = Package(name, extra, requirement, version, State.OK)
    if version not in allowed(versions):
        return replace(package, state=State.BROKEN, problem=f"allowed {versions}")
    if not _has_module(package.module):
        return replace(package, state=State.BROKEN, problem=f"has no module {package.module}")
    return package


def allowed(versions: str) -> SpecifierSet:
    """Parse allowed versions such as `>=2.3,<3`, prereleases included."""
    return SpecifierSet(versions, prereleases=True)


def _has_module(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


async def _import_all(modules: Sequence[str], progress: ProgressCallback) -> dict[str, str]:
    """Import every module in its own process, one process per CPU.

    Returns:
        Module -> why it cannot be imported; empty if it can.
    """
    free = asyncio.Semaphore(usable_cpus())
    problems: dict[str, str] = {}

    async def try_one(module: str) -> None:
        async with free:
            # -P: a file in this folder that has a library's name is not the library.
            argv = [sys.executable, *SAFE_PATH, "-c", _IMPORT, module]
            ended = await subprocesses.run(argv, _IMPORT_LIMIT_S)
        said = ended.err.rpartition("\0")[2].strip()
        reason = said if (ended.status or 0) > 0 and said else ended.reason
        problems[module] = "" if ended.status == 0 else reason
        progress("importing packages", len(problems), len(modules))

    progress("importing packages", 0, len(modules))
    tasks = [asyncio.create_task(try_one(module)) for module in modules]
    try:
        await asyncio.wait(tasks)
    except asyncio.CancelledError:  # each is to see its program's end, so gather will not do
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        raise
    for task in tasks:
        task.result()
    return problems
