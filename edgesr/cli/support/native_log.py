"""Keep the native libraries' log off the user's terminal."""

import os
import sys


def silence_native_log() -> None:
    """Discard what native code writes to stderr, for the rest of this process.

    LiteRT logs some thirty lines of INFO and WARNING for every model, among which errors are hard
    to see. Python's own stderr is kept. EDGESR_NATIVE_LOG=1 switches this off. Nothing happens
    where stderr is not this process's own, as under a test runner.
    """
    if os.environ.get("EDGESR_NATIVE_LOG") == "1" or not _owns_stderr():
        return
    sys.stderr.flush()
    kept = os.dup(2)
    sys.stderr = os.fdopen(kept, "w", buffering=1, encoding="utf-8", errors="backslashreplace")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)


def silence_library_log() -> None:
    """Discard what imagecodecs and Pillow log and warn of: bare lines on stderr, naming no file."""
    import logging
    import warnings

    warnings.filterwarnings("ignore", module=r"PIL\.")

    for name in ("imagecodecs", "PIL"):
        logger = logging.getLogger(name)
        if not logger.handlers:
            logger.addHandler(logging.NullHandler())


def _owns_stderr() -> bool:
    try:
        return sys.stderr.fileno() == 2
    except (AttributeError, OSError, ValueError):
        return False
