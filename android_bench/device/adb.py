"""Devices through the real `adb`, whose word is never taken for success.

`adb shell` ends with status 0 also where the connection broke, the device rebooted or its features
lack shell_v2; `adb push` where nothing was written. So every command carries its exit status back
in its own output, every pushed file its digest, and every call a time limit, for adb has none.

Source: AOSP, packages/modules/adb, client/commandline.cpp and client/file_sync_client.cpp.
"""

import asyncio
import re
import secrets
import shutil
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from android_bench.device.list import Listed, device_remedy, is_address, parse_listed
from android_bench.errors import AdbError, ConnectionLostError, StoppedError, TimeLimitError
from edgesr.common import subprocesses
from edgesr.weights.download import file_sha256

_LIMIT_S = 30.0  # of a command that only looks; the first one may have to start the server
_BYTES_PER_S = 500_000  # the slowest transfer that is waited for
_CONNECT_LIMIT_S = 15.0  # a peer that is silent keeps `adb connect` for 10 s
_STOP_POLL_S = 0.1
_STATE_POLL_S = 0.25

# adb puts "error:" or its own name first, depending on its version.
_ERROR = re.compile(r"^(?:error|adb(?:\.exe)?): (?:error: )?(.*)", re.MULTILINE)

# A command finds a device in one of these states only if it changed after adb listed it.
_BAD_STATES = ("unauthorized", "authorizing", "offline", "connecting", "no permissions")
_TRANSFER_REMEDIES = {
    "No space left on device": "make room on the device",
    "Read-only file system": "its /data is read-only; reboot the device",
    "Permission denied": "the folder is not the shell user's; remove it",
}


@dataclass(frozen=True)
class Answer:
    """Exit status and output of a command on the device.

    Attributes:
        status: Its exit status.
        text: Its output, standard error where the device does not merge it at the end.
    """

    status: int
    text: str


@dataclass(frozen=True)
class Adb:
    """Runs the installed adb program, each call with a time limit.

    Attributes:
        program: Its path.
        stop: When set, what runs is ended and `StoppedError` is raised.
    """

    program: str
    stop: threading.Event | None = None

    def call(self, arguments: Sequence[str], limit_s: float) -> subprocesses.ProcessResult:
        """Run the client to its end.

        Raises:
            AdbError: It cannot be started.
            StoppedError: The user interrupted.
        """
        try:
            return asyncio.run(_unless(self.stop, [self.program, *arguments], limit_s))
        except OSError as error:
            raise AdbError(f"cannot start {self.program}: {error.strerror or error}") from error

    def version(self) -> str:
        """Version of adb, e.g. `1.0.41 29.0.6-debian`."""
        text = self.call(["version"], _LIMIT_S).out
        return " ".join(re.findall(r"[Vv]ersion (\S+)", text)) or "unknown"

    def devices(self) -> list[Listed]:
        """All devices that adb sees, whatever their state.

        Raises:
            AdbError: adb does not answer.
        """
        ended = self.call(["devices", "-l"], _LIMIT_S)
        if ended.status != 0:
            raise AdbError(f"`adb devices` failed: {ended.reason}; try `adb kill-server`")
        lines = ended.out.partition("List of devices attached")[2].splitlines()
        return [
            parse_listed(line) or Listed(line.split()[0], "unknown", "")
            for line in lines
            if line.strip()
        ]


def find_adb(stop: threading.Event | None = None) -> Adb:
    """Look for the adb program in PATH.

    Raises:
        AdbError: There is none.
    """
    program = shutil.which("adb")
    if program is None:
        raise AdbError(
            "no `adb` in PATH; install it (Debian: apt install adb; others: Android SDK "
            "Platform-Tools)"
        )
    return Adb(program, stop)


