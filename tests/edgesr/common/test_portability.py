"""What other systems lack: the base runs without it, and its other half does the same."""

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from PIL import Image

from edgesr.common import machine, subprocesses
from edgesr.doctor import machine as doctor
from edgesr.doctor.check import State
from edgesr.images.test_card import draw_test_card
from edgesr.weights.bundled import model_file
from helpers.commands import RUN

#: Before a command: what Windows has neither as a module nor in `os`.
_WITHOUT_POSIX = """
import os, psutil, signal, sys  # psutil has another half there
for name in ("fcntl", "grp", "pty", "pwd", "resource", "termios", "tty", "_posixshmem"):
    sys.modules[name] = None
for name in ("fork", "getloadavg", "getpgid", "killpg", "memfd_create",
             "mkfifo", "pread", "sched_getaffinity", "setsid"):
    if hasattr(os, name):
        delattr(os, name)
for name in ("SIGKILL", "SIGHUP", "SIGUSR1", "SIGALRM", "pthread_sigmask", "sigwait"):
    if hasattr(signal, name):
        delattr(signal, name)
"""


@pytest.mark.parametrize(
    "words",
    [
        ("upscale", "card.png", "-o", "large.png"),
        ("inspect", model_file(None)),
        ("models",),
        ("bench", "host", model_file(None), "--runs", "1", "--warm-up", "0", "--json"),
        ("eval", "--help"),
    ],
    ids=lambda words: str(words[0]),
)
def test_a_command_runs_without_what_posix_alone_has(
    words: tuple[object, ...], tmp_path: Path
) -> None:
    Image.fromarray(draw_test_card(24, 32)).save(tmp_path / "card.png")
    ran = subprocess.run(
        [sys.executable, "-c", _WITHOUT_POSIX + RUN, *map(str, words)],
        cwd=tmp_path, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout or (tmp_path / "large.png").is_file()


def test_a_program_that_takes_too_long_dies_with_what_it_started_without_process_groups(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delattr(os, "killpg")
    told = tmp_path / "pid"
    grandchild = (
        f"import os, time; open({str(told)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    )
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {grandchild!r}])"
    ended = subprocesses.run_to_end([sys.executable, "-c", child], 10)
    assert ended.status is None
    pid = int(told.read_text())
    for _ in range(50):
        with contextlib.suppress(psutil.NoSuchProcess):
            if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                time.sleep(0.1)
                continue
        break
    else:
        pytest.fail(f"process {pid}, which the program had started, is still alive")


def test_free_memory_is_what_the_system_says() -> None:
    line = next(
        line for line in Path("/proc/meminfo").read_text().splitlines() if "MemAvailable" in line
    )
    assert machine.free_bytes() == pytest.approx(1024 * int(line.split()[1]), rel=0.1)


def test_the_processor_of_a_mac_is_what_sysctl_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "sysctl"
    program.write_text('#!/bin/sh\n[ "$*" = "-n machdep.cpu.brand_string" ] && echo Apple M4\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(sys, "platform", "darwin")
    assert machine.processor() == "Apple M4"


@pytest.mark.parametrize(
    ("version", "state", "words"),
    [
        ((3, 9, 9), State.BROKEN, "needs 3.10 to 3.14"),
        ((3, 10, 1), State.MISSING, "converting needs 3.11 to 3.13"),
        ((3, 11, 0), State.OK, ""),
        ((3, 13, 0), State.OK, ""),
        ((3, 14, 0), State.MISSING, "converting needs 3.11 to 3.13"),
        ((3, 15, 0), State.BROKEN, "needs 3.10 to 3.14"),
    ],
)
def test_doctor_says_what_a_python_is_good_for(
    monkeypatch: pytest.MonkeyPatch, version: tuple[int, int, int], state: State, words: str
) -> None:
    monkeypatch.setattr(sys, "version_info", version)
    check = next(c for c in doctor.machine_checks() if c.name == "Python")
    assert check.state is state
    assert words in check.found


def test_doctor_says_where_edgesr_is_tested(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    check = next(c for c in doctor.machine_checks() if c.name == "platform")
    assert (check.state, "tested on Linux only" in check.found) == (State.OK, True)
