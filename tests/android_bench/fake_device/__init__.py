"""A device for tests: the real adb client and server talk to it, benchmark_model is emulated."""

from .adb.adb_server import AdbServer
from .adb.wire import VERSION_CHECKSUM
from .benchmark_model.dialects import Dialect
from .benchmark_model.timing import Speed
from .binary import write_benchmark_binary
from .device import FakeDevice
from .faults import Fault
from .run import Run
from .system import Heat

__all__ = [
    "VERSION_CHECKSUM",
    "AdbServer",
    "Dialect",
    "FakeDevice",
    "Fault",
    "Heat",
    "Run",
    "Speed",
    "write_benchmark_binary",
]
