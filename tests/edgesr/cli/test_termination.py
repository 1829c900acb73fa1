"""SIGTERM ends a command soon, whatever it waits for, and leaves nothing behind."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

#: The command `models` replaced: it holds an output and a temporary folder, starts a child in a
#: thread, prints "ready", and blocks.
_START = """
import asyncio, os, sys, tempfile, threading, time
from pathlib import Path
import click
from edgesr.cli.support.lazy_group import LazyGroup
from edgesr.common import subprocesses
from edgesr.common.files import atomic_outputs
from edgesr.upscaling.files import ReadAhead

def block_in_native_code():
    import ctypes
    lock = ctypes.create_string_buffer(64)
    native = ctypes.CDLL(None)
    native.pthread_mutex_lock(lock)
    native.pthread_mutex_lock(lock)  # no signal ends it

def block_in_a_reader():
    import edgesr.upscaling.files as files
    files.read_series = lambda *_, **__: time.sleep(600)
    with ReadAhead([Path("a.png")], 1) as images:
        images.take()

def block_in_python():
    threading.Event().wait()

@click.command()
def command():
    argv = [sys.executable, "-c", "import time; time.sleep(600)"]
    threading.Thread(target=lambda: subprocesses.run_to_end(argv, 600), daemon=True).start()
    with atomic_outputs([Path("out.bin")]) as (part,), tempfile.TemporaryDirectory(dir="."):
        part.write_bytes(b"half")
        while not subprocesses._running:
            time.sleep(0.01)
        print("ready", *subprocesses._running, flush=True)
        BLOCK()

LazyGroup.get_command = lambda *_: command
sys.argv = ["edgesr", "models"]
from edgesr.cli import main
main()
"""


@pytest.mark.parametrize("block", ["block_in_native_code", "block_in_a_reader", "block_in_python"])
def test_sigterm_ends_what_is_blocked_and_leaves_nothing(block: str, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", _START.replace("BLOCK", block)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    )
    assert process.stdout is not None
    ready = process.stdout.readline().split()
    assert ready[:1] == ["ready"], process.communicate()
    time.sleep(0.2)  # into the block
    process.send_signal(signal.SIGTERM)
    # The command's own limit is two seconds; a busy machine may take longer.
    _, err = process.communicate(timeout=30)
    assert process.returncode == 143, err
    assert err == "edgesr: terminated; nothing half-written is left\n"
    assert list(tmp_path.iterdir()) == []
    assert not _lives(int(ready[1]))


def _lives(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


def test_watching_for_a_signal_costs_no_import() -> None:
    """asyncio, which running children needs, takes as long as half a start."""
    code = "import sys; import edgesr.cli.app; print('asyncio' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
