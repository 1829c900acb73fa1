"""Run another program with a time limit."""

import asyncio
import contextlib
import os
import signal
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO

#: The signal's number, whose name Windows lacks.
SIGKILL = 9

_running: set[int] = set()


@dataclass(frozen=True)
class ProcessResult:
    """Exit status and output of a program.

    Attributes:
        status: Its exit status, negative for a signal; None if it was stopped at its time limit.
        out: What it wrote to standard output.
        err: What it wrote to standard error.
        limit_s: Its time limit.
    """

    status: int | None
    out: str
    err: str
    limit_s: float

    @property
    def reason(self) -> str:
        """Why it did not succeed, in one line."""
        if self.status is None:
            return f"did not end within {self.limit_s:.0f} s"
        if self.status < 0:
            with contextlib.suppress(ValueError):
                return f"crashed with {signal.Signals(-self.status).name}"
            return f"crashed with signal {-self.status}"
        lines = [line.strip() for line in self.err.splitlines() if line.strip()]
        return lines[-1] if lines else f"ended with status {self.status} and printed nothing"


async def run(argv: Sequence[str], limit_s: float) -> ProcessResult:
    """Run a program to its end or to its time limit, when it and what it started are killed.

    Raises:
        OSError: It cannot be started.
    """
    # Files, not pipes: a daemon that it leaves behind would keep a pipe open for ever.
    with _buffer() as out, _buffer() as err:
        process = await asyncio.create_subprocess_exec(
            *argv, stdin=asyncio.subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True
        )
        status = None
        _running.add(process.pid)
        try:
            status = await asyncio.wait_for(process.wait(), limit_s)
        except asyncio.TimeoutError:  # not the built-in one before Python 3.11
            pass
        finally:  # also when the user interrupts
            if process.returncode is None:
                _kill(process.pid)
                await process.wait()
            _running.discard(process.pid)
        return ProcessResult(status, _text(out), _text(err), limit_s)


def _kill(pid: int) -> None:
    """Kill a program and what it started; nothing happens where it has ended."""
    if hasattr(os, "killpg"):
        with contextlib.suppress(OSError):
            os.killpg(pid, signal.SIGKILL)
        return
    import psutil  # Windows has no process groups

    with contextlib.suppress(psutil.NoSuchProcess):
        program = psutil.Process(pid)
        for process in (*program.children(recursive=True), program):
            with contextlib.suppress(psutil.Error):
                process.kill()


def kill_running() -> None:
    """Kill the programs that run now, before this process is ended by force."""
    for pid in list(_running):
        _kill(pid)


def run_to_end(argv: Sequence[str], limit_s: float) -> ProcessResult:
    """The same where nothing else is to be done meanwhile.

    Raises:
        OSError: It cannot be started.
    """
    return asyncio.run(run(argv, limit_s))


def _buffer() -> IO[bytes]:
    """A file in memory where there are such: the disk may be what is broken."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("output"), "w+b")
    return tempfile.TemporaryFile()


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")
