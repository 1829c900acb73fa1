"""Errors of a benchmark on a device, each with a remedy."""

from edgesr.errors import EdgeSRError


class BenchError(EdgeSRError):
    """A benchmark gave no result that can be believed."""


class SettingError(BenchError):
    """A setting contradicts itself, or the tool does not support it."""


class AdbError(BenchError):
    """adb is missing, failed, or cannot reach the device."""


class ConnectionLostError(AdbError):
    """The connection to the device broke while something ran on it.

    adb's exit status may be 0 all the same.
    """


class TimeLimitError(AdbError):
    """The device, or what ran on it, did not answer in time."""


class UnfitDeviceError(BenchError):
    """The device cannot be measured: too hot, full, in use, wrong processor."""


class BinaryError(BenchError):
    """The benchmark_model is missing, not for Android, or for another processor."""


class LogError(BenchError):
    """The output of benchmark_model is no complete and consistent result."""


class ToolError(BenchError):
    """benchmark_model failed, or did not do what it was told.

    Attributes:
        log: Everything that it said.
    """

    def __init__(self, message: str, log: str = "") -> None:
        super().__init__(message)
        self.log = log


class DelegationError(ToolError):
    """Something other than the requested delegate ran a part of the graph."""


class StoppedError(BenchError):
    """The user interrupted."""
