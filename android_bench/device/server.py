"""The adb server's protocol for listing devices; starts and ends no server.

`adb devices` starts a server where none runs, and kills one that another version of adb has
started. Source: AOSP, packages/modules/adb, OVERVIEW.TXT and SERVICES.TXT.
"""

import re
import socket

_ANSWER_LIMIT_S = 5.0


class AdbServerError(Exception):
    """The listener on adb's port does not answer as an adb server."""


def is_listening(port: int) -> bool:
    """Whether anything listens on a port of this machine."""
    try:
        with socket.create_connection(("127.0.0.1", port), _ANSWER_LIMIT_S):
            return True
    except OSError:
        return False


def list_devices(port: int) -> list[str]:
    """The server's lines, one for each device.

    Raises:
        AdbServerError: It answers otherwise than an adb server.
        OSError: It does not answer in time.
    """
    return [line for line in _ask(port, "host:devices-l").splitlines() if line.strip()]


def _ask(port: int, service: str) -> str:
    """One question to the adb server.

    Raises:
        AdbServerError: It answers otherwise than an adb server.
        OSError: It does not answer in time.
    """
    with socket.create_connection(("127.0.0.1", port), _ANSWER_LIMIT_S) as server:
        server.sendall(f"{len(service):04x}{service}".encode())
        word = _receive(server, 4)
        if word not in (b"OKAY", b"FAIL"):
            raise AdbServerError(f"it answered {word!r}")
        length = _receive(server, 4)
        if not re.fullmatch(rb"[0-9a-fA-F]{4}", length):
            raise AdbServerError(f"it answered {word + length!r}")
        text = _receive(server, int(length, 16)).decode(errors="replace")
    if word == b"FAIL":
        raise AdbServerError(f"it answered {text!r}")
    return text


def _receive(server: socket.socket, count: int) -> bytes:
    received = b""
    while len(received) < count:
        part = server.recv(count - len(received))
        if not part:
            raise AdbServerError("it closed the connection")
        received += part
    return received
