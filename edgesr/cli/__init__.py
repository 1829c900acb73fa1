"""The command line: one small file per command, imported only when it is called."""

import os
import sys


def main() -> None:
    """Run the command line; before and after its own handling too, nothing ends in a traceback."""
    try:
        _run()
    except KeyboardInterrupt:  # while it is imported, or while an error is shown
        print("edgesr: interrupted; nothing half-written is left", file=sys.stderr)  # noqa: T201
        sys.exit(130)
    except Exception as error:  # not even the log of another could be written
        print(f"edgesr: error: {_last_words(error)}", file=sys.stderr)  # noqa: T201
        sys.exit(1)


def _last_words(error: Exception) -> str:
    try:
        os.getcwd()
    except OSError:  # Python 3.13.0 then imports nothing any more
        return "the folder in which it runs was deleted; change to another"
    return f"unexpected {type(error).__name__}: {error}"


def _run() -> None:
    try:
        from edgesr.cli.app import run
    except (ImportError, OSError) as error:
        print(f"edgesr: error: cannot start: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(1)
    run()
