"""Keeps the native libraries' chatter off the user's terminal."""

import os
import sys


def silence_native_log() -> None:
    """Send what native code writes to stderr to nowhere, for the rest of this process.

    LiteRT greets every model with some thirty lines of INFO and WARNING, in which the one line that
    matters drowns. Python's own stderr keeps going to where it went. EDGESR_NATIVE_LOG=1 switches
    this off. Nothing happens where stderr is not this process's own, as under a test runner.
    """
    if os.environ.get("EDGESR_NATIVE_LOG") == "1" or not _owns_stderr():
        return
    sys.stderr.flush()
    kept = os.dup(2)
    sys.stderr = os.fdopen(kept, "w", buffering=1, encoding="utf-8", errors="backslashreplace")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)


def _owns_stderr() -> bool:
    try:
        return sys.stderr.fileno() == 2
    except (AttributeError, OSError, ValueError):
        return False
