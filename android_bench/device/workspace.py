"""The benchmark's folder on the device: a lock, and removed afterwards."""

import contextlib
import os
import platform
import re
import shlex
from collections.abc import Generator
from pathlib import Path

import psutil

from android_bench.device.adb import Device
from android_bench.device.info import free_kib
from android_bench.device.list import FOLDER
from android_bench.errors import AdbError, UnfitDeviceError
from edgesr.errors import EdgeSRError

WORKSPACE = f"{FOLDER}/edgesr-bench"
_PID = "pid"
_OWNER = "owner"
# Then, connected anew, once more; a device that reboots takes longer and keeps the folder, which
# the next benchmark finds without an owner and removes.
_BACK_LIMITS_S = (10.0, 5.0)
_CLEAN_LIMIT_S = 10.0
# What benchmark_model writes: results, caches of kernels, outputs.
_SPARE_KIB = 64 * 1024

# The program's own id was written by `program_line`; that number may be another process by now.
# -9, because what hangs in a driver does not heed less.
_CLEAN_LINE = (
    f"p=$(cat {WORKSPACE}/{_PID} 2>/dev/null); "
    f'if [ -n "$p" ] && grep -q {WORKSPACE} /proc/$p/cmdline 2>/dev/null; then kill -9 "$p"; fi; '
    f"rm -rf {WORKSPACE}; [ ! -e {WORKSPACE} ]"
)


def pid_path() -> str:
    """Where `program_line` writes the process id."""
    return f"{WORKSPACE}/{_PID}"


@contextlib.contextmanager
def workspace(device: Device) -> Generator[None]:
    """Hold the device's folder while the block runs, then remove it.

    Making the folder is what locks the device: two benchmarks at once would disturb each other. A
    folder whose owner on this host is dead is taken over.

    Raises:
        UnfitDeviceError: Another benchmark runs on the device.
        AdbError: The folder cannot be made or, at the end, not be removed.
    """
    _acquire(device)
    try:
        yield
    except BaseException as error:
        try:
            _clean(device.unstoppable())
        except EdgeSRError as left:
            if isinstance(error, EdgeSRError):
                raise AdbError(f"{error}; {left}") from error
            raise left from error
        raise
    _clean(device.unstoppable())


def put(device: Device, source: Path, name: str) -> str:
    """Push a file into the folder; its path there.

    Raises:
        AdbError: It is not there whole.
    """
    target = f"{WORKSPACE}/{name}"
    device.push(source, target)
    return target


def check_space(device: Device, needed_bytes: int) -> int:
    """Refuse a device without space for the files and results.

    Returns:
        The space that it has, in KiB.

    Raises:
        UnfitDeviceError: It has not.
        AdbError: It cannot be asked.
    """
    needed, free = needed_bytes // 1024 + _SPARE_KIB, free_kib(device)
    if free < needed:
        raise UnfitDeviceError(
            f"{device.serial} has {free // 1024} MiB free in {FOLDER}, {needed // 1024} MiB are "
            "needed; make room on the device"
        )
    return free


def _acquire(device: Device) -> None:
    owner = shlex.quote(f"{platform.node()} {os.getpid()}")
    line = f"mkdir {WORKSPACE} && echo {owner} > {WORKSPACE}/{_OWNER}"
    answer = device.run(line)
    if answer.status == 0:
        return
    if device.run(f"[ -e {WORKSPACE} ]").status == 0:
        _refuse_unless_stale(device)
        _clean(device)
        answer = device.run(line)
    if answer.status != 0:
        reason = " ".join(answer.text.split())
        raise AdbError(f"{device.serial}: cannot make {WORKSPACE}: {reason}")


def _refuse_unless_stale(device: Device) -> None:
    host, _, pid = device.ask(f"cat {WORKSPACE}/{_OWNER}").rpartition(" ")
    if host == platform.node() and re.fullmatch(r"\d+", pid) and not psutil.pid_exists(int(pid)):
        return
    who = f"process {pid} on {host}" if host else "somebody unknown"
    raise UnfitDeviceError(
        f"{device.serial} is in use by another benchmark ({who}); wait for its end, or if there is "
        f"none: adb -s {device.serial} shell rm -r {WORKSPACE}"
    )


def _clean(device: Device) -> None:
    """Kill what still runs and remove the folder.

    A device that went away is waited for.

    Raises:
        AdbError: It cannot be done; the message says what is left and how to remove it.
    """
    for attempt, limit_s in enumerate(_BACK_LIMITS_S):
        with contextlib.suppress(AdbError):
            back = device.wait_until_back(limit_s)
            if back and device.run(_CLEAN_LINE, _CLEAN_LIMIT_S).status == 0:
                return
        if attempt == 0:
            device.connect_anew()  # a connection that answers nothing may answer then
    raise AdbError(
        f"{WORKSPACE} may be left on {device.serial}: remove it with "
        f"`adb -s {device.serial} shell rm -rf {WORKSPACE}` when the device is back"
    )
