"""Devices that an adb server lists, their states and remedies."""

import re
from dataclasses import dataclass

from edgesr.common.machine import system_package

#: Where adb may write and run programs on every device.
FOLDER = "/data/local/tmp"

_LINE = re.compile(
    r"(?P<serial>\S+)\s+(?P<state>\S.*?)"
    r"(?P<facts>(?: (?:usb|product|model|device|transport_id):\S+)*)"
)
_MODEL = re.compile(r" model:(\S+)")
_REMEDIES = {
    "unauthorized": "unlock the device and accept its question about USB debugging",
    "authorizing": "unlock the device and accept its question about USB debugging",
    "connecting": "wait a moment",
    "offline": "adb reconnect offline",
    "recovery": "adb reboot",
    "rescue": "adb reboot",
    "sideload": "adb reboot",
    "bootloader": "fastboot reboot",
}


@dataclass(frozen=True)
class Listed:
    """A device that adb lists.

    Attributes:
        serial: Its serial number, or address and port.
        state: `device` if it can be used.
        model: Its model, where adb knows it.
    """

    serial: str
    state: str
    model: str

    def __str__(self) -> str:
        return f"{self.model} ({self.serial})" if self.model else self.serial


def parse_listed(line: str) -> Listed | None:
    """Parse a line of `adb devices -l`.

    For example `R3C  device usb:1-4 product:p model:Pixel_8 device:d ...`.
    """
    match = _LINE.fullmatch(line.strip())
    if match is None:
        return None
    model = _MODEL.search(match["facts"])
    return Listed(match["serial"], match["state"], model[1].replace("_", " ") if model else "")


def device_remedy(serial: str, state: str) -> str:
    """Remedy for a state other than `device`: a command or an instruction."""
    if state.startswith("no permissions"):
        if "not in the plugdev group" in state:
            return "usermod --append --groups plugdev $USER, and log in again"
        return system_package("android-sdk-platform-tools-common", "the udev rules for devices")
    if state == "offline" and is_address(serial):
        # adb 29 forgets an address for good when told to reconnect it.
        return f"adb disconnect {serial} && adb connect {serial}"
    remedy = _REMEDIES.get(state, "plug it in again")
    return remedy.replace("adb reboot", f"adb -s {serial} reboot")


def is_address(serial: str) -> bool:
    """Whether adb reaches the device by network, at `HOST:PORT`."""
    return re.fullmatch(r"\S+:\d{1,5}", serial) is not None
