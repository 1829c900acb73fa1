"""A file that can be pushed as benchmark_model."""

import struct
from pathlib import Path

from .system import MACHINES


def write_benchmark_binary(path: Path, abi: str = "arm64-v8a") -> Path:
    """A file that looks like benchmark_model for this ABI, and that a FakeDevice emulates.

    It is the header of an ELF file and nothing to run.
    """
    header = struct.pack(
        "<16sHHIQQQIHHHHHH",
        b"\x7fELF" + bytes([1 if abi == "armeabi-v7a" else 2, 1, 1]),
        *(3, MACHINES[abi], 1, 0, 0, 0, 0, 64, 56, 0, 64, 0, 0),
    )
    path.write_bytes(header + b"benchmark_model of a device that is not there\n")
    path.chmod(0o755)
    return path
