"""Which GPU backends this machine has, for gates that include the GPU where there is one."""

from dataclasses import dataclass

from edgesr.errors import NoGpuError, NoHalfPrecisionError
from edgesr.gpu import probe_device
from edgesr.runtime import Backend

_NOT_ASKED = "not asked for; `edgesr convert --gate gpu`"


@dataclass(frozen=True)
class FoundGpu:
    """What a GPU gate can use.

    Attributes:
        backends: The backends; none where there is no device.
        why_not: Why there is none, or why FP16 arithmetic is left out; empty if nothing is.
    """

    backends: tuple[Backend, ...]
    why_not: str = ""


def look_for_gpu(*, wanted: bool = True) -> FoundGpu:
    """Find out by running a tiny model what the GPU accelerator can do here.

    Args:
        wanted: Whether anybody asked; if not, nothing is run.

    Raises:
        AcceleratorError: There is a device, but the accelerator crashes on it.
    """
    if not wanted:
        return FoundGpu((), _NOT_ASKED)
    try:
        probe_device()
    except NoGpuError as error:
        return FoundGpu((), str(error))
    try:
        probe_device(half=True)
    except NoHalfPrecisionError as error:
        return FoundGpu((Backend.GPU,), str(error))
    return FoundGpu((Backend.GPU, Backend.GPU_FP16))


def chosen_backends(choice: str) -> tuple[tuple[Backend, ...], str]:
    """The backends behind `--backend`.

    Args:
        choice: A backend's name; `gpu` means FP16 arithmetic too, where the device has it; `all`.

    Returns:
        The backends, and what was left out and why.

    Raises:
        NoGpuError: A GPU is asked for and there is none.
        AcceleratorError: There is a device, but the accelerator crashes on it.
    """
    if choice not in ("gpu", "all"):
        return (Backend(choice),), ""
    found = look_for_gpu()
    if not found.backends:
        raise NoGpuError(found.why_not)
    cpu = (Backend.CPU, Backend.CPU_FP16) if choice == "all" else ()
    return cpu + found.backends, found.why_not
