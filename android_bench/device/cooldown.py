"""Waiting for a device to cool down: a warm one is slower."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from android_bench.device.adb import Device
from android_bench.device.info import read_health
from android_bench.errors import StoppedError, UnfitDeviceError
from android_bench.record import Health
from edgesr.common.progress import ProgressCallback, silent

_STATUS_NAMES = ("none", "light", "moderate", "severe", "critical", "emergency", "shutdown")


@dataclass(frozen=True)
class Cooldown:
    """When a device is cool enough, and how long that may take.

    Attributes:
        battery_celsius: The battery may be that warm.
        limit_s: How long to wait at the most.
        poll_s: How often to look.
    """

    battery_celsius: float = 38.0
    limit_s: float = 600.0
    poll_s: float = 2.0

    def too_hot(self, health: Health) -> str | None:
        """Explain why the device is too warm; None if it is not.

        A value that the device does not report does not keep it waiting.
        """
        if health.thermal_status:
            names = _STATUS_NAMES
            status = health.thermal_status
            name = names[status] if status < len(names) else "unknown"
            return f"thermal status {status} ({name}), allowed 0"
        if health.battery_celsius is not None and health.battery_celsius > self.battery_celsius:
            return f"battery at {health.battery_celsius:g} C, allowed {self.battery_celsius:g}"
        return None

    def wait(self, device: Device, progress: ProgressCallback = silent) -> Health:
        """Wait until the device is cool, and say how it is then.

        Raises:
            UnfitDeviceError: It is still too warm at the end of the time.
            AdbError: It cannot be asked.
            StoppedError: The user interrupted.
        """
        began = time.monotonic()
        while (reason := self.too_hot(health := read_health(device))) is not None:
            waited_s = time.monotonic() - began
            if waited_s >= self.limit_s:
                raise UnfitDeviceError(
                    f"{device.serial} is too hot: {reason}, after {waited_s:.0f} s of waiting; let "
                    "it cool, take it out of its case, or wait longer with --cool-down"
                )
            progress(f"{device.serial} cools down", int(waited_s), int(self.limit_s))
            _sleep(device, min(self.poll_s, self.limit_s - waited_s))
        return health


def _sleep(device: Device, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
    stop, end = device.adb.stop, clock() + seconds
    if stop is None:
        time.sleep(seconds)
    elif stop.wait(max(0.0, end - clock())):
        raise StoppedError("interrupted")
