"""Checks of the installed runtime and its results on this CPU."""

import importlib.metadata
import sys

from edgesr.common import subprocesses
from edgesr.doctor.check import Area, Check, State

_LITERT = "ai-edge-litert"
_INSTALL = "pip install 'ai-edge-litert>=2.3,<3'"
# What `edgesr upscale` takes in its place; converting needs LiteRT itself.
_FALL_BACKS = ("tflite-runtime", "tensorflow")
_RUN_LIMIT_S = 60.0
_RUNS = {"cpu": "a run on the CPU", "cpu-fp16": "FP16 on the CPU"}


def runtime_checks() -> list[Check]:
    """The runtime's version, and a tiny model run in either arithmetic."""
    version = _version(_LITERT)
    if version is None:
        others = [f"{name} {found}" for name in _FALL_BACKS if (found := _version(name))]
        found = "not installed" + (
            f"; {others[0]} can run files on the CPU in its place" if others else ""
        )
        missing = Check(Area.RUNTIME, _LITERT, State.MISSING, found, _INSTALL, needed=True)
        why = f"needs {_LITERT}"
        untried = [
            Check(Area.RUNTIME, n, State.UNCHECKED, why, needed=True) for n in _RUNS.values()
        ]
        return [missing, *untried]
    there = Check(Area.RUNTIME, _LITERT, State.OK, version, needed=True)
    return [there, *(_tried(mode, name) for mode, name in _RUNS.items())]


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _tried(mode: str, name: str) -> Check:
    argv = [sys.executable, "-m", "edgesr.doctor._inference_child", mode]
    ended = subprocesses.run_to_end(argv, _RUN_LIMIT_S)
    if ended.status == 0:
        return Check(
            Area.RUNTIME, name, State.OK, "a tiny model gives the right result", needed=True
        )
    remedy = "pip install --force-reinstall 'ai-edge-litert>=2.3,<3'"
    return Check(Area.RUNTIME, name, State.BROKEN, ended.reason, remedy, needed=True)
