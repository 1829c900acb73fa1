"""Checks of adb and its devices; a server starts only on request."""

import os
import re
import shutil
from collections.abc import Sequence

from android_bench.device.adb import Adb, Device
from android_bench.device.list import FOLDER, Listed, device_remedy, parse_listed
from android_bench.device.server import AdbServerError, is_listening, list_devices
from android_bench.errors import AdbError
from edgesr.common import subprocesses
from edgesr.common.machine import system_package
from edgesr.doctor.check import Area, Check, Job, State

_PORT_VARIABLE = "ANDROID_ADB_SERVER_PORT"
_DEFAULT_PORT = "5037"
_VERSION_LIMIT_S = 10.0
_START_LIMIT_S = 30.0
_ADB_NAME, _DEVICES_NAME = "adb", "devices"


def adb_checks(*, ask_devices: bool) -> list[Check]:
    """Check the program, its version, and the devices of its server."""
    program = shutil.which("adb")
    adb = _adb(program)
    port = os.environ.get(_PORT_VARIABLE) or _DEFAULT_PORT
    if not (port.isascii() and port.isdecimal() and 0 < int(port) < 2**16):
        found = f"got {_PORT_VARIABLE}={port}, allowed 1 to 65535"
        return [adb, _devices(State.BROKEN, found, f"unset {_PORT_VARIABLE}")]
    if not is_listening(int(port)):
        if not ask_devices:
            found = f"not asked: no adb server runs on port {port}"
            return [adb, _devices(State.UNCHECKED, found, "edgesr doctor --devices")]
        if program is None or adb.is_bad:
            return [adb, _devices(State.UNCHECKED, "not asked: needs adb", adb.remedy)]
        ended = subprocesses.run_to_end([program, "-P", port, "start-server"], _START_LIMIT_S)
        if ended.status != 0:
            found = f"no adb server can be started on port {port}: {ended.reason}"
            return [adb, _devices(State.BROKEN, found)]
    return [adb, *_listed(int(port), program if ask_devices and not adb.is_bad else None)]


def device_job(checks: Sequence[Check]) -> Job:
    """Whether a device is ready."""
    name = "device benchmark"
    adb = next(c for c in checks if c.name == _ADB_NAME)
    if adb.is_bad:
        return Job(name, can_run=False, text=f"cannot run: adb {adb.state} ({adb.found})")
    devices = [c for c in checks if c.area is Area.DEVICE and c is not adb]
    ready = [c.found for c in devices if c.state is State.OK]
    if ready:
        return Job(name, can_run=True, text=f"a device is ready: {', '.join(ready)}")
    found = "; ".join(c.found for c in devices)
    if all(c.state is State.UNCHECKED for c in devices):
        return Job(name, can_run=None, text=found)
    return Job(name, can_run=False, text=f"cannot run: {found}")


def _adb(program: str | None) -> Check:
    remedy = system_package("adb", "adb")
    if program is None:
        return Check(Area.DEVICE, _ADB_NAME, State.MISSING, "not in PATH", remedy)
    try:
        ended = subprocesses.run_to_end([program, "version"], _VERSION_LIMIT_S)
    except OSError as error:
        reason = f"{program} cannot be started: {error.strerror or error}"
        return Check(Area.DEVICE, _ADB_NAME, State.BROKEN, reason, remedy)
    versions = re.findall(r"[Vv]ersion (\S+)", ended.out)
    if ended.status != 0 or not versions:
        reason = ended.reason if ended.status != 0 else "`adb version` names no version"
        return Check(Area.DEVICE, _ADB_NAME, State.BROKEN, f"{program}: {reason}", remedy)
    return Check(Area.DEVICE, _ADB_NAME, State.OK, f"{versions[-1]}, {program}")


def _devices(state: State, found: str, remedy: str = "") -> Check:
    return Check(Area.DEVICE, _DEVICES_NAME, state, found, remedy)


def _listed(port: int, program: str | None) -> list[Check]:
    """One check per device that the server sees; with a program, writing to it is tried."""
    try:
        lines = list_devices(port)
    except (AdbServerError, OSError) as error:
        found = f"what listens on port {port} is no adb server: {error}"
        return [_devices(State.BROKEN, found, f"export {_PORT_VARIABLE}=PORT, a free one")]
    if not lines:
        found = "the adb server sees none"
        remedy = "plug a device in with USB debugging on, or `adb connect ADDRESS`"
        return [_devices(State.MISSING, found, remedy)]
    return [_device(line, program) for line in lines]


def _device(line: str, program: str | None) -> Check:
    device = parse_listed(line)
    if device is None:
        return _devices(State.BROKEN, f"the adb server says: {line.strip()}")
    if device.state == "device":
        return _usable(device, program)
    return _devices(
        State.BROKEN, f"{device} is {device.state}", device_remedy(device.serial, device.state)
    )


def _usable(device: Listed, program: str | None) -> Check:
    """Whether the folder that benchmarks use can be written."""
    if program is None:
        return _devices(State.OK, str(device))
    probe = f"{FOLDER}/.edgesr-doctor"
    try:
        answer = Device(Adb(program), device.serial).run(f"echo > {probe} && rm {probe}")
    except AdbError as error:
        return _devices(State.BROKEN, f"{device} does not answer: {error}")
    if answer.status == 0:
        return _devices(State.OK, str(device))
    reason = " ".join(answer.text.split())[:200]
    remedy = f"reboot the device: adb -s {device.serial} reboot"
    return _devices(State.BROKEN, f"{device}: {FOLDER} cannot be written: {reason}", remedy)