def choose_devices(listed: Sequence[Listed], serials: Sequence[str]) -> list[Listed]:
    """Choose the devices with these serials; without any, the only one.

    Raises:
        AdbError: There is none, there are several to choose from, or one cannot be used.
    """
    if not listed:
        raise AdbError(
            "adb sees no device; plug one in with USB debugging on, or `adb connect ADDRESS`"
        )
    names = ", ".join(map(str, listed))
    if not serials and len(listed) > 1:
        raise AdbError(f"adb sees {len(listed)} devices: {names}; say which with --serial")
    by_serial = {device.serial: device for device in listed}
    missing = [serial for serial in serials if serial not in by_serial]
    if missing:
        raise AdbError(f"adb sees no device {missing[0]}, allowed: {names}; plug it in")
    chosen = [by_serial[serial] for serial in dict.fromkeys(serials)] or list(listed)
    for device in chosen:
        if device.state != "device":
            raise AdbError(
                f"{device} is {device.state}; {device_remedy(device.serial, device.state)}"
            )
    return chosen


@dataclass(frozen=True)
class Device:
    """A phone by its serial number: shell commands and files over adb.

    Attributes:
        adb: The client.
        serial: Which device.
    """

    adb: Adb
    serial: str

    def unstoppable(self) -> "Device":
        """The same for what must be done after an interruption too."""
        return replace(self, adb=replace(self.adb, stop=None))

    def run(self, line: str, limit_s: float = _LIMIT_S) -> Answer:
        """Run one line in the device's shell.

        Raises:
            ConnectionLostError: No exit status came back.
            TimeLimitError: It did not end in time.
            AdbError: The device cannot be reached.
            StoppedError: The user interrupted.
        """
        # A word that no program prints: what comes after it is the line's own status.
        mark = f"__edgesr_{secrets.token_hex(8)}="
        ended = self._call(["shell", f'{line}; echo "{mark}$?"'], limit_s, line)
        out = ended.out.replace("\r\n", "\n")  # before Android 7 there was a terminal
        text, found, status = out.rpartition(mark)
        if not found or not re.fullmatch(r"\d{1,3}\n", status):
            self._raise(ended, f"`{_short(line)}` ran")
        return Answer(int(status), text + ended.err)

    def ask(self, line: str, limit_s: float = _LIMIT_S) -> str:
        """Run a line of shell and return its stripped output.

        Empty where it fails.

        Raises:
            AdbError: As `run`.
        """
        answer = self.run(line, limit_s)
        return answer.text.strip() if answer.status == 0 else ""

    def require(self, line: str, what: str, limit_s: float = _LIMIT_S) -> str:
        """The same where failing is an error.

        Args:
            line: A line of shell.
            what: What cannot be done if it fails, as in "cannot ...".
            limit_s: Time limit.

        Raises:
            AdbError: It failed; and as `run`.
        """
        answer = self.run(line, limit_s)
        if answer.status != 0:
            reason = " ".join(answer.text.split()) or f"status {answer.status}"
            raise AdbError(f"{self.serial}: cannot {what}: {reason}")
        return answer.text.strip()

    def push(self, source: Path, target: str) -> None:
        """Copy a file to the device and compare its digest there.

        Raises:
            AdbError: It is not there, or not whole.
        """
        size = source.stat().st_size
        limit_s = _LIMIT_S + size / _BYTES_PER_S
        ended = self._call(["push", str(source), target], limit_s, f"push of {source.name}")
        if ended.status != 0 or " 0 files pushed" in f" {ended.out}":
            self._raise_transfer(ended, f"copy {source.name} to the device")
        self._check_digest(source, target)

    def take(self, source: str, target: Path, most_bytes: int) -> None:
        """Copy a file from the device and remove it there.

        Args:
            source: The file on the device.
            target: Where to write it.
            most_bytes: How large it may be, for the time limit.

        Raises:
            AdbError: It is not there, did not come whole, or cannot be removed.
        """
        limit_s = _LIMIT_S + most_bytes / _BYTES_PER_S
        ended = self._call(["pull", source, str(target)], limit_s, f"pull of {source}")
        if ended.status != 0 or not target.is_file():
            self._raise_transfer(ended, f"fetch {source} from the device")
        # In one go: each command costs a device, and this host, some tens of milliseconds.
        self._check_digest(target, source, then=f" && rm -f {source}")

    def state(self) -> str:
        """State, e.g. `device` or `offline`; empty where adb does not list it."""
        return next((p.state for p in self.adb.devices() if p.serial == self.serial), "")

    def connect_anew(self) -> None:
        """Break the connection and make it again, as far as adb can."""
        # Told to reconnect an address, adb 29 drops it some time later, also after a `connect`.
        again = ["disconnect", "connect"] if is_address(self.serial) else []
        for word in again:
            self.adb.call([word, self.serial], _CONNECT_LIMIT_S)
        if not again:
            self.adb.call(["-s", self.serial, "reconnect"], _CONNECT_LIMIT_S)

    def wait_until_back(self, limit_s: float) -> bool:
        """Wait for a device that went away; whether it came back."""
        end = time.monotonic() + limit_s
        while time.monotonic() < end:
            if self.state() == "device":
                return True
            time.sleep(_STATE_POLL_S)
        return False

    def _call(
        self, arguments: Sequence[str], limit_s: float, what: str
    ) -> subprocesses.ProcessResult:
        ended = self.adb.call(["-s", self.serial, *arguments], limit_s)
        if ended.status is None:
            raise TimeLimitError(
                f"{self.serial} did not end `{_short(what)}` within {limit_s:.0f} s; "
                "look at the device, or allow more time"
            )
        return ended

    def _check_digest(self, here: Path, there: str, then: str = "") -> None:
        limit_s = _LIMIT_S + here.stat().st_size / _BYTES_PER_S
        answer = self.run(f"sha256sum {there}{then}", limit_s)
        wanted, got = file_sha256(here), answer.text.split(maxsplit=1)
        if answer.status != 0 or not got or not re.fullmatch(r"[0-9a-f]{64}", got[0]):
            raise AdbError(
                f"{self.serial}: cannot check {there} on the device: "
                f"{' '.join(answer.text.split()) or 'sha256sum printed nothing'}"
            )
        if got[0] != wanted:
            raise AdbError(
                f"{self.serial}: {there} is damaged: sha256 {got[0][:16]}... on the device, "
                f"{wanted[:16]}... here; try another cable or port"
            )

    def _raise(self, ended: subprocesses.ProcessResult, while_what: str) -> None:
        """Say why no exit status came back."""
        said = _ERROR.search(ended.err)
        if said is not None:
            state = next((s for s in _BAD_STATES if s in said[1]), "")
            remedy = device_remedy(self.serial, state)
            raise AdbError(f"{self.serial}: adb says: {said[1].strip()}; {remedy}")
        raise ConnectionLostError(
            f"the connection to {self.serial} broke while {while_what}: adb ended with status "
            f"{ended.status}, and no exit status came back; check cable and device, and run again"
        )

    def _raise_transfer(self, ended: subprocesses.ProcessResult, what: str) -> None:
        text = f"{ended.err}\n{ended.out}"
        said = _ERROR.search(text)
        reason = said[1].strip() if said else ended.reason
        if "couldn't read from device" in reason or "device offline" in reason:
            raise ConnectionLostError(f"the connection to {self.serial} broke: cannot {what}")
        remedy = next((r for k, r in _TRANSFER_REMEDIES.items() if k in reason), "run again")
        raise AdbError(f"{self.serial}: cannot {what}: {reason}; {remedy}")


async def _unless(
    stop: threading.Event | None, argv: Sequence[str], limit_s: float
) -> subprocesses.ProcessResult:
    """Run a program, and end it when the event is set."""
    work = asyncio.ensure_future(subprocesses.run(argv, limit_s))
    try:
        while not work.done():
            if stop is not None and stop.is_set():
                raise StoppedError("interrupted")
            await asyncio.wait({work}, timeout=None if stop is None else _STOP_POLL_S)
    finally:
        if not work.done():
            work.cancel()
            await asyncio.wait({work})
    return work.result()


def _short(line: str) -> str:
    return line if len(line) <= 60 else f"{line[:57]}..."
