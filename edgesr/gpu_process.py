"""A child process for native code that may crash or hang, with its log."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from multiprocessing import Pipe
from pathlib import Path

from edgesr import gpu_log
from edgesr.errors import AcceleratorError
from edgesr.files import temporary_file_errors


class GpuProcess:
    """`python -m edgesr._gpu_child` and a pipe to it; to be closed, also by `with`."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        """Start it.

        Args:
            variables: Environment variables to set in the child, and only there.

        Raises:
            OutputError: The folder for temporary files cannot be used.
        """
        with temporary_file_errors():
            self._scratch = tempfile.TemporaryDirectory(prefix="edgesr-gpu-")
        self._log_path = Path(self._scratch.name, "log")
        self._connection, theirs = Pipe()
        environment = {**os.environ, **variables}
        # Some drivers and loaders complain without it.
        environment.setdefault("XDG_RUNTIME_DIR", self._scratch.name)
        with theirs, self._log_path.open("wb") as log:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "edgesr._gpu_child", str(theirs.fileno())],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[theirs.fileno()],
            )

    @property
    def log(self) -> str:
        """What the child has logged so far; empty after closing."""
        with contextlib.suppress(OSError):
            return self._log_path.read_text(errors="replace")
        return ""

    def ask(self, words: Sequence[bytes], limit_s: float, doing: str) -> bytes:
        """Send messages and wait for the answer.

        Args:
            words: What is sent.
            limit_s: Seconds that the answer may take.
            doing: What the child is to do, for errors: "compiling x.tflite".

        Raises:
            AcceleratorError: The child died or took too long; it is closed then.
        """
        try:
            for word in words:
                self._connection.send_bytes(word)
            if self._connection.poll(limit_s):
                return self._connection.recv_bytes()
        except (EOFError, OSError):
            raise self._dead(doing) from None
        words_left = gpu_log.last_words(self.log)
        self.close()
        raise AcceleratorError(
            f"LiteRT's GPU accelerator did not finish {doing} within {limit_s:.0f} s and was "
            f"stopped; its last words: {words_left}"
        )

    def close(self) -> None:
        """Kill the child, which has nothing to lose; nothing happens the second time."""
        self._connection.close()
        self._child.kill()
        self._child.wait()
        if os.environ.get("EDGESR_NATIVE_LOG") == "1":
            sys.stderr.write(self.log)
        self._scratch.cleanup()

    def __enter__(self) -> "GpuProcess":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _dead(self, doing: str) -> AcceleratorError:
        """How the child ended."""
        try:
            status = self._child.wait(10)
        except subprocess.TimeoutExpired:  # it closed the pipe and lives on
            status = None
        log = self.log
        words = gpu_log.last_words(log)
        self.close()
        if status is not None and status < 0:
            how = f"was killed by {_signal_name(-status)}"
        else:
            how = f"ended with status {status}"
        # Linux kills who takes the last memory, and only tells root.
        memory = status == -signal.SIGKILL or gpu_log.is_out_of_memory(log)
        hint = ", probably out of memory: convert at a smaller --size" if memory else ""
        return AcceleratorError(
            f"LiteRT's GPU accelerator {how} while {doing}{hint}; its last words: {words}"
        )


def _signal_name(number: int) -> str:
    with contextlib.suppress(ValueError):
        return signal.Signals(number).name
    return f"signal {number}"
