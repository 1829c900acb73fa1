"""The adb wire protocol: messages between the server and the device, packets of the shell.

Source: packages/modules/adb, protocol.txt and shell_protocol.h.
"""

import enum
import socket
import struct
from dataclasses import dataclass

#: From this version on the sum of the payload is left out.
VERSION_SKIP_CHECKSUM = 0x01000001
VERSION_CHECKSUM = 0x01000000
MAX_PAYLOAD = 262_144

_HEADER = struct.Struct("<4sIIIII")


class Command(bytes, enum.Enum):
    """The four letters that a message starts with."""

    CNXN = b"CNXN"
    AUTH = b"AUTH"
    OPEN = b"OPEN"
    OKAY = b"OKAY"
    CLSE = b"CLSE"
    WRTE = b"WRTE"


class Auth(enum.IntEnum):
    """First argument of AUTH."""

    TOKEN = 1
    SIGNATURE = 2
    RSAPUBLICKEY = 3


class ShellId(enum.IntEnum):
    """Kinds of packets within a stream of shell_v2."""

    STDIN = 0
    STDOUT = 1
    STDERR = 2
    EXIT = 3
    CLOSE_STDIN = 4


class ProtocolError(Exception):
    """The peer sent what the protocol does not allow."""


@dataclass(frozen=True)
class Message:
    """One message.

    Attributes:
        command: What it is.
        arg0: The sender's stream id, or the version, or the kind of AUTH.
        arg1: The receiver's stream id, or the largest payload.
        payload: At most MAX_PAYLOAD bytes.
    """

    command: Command
    arg0: int
    arg1: int
    payload: bytes = b""

    def encode(self, version: int) -> bytes:
        """The bytes on the wire; the sum of the payload only where the version wants it."""
        total = sum(self.payload) & 0xFFFFFFFF if version < VERSION_SKIP_CHECKSUM else 0
        magic = int.from_bytes(self.command.value, "little") ^ 0xFFFFFFFF
        fields = (self.command.value, self.arg0, self.arg1, len(self.payload), total, magic)
        return _HEADER.pack(*fields) + self.payload


def receive_exactly(peer: socket.socket, size: int) -> bytes:
    """So many bytes, or EOFError where the connection ends before."""
    parts: list[bytes] = []
    while size:
        part = peer.recv(min(size, 1 << 18))
        if not part:
            raise EOFError
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def receive(peer: socket.socket) -> Message:
    """The next message.

    Raises:
        EOFError: The connection has ended.
        ProtocolError: Not a message.
    """
    name, arg0, arg1, size, _, magic = _HEADER.unpack(receive_exactly(peer, _HEADER.size))
    if magic != int.from_bytes(name, "little") ^ 0xFFFFFFFF:
        raise ProtocolError(f"magic {magic:#x} after {name!r}")
    if size > 1 << 20:
        raise ProtocolError(f"payload of {size} bytes")
    return Message(Command(name), arg0, arg1, receive_exactly(peer, size))


def shell_packet(kind: ShellId, data: bytes) -> bytes:
    """One packet of shell_v2."""
    return struct.pack("<BI", kind, len(data)) + data


class ShellPackets:
    """Takes a stream apart into packets, wherever the network has cut it."""

    def __init__(self) -> None:
        self._held = b""

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """The packets that are complete now, as (kind, data)."""
        self._held += data
        found: list[tuple[int, bytes]] = []
        while len(self._held) >= 5:
            kind, size = struct.unpack_from("<BI", self._held)
            if len(self._held) < 5 + size:
                break
            found.append((kind, self._held[5 : 5 + size]))
            self._held = self._held[5 + size :]
        return found
