"""Input files are regular files of a size that their kind may have."""

import os
from pathlib import Path

import pytest

from edgesr.common.inputs import read_regular
from edgesr.errors import ImageError


def _read(path: Path, limit: int = 100) -> bytes:
    return read_regular(path, ImageError, limit=limit)


def test_a_regular_file_is_read_whole_and_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 100)
    (tmp_path / "link").symlink_to(tmp_path / "a")
    assert _read(tmp_path / "a") == _read(tmp_path / "link") == b"x" * 100


def test_what_is_too_large_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with (tmp_path / "a").open("wb") as file:
        file.truncate(2**40)  # a hole: reading it would take a terabyte
    with pytest.raises(ImageError, match=r"1,048,576\.0 MiB, allowed are 2 MiB"):
        _read(tmp_path / "a", limit=2**21)


def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")  # opening it would wait for a writer
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for path, reason in (
        (Path("/dev/zero"), "it is a device"),
        (tmp_path / "pipe", "it is a named pipe"),
        (tmp_path, "it is a folder"),
        (tmp_path / "loop", "symbolic links"),
        (tmp_path / "none", "No such file"),
        (Path("a\0b"), "null"),
    ):
        with pytest.raises(ImageError, match=reason):
            _read(path)
