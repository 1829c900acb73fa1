"""Examination of this machine: what edgesr needs, and what is missing.

Everything is tried for real where that has no side effect; what crashes or hangs does so in a child
process with a time limit.
"""

from collections.abc import Callable
from dataclasses import dataclass

from edgesr.common.progress import ProgressCallback, silent
from edgesr.doctor import adb, gpu, machine, packages, runtime, weights
from edgesr.doctor.check import Area, Check, Job, State
from edgesr.doctor.packages import Package

__all__ = ["Area", "Check", "Diagnosis", "Job", "Package", "State", "examine"]


@dataclass(frozen=True)
class Diagnosis:
    """Everything that was looked at.

    Attributes:
        checks: In the order in which they are best read.
        packages: The Python packages that edgesr asks for, one by one.
        jobs: The main job (`edgesr convert` and running its file), the GPU gate, devices.
    """

    checks: tuple[Check, ...]
    packages: tuple[Package, ...]
    jobs: tuple[Job, ...]

    @property
    def main_job(self) -> Job:
        """Whether a checkpoint can be converted and the file be run."""
        return self.jobs[0]


def examine(
    *, quick: bool = False, ask_devices: bool = False, progress: ProgressCallback = silent
) -> Diagnosis:
    """Look at this machine.

    Args:
        quick: Whether to believe what packages say of themselves instead of importing them.
        ask_devices: Whether to start an adb server to ask for devices; one that runs is asked
            anyway.
        progress: Told of what is being tried.
    """
    found = packages.look_at_packages(quick=quick, progress=progress)
    checks = [*machine.machine_checks(), *packages.summary(found, quick=quick)]
    progress("trying the runtime", 0, 0)
    checks += _guarded(Area.RUNTIME, "LiteRT", runtime.runtime_checks, needed=True)
    checks += _guarded(Area.WEIGHTS, "weights", weights.weight_checks, needed=True)
    checks += machine.folder_checks(checks)
    progress("trying the GPU", 0, 0)
    checks += _guarded(Area.GPU, "GPU accelerator", gpu.gpu_checks)
    progress("looking for devices", 0, 0)
    checks += adb.adb_checks(ask_devices=ask_devices)
    jobs = (_main_job(checks, quick=quick), gpu.gpu_job(checks), adb.device_job(checks))
    return Diagnosis(tuple(checks), tuple(found), jobs)


def _guarded(
    area: Area, name: str, look: Callable[[], list[Check]], *, needed: bool = False
) -> list[Check]:
    """Run the checks of an area; a missing package becomes a check."""
    try:
        return look()
    except ImportError as error:
        remedy = "install the packages named above"
        return [Check(area, name, State.BROKEN, f"cannot be tried: {error}", remedy, needed)]
    except OSError as error:
        return [Check(area, name, State.BROKEN, f"cannot be looked at: {error}", "", needed)]


def _main_job(checks: list[Check], *, quick: bool) -> Job:
    bad = [c for c in checks if c.needed and c.is_bad]
    if bad:
        reasons = "; ".join(f"{c.name} {c.state} ({c.found})" for c in bad)
        return Job("main job", can_run=False, text=f"cannot run: {reasons}")
    text = "can run"
    if any(c.needed and c.state is State.UNCHECKED and c.area is Area.WEIGHTS for c in checks):
        text += ", after downloading the weights"
    if quick:
        text += ", as far as the packages say"
    return Job("main job", can_run=True, text=text)
