"""A phone that is not there: adbd on loopback, a shell over a private folder, benchmark_model."""

import contextlib
import os
import shutil
import signal
import socket
import struct
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from .benchmark import Behaviour, Benchmark, Dialect
from .connection import Connection, Greeting, Stream
from .control import Control, Started, Step
from .device import MACHINES, Device, Heat, default_properties
from .faults import Fault
from .shell import ShellSession, start_shell
from .storage import with_launcher
from .sync import SyncSession
from .timing import Speed
from .wire import VERSION_SKIP_CHECKSUM

_FEATURES = ("cmd", "stat_v2", "ls_v2", "fixed_push_mkdir")
_PLENTY_KIB = 50_000_000


@dataclass(frozen=True)
class Run:
    """One invocation of benchmark_model.

    Attributes:
        words: Its path and flags, with the phone's paths.
        affinity: The mask given to taskset, hexadecimal; empty without it.
    """

    words: tuple[str, ...]
    affinity: str


class FakePhone:
    """An Android phone for the real adb, to be used in a `with` statement.

    Attributes:
        serial: "127.0.0.1:PORT", as in `adb devices`.
        commands: Every shell command received, in order, as it came.
        runs: Every invocation of benchmark_model.
        pushed: The paths of all files that were pushed.
        device: Properties, temperatures and files; may be changed at any time.

    Args:
        faults: What is wrong with it.
        model: ro.product.model.
        properties: What getprop says otherwise than by default.
        dialect: Which build of benchmark_model it plays.
        speed: How fast it is.
        heat: Its temperatures; by default they rise only with Fault.THROTTLING.
        unknown_flags: Flags that its benchmark_model has not got.
        version: Of adb's protocol; VERSION_CHECKSUM for an old one.
        reboot_s: How long a reboot takes.
        carriage_returns: Without shell_v2: line ends of Android before 7.
    """

    def __init__(
        self,
        faults: Iterable[Fault] = (),
        *,
        model: str = "Fake Phone 9",
        properties: Mapping[str, str] | None = None,
        dialect: Dialect = Dialect.NEW,
        speed: Speed | None = None,
        heat: Heat | None = None,
        unknown_flags: Iterable[str] = (),
        version: int = VERSION_SKIP_CHECKSUM,
        reboot_s: float = 0.5,
        carriage_returns: bool = False,
    ) -> None:
        self.faults = frozenset(faults)
        self.commands: list[str] = []
        self.runs: list[Run] = []
        self.pushed: list[str] = []
        self._version, self._reboot_s = version, reboot_s
        self._carriage_returns = carriage_returns
        self._behaviour = Behaviour(
            self.faults, dialect, speed or Speed(), frozenset(unknown_flags)
        )
        self._recording: tuple[str, int] | None = None
        self._base = Path(tempfile.mkdtemp(prefix="phone-")).resolve()
        self._token = self._base.name
        self._connections: list[Connection] = []
        self._fallen_silent = False
        self._booted = threading.Event()
        self._booted.set()
        self._control = Control(self._play, self._on_event)
        self.device = self._make_device(model, properties or {}, heat)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.serial = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Switch it off: no connection, process or file of it is left.

        Raises:
            AssertionError: Something in the fake itself went wrong.
        """
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._booted.set()
        self.drop()
        self._control.close()
        self._kill_all()
        shutil.rmtree(self._base, ignore_errors=True)
        assert not self._control.failures, self._control.failures

    # What tests ask

    def files(self) -> list[str]:
        """Everything below /data/local/tmp, as the phone's paths; folders end in a slash."""
        return self.device.storage.files()

    def processes_left(self) -> list[int]:
        """The processes that run on the phone, shells and programs."""
        found: list[int] = []
        mark = f"FAKE_PHONE={self._token}".encode()
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if mark in (folder / "environ").read_bytes().split(b"\0"):
                    found.append(int(folder.name))
        return sorted(found)

    def has_no_processes(self, timeout_s: float = 2.0) -> bool:
        """Whether all of them have ended, after a moment for those that are about to."""
        end = time.monotonic() + timeout_s
        while self.processes_left():
            if time.monotonic() > end:
                return False
            time.sleep(0.02)
        return True

    @property
    def boot_id(self) -> str:
        """/proc/sys/kernel/random/boot_id."""
        return self.device.storage.host("/proc/sys/kernel/random/boot_id").read_text().strip()

    # What tests do to it

    def play_next(self, text: str, exit_status: int = 0) -> None:
        """Have the next run of benchmark_model print this, on stdout, and end so."""
        self._recording = text, exit_status

    def drop(self) -> None:
        """Break every connection; what runs in a shell is hung up."""
        for connection in self._connections:
            connection.drop()

    def reboot(self) -> None:
        """Everything that runs is gone, the files stay; takes `reboot_s`."""
        self._booted.clear()
        self.device.properties["sys.boot_completed"] = ""
        self._kill_all()
        self.drop()
        self.device.boot()
        threading.Timer(self._reboot_s, self._boot_completed).start()

    def _boot_completed(self) -> None:
        self.device.properties["sys.boot_completed"] = "1"
        self._booted.set()

    def _make_device(self, model: str, properties: Mapping[str, str], heat: Heat | None) -> Device:
        abi = "armeabi-v7a" if Fault.WRONG_ABI in self.faults else "arm64-v8a"
        if heat is None:
            heat = Heat(per_run_celsius=3.0) if Fault.THROTTLING in self.faults else Heat()
        device = Device(
            self._base,
            properties={**default_properties(model, abi), **properties},
            heat=heat,
            free_kib=1 if Fault.NO_SPACE in self.faults else _PLENTY_KIB,
            read_only=Fault.READ_ONLY in self.faults,
            thermal_service=Fault.NO_THERMAL_SERVICE not in self.faults,
        )
        return device

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                peer, _ = self._listener.accept()
                peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self._connected, args=(peer,), daemon=True).start()

    def _connected(self, peer: socket.socket) -> None:
        self._booted.wait()  # a phone that boots answers later
        connection = Connection(peer, self._greeting(), self._find_service)
        self._connections.append(connection)
        connection.start()
        if Fault.OFFLINE in self.faults and not self._fallen_silent:
            self._fallen_silent = True
            threading.Timer(0.2, connection.drop).start()

    def _greeting(self) -> Greeting:
        properties = self.device.properties
        features = _FEATURES if Fault.NO_SHELL_V2 in self.faults else ("shell_v2", *_FEATURES)
        shown = ("ro.product.name", "ro.product.model", "ro.product.device")
        facts = "".join(f"{name}={properties[name]};" for name in shown)
        return Greeting(
            f"device::{facts}features={','.join(features)}",
            version=self._version,
            authorized=Fault.UNAUTHORIZED not in self.faults,
            silent=self._fallen_silent,
        )

    def _find_service(self, name: str) -> Callable[[Stream], None] | None:
        kind, _, rest = name.partition(":")
        if name == "sync:":
            return self._sync
        if name.startswith("reboot:"):
            return lambda stream: self.reboot()
        if kind == "exec" or (kind == "shell" and rest):
            return partial(self._shell, command=rest, packets=False)
        words = kind.split(",")
        if words[:2] == ["shell", "v2"] and "raw" in words and rest:
            return partial(self._shell, command=rest, packets=True)
        return None

    def _shell(self, stream: Stream, command: str, *, packets: bool) -> None:
        self.commands.append(command)
        self.device.refresh()
        storage = self.device.storage
        if strays := storage.strays(command):
            raise_ = f"echo '/system/bin/sh: {strays[0]}: Permission denied' >&2; exit 126"
            command = raise_.replace("\n", " ")
        text = with_launcher(storage.to_host(command), storage.programs(), "run_elf")
        environment = self.device.environment() | {
            "FAKE_PHONE": self._token,
            "FAKE_STREAM": str(stream.number),
            "FAKE_CONTROL": str(self._control.port),
            "FAKE_PYTHON": sys.executable,
            "FAKE_PLAYER": str(Path(__file__).with_name("player.py")),
        }
        start = partial(start_shell, text, environment, storage.root, merged=not packets)
        session = ShellSession(
            stream, storage.root, packets=packets, carriage_returns=self._carriage_returns
        )
        session.run(start)

    def _sync(self, stream: Stream) -> None:
        SyncSession(stream, self.device.storage, self._refuses, self._stored).run()

    def _refuses(self, path: str, size: int) -> str:
        if Fault.READ_ONLY in self.faults:
            return "couldn't create file: Read-only file system"
        used = self.device.storage.used_bytes() // 1024
        full = used + size // 1024 >= self.device.free_kib
        if size and (full or Fault.NO_SPACE_UNSEEN in self.faults):
            return "write failed: No space left on device"
        if size and Fault.DROP_MID_PUSH in self.faults:
            self.drop()
        return ""

    def _stored(self, path: Path) -> None:
        self.pushed.append(self.device.storage.to_phone(str(path)))
        if Fault.CORRUPT_PUSH in self.faults:
            content = bytearray(path.read_bytes())
            content[len(content) // 2] ^= 0xFF
            path.write_bytes(content)

    def _play(self, started: Started) -> Iterator[Step]:
        words = tuple(map(self.device.storage.to_phone, started.words))
        self.runs.append(Run(words, started.affinity))
        self.device.heat.run()
        recording, self._recording = self._recording, None
        if recording is not None:
            yield "stdout", recording[0]
            yield "event", "mid-run"
            yield "exit", recording[1]
            return
        yield from Benchmark(
            started.words[1:],
            started.folder,
            self._behaviour,
            self.device.storage,
            self.device.heat.slowdown,
            len(self.runs),
        ).steps()

    def _on_event(self, started: Started, event: str) -> Iterator[Step]:
        """The faults that strike in the middle of a run."""
        if Fault.HUNG_RUN in self.faults:
            yield "ignore", signal.SIGHUP
            yield "wait", 0
        if Fault.HUNG_ADBD in self.faults:
            for connection in self._connections:
                connection.frozen.set()
            yield "wait", 0
        if Fault.DROP_MID_RUN in self.faults:
            self.drop()
        if Fault.CLOSED_MID_RUN in self.faults:
            for connection in self._connections:
                connection.close_stream(started.stream)
        if Fault.REBOOT_MID_RUN in self.faults:
            self.reboot()

    def _kill_all(self) -> None:
        for _ in range(100):
            left = self.processes_left()
            if not left:
                return
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)


def write_benchmark_binary(path: Path, abi: str = "arm64-v8a") -> Path:
    """A file that looks like benchmark_model for this ABI, and that a FakePhone plays.

    It is the header of an ELF file and nothing to run.
    """
    header = struct.pack(
        "<16sHHIQQQIHHHHHH",
        b"\x7fELF" + bytes([1 if abi == "armeabi-v7a" else 2, 1, 1]),
        *(3, MACHINES[abi], 1, 0, 0, 0, 0, 64, 56, 0, 64, 0, 0),
    )
    path.write_bytes(header + b"benchmark_model of a phone that is not there\n")
    path.chmod(0o755)
    return path
