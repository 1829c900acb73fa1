"""A server of adb of its own: own port, own keys, nothing of the user's."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from ..device import FakeDevice
from ..processes import marked, words
from .wire import receive_exactly


class AdbServer:
    """The real adb server, for one test session.

    Attributes:
        port: Where clients find it.

    Args:
        home: Where adb keeps its keys.
    """

    def __init__(self, home: Path) -> None:
        self._home = home
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def environment(self) -> dict[str, str]:
        """For a subprocess that shall use this server."""
        hidden = ("ADB_", "ANDROID_")
        kept = {k: v for k, v in os.environ.items() if not k.startswith(hidden)}
        return kept | {
            "HOME": str(self._home),
            "ANDROID_ADB_SERVER_PORT": str(self.port),
            "ADB_LOCAL_TRANSPORT_MAX_PORT": "5553",  # no search for emulators
        }

    def start(self) -> None:
        """Start it and wait until it answers."""
        adb = shutil.which("adb")
        assert adb is not None
        self._process = subprocess.Popen(
            [adb, "-L", f"tcp:{self.port}", "server", "nodaemon"],
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(500):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return
            time.sleep(0.01)
        raise AssertionError("the adb server did not start")

    def stop(self) -> None:
        """End it by its process id, and any that a client has started in its place."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)

    def processes(self) -> list[int]:
        """The servers that run on this port."""
        clients = marked("ANDROID_ADB_SERVER_PORT", str(self.port))
        return [pid for pid in clients if "server" in words(pid)]

    def adb(self, *arguments: object, timeout_s: float = 30.0) -> subprocess.CompletedProcess[str]:
        """Run the client; what it prints is kept, nothing is asked of its status."""
        return subprocess.run(
            ["adb", *map(str, arguments)],
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )

    def devices(self) -> dict[str, str]:
        """Serial and state of each device, asked without a client, which takes its time."""
        return dict(line.split("\t", 1) for line in self._ask("host:devices").splitlines())

    def _ask(self, service: str) -> str:
        """One request to the server, as clients make them."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as server:
            server.sendall(f"{len(service):04x}{service}".encode())
            status = receive_exactly(server, 4)
            text = receive_exactly(server, int(receive_exactly(server, 4), 16)).decode()
        assert status == b"OKAY", text
        return text

    def connect(self, device: FakeDevice, state: str = "device", timeout_s: float = 10.0) -> str:
        """Connect to a device and wait until it is in that state.

        Returns:
            What `adb connect` said.
        """
        said = self.adb("connect", device.serial).stdout.strip()
        self.wait_for(device, state, timeout_s)
        return said

    def wait_for(self, device: FakeDevice, state: str, timeout_s: float = 10.0) -> None:
        """Wait until `adb devices` shows the device in that state."""
        end = time.monotonic() + timeout_s
        while (found := self.devices().get(device.serial)) != state:
            assert time.monotonic() < end, f"{device.serial} is {found}, not {state}"
            time.sleep(0.02)

    def disconnect_all(self) -> None:
        """Forget every device."""
        self._ask("host:disconnect:")
