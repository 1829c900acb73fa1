"""A device that is not there: adbd on loopback, a shell over a private folder, benchmark_model."""

import contextlib
import itertools
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from .adb.connection import Connection, Greeting, Stream
from .adb.shell import ShellSession, start_shell
from .adb.sync import SyncSession
from .adb.wire import VERSION_SKIP_CHECKSUM
from .benchmark_model.benchmark import Behaviour, Benchmark
from .benchmark_model.dialects import Dialect, Step
from .benchmark_model.timing import Speed
from .control import Control, Started
from .faults import Fault
from .processes import kill_marked, marked
from .run import Run
from .storage import with_launcher
from .system import Heat, System, default_properties

_FEATURES = ("cmd", "stat_v2", "ls_v2", "fixed_push_mkdir")
_PLENTY_KIB = 50_000_000


class FakeDevice:
    """An Android device for the real adb, to be used in a `with` statement.

    Attributes:
        serial: "127.0.0.1:PORT", as in `adb devices`.
        faults: What is wrong with it. May be changed at any time and counts from then on, but for
            WRONG_ABI, READ_ONLY, THROTTLING and NO_THERMAL_SERVICE, with which it is made.
        dialect, speed, free_kib, lists_flags: As given; may be changed at any time.
        commands: Every shell command received, in order, as it came.
        runs: Every invocation of benchmark_model.
        pushed: The paths of all files that were pushed.
        hangs: Set as soon as a run hangs for good, by HUNG_RUN or HUNG_ADBD.
        system: Properties, temperatures and files; may be changed at any time.

    Args:
        faults: What is wrong with it.
        model: ro.product.model.
        properties: What getprop says otherwise than by default.
        dialect: Which build of benchmark_model it emulates.
        speed: How fast it is.
        heat: Its temperatures; by default they rise only with Fault.THROTTLING.
        unknown_flags: Flags that its benchmark_model has not got.
        lists_flags: Whether the classic benchmark_model lists its flags with --help, as real ones
            do: a harness may then use more of them.
        free_kib: What df says is free while nothing lies on it.
        version: Of adb's protocol; VERSION_CHECKSUM for an old one.
        reboot_s: How long a reboot takes.
        only_in_run: Faults of benchmark_model, and those in the middle of a run, strike in this
            run alone, counted from 1 and without those that ask for help.
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
        lists_flags: bool = False,
        free_kib: int = _PLENTY_KIB,
        version: int = VERSION_SKIP_CHECKSUM,
        reboot_s: float = 0.5,
        only_in_run: int | None = None,
        carriage_returns: bool = False,
    ) -> None:
        self.faults: Set[Fault] = frozenset(faults)
        self._only_in_run = only_in_run
        self.commands: list[str] = []
        self.runs: list[Run] = []
        self.pushed: list[str] = []
        self.hangs = threading.Event()
        self._version, self._reboot_s = version, reboot_s
        self._carriage_returns = carriage_returns
        self.dialect, self.speed = dialect, speed or Speed()
        self.free_kib = free_kib
        self.lists_flags = lists_flags
        self._unknown_flags = frozenset(unknown_flags)
        self._recording: tuple[str, int] | None = None
        self._base = Path(tempfile.mkdtemp(prefix="device-")).resolve()
        self._token = self._base.name
        self._connections: list[Connection] = []
        self._sessions: dict[int, ShellSession] = {}
        self._numbers = itertools.count()
        self._fallen_silent = False
        self._booted = threading.Event()
        self._booted.set()
        self._control = Control(self._script, self._on_event)
        self.system = self._make_system(model, properties or {}, heat)
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
        kill_marked("FAKE_PHONE", self._token)
        shutil.rmtree(self._base, ignore_errors=True)
        assert not self._control.failures, self._control.failures

    # What tests ask

    def files(self) -> list[str]:
        """Everything below /data/local/tmp, as the device's paths; folders end in a slash."""
        return self.system.storage.files()

    def processes_left(self) -> list[int]:
        """The processes that run on the device, shells and programs."""
        return marked("FAKE_PHONE", self._token)

    def has_no_processes(self, timeout_s: float = 20.0) -> bool:
        """Whether all of them have ended, after some time for those that are about to."""
        end = time.monotonic() + timeout_s
        while self.processes_left():
            if time.monotonic() > end:
                return False
            time.sleep(0.02)
        return True

    @property
    def boot_id(self) -> str:
        """/proc/sys/kernel/random/boot_id."""
        return self.system.storage.host("/proc/sys/kernel/random/boot_id").read_text().strip()

    # What tests do to it

    def put(self, *sources: Path, folder: str) -> None:
        """Lay files into a folder of the device, as if they had been pushed."""
        target = self.system.storage.host(folder)
        target.mkdir(parents=True, exist_ok=True)
        for source in sources:
            shutil.copy(source, target)

    def script_next(self, text: str, exit_status: int = 0) -> None:
        """Have the next run of benchmark_model print this, on stdout, and end so."""
        self._recording = text, exit_status

    def drop(self) -> None:
        """Break every connection; what runs in a shell is hung up."""
        for connection in self._connections:
            connection.drop()

    def reboot(self) -> None:
        """Everything that runs is gone, the files stay; takes `reboot_s`."""
        self._booted.clear()
        self.system.properties["sys.boot_completed"] = ""
        self.drop()  # first: no exit status leaves the device
        kill_marked("FAKE_PHONE", self._token)
        self.system.boot()
        threading.Timer(self._reboot_s, self._boot_completed).start()

    def _boot_completed(self) -> None:
        self.system.properties["sys.boot_completed"] = "1"
        self._booted.set()

    def _make_system(self, model: str, properties: Mapping[str, str], heat: Heat | None) -> System:
        abi = "armeabi-v7a" if Fault.WRONG_ABI in self.faults else "arm64-v8a"
        if heat is None:
            heat = Heat(per_run_celsius=3.0) if Fault.THROTTLING in self.faults else Heat()
        system = System(
            self._base,
            properties={**default_properties(model, abi), **properties},
            heat=heat,
            free_kib=self.free_kib,
            read_only=Fault.READ_ONLY in self.faults,
            thermal_service=Fault.NO_THERMAL_SERVICE not in self.faults,
        )
        return system

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                peer, _ = self._listener.accept()
                peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self._connected, args=(peer,), daemon=True).start()

    def _connected(self, peer: socket.socket) -> None:
        self._booted.wait()  # a device that boots answers later
        connection = Connection(peer, self._greeting(), self._find_service)
        self._connections.append(connection)
        connection.start()
        if Fault.OFFLINE in self.faults and not self._fallen_silent:
            self._fallen_silent = True
            threading.Timer(0.2, connection.drop).start()

    def _greeting(self) -> Greeting:
        properties = self.system.properties
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
        self.system.free_kib = 1 if Fault.NO_SPACE in self.faults else self.free_kib
        self.system.refresh()
        storage = self.system.storage
        if strays := storage.strays(command):
            refused = strays[0].split("'")[0]
            command = f"echo '/system/bin/sh: {refused}: Permission denied' >&2; exit 126"
        text = with_launcher(storage.to_host(command), storage.programs(), "run_elf")
        session = ShellSession(
            stream, storage.root, packets=packets, carriage_returns=self._carriage_returns
        )
        number = next(self._numbers)
        environment = self.system.environment() | {
            "FAKE_PHONE": self._token,
            "FAKE_SHELL": str(number),
            "FAKE_CONTROL": str(self._control.port),
            "FAKE_PYTHON": sys.executable,
            "FAKE_STUB": str(Path(__file__).with_name("stub.py")),
        }
        self._sessions[number] = session
        start = partial(start_shell, text, environment, storage.root, merged=not packets)
        session.run(start)

    def _sync(self, stream: Stream) -> None:
        SyncSession(stream, self.system.storage, self._refuses, self._stored).run()

    def _refuses(self, path: str, size: int) -> str:
        if Fault.READ_ONLY in self.faults:
            return "couldn't create file: Read-only file system"
        if size and self.faults & {Fault.NO_SPACE, Fault.NO_SPACE_UNSEEN}:
            return "write failed: No space left on device"
        if size and Fault.DROP_MID_PUSH in self.faults:
            self.drop()
            return "connection lost"
        return ""

    def _stored(self, path: Path) -> None:
        self.pushed.append(self.system.storage.to_device(str(path)))
        if Fault.CORRUPT_PUSH in self.faults:
            content = bytearray(path.read_bytes())
            content[len(content) // 2] ^= 0xFF
            path.write_bytes(content)

    def _script(self, started: Started) -> Iterator[Step]:
        words = tuple(map(self.system.storage.to_device, started.words))
        self.runs.append(Run(words, started.affinity))
        if self.runs[-1].is_measurement:
            self.system.heat.run()
        recording, self._recording = self._recording, None
        if recording is not None:
            yield "stdout", recording[0]
            yield from [("event", "mid-run")] * self.runs[-1].is_measurement
            yield "exit", recording[1]
            return
        behaviour = Behaviour(
            self._faults_now(), self.dialect, self.speed, self._unknown_flags, self.lists_flags
        )
        yield from Benchmark(
            started.words,
            started.folder,
            behaviour,
            self.system.storage,
            self.system.heat.slowdown,
            self._measurements(),
        ).steps()

    def _on_event(self, started: Started, event: str) -> Iterator[Step]:
        """The faults that strike in the middle of a run."""
        faults = self._faults_now()
        session = self._sessions[started.shell]
        session.flush()
        if Fault.HUNG_RUN in faults:
            yield "ignore", signal.SIGHUP
            self.hangs.set()
            yield "wait", 0
        if Fault.HUNG_ADBD in faults:
            for connection in self._connections:
                connection.frozen.set()
            self.hangs.set()
            yield "wait", 0
        if Fault.DROP_MID_RUN in faults:
            self.drop()
        if Fault.CLOSED_MID_RUN in faults:
            session.close_without_status()
        if Fault.REBOOT_MID_RUN in faults:
            self.reboot()

    def _measurements(self) -> int:
        return sum(run.is_measurement for run in self.runs)

    def _faults_now(self) -> frozenset[Fault]:
        """Those that count for the run that was started last."""
        spared = self._only_in_run is not None and self._measurements() != self._only_in_run
        return frozenset() if spared else frozenset(self.faults)
