"""The services that run a command: shell, with and without shell_v2, and exec."""

import array
import contextlib
import fcntl
import os
import resource
import selectors
import signal
import subprocess
import termios
import threading
import time
from collections.abc import Callable
from pathlib import Path

from ..storage import HidesRoot
from .connection import Stream, StreamClosed
from .wire import ShellId, ShellPackets, shell_packet

_DASH = next((path for path in ("/usr/bin/dash", "/bin/dash") if Path(path).exists()), "/bin/sh")
#: The builtin would reach processes that are none of the device's.
_PREAMBLE = 'kill() { fake_kill "$@"; }; '


def start_shell(
    command: str, environment: dict[str, str], folder: Path, *, merged: bool
) -> subprocess.Popen[bytes]:
    """Start a POSIX shell on the command, in a session of its own, without core dumps.

    Args:
        command: With the host's paths.
        environment: All of it: nothing of this process's is passed on.
        folder: Working folder.
        merged: stderr goes into stdout.
    """
    return subprocess.Popen(
        ["/system/bin/sh", "-c", _PREAMBLE + command],
        executable=_DASH,
        env=environment,
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if merged else subprocess.PIPE,
        start_new_session=True,
        preexec_fn=_as_on_a_device,
    )


def _as_on_a_device() -> None:
    # Tests that run under nohup ignore the signal, and every process of theirs would.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


class ShellSession:
    """Carries a command's input and output between the process and the stream.

    Args:
        stream: To the adb server.
        root: The device's folder on the host, hidden in the output.
        packets: With shell_v2: stderr and the exit status apart.
        carriage_returns: Line ends as Android's before 7, whose shell always had a terminal.
    """

    def __init__(
        self, stream: Stream, root: Path, *, packets: bool, carriage_returns: bool = False
    ) -> None:
        self._stream, self._root = stream, root
        self._packets, self._carriage_returns = packets, carriage_returns
        self._process: subprocess.Popen[bytes] | None = None
        self._passing = threading.Lock()

    def run(self, start: Callable[[], subprocess.Popen[bytes]]) -> None:
        """Run to the end of the command, or until the stream is closed: then it is hung up."""
        process = self._process = start()
        feeder = threading.Thread(target=self._feed, args=(process,), daemon=True)
        feeder.start()
        try:
            self._pass_output_on(process)
            status = process.wait()
            if self._packets:
                status = 128 - status if status < 0 else status
                self._stream.send(shell_packet(ShellId.EXIT, bytes([status & 0xFF])))
        except StreamClosed:
            self._hang_up(process)
        finally:
            for pipe in (process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()
            process.wait()

    def close_without_status(self) -> None:
        """End the stream, while the command runs."""
        self._stream.close()

    def flush(self, timeout_s: float = 2.0) -> None:
        """Wait until all output so far has been sent, if the other side takes it."""
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            if self._passing.acquire(timeout=0.05):
                try:
                    if not self._waiting_output():
                        return
                finally:
                    self._passing.release()
            time.sleep(0.002)

    def _waiting_output(self) -> bool:
        process = self._process
        for pipe in (process.stdout, process.stderr) if process else ():
            if pipe is not None and not pipe.closed:
                waiting = array.array("i", [0])
                fcntl.ioctl(pipe, termios.FIONREAD, waiting)
                if waiting[0]:
                    return True
        return False

    def _feed(self, process: subprocess.Popen[bytes]) -> None:
        packets = ShellPackets()
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError, ValueError), process.stdin as pipe:
            while data := self._stream.receive():
                if not self._packets:
                    pipe.write(data)
                    pipe.flush()
                    continue
                for kind, content in packets.feed(data):
                    if kind == ShellId.STDIN:
                        pipe.write(content)
                        pipe.flush()
                    elif kind == ShellId.CLOSE_STDIN:
                        pipe.close()
        if self._stream.closed.is_set() and process.poll() is None:
            self._hang_up(process)

    def _pass_output_on(self, process: subprocess.Popen[bytes]) -> None:
        with selectors.DefaultSelector() as selector:
            for pipe, kind in (
                (process.stdout, ShellId.STDOUT),
                (process.stderr, ShellId.STDERR),
            ):
                if pipe is not None:
                    selector.register(pipe, selectors.EVENT_READ, (kind, HidesRoot(self._root)))
            while selector.get_map():
                for key, _ in selector.select(timeout=0.5):
                    kind, hides = key.data
                    with self._passing:
                        data = os.read(key.fd, 1 << 16)
                        self._send(kind, hides.feed(data, last=not data))
                    if not data:
                        selector.unregister(key.fileobj)
                if self._stream.closed.is_set():
                    raise StreamClosed

    def _send(self, kind: ShellId, data: bytes) -> None:
        if not data:
            return
        if self._carriage_returns:
            data = data.replace(b"\n", b"\r\n")
        self._stream.send(shell_packet(kind, data) if self._packets else data)

    def _hang_up(self, process: subprocess.Popen[bytes]) -> None:
        """What adbd does: SIGHUP to the shell alone, or by its terminal to the whole group."""
        with contextlib.suppress(ProcessLookupError):
            if self._packets:
                process.send_signal(signal.SIGHUP)
            else:
                os.killpg(process.pid, signal.SIGHUP)
