"""Commands run as users run them, in this process or in one of their own."""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from edgesr.cli import main

#: What the console script `edgesr` does.
RUN = "import sys; from edgesr.cli import main; main()"
#: Goes before RUN: a shell that starts the tests in the background has told them to ignore Ctrl-C.
HEED_CTRL_C = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "


class Ran:
    """What a command did."""

    def __init__(self, status: object, out: str, err: str) -> None:
        self.status, self.out, self.err = status, out, err

    def fails(self, *words: str) -> None:
        """One line on stderr with all the words, status 1."""
        assert self.status == 1, self.err
        lines = [line for line in self.err.splitlines() if line.startswith("edgesr: error")]
        assert len(lines) == 1, self.err
        assert "Traceback" not in self.err
        missing = [word for word in words if word not in lines[0]]
        assert not missing, f"{missing} not in: {lines[0]}"

    def fails_alone(self, *words: str) -> None:
        """The same, and nothing else was said on stdout or stderr."""
        self.fails_alone_on_stderr(*words)
        assert self.out == ""

    def fails_alone_on_stderr(self, *words: str) -> None:
        """The same, and stdout holds results."""
        self.fails(*words)
        assert len(self.err.splitlines()) == 1, self.err

    def is_wrong_usage(self, *words: str) -> None:
        """The usage and one line with all the words, status 2."""
        assert self.status == 2, self.err
        assert self.out == ""
        assert self.err.startswith("Usage: edgesr "), self.err
        last = self.err.splitlines()[-1]
        assert last.startswith("edgesr: error: "), self.err
        missing = [word for word in words if word not in last]
        assert not missing, f"{missing} not in: {last}"


#: Runs a command with the words that it is given.
Command = Callable[..., Ran]


def run_here(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: object
) -> Ran:
    """Run a command in this process, which has torch loaded already."""
    monkeypatch.setattr(sys, "argv", ["edgesr", *map(str, words)])
    with pytest.raises(SystemExit) as caught:
        main()
    return Ran(caught.value.code, *capsys.readouterr())


def run_alone(*words: object, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> Ran:
    """Run a command in a process of its own."""
    argv = [sys.executable, "-c", RUN, *map(str, words)]
    done = subprocess.run(argv, capture_output=True, text=True, env=env, cwd=cwd)
    return Ran(done.returncode, done.stdout, done.stderr)


def processor_s() -> float:
    """Seconds of processor time that ended child processes of this one have taken so far.

    Limits count these, not the clock's: the machine may be busy with other work.
    """
    times = os.times()
    return times.children_user + times.children_system


@contextmanager
def no_network(**more: object) -> Generator[dict[str, str]]:
    """An environment in which every download fails at once, without EDGESR_SHARED."""
    hidden = ("proxy", "edgesr_")
    env = {k: v for k, v in os.environ.items() if not any(h in k.lower() for h in hidden)}
    with socket.socket() as bound:  # bound but not listening: refuses, and nobody else gets it
        bound.bind(("127.0.0.1", 0))
        proxy = f"http://127.0.0.1:{bound.getsockname()[1]}"
        names = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")
        yield env | dict.fromkeys(names, proxy) | {k: str(v) for k, v in more.items()}


def run_on_small_disk(
    mount: Path, *words: object, size: str, prepare: str = "true", environment: str = ""
) -> Ran:
    """Run a command while a disk of that size is mounted; on stdout is also what it left there.

    Not listed is `.ses`, which onnxruntime makes in the folder for temporary files on import.

    Mounting is allowed to root only: elsewhere the test is skipped.

    Args:
        mount: A folder, to mount on.
        words: The command.
        size: As tmpfs takes it, e.g. "8k".
        prepare: Shell command to run on the mounted disk, e.g. to make it read-only.
        environment: Shell assignments before the command.
    """
    arguments = " ".join(f"'{word}'" for word in words)
    script = (
        f"mount -t tmpfs -o size={size} tmpfs '{mount}' && {prepare} || exit 77; "
        f"{environment} '{sys.executable}' -c '{RUN}' {arguments}; "
        f"status=$?; ls -A -I .ses '{mount}'; exit $status"
    )
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("needs unshare")
    done = subprocess.run([unshare, "--mount", "sh", "-c", script], capture_output=True, text=True)
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip("may not mount")
    return Ran(done.returncode, done.stdout, done.stderr)


def files_in(folder: Path) -> list[str]:
    """Every file below a folder, hidden ones too."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
