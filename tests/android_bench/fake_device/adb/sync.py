"""The service behind push and pull.

Source: packages/modules/adb, SYNC.TXT and file_sync_protocol.h (version 1, with stat_v2 and ls_v2).
"""

import errno
import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

from ..storage import Storage
from .connection import Stream

_PIECE = 65_536
_DATA = b"DATA"


class SyncSession:
    """Serves the requests of one session.

    Args:
        stream: To the adb server.
        storage: The device's files.
        refuses: Asked with the path and the bytes received so far; returns what is wrong, or "".
        stored: Told of each file that has arrived, before it is confirmed.
    """

    def __init__(
        self,
        stream: Stream,
        storage: Storage,
        refuses: Callable[[str, int], str],
        stored: Callable[[Path], None],
    ) -> None:
        self._stream, self._storage = stream, storage
        self._refuses, self._stored = refuses, stored

    def run(self) -> None:
        """Serve until the other side quits."""
        actions: dict[bytes, Callable[[bytes, str], None]] = {
            b"STAT": self._stat,
            b"STA2": self._stat_v2,
            b"LST2": self._stat_v2,
            b"LIST": self._list,
            b"LIS2": self._list_v2,
            b"RECV": self._pull,
            b"SEND": self._push,
        }
        while True:
            name, size = struct.unpack("<4sI", self._stream.read(8))
            if name == b"QUIT":
                return
            path = self._stream.read(size).decode()
            if name not in actions:
                self._fail(f"unknown command {name.decode(errors='replace')}")
                return
            actions[name](name, path)

    def _fail(self, message: str) -> None:
        text = message.encode()
        self._stream.send(struct.pack("<4sI", b"FAIL", len(text)) + text)

    def _stat(self, name: bytes, path: str) -> None:
        found = _status(self._storage.host(path), follow=False)
        values = (found.st_mode, found.st_size, int(found.st_mtime)) if found else (0, 0, 0)
        self._stream.send(struct.pack("<4sIII", name, *values))

    def _stat_v2(self, name: bytes, path: str) -> None:
        found = _status(self._storage.host(path), follow=name == b"STA2")
        self._stream.send(name + _packed_v2(found))

    def _entries(self, path: str) -> Iterator[tuple[str, os.stat_result]]:
        folder = self._storage.host(path)
        if folder.is_dir():
            for entry in (".", "..", *sorted(os.listdir(folder))):
                found = _status(folder / entry, follow=False)
                if found is not None:
                    yield entry, found

    def _list(self, name: bytes, path: str) -> None:
        for entry, found in self._entries(path):
            text = entry.encode()
            values = (found.st_mode, found.st_size, int(found.st_mtime), len(text))
            self._stream.send(struct.pack("<4sIIII", b"DENT", *values) + text)
        self._stream.send(b"DONE" + bytes(16))

    def _list_v2(self, name: bytes, path: str) -> None:
        for entry, found in self._entries(path):
            text = entry.encode()
            self._stream.send(b"DNT2" + _packed_v2(found) + struct.pack("<I", len(text)) + text)
        self._stream.send(b"DONE" + bytes(72))

    def _pull(self, name: bytes, path: str) -> None:
        source = self._storage.host(path)
        try:
            content = source.read_bytes()
        except OSError as error:
            self._fail(f"open failed: {os.strerror(error.errno or 0)}")
            return
        for start in range(0, len(content), _PIECE):
            piece = content[start : start + _PIECE]
            self._stream.send(struct.pack("<4sI", _DATA, len(piece)) + piece)
        self._stream.send(struct.pack("<4sI", b"DONE", 0))

    def _push(self, name: bytes, request: str) -> None:
        path, _, mode = request.rpartition(",")
        wrong = self._refuses(path, 0)
        content = bytearray()
        while True:  # even what is refused is read to its end: the client sends on
            kind, size = struct.unpack("<4sI", self._stream.read(8))
            if kind != _DATA:
                break
            content += self._stream.read(size)
            wrong = wrong or self._refuses(path, len(content))
        target = self._storage.host(path)
        if not wrong:
            wrong = self._store(target, bytes(content), int(mode), size)
        if wrong:
            self._fail(wrong)
            return
        self._stored(target)
        self._stream.send(struct.pack("<4sI", b"OKAY", 0))

    def _store(self, target: Path, content: bytes, mode: int, modified_s: int) -> str:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        except OSError as error:
            return f"couldn't create file: {os.strerror(error.errno or 0)}"
        user = mode & 0o700
        target.chmod(user | user >> 3 | user >> 6)  # adbd gives everybody what the owner may
        os.utime(target, (modified_s, modified_s))
        return ""


def _status(path: Path, *, follow: bool) -> os.stat_result | None:
    try:
        return path.stat(follow_symlinks=follow)
    except OSError:
        return None


def _packed_v2(found: os.stat_result | None) -> bytes:
    if found is None:
        return struct.pack("<IQQIIIIQqqq", errno.ENOENT, *[0] * 10)
    times = (int(found.st_atime), int(found.st_mtime), int(found.st_ctime))
    owner = (2000, 2000)  # the user "shell"
    return struct.pack(
        "<IQQIIIIQqqq",
        0,
        found.st_dev,
        found.st_ino,
        found.st_mode,
        found.st_nlink,
        *owner,
        found.st_size,
        *times,
    )
