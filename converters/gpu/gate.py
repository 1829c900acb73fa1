"""The GPU backends of this machine, for gates and `--backend`."""

from dataclasses import dataclass

from edgesr.errors import NoGpuError, NoHalfPrecisionError
from edgesr.runtime.gpu import probe_device
from edgesr.runtime.session import Backend

_NOT_REQUESTED = "not requested; `edgesr convert --gate gpu`"


@dataclass(frozen=True)
class GpuBackends:
    """The GPU backends that a gate can use.

    Attributes:
        backends: The backends; none where there is no device.
        why_not: Why there is none, or why FP16 arithmetic is left out; else empty.
    """

    backends: tuple[Backend, ...]
    why_not: str = ""


def find_gpu_backends(*, wanted: bool = True) -> GpuBackends:
    """Run a tiny model to find the GPU accelerator's backends.

    Args:
        wanted: Whether the GPU was requested; if not, nothing is run.

    Raises:
        AcceleratorError: There is a device, but the accelerator crashes on it.
    """
    if not wanted:
        return GpuBackends((), _NOT_REQUESTED)
    try:
        probe_device()
    except NoGpuError as error:
        return GpuBackends((), str(error))
    try:
        probe_device(half=True)
    except NoHalfPrecisionError as error:
        return GpuBackends((Backend.GPU,), str(error))
    return GpuBackends((Backend.GPU, Backend.GPU_FP16))


def chosen_backends(choice: str) -> tuple[tuple[Backend, ...], str]:
    """The backends that a value of `--backend` stands for.

    Args:
        choice: A backend's name; `gpu` adds FP16 arithmetic where the device supports it; `all`.

    Returns:
        The backends, and why one was left out (empty if none was).

    Raises:
        NoGpuError: A GPU is required and there is none.
        AcceleratorError: There is a device, but the accelerator crashes on it.
    """
    if choice not in ("gpu", "all"):
        return (Backend(choice),), ""
    found = find_gpu_backends()
    if not found.backends:
        raise NoGpuError(found.why_not)
    cpu = (Backend.CPU, Backend.CPU_FP16) if choice == "all" else ()
    return cpu + found.backends, found.why_not
