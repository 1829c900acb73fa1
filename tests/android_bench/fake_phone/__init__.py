"""A phone for tests: the real adb client and server talk to it, benchmark_model is played."""

from .adb_server import AdbServer
from .benchmark import Dialect
from .device import Heat
from .faults import Fault
from .phone import FakePhone, Run, write_benchmark_binary
from .timing import Speed
from .wire import VERSION_CHECKSUM

__all__ = [
    "VERSION_CHECKSUM",
    "AdbServer",
    "Dialect",
    "FakePhone",
    "Fault",
    "Heat",
    "Run",
    "Speed",
    "write_benchmark_binary",
]
