"""Why a phone gave no result: each is one line that says what to do."""

from edgesr.errors import EdgeSRError


class BenchError(EdgeSRError):
    """A benchmark gave no result that can be believed."""


class SettingError(BenchError):
    """What is to be measured contradicts itself, or the tool cannot do it."""


class AdbError(BenchError):
    """adb is missing or failed, or the phone cannot be reached through it."""


class ConnectionLostError(AdbError):
    """The phone went away while something ran on it, whatever adb's exit status says."""


class TimeLimitError(AdbError):
    """The phone, or what ran on it, did not answer in time."""


class DeviceError(BenchError):
    """The phone is not fit for the measurement: too hot, full, in use, of another processor."""


class BinaryError(BenchError):
    """The benchmark_model to be run is missing, no Android program, or of another processor."""


class LogError(BenchError):
    """What benchmark_model said is no complete and consistent result."""


class ToolError(BenchError):
    """benchmark_model failed, or did not do what it was told.

    Attributes:
        log: Everything that it said.
    """

    def __init__(self, message: str, log: str = "") -> None:
        super().__init__(message)
        self.log = log


class DelegationError(ToolError):
    """Something else than the delegate that was asked for computed, wholly or in part."""


class StoppedError(BenchError):
    """The user interrupted."""
