"""Runs cases in folders of their own, through a `fuzz.server` process."""

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fuzz.case import Case, Ended
from fuzz.judge import findings
from helpers.commands import RUN

MEMORY_BYTES = 4 << 30
_KEPT_BYTES = 1 << 20  # of every file
_ROOT = Path(__file__).parent.parent.parent


class Runner:
    """Runs one case at a time. A server that died is begun anew.

    Args:
        modules: What the server imports before it forks.
        scratch: Folder for the cases' folders.
        limit_s: How long a command may take.
    """

    def __init__(self, modules: Sequence[str], scratch: Path, *, limit_s: float = 30.0) -> None:
        self._modules, self._scratch, self._limit_s = modules, scratch, limit_s
        self._server: subprocess.Popen[str] | None = None
        self._unused = socket.socket()
        self._unused.bind(("127.0.0.1", 0))  # bound but not listening: refuses every connection

    def run(self, case: Case, name: str, keep: Path | None = None) -> list[tuple[str, str]]:
        """Run a case and judge it: kinds of findings, each with what exactly.

        Args:
            case: What to run.
            name: Of its folder.
            keep: Folder that receives its files and output.
        """
        place = self._scratch / name
        work, temporary = place / "work", place / "tmp"
        for folder in (work, temporary):
            folder.mkdir(parents=True)
        try:
            for file, content in case.files.items():
                (work / file).parent.mkdir(parents=True, exist_ok=True)
                (work / file).write_bytes(content)
            if case.prepare is not None:
                case.prepare(work)
            if keep is not None:
                _copy(work, keep / name)
            for stream in ("out", "err"):
                (place / stream).touch()
            before = _contents(work).keys() - case.files.keys()
            reply = self._ask(case, place)
            ended = Ended(
                **reply,
                out=(place / "out").read_bytes(),
                err=(place / "err").read_bytes(),
                logs="".join(path.read_text() for path in place.glob("state/**/*.log")),
                files={n: c for n, c in _contents(work).items() if n not in before},
                temporary=sorted(path.name for path in temporary.iterdir()),
            )
            if keep is not None:
                (keep / f"{name}.out").write_bytes(ended.out)
                (keep / f"{name}.err").write_bytes(ended.err)
            return findings(case, ended, work)
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def _ask(self, case: Case, place: Path) -> dict[str, Any]:
        """How a case's process ended, from the server."""
        variables = self._environment(place / "tmp")
        variables = {**variables, "XDG_STATE_HOME": str(place / "state"), **case.environment}
        request = {
            "words": list(case.words),
            "entry": case.entry,
            "code": RUN,
            "folder": str(place / "work"),
            "out": str(place / "out"),
            "err": str(place / "err"),
            "environment": {k: v for k, v in variables.items() if v is not None},
            "memory_bytes": MEMORY_BYTES,
            "open_files": case.open_files,
            "no_folder": case.no_folder,
            "fresh": case.fresh,
            "signal": case.signal,
            "limit_s": self._limit_s,
        }
        server = self._running()
        assert server.stdin is not None
        assert server.stdout is not None
        server.stdin.write(json.dumps(request) + "\n")
        server.stdin.flush()
        return json.loads(server.stdout.readline())

    def _running(self) -> "subprocess.Popen[str]":
        if self._server is None or self._server.poll() is not None:
            self._server = subprocess.Popen(
                [sys.executable, "-m", "fuzz.server", *self._modules],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=self._environment(self._scratch),
                text=True,
            )
        return self._server

    def _environment(self, temporary: Path) -> Mapping[str, str | None]:
        """Variables of a command: one thread, folders of its own, no network."""
        hidden = ("proxy", "edgesr_", "android", "adb", "columns", "lc_", "lang")
        kept = {k: v for k, v in os.environ.items() if not any(h in k.lower() for h in hidden)}
        proxies = (f"{name}_proxy" for name in ("http", "https", "all"))
        nowhere = f"http://127.0.0.1:{self._unused.getsockname()[1]}"
        return {
            **kept,
            **{name: nowhere for lower in proxies for name in (lower, lower.upper())},
            "OMP_NUM_THREADS": "1",
            "LC_ALL": "C.UTF-8",
            "TMPDIR": str(temporary),
            "HOME": str(self._scratch),
            "XDG_CACHE_HOME": str(self._scratch / "cache"),
            "PYTHONPATH": f"{_ROOT}{os.pathsep}{_ROOT / 'tests'}",
        }

    def close(self) -> None:
        """End the server."""
        self._unused.close()
        if self._server is not None:
            self._server.communicate()


def _contents(folder: Path) -> dict[str, bytes]:
    """Everything in a folder -> the beginning of it, empty for what is no regular file."""
    found: dict[str, bytes] = {}
    for path in folder.rglob("*") if folder.is_dir() else ():
        content = b""
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as file:
                content = file.read(_KEPT_BYTES)
        if not path.is_dir() or not any(path.iterdir()):
            found[str(path.relative_to(folder))] = content
    return found


def _copy(source: Path, target: Path) -> None:
    """Copy a folder's regular files and links."""
    for path in source.rglob("*"):
        if path.is_symlink() or path.is_file():
            copied = target / path.relative_to(source)
            copied.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copied, follow_symlinks=False)
