"""A child process for native code that may crash or hang, with its log."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from multiprocessing import Pipe
from pathlib import Path
from typing import IO, Any

from edgesr.common.compat import SAFE_PATH
from edgesr.common.subprocesses import SIGKILL
from edgesr.errors import AcceleratorError
from edgesr.runtime import gpu_log

#: What to do where a network's own size is too much.
SMALLER = "convert at a smaller --size"

# A process that a driver holds in the kernel outlives its killing: it is not waited for.
_DEATH_LIMIT_S = 10.0


class _Log:
    """What the child writes; a reader does not move where it writes.

    In memory where there are such files: the log is the witness of errors, and on a full disk it
    would be empty.
    """

    def __init__(self) -> None:
        self.file: IO[bytes]
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        if hasattr(os, "memfd_create"):
            self.file = os.fdopen(os.memfd_create("edgesr-gpu-log"), "rb", buffering=0)
        else:
            self._folder = tempfile.TemporaryDirectory(prefix="edgesr-", ignore_cleanup_errors=True)
            path = Path(self._folder.name, "log")
            self.file = path.open("wb", buffering=0)

    def read(self) -> str:
        """All of it so far; empty after closing."""
        if self.file.closed:
            return ""
        if self._folder is not None:
            content = Path(self._folder.name, "log").read_bytes()
        else:
            descriptor = self.file.fileno()
            content = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
        return content.decode(errors="replace")

    def close(self) -> None:
        """Give it up."""
        self.file.close()
        if self._folder is not None:
            self._folder.cleanup()


class GpuProcess:
    """`python -m edgesr.runtime._gpu_child` and a pipe to it; to be closed."""

    def __init__(self, variables: Mapping[str, str], more_memory: str = SMALLER) -> None:
        """Start it.

        Args:
            variables: Environment variables to set in the child, and only there.
            more_memory: What to do where it runs out of memory.

        Raises:
            AcceleratorError: The system does not start it.
        """
        self._more_memory = more_memory
        with contextlib.ExitStack() as opened:
            try:
                self._log = _Log()
                opened.callback(self._log.close)
                self._connection, theirs = Pipe()
                opened.callback(self._connection.close)
                with theirs:
                    self._child = self._start(theirs.fileno(), variables)
            except OSError as error:
                raise AcceleratorError(
                    "LiteRT's GPU accelerator runs in a process of its own, and the system does "
                    f"not start it: {error.strerror}"
                ) from error
            opened.pop_all()

    def _start(self, pipe: int, variables: Mapping[str, str]) -> "subprocess.Popen[bytes]":
        # It imports what this process would, and nothing that lies in the working folder (-P).
        path = os.pathsep.join(folder or os.getcwd() for folder in sys.path)
        return subprocess.Popen(
            [sys.executable, *SAFE_PATH, "-m", "edgesr.runtime._gpu_child", str(pipe)],
            env={**os.environ, **variables, "PYTHONPATH": path},
            stdin=subprocess.DEVNULL,
            stdout=self._log.file,
            stderr=self._log.file,
            pass_fds=() if sys.platform == "win32" else (pipe,),
            startupinfo=_handing_over(pipe),
        )

    @property
    def log(self) -> str:
        """What the child has logged so far; empty after closing."""
        return self._log.read()

    def ask(self, words: Sequence[bytes], limit_s: float, doing: str) -> bytes:
        """Send messages and wait for the answer.

        Args:
            words: What is sent.
            limit_s: Seconds that sending and answering may take.
            doing: What the child is to do, for errors: "compiling x.tflite".

        Raises:
            AcceleratorError: The child died or took too long, and is closed now; or it had been.
        """
        if self._connection.closed:
            raise AcceleratorError(
                f"LiteRT's GPU accelerator has been ended before {doing}; open the model anew"
            )
        start = time.monotonic()
        # A child that hangs does not read either: only its death ends a blocked sending.
        watchdog = threading.Timer(limit_s, self._child.kill)
        watchdog.start()
        try:
            for word in words:
                self._connection.send_bytes(word)
            if self._connection.poll(limit_s):
                return self._connection.recv_bytes()
        except (EOFError, OSError):
            pass
        except BaseException:
            self.close()  # an answer that came later would be taken for the next one's
            raise
        finally:
            watchdog.cancel()
        late = time.monotonic() - start >= limit_s
        raise AcceleratorError(self._late(doing, limit_s) if late else self._dead(doing))

    def close(self) -> None:
        """Kill the child, which has nothing to lose; nothing happens the second time."""
        self._connection.close()
        self._child.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(_DEATH_LIMIT_S)
        if os.environ.get("EDGESR_NATIVE_LOG") == "1":
            sys.stderr.write(self.log)
        self._log.close()

    def _late(self, doing: str, limit_s: float) -> str:
        """That the child was too slow; it is closed."""
        words = gpu_log.last_words(self.log)
        self.close()
        return (
            f"LiteRT's GPU accelerator did not finish {doing} within {limit_s:g} s and was "
            f"stopped; its last words: {words}"
        )

    def _dead(self, doing: str) -> str:
        """How the child ended; it is closed."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(_DEATH_LIMIT_S)
        status = self._child.returncode
        log = self.log
        self.close()
        # Linux kills a process for memory without a message to it.
        memory = status == -SIGKILL or gpu_log.is_out_of_memory(log)
        hint = f", probably out of memory: {self._more_memory}" if memory else ""
        return (
            f"LiteRT's GPU accelerator {_ending(status)} while {doing}{hint}; "
            f"its last words: {gpu_log.last_words(log)}"
        )


def _handing_over(handle: int) -> Any:  # noqa: ANN401 - a type that Windows alone has
    """What makes a child on Windows inherit a handle; other systems have descriptors."""
    if sys.platform != "win32":
        return None
    os.set_handle_inheritable(handle, True)
    return subprocess.STARTUPINFO(lpAttributeList={"handle_list": [handle]})


def _ending(status: int | None) -> str:
    """The end of a process by its status; None for one still running."""
    if status is None:
        return "hung up"
    if status >= 0:
        return f"ended with status {status}"
    with contextlib.suppress(ValueError):
        return f"was killed by {signal.Signals(-status).name}"
    return f"was killed by signal {-status}"
