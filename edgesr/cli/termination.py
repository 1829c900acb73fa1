"""SIGTERM as an exception, so that temporary folders and children are cleaned up."""

import contextlib
import signal
import threading
from collections.abc import Generator
from types import FrameType

#: As the shell counts.
TERMINATED = 128 + signal.SIGTERM


class TerminatedError(SystemExit):
    """SIGTERM came. No `except Exception` catches it, as none catches Ctrl-C."""


@contextlib.contextmanager
def terminated_as_exit() -> Generator[None]:
    """Let the first SIGTERM unwind the block, as Ctrl-C does; a second one ends the process.

    Raises:
        TerminatedError: In whatever the block is doing then; its status is 143.
    """
    # Only the main thread may; who ignores the signal or heeds it in another way is left to that.
    default = signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    if not default or threading.current_thread() is not threading.main_thread():
        yield
        return

    def terminate(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        raise TerminatedError(TERMINATED)

    signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
