"""SIGTERM as an exception, so that temporary folders and children are cleaned up, within a limit.

Python handles a signal when its main thread is back from native code, and ends when all threads
have: a long run of a network or a reader of a large image would hold a command for minutes. A
second thread ends it then.
"""

import atexit
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Generator
from types import FrameType

import click

#: Exit status after SIGTERM, as shells define it.
TERMINATED = 128 + signal.SIGTERM
#: Seconds for the main thread to end by itself, and for cleaning up in its place.
_UNWIND_S, _CLEAN_S = 1.0, 0.6
_STOP = 0  # no signal has this number


class TerminatedError(SystemExit):
    """Raised on SIGTERM; like Ctrl-C, no `except Exception` catches it."""


class _State:
    """What the two threads share.

    Attributes:
        unlimited: Whether the command needs more time to clean up, or ends by itself.
        reported: Whether the user was told.
    """

    unlimited = False
    reported = False


@contextlib.contextmanager
def terminated_as_exit() -> Generator[None]:
    """Unwind the block on the first SIGTERM, as Ctrl-C does; a second ends the process.

    Where unwinding takes more than a second, the process is ended without it.

    Raises:
        TerminatedError: On SIGTERM, wherever the block is; its exit status is 143.
    """
    # Only the main thread may set handlers; a handler that is set already is left in place.
    default = signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    if not default or threading.current_thread() is not threading.main_thread():
        yield
        return

    def terminate(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        raise TerminatedError(TERMINATED)

    _State.reported = False
    signal.signal(signal.SIGTERM, terminate)
    with _watched():
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextlib.contextmanager
def no_time_limit() -> Generator[None]:
    """Let the block end by itself after SIGTERM, however long that takes."""
    _State.unlimited = True
    try:
        yield
    finally:
        _State.unlimited = False


def report_stopped(*, terminated: bool, what: str = "nothing half-written is left") -> None:
    """Print one line about the end of the command, once.

    Args:
        terminated: Whether SIGTERM ended it, else Ctrl-C.
        what: What is left of its work.
    """
    if not _State.reported:
        _State.reported = True
        click.echo(f"edgesr: {'terminated' if terminated else 'interrupted'}; {what}", err=True)


@contextlib.contextmanager
def _watched() -> Generator[None]:
    """Watch for SIGTERM in a second thread, also after the block if the signal came in it."""
    if sys.platform == "win32":  # another program ends this one there without a signal
        yield
        return
    try:
        reading, writing = os.pipe()
    except OSError:  # too few files are allowed; then nothing watches
        yield
        return
    os.set_blocking(writing, False)
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    watcher = threading.Thread(target=_watch, args=(reading,), daemon=True, name="edgesr-watch")
    try:
        with contextlib.suppress(RuntimeError):  # no thread can be started
            watcher.start()
        yield
    except TerminatedError:
        _kill_children()  # those of other threads
        raise  # the watcher goes on until the process has ended
    except BaseException:
        _stop(reading, writing, before, watcher)
        raise
    else:
        _stop(reading, writing, before, watcher)


def _stop(reading: int, writing: int, before: int, watcher: threading.Thread) -> None:
    signal.set_wakeup_fd(before)
    with contextlib.suppress(OSError):
        os.write(writing, bytes([_STOP]))
    if watcher.ident is not None:
        watcher.join()
    os.close(reading)
    os.close(writing)


def _watch(reading: int) -> None:
    """Wait for the number of a signal, which Python's own handler writes at once."""
    while True:
        try:
            (number,) = os.read(reading, 1)
        except OSError:  # Ctrl-C hit its start, and it was given up
            return
        if number == _STOP:
            return
        if number == signal.SIGTERM and not _State.unlimited:
            break
    threading.Event().wait(_UNWIND_S)
    cleaner = threading.Thread(target=_clean, daemon=True)
    with contextlib.suppress(RuntimeError):
        cleaner.start()
        cleaner.join(_CLEAN_S)
    report_stopped(terminated=True)
    os._exit(TERMINATED)


def _kill_children() -> None:
    # Importing it takes as long as half a start; what is not imported has started nothing.
    if "edgesr.common.subprocesses" in sys.modules:
        from edgesr.common.subprocesses import kill_running

        kill_running()


def _clean() -> None:
    _kill_children()
    if "edgesr.common.files" in sys.modules:
        from edgesr.common.files import remove_temporaries

        remove_temporaries()
    # Temporary folders; no public function does this.
    atexit._run_exitfuncs()  # pyright: ignore[reportPrivateUsage]
