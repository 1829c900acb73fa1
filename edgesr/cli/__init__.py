"""The command line: one small file per command, imported only when it is called."""

import sys


def main() -> None:
    """Run the command line; before and after its own handling too, nothing ends in a traceback."""
    try:
        _run()
    except KeyboardInterrupt:  # while it is imported, or while an error is shown
        print("edgesr: interrupted; nothing half-written is left", file=sys.stderr)  # noqa: T201
        sys.exit(130)


def _run() -> None:
    try:
        from edgesr.cli.app import run
    except (ImportError, OSError) as error:
        print(f"edgesr: error: cannot start: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(1)
    run()
