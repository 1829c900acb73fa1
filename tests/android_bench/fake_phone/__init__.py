"""A phone for tests: the real adb client and server talk to it, benchmark_model is played."""

from .adb_server import AdbServer
from .binary import write_benchmark_binary
from .device import Heat
from .faults import Fault
from .phone import FakePhone
from .run import Run
from .timing import Speed
from .voice import Dialect
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
