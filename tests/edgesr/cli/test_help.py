"""Every `--help`: it works, shows an example, and stays fast because nothing heavy is imported."""

import subprocess
import sys

import pytest

from edgesr.cli import app, bench
from helpers.commands import processor_s, run_alone

_HEAVY = (
    *("torch", "tensorflow", "onnx", "onnx2tf", "onnxruntime", "scipy", "ai_edge_litert"),
    *("numpy", "PIL", "matplotlib", "rich", "av", "flatbuffers"),
)
_CODE = f"""
import sys
from edgesr.cli.app import cli
try:
    cli.main(sys.argv[1:], prog_name="edgesr")
finally:
    print("imported:", *sorted(set({_HEAVY!r}) & set(sys.modules)), file=sys.stderr)
"""


def help_of(*arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-c", _CODE, *arguments, "--help"]
    return subprocess.run(argv, capture_output=True, text=True)


COMMANDS = [pytest.param((), id="edgesr")] + [
    pytest.param((name,), id=name) for name in sorted(app._COMMANDS)
]
COMMANDS += [pytest.param(("bench", name), id=f"bench {name}") for name in sorted(bench._COMMANDS)]


@pytest.mark.parametrize("arguments", COMMANDS)
def test_help_exits_0_and_shows_an_example(arguments: tuple[str, ...]) -> None:
    done = help_of(*arguments)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(" ".join(["Usage: edgesr", *arguments]))
    example = " ".join(["edgesr", *arguments])
    text = " ".join(done.stdout.split())
    assert "Example" in text
    assert f"{example} " in text.split("Example", 1)[1]


@pytest.mark.parametrize("arguments", COMMANDS)
def test_help_imports_nothing_heavy(arguments: tuple[str, ...]) -> None:
    assert help_of(*arguments).stderr.strip() == "imported:"


@pytest.mark.parametrize("arguments", COMMANDS)
def test_help_takes_less_than_0_3_seconds(arguments: tuple[str, ...]) -> None:
    durations_s: list[float] = []
    for _ in range(3):
        before_s = processor_s()
        assert help_of(*arguments).returncode == 0
        durations_s.append(processor_s() - before_s)
    assert min(durations_s) < 0.3


def test_importing_the_package_loads_no_library() -> None:
    code = (
        "import sys; before = set(sys.modules); import edgesr\n"
        "loaded = {name.split('.')[0] for name in set(sys.modules) - before}\n"
        "print(*sorted(loaded - set(sys.stdlib_module_names)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == ["edgesr"], done


def test_the_list_of_commands_is_shown_without_importing_them() -> None:
    shown = help_of().stdout
    for name, (_, summary) in app._COMMANDS.items():
        assert name in shown
        assert summary.rstrip(".") in " ".join(shown.split())


def test_an_unknown_command_is_a_usage_error() -> None:
    argv = [sys.executable, "-c", _CODE, "no-such-command"]
    done = subprocess.run(argv, capture_output=True, text=True)
    assert done.returncode == 2
    assert "No such command 'no-such-command'" in done.stderr


def test_the_bare_command_shows_the_help_and_no_error() -> None:
    ran = run_alone()
    assert ran.status == 2
    assert ran.err.startswith("Usage: edgesr [OPTIONS] COMMAND")
    assert "error" not in ran.err


def test_a_full_disk_behind_stdout_is_one_line() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", "from edgesr.cli import main; main()", "models", "--json"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.startswith("edgesr: error: cannot print the result: No space left")
    assert len(done.stderr.splitlines()) == 1, done.stderr
