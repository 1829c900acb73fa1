"""`edgesr bench` on a fake device, run by tests."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import pytest

from helpers.commands import Ran, run_here

Bench = Callable[..., Ran]


class Leaves(Protocol):
    """What a fake device says of what is left on it."""

    def files(self) -> list[str]: ...

    def has_no_processes(self) -> bool: ...


def is_clean(device: Leaves) -> bool:
    """Whether nothing of a benchmark is left on the device."""
    return device.files() == [] and device.has_no_processes()


def bench_command(
    environment: Mapping[str, str],
    file: Path,
    binary: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Bench:
    """The command with the tests' adb server, a small file and one repeat.

    Args:
        environment: Of the tests' adb server.
        file: What is measured, unless a call says otherwise.
        binary: What is pushed, unless a call says otherwise.
        monkeypatch: For the environment.
        capsys: For what the command says.
    """
    for name in list(os.environ):
        if name.startswith(("ADB_", "ANDROID_")):
            monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    def run(*words: object, file: Path = file, binary: Path = binary) -> Ran:
        base = ["bench", "android", file, "--binary", binary, "--repeats", 1]
        return run_here(monkeypatch, capsys, *base, *words)

    return run
