"""adb and the phones it sees. Looking starts no adb server and ends none, unless it is asked to.

Phones are asked for in the server's own protocol, not by `adb devices`: that starts a server where
none runs, and kills one that another version of adb has started. Source: AOSP,
packages/modules/adb, OVERVIEW.TXT and SERVICES.TXT.
"""

import os
import re
import shutil
import socket
from collections.abc import Sequence

from edgesr.doctor import child
from edgesr.doctor.check import Area, Check, Job, State, system_package
from edgesr.doctor.phones import parse_listed, phone_remedy

_PORT_VARIABLE = "ANDROID_ADB_SERVER_PORT"
_DEFAULT_PORT = "5037"
_VERSION_LIMIT_S = 10.0
_START_LIMIT_S = 30.0
_ANSWER_LIMIT_S = 5.0
_ADB_NAME, _PHONES_NAME = "adb", "phones"


class _AdbServerError(Exception):
    """What listens on adb's port does not answer as an adb server does."""


def adb_checks(*, ask_devices: bool) -> list[Check]:
    """The program, its version, and the phones if a server runs or may be started."""
    program = shutil.which("adb")
    adb = _adb(program)
    port = os.environ.get(_PORT_VARIABLE) or _DEFAULT_PORT
    if not (port.isascii() and port.isdecimal() and 0 < int(port) < 2**16):
        found = f"got {_PORT_VARIABLE}={port}, allowed 1 to 65535"
        return [adb, _phones(State.BROKEN, found, f"unset {_PORT_VARIABLE}")]
    if not _listens(int(port)):
        if not ask_devices:
            found = f"not asked: no adb server runs on port {port}"
            return [adb, _phones(State.UNCHECKED, found, "edgesr doctor --devices")]
        if program is None or adb.is_bad:
            return [adb, _phones(State.UNCHECKED, "not asked: needs adb", adb.remedy)]
        ended = child.run_to_end([program, "-P", port, "start-server"], _START_LIMIT_S)
        if ended.status != 0:
            found = f"no adb server can be started on port {port}: {ended.reason}"
            return [adb, _phones(State.BROKEN, found)]
    return [adb, *_listed(int(port))]


def phone_job(checks: Sequence[Check]) -> Job:
    """Whether a phone is ready."""
    name = "phone benchmark"
    adb = next(c for c in checks if c.name == _ADB_NAME)
    if adb.is_bad:
        return Job(name, can_run=False, text=f"cannot run: adb {adb.state} ({adb.found})")
    phones = [c for c in checks if c.area is Area.PHONE and c is not adb]
    ready = [c.found for c in phones if c.state is State.OK]
    if ready:
        return Job(name, can_run=True, text=f"a phone is ready: {', '.join(ready)}")
    found = "; ".join(c.found for c in phones)
    if all(c.state is State.UNCHECKED for c in phones):
        return Job(name, can_run=None, text=found)
    return Job(name, can_run=False, text=f"cannot run: {found}")


def _adb(program: str | None) -> Check:
    remedy = system_package("adb", "adb")
    if program is None:
        return Check(Area.PHONE, _ADB_NAME, State.MISSING, "not in PATH", remedy)
    try:
        ended = child.run_to_end([program, "version"], _VERSION_LIMIT_S)
    except OSError as error:
        reason = f"{program} cannot be started: {error.strerror or error}"
        return Check(Area.PHONE, _ADB_NAME, State.BROKEN, reason, remedy)
    versions = re.findall(r"[Vv]ersion (\S+)", ended.out)
    if ended.status != 0 or not versions:
        reason = ended.reason if ended.status != 0 else "`adb version` names no version"
        return Check(Area.PHONE, _ADB_NAME, State.BROKEN, f"{program}: {reason}", remedy)
    return Check(Area.PHONE, _ADB_NAME, State.OK, f"{versions[-1]}, {program}")


def _phones(state: State, found: str, remedy: str = "") -> Check:
    return Check(Area.PHONE, _PHONES_NAME, state, found, remedy)


def _listens(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), _ANSWER_LIMIT_S):
            return True
    except OSError:
        return False


def _listed(port: int) -> list[Check]:
    """One check per phone that the server sees."""
    try:
        lines = _ask(port, "host:devices-l").splitlines()
    except (_AdbServerError, OSError) as error:
        found = f"what listens on port {port} is no adb server: {error}"
        return [_phones(State.BROKEN, found, f"export {_PORT_VARIABLE}=PORT, a free one")]
    if not any(line.strip() for line in lines):
        found = "the adb server sees none"
        remedy = "plug a phone in with USB debugging on, or `adb connect ADDRESS`"
        return [_phones(State.MISSING, found, remedy)]
    return [_phone(line) for line in lines if line.strip()]


def _phone(line: str) -> Check:
    phone = parse_listed(line)
    if phone is None:
        return _phones(State.BROKEN, f"the adb server says: {line.strip()}")
    if phone.state == "device":
        return _phones(State.OK, str(phone))
    return _phones(
        State.BROKEN, f"{phone} is {phone.state}", phone_remedy(phone.serial, phone.state)
    )


def _ask(port: int, service: str) -> str:
    """One question to the adb server.

    Raises:
        _AdbServerError: It answers otherwise than an adb server.
        OSError: It does not answer in time.
    """
    with socket.create_connection(("127.0.0.1", port), _ANSWER_LIMIT_S) as server:
        server.sendall(f"{len(service):04x}{service}".encode())
        word = _receive(server, 4)
        if word not in (b"OKAY", b"FAIL"):
            raise _AdbServerError(f"it answered {word!r}")
        length = _receive(server, 4)
        if not re.fullmatch(rb"[0-9a-fA-F]{4}", length):
            raise _AdbServerError(f"it answered {word + length!r}")
        text = _receive(server, int(length, 16)).decode(errors="replace")
    if word == b"FAIL":
        raise _AdbServerError(f"it answered {text!r}")
    return text


def _receive(server: socket.socket, count: int) -> bytes:
    received = b""
    while len(received) < count:
        part = server.recv(count - len(received))
        if not part:
            raise _AdbServerError("it closed the connection")
        received += part
    return received
