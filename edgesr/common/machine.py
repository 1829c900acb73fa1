"""Facts on machine and code for the records of trainings and measurements."""

import contextlib
import math
import platform
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

from edgesr import __version__


def machine() -> dict[str, Any]:
    """Processor, system, GPU and versions."""
    import numpy as np
    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "processor": processor(),
        "system": system(),
        "gpu": gpu,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "edgesr": __version__,
        "commit": commit(),
    }


def system() -> str:
    """Operating system and architecture."""
    return f"{platform.system()} {platform.machine()}"


def processor() -> str:
    """The processor's name; "unknown" where the system has none."""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        if sys.platform == "darwin":
            asked = ["sysctl", "-n", "machdep.cpu.brand_string"]
            return subprocess.check_output(asked, text=True, timeout=5).strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def free_bytes() -> float:
    """Memory available without swapping; unbounded where it is unknown."""
    import psutil

    try:
        return float(psutil.virtual_memory().available)
    except (OSError, psutil.Error):  # e.g. a container without /proc
        return math.inf


@cache
def commit() -> str:
    """The commit of the code, with `-dirty` where files differ from it; else "unknown"."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    folder = Path(__file__).parent
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    # An installed copy may lie inside somebody else's repository, which then ignores it.
    tracked = subprocess.run(
        ["git", "ls-files", "--error-unmatch", Path(__file__).name],
        cwd=folder,
        capture_output=True,
    )
    if done.returncode or tracked.returncode:
        return "unknown"
    return done.stdout.strip()


def system_package(package: str, what: str) -> str:
    """The command that installs a Debian package, or what to install where there is no apt."""
    if shutil.which("apt-get"):
        return f"apt-get install {package}"
    return f"install {what} (Debian's package {package}) with your system's package manager"
