"""Facts, health and fast cores of a device.

Sources: AOSP, ThermalManagerService.dumpInternal, BatteryService.dumpInternal, toybox df.
"""

import datetime
import math
import re
from collections.abc import Sequence

from android_bench.device.adb import Device
from android_bench.device.list import FOLDER
from android_bench.errors import UnfitDeviceError
from android_bench.record import DeviceInfo, Health

_PROPERTY = re.compile(r"\[(.+?)\]: \[(.*)\]")
_STATUS = re.compile(r"^Thermal Status: (\d+)\s*$", re.MULTILINE)
_TEMPERATURE = re.compile(r"Temperature\{mValue=([-\d.]+), mType=-?\d+, mName=([^,]+), mStatus=")
_SPACE = re.compile(r"\s(\d+)\s+(\d+)\s+(\d+)\s+\d+%\s")
_CPU = "/sys/devices/system/cpu"
_CLOCK = re.compile(r"/cpu(\d+)/cpufreq/\w+:(\d+)$", re.MULTILINE)
_MARK = "=edgesr="
# Boards without a battery report 26 for 26 degrees, or anything.
_LEAST_TENTHS = 50

_FACTS_LINE = (
    f"getprop; echo {_MARK}; cat /proc/meminfo; echo {_MARK}; "
    f"grep -H . {_CPU}/cpu[0-9]*/cpufreq/cpuinfo_max_freq 2>/dev/null; echo {_MARK}; uname -r"
)
_HEALTH_LINE = (
    f"dumpsys thermalservice 2>/dev/null; echo {_MARK}; dumpsys battery 2>/dev/null; echo {_MARK}; "
    f"grep -H . {_CPU}/cpu[0-9]*/cpufreq/scaling_max_freq 2>/dev/null; echo {_MARK}; "
    f"cat /proc/meminfo; echo {_MARK}; cat /proc/sys/kernel/random/boot_id"
)


def read_facts(device: Device) -> DeviceInfo:
    """Ask a phone for its maker, model, SoC, Android, memory and clocks.

    Raises:
        UnfitDeviceError: It has not finished booting.
        AdbError: It cannot be asked.
    """
    properties, memory, clocks, kernel = _parts(device, _FACTS_LINE, 4)
    values = parse_properties(properties)
    # Images without this property exist, but a 0 or an empty value says that it still boots.
    if values.get("sys.boot_completed", "1") != "1":
        raise UnfitDeviceError(f"{device.serial} has not finished booting; wait until it has")
    abis = values.get("ro.product.cpu.abilist") or values.get("ro.product.cpu.abi", "")
    sdk = values.get("ro.build.version.sdk", "")
    return DeviceInfo(
        serial=device.serial,
        manufacturer=values.get("ro.product.manufacturer", ""),
        model=values.get("ro.product.model", ""),
        device=values.get("ro.product.device", ""),
        soc=soc_name(values),
        android=values.get("ro.build.version.release", ""),
        sdk=int(sdk) if sdk.isdecimal() else None,
        fingerprint=values.get("ro.build.fingerprint", ""),
        abis=tuple(filter(None, abis.split(","))),
        memory_kib=_memory(memory, "MemTotal"),
        cpu_khz=parse_clocks(clocks),
        kernel=kernel.strip(),
    )


def read_health(device: Device) -> Health:
    """Read the health of the device now.

    Raises:
        AdbError: It cannot be asked.
    """
    thermal, battery, clocks, memory, boot_id = _parts(device, _HEALTH_LINE, 5)
    values = dict(re.findall(r"^  ([\w ]+): (\S+)\s*$", battery, re.MULTILINE))
    fed = [values[name] for name in values if name.endswith(" powered")]
    level = values.get("level", "")
    status = _STATUS.search(thermal)
    return Health(
        at=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds"),
        thermal_status=int(status[1]) if status else None,
        battery_celsius=battery_celsius(values),
        battery_percent=int(level) if level.isdecimal() else None,
        plugged="true" in fed if fed else None,
        temperatures=parse_temperatures(thermal),
        max_khz=parse_clocks(clocks),
        memory_available_kib=_memory(memory, "MemAvailable"),
        boot_id=boot_id.strip(),
    )


