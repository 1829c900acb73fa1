"""Checks of the Vulkan loader, its drivers, and LiteRT's GPU accelerator."""

import ctypes
import re
import sys
from collections.abc import Sequence

from edgesr.common.machine import system_package
from edgesr.doctor.check import Area, Check, Job, State
from edgesr.errors import EdgeSRError, NoGpuError, NoHalfPrecisionError
from edgesr.runtime.vulkan import DRIVER_VARIABLES, find_drivers

_LOADER = "libvulkan.so.1"
_LIMIT_S = 60.0
_LOADER_NAME, _DRIVER_NAME = "Vulkan loader", "Vulkan driver"
_FP32_NAME, _FP16_NAME = "GPU accelerator", "FP16 on the GPU"


def gpu_checks() -> list[Check]:
    """Check loader, drivers, and a tiny model on the accelerator."""
    before = [_loader(), *_drivers()] if sys.platform == "linux" else []
    if any(check.is_bad for check in before):
        why = f"needs the {next(c.name for c in before if c.is_bad)}"
        untried = [Check(Area.GPU, n, State.UNCHECKED, why) for n in (_FP32_NAME, _FP16_NAME)]
        return [*before, *untried]
    single = _accelerator(half=False)
    if single.is_bad:
        why = "needs the GPU accelerator"
        return [*before, single, Check(Area.GPU, _FP16_NAME, State.UNCHECKED, why)]
    return [*before, single, _accelerator(half=True)]


def gpu_job(checks: Sequence[Check]) -> Job:
    """Whether a file can be tried on the accelerator here."""
    name = "GPU gate"
    bad = [c for c in checks if c.area is Area.GPU and c.is_bad and c.name != _FP16_NAME]
    if bad:
        text = f"cannot run: {bad[0].name} {bad[0].state} ({bad[0].found})"
        return Job(name, can_run=False, text=text)
    single = next(c for c in checks if c.name == _FP32_NAME)
    half = any(c.name == _FP16_NAME and c.state is State.OK for c in checks)
    precisions = "in FP32 and FP16" if half else "in FP32"
    return Job(name, can_run=True, text=f"can run on {single.found}, {precisions}")


def _loader() -> Check:
    package = "libvulkan1"
    try:
        ctypes.CDLL(_LOADER)
    except OSError as error:
        remedy = system_package(package, "the Vulkan loader")
        if "cannot open shared object file" in str(error):
            return Check(Area.GPU, _LOADER_NAME, State.MISSING, f"no {_LOADER}", remedy)
        remedy = remedy.replace("install", "install --reinstall", 1)
        return Check(Area.GPU, _LOADER_NAME, State.BROKEN, str(error), remedy)
    return Check(Area.GPU, _LOADER_NAME, State.OK, _LOADER)


def _drivers() -> list[Check]:
    try:
        drivers = find_drivers()
    except NoGpuError as error:
        remedy = f"unset {' '.join(DRIVER_VARIABLES)}"
        return [Check(Area.GPU, _DRIVER_NAME, State.BROKEN, str(error), remedy)]
    if not drivers:
        found = "no manifest; Chromium brings a software device"
        remedy = system_package("chromium", "Chromium")
        return [Check(Area.GPU, _DRIVER_NAME, State.MISSING, found, remedy)]
    return [Check(Area.GPU, _DRIVER_NAME, State.OK, f"{d} ({d.kind})") for d in drivers]


def _accelerator(*, half: bool) -> Check:
    """A tiny model on the accelerator."""
    from edgesr.runtime.gpu import describe_device, probe_device

    name = _FP16_NAME if half else _FP32_NAME
    try:
        device = probe_device(half=half, time_limit_s=_LIMIT_S)
    except NoHalfPrecisionError:
        found = "the device has none; `edgesr verify --backend cpu-fp16` computes in FP16"
        return Check(Area.GPU, name, State.MISSING, found, "use a GPU that has it")
    except EdgeSRError as error:
        return Check(Area.GPU, name, State.BROKEN, str(error), _remedy(str(error)))
    return Check(Area.GPU, name, State.OK, describe_device(device, with_precision=False))


def _remedy(message: str) -> str:
    """Command that an error names in backticks."""
    commands = re.findall(r"`([^`]+)`", message)
    return commands[-1] if commands else ""
