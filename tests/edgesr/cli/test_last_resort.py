"""What nobody expected ends in one line, and never as a traceback on the terminal."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest

from edgesr.cli.support.lazy_group import LazyGroup
from helpers.commands import run_here


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """`edgesr models` fails in a way that no code foresees."""

    @click.command()
    def command() -> None:
        raise KeyError("a\x1b[31m name out of a file")

    monkeypatch.setattr(LazyGroup, "get_command", lambda *_: command)


@pytest.mark.usefixtures("broken")
def test_the_unexpected_is_one_line_with_an_id_and_a_log(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    ran = run_here(monkeypatch, capsys, "models")
    assert ran.status == 70
    (line,) = ran.err.splitlines()
    found = re.search(r"unexpected KeyError \(id ([0-9a-f]{8})\).* in (\S+\.log)", line)
    assert found is not None, line
    log = Path(found[2])
    assert found[1] in log.name
    assert tmp_path in log.parents
    assert "Traceback" in log.read_text()


@pytest.mark.usefixtures("broken")
def test_debugging_shows_the_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("EDGESR_DEBUG", "1")
    ran = run_here(monkeypatch, capsys, "models")
    assert ran.status == 70
    assert "Traceback" in ran.err


@pytest.mark.usefixtures("broken")
def test_without_any_folder_for_logs_it_is_one_line_all_the_same(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path / "file"))
    ran = run_here(monkeypatch, capsys, "models")
    assert ran.status == 70
    assert "no log file could be written" in ran.err
    assert len(ran.err.splitlines()) == 1


def test_a_folder_that_was_deleted_is_named(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    code = (
        "import os, sys; os.rmdir(os.getcwd()); sys.argv = ['edgesr', 'upscale', 'a.png'];"
        "from edgesr.cli import main; main()"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=gone, capture_output=True, text=True, env=environment
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr


@pytest.mark.parametrize("count", [4, 5, 6, 8])
def test_too_few_files_are_one_line(count: int) -> None:
    """With four Python itself does not always start, so the limit comes after its start."""
    code = (
        f"import resource, sys; resource.setrlimit(resource.RLIMIT_NOFILE, ({count}, {count}));"
        "sys.argv = ['edgesr', 'models']; from edgesr.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    if done.returncode:
        assert "Traceback" not in done.stderr, done.stderr
        assert done.stderr.startswith("edgesr: error: ")


@pytest.mark.parametrize("delay_s", [0.05, 0.1, 0.2])
def test_ctrl_c_right_after_the_start_is_one_line(delay_s: float) -> None:
    started = "import sys; print('up', flush=True); sys.argv = ['edgesr', 'eval', 'rtc'];"
    child = subprocess.Popen(
        [sys.executable, "-c", f"{started} from edgesr.cli import main; main()"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    child.stdout.readline()
    time.sleep(delay_s)
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=60)
    assert "Traceback" not in err, err
    # 2: it had ended by itself, for want of --data; -2: so it had, and Python was shutting down.
    assert child.returncode in (130, 2, -signal.SIGINT)
