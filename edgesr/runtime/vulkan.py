"""Find the Vulkan drivers of this machine without loading any.

A driver is a shared library that a manifest (a small JSON file) names; the Vulkan loader reads the
manifests. Source: "Vulkan Loader and Driver Interface", the chapter on driver discovery.
"""

import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from edgesr.common.compat import StrEnum
from edgesr.errors import NoGpuError

#: What the loader reads from the environment; the first one that is set counts.
DRIVER_VARIABLES = ("VK_DRIVER_FILES", "VK_ICD_FILENAMES")

# Where the loader looks on Linux, in its order: a variable, and what counts where it is not set.
# Folders that no variable moves stand between them; the last is of NVIDIA's container images.
_FOLDERS = (
    ("XDG_CONFIG_HOME", "{HOME}/.config"),
    ("XDG_CONFIG_DIRS", "/etc/xdg"),
    (None, "/usr/local/etc:/etc"),
    ("XDG_DATA_HOME", "{HOME}/.local/share"),
    ("XDG_DATA_DIRS", "/usr/local/share:/usr/share"),
    (None, "/usr/local/nvidia/share"),
)
_SWIFTSHADER_MANIFEST = "vk_swiftshader_icd.json"
_BROWSER_FOLDERS = (
    "/usr/lib/chromium",
    "/usr/lib/chromium-browser",
    "/usr/lib64/chromium-browser",
    "/opt/google/chrome",
    "/snap/chromium/current/usr/lib/chromium-browser",
)
_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# Mesa's lavapipe; version 22.3 lacks a feature that LiteRT's accelerator needs (measured), hence
# it comes last, whatever its version.
_LAVAPIPE = ("lvp_", "libvulkan_lvp")


class DriverKind(StrEnum):
    """Origin of a driver, in the order in which they are tried."""

    CHOSEN = "named by the environment"
    HARDWARE = "installed"
    SWIFTSHADER = "SwiftShader, from a browser"
    LAVAPIPE = "lavapipe, from Mesa"
    SYSTEM = "the system's own"  # Metal on macOS, Direct3D on Windows


@dataclass(frozen=True)
class Driver:
    """One or more drivers that the loader is given together; it keeps those that find a device.

    Attributes:
        kind: Where they come from.
        manifests: Their manifests.
    """

    kind: DriverKind
    manifests: tuple[Path, ...]

    @property
    def variables(self) -> dict[str, str]:
        """Environment variables that restrict the loader to these drivers."""
        if not self.manifests:
            return {}
        return dict.fromkeys(DRIVER_VARIABLES, os.pathsep.join(map(str, self.manifests)))

    def __str__(self) -> str:
        return os.pathsep.join(map(str, self.manifests)) or self.kind


def find_drivers(environment: Mapping[str, str] | None = None) -> list[Driver]:
    """The drivers to try, in order: the user's choice alone, or hardware, then software.

    Args:
        environment: Environment variables; by default this process's own.

    Returns:
        Possibly nothing. That a manifest lies there does not mean that its device does. Systems
        whose GPUs are not driven by Vulkan have one driver, without a manifest.

    Raises:
        NoGpuError: The environment names a manifest that cannot be used.
    """
    if sys.platform in ("darwin", "win32"):
        return [Driver(DriverKind.SYSTEM, ())]
    values = os.environ if environment is None else environment
    for variable in DRIVER_VARIABLES:
        if values.get(variable):
            return [_chosen(variable, values[variable])]
    installed = list(_installed(values))
    software = tuple(path for path in installed if path.name.startswith(_LAVAPIPE))
    hardware = tuple(path for path in installed if path not in software)
    found = [
        (DriverKind.HARDWARE, hardware),
        (DriverKind.SWIFTSHADER, tuple(_swiftshader(values))[:1]),
        (DriverKind.LAVAPIPE, software),
    ]
    return [Driver(kind, manifests) for kind, manifests in found if manifests]


def _chosen(variable: str, value: str) -> Driver:
    """What the user names counts alone, and must be right: the loader would skip it in silence."""
    paths = tuple(Path(part) for part in value.split(os.pathsep) if part)
    problems = (_problem(path) for path in paths)
    problem = next(filter(None, problems), None if paths else "it names no file")
    if problem is not None:
        raise NoGpuError(
            f"got {variable}={value}: {problem}; name a Vulkan driver's manifest (.json) or "
            f"unset {variable}"
        )
    return Driver(DriverKind.CHOSEN, paths)


def _problem(manifest: Path) -> str | None:
    """Why the loader could not use a manifest."""
    try:
        content: Any = json.loads(manifest.read_bytes())
    except OSError as error:
        return f"cannot read {manifest}: {error.strerror}"
    except ValueError:
        return f"{manifest} is no JSON"
    library = _entry(_entry(content, "ICD"), "library_path")
    if not isinstance(library, str):
        return f"{manifest} names no library (ICD.library_path)"
    # A bare name is looked up by the system's linker, a path from the manifest's folder.
    if "/" in library and not (manifest.parent / library).exists():
        return f"{manifest} names {library}, which is not there"
    return None


def _entry(content: Any, key: str) -> Any:  # noqa: ANN401 - whatever a JSON file holds
    return cast(dict[str, Any], content).get(key) if isinstance(content, dict) else None


def _installed(values: Mapping[str, str]) -> Iterator[Path]:
    """Usable manifests in the loader's places, each file once."""
    seen: set[Path] = set()
    for variable, usual in _FOLDERS:
        folders = (variable and values.get(variable)) or usual.format(HOME=values.get("HOME", ""))
        for folder in filter(None, folders.split(os.pathsep)):
            for path in _manifests_in(Path(folder, "vulkan/icd.d")):
                if path.resolve() not in seen and _problem(path) is None:
                    seen.add(path.resolve())
                    yield path


def _manifests_in(folder: Path) -> list[Path]:
    """What is named like a manifest; nothing where this user may not look, as under sudo."""
    try:
        return sorted(folder.glob("*.json"))
    except OSError:
        return []


def _swiftshader(values: Mapping[str, str]) -> Iterator[Path]:
    """SwiftShader's manifests beside installed browsers."""
    folders = [Path(folder) for folder in _BROWSER_FOLDERS]
    search = values.get("PATH", "")
    programs = [found for name in _BROWSERS if (found := shutil.which(name, path=search))]
    for folder in (*folders, *(Path(program).resolve().parent for program in programs)):
        manifest = folder / _SWIFTSHADER_MANIFEST
        if _problem(manifest) is None:
            yield manifest