def free_kib(device: Device) -> int:
    """Space that is left where files are pushed to.

    Raises:
        AdbError: The device cannot be asked, or its answer not be read.
    """
    text = device.require(f"df -k {FOLDER}", "ask for the free space")
    return parse_free_kib(text, device.serial)


def parse_free_kib(text: str, serial: str) -> int:
    """The column `Available` of `df -k`.

    Raises:
        UnfitDeviceError: There is none.
    """
    found = _SPACE.findall(f" {text} ")
    if not found:
        raise UnfitDeviceError(f"{serial}: `df -k {FOLDER}` says: {text[:200]!r}")
    return int(found[-1][2])


def parse_properties(text: str) -> dict[str, str]:
    """Name -> value of what getprop prints."""
    return dict(_PROPERTY.findall(text))


def soc_name(properties: dict[str, str]) -> str:
    """Manufacturer and model of the chip; the board before Android 12."""
    for names in (
        ("ro.soc.manufacturer", "ro.soc.model"),
        ("ro.hardware.chipname",),
        ("ro.board.platform",),
        ("ro.hardware",),
    ):
        values = [properties.get(name, "") for name in names]
        if values[-1] and values[-1] != "unknown":
            return " ".join(filter(None, values))
    return ""


def parse_temperatures(text: str) -> dict[str, float]:
    """Parse `dumpsys thermalservice`: sensor -> degrees Celsius.

    Sensors without a value are left out.

    What the sensors say now comes after what was cached, and replaces it.
    """
    found = {name: _float(value) for value, name in _TEMPERATURE.findall(text)}
    return {name: value for name, value in found.items() if value is not None and value != 0.0}


def battery_celsius(battery: dict[str, str]) -> float | None:
    """Temperature by `dumpsys battery`, whose values are tenths of a degree."""
    tenths = battery.get("temperature", "")
    if battery.get("present") == "false" or not tenths.isdecimal() or int(tenths) < _LEAST_TENTHS:
        return None
    return int(tenths) / 10


def parse_clocks(text: str) -> tuple[int | None, ...]:
    """Parse one clock per CPU, in kHz, from lines of grep.

    None where a CPU has none.
    """
    found = {int(cpu): int(khz) for cpu, khz in _CLOCK.findall(text)}
    return tuple(found.get(cpu) for cpu in range(max(found, default=-1) + 1))


def fast_cores(clocks: Sequence[int | None], threads: int) -> str | None:
    """The mask, in hexadecimal, of the cores with the highest clock.

    Where those are fewer than threads, the next fastest are taken too. None where the clocks are
    not known, or where all cores would be taken anyway.
    """
    known = [khz for khz in clocks if khz is not None]
    if len(known) != len(clocks) or len(clocks) < threads:
        return None
    for least in sorted(set(known), reverse=True):
        chosen = [cpu for cpu, khz in enumerate(known) if khz >= least]
        if len(chosen) >= threads:
            mask = f"{sum(1 << cpu for cpu in chosen):x}"
            return mask if len(chosen) < len(clocks) else None
    return None


def is_throttled(before: Health, after: Health) -> bool:
    """Whether heat slowed the device down between two moments."""
    lowered = any(
        was is not None and now is not None and now < was
        for was, now in zip(before.max_khz, after.max_khz, strict=False)
    )
    return lowered or (after.thermal_status or 0) > 0


def _parts(device: Device, line: str, count: int) -> list[str]:
    parts = device.run(line).text.split(f"{_MARK}\n")
    if len(parts) != count:
        raise UnfitDeviceError(f"{device.serial} does not say what it is: {parts[0][:200]!r}")
    return parts


def _memory(text: str, name: str) -> int | None:
    match = re.search(rf"^{name}:\s+(\d+) kB", text, re.MULTILINE)
    return int(match[1]) if match else None


def _float(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
