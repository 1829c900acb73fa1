"""What nobody expected: one line for the user, the traceback in a log file."""

import os
import platform
import secrets
import shlex
import sys
import tempfile
import traceback
from pathlib import Path

import click

from edgesr import __version__
from edgesr.common.text import printable

#: The exit status of an internal error, as `sysexits.h` has it (EX_SOFTWARE).
INTERNAL_ERROR = 70


def report_unexpected(error: Exception) -> None:
    """Print one line with an error id and the path of the log that holds the traceback.

    EDGESR_DEBUG=1 prints the traceback too.
    """
    identity = secrets.token_hex(4)
    log = _write_log(identity, error)
    where = f"the details are in {log}" if log else "no log file could be written"
    click.echo(
        f"edgesr: error: unexpected {type(error).__name__} (id {identity}); this is a fault of "
        f"edgesr: {where}, please report it; EDGESR_DEBUG=1 shows them here",
        err=True,
    )
    if os.environ.get("EDGESR_DEBUG") == "1":
        traceback.print_exception(error)


def _write_log(identity: str, error: Exception) -> Path | None:
    lines = [
        f"edgesr {__version__}, Python {platform.python_version()}, {platform.platform()}",
        f"command: {printable(shlex.join(sys.argv[1:]))}",
        *traceback.format_exception(error),
    ]
    text = "\n".join(lines).encode("utf-8", "backslashreplace")
    for folder in _folders():
        path = folder / f"edgesr-{identity}.log"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text)
        except OSError:
            continue
        return path
    return None


def _folders() -> list[Path]:
    import platformdirs

    folders = [Path(platformdirs.user_log_dir("edgesr"))]
    try:
        return [*folders, Path(tempfile.gettempdir())]
    except OSError:
        return folders
