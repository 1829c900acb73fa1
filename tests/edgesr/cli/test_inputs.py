"""TOML and JSON inputs of any kind end in one line in the words of the files."""

import os
from pathlib import Path

import pytest

from helpers.commands import run_here


@pytest.mark.parametrize("kind", ["folder", "pipe", "loop", "/dev/zero", "/dev/full", "latin-1"])
@pytest.mark.parametrize("command", ["recipe", "protocol", "record", "page"])
def test_toml_and_json_are_regular_files_of_text(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    command: str,
    kind: str,
) -> None:
    path = tmp_path / f"input{'.toml' if command in ('recipe', 'protocol') else '.json'}"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "loop":
        path.symlink_to(path)
    elif kind == "latin-1":
        path.write_bytes('name = "\u00e4"'.encode("latin-1"))
    else:
        path.symlink_to(kind)
    words = {
        "recipe": ["train", "--recipe", path, "--data", tmp_path, "-o", tmp_path / "out"],
        "protocol": ["bench", "android", "a.tflite", "--protocol", path],
        "record": ["bench", "compare", path, path],
        "page": ["bench", "report", path, "-o", tmp_path / "page.html"],
    }[command]
    ran = run_here(monkeypatch, capsys, *words)
    ran.fails_alone(path.name)
    assert not [word for word in ("Error", "Errno", "codec") if word in ran.err]
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
