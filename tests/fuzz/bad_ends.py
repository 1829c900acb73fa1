"""Programs that end as no command may, for the test of the judge."""

import os
import subprocess
import sys
import time
from pathlib import Path


def crash() -> None:
    os.abort()


def traceback() -> None:
    raise ValueError("unexpected")


def hang() -> None:
    time.sleep(60)


def leave_a_file() -> None:
    Path("half.png").write_bytes(b"half")
    _fail("edgesr: error: refused")


def leave_a_temporary_file() -> None:
    Path(os.environ["TMPDIR"], "scratch").write_bytes(b"")


def change_the_input() -> None:
    Path("in.png").write_bytes(b"other")


def leave_a_process() -> None:
    subprocess.Popen(["sleep", "60"])


def say_nothing() -> None:
    sys.exit(1)


def fail_twice() -> None:
    _fail("edgesr: error: one\nedgesr: error: two")


def chatter() -> None:
    sys.stderr.write("WARNING: from a library\n")


def say_too_much() -> None:
    _fail("edgesr: error: " + 500 * "x")


def colour() -> None:
    sys.stdout.write("\x1b[31mred\n")


def speak_python() -> None:
    _fail("edgesr: error: UnicodeDecodeError")


def exit_oddly() -> None:
    sys.exit(77)


def end_well() -> None:
    """As a command should that refuses its input."""
    _fail("edgesr: error: in.png is no image; give another")


def _fail(message: str) -> None:
    sys.stderr.write(f"{message}\n")
    sys.exit(1)
