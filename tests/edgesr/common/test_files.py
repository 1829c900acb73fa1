"""Outputs appear whole, together, or not at all."""

import os
from pathlib import Path

import pytest

from edgesr.common.files import atomic_outputs
from edgesr.errors import OutputError


def _names(folder: Path) -> dict[str, str]:
    return {p.name: p.read_text() if p.is_file() else "/" for p in folder.iterdir()}


def _write(targets: list[Path], texts: list[str], *, overwrite: bool = False) -> None:
    with atomic_outputs(targets, overwrite=overwrite) as temporary:
        for path, text in zip(temporary, texts, strict=True):
            path.write_text(text)


def test_files_written_together_appear_together(tmp_path: Path) -> None:
    _write([tmp_path / "a.tflite", tmp_path / "a.json"], ["1", "2"])
    assert _names(tmp_path) == {"a.tflite": "1", "a.json": "2"}


def test_the_temporary_name_keeps_the_suffix(tmp_path: Path) -> None:
    with atomic_outputs([tmp_path / "a.png"]) as (temporary,):
        assert temporary.suffix == ".png"
        assert temporary.parent == tmp_path
        temporary.write_text("")


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt], ids=["error", "ctrl-c"])
def test_an_error_in_the_middle_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    (tmp_path / "a.json").write_text("old")

    def fail() -> None:
        with atomic_outputs([tmp_path / "a.json"], overwrite=True) as (temporary,):
            temporary.write_text("half")
            raise error

    with pytest.raises(error):
        fail()
    assert _names(tmp_path) == {"a.json": "old"}


def test_an_existing_file_is_replaced_only_when_asked(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    with pytest.raises(OutputError, match="exists; choose another name or pass --force"):
        _write([tmp_path / "a"], ["new"])
    assert _names(tmp_path) == {"a": "old"}
    _write([tmp_path / "a"], ["new"], overwrite=True)
    assert _names(tmp_path) == {"a": "new"}


def test_a_file_that_appears_meanwhile_is_left_as_it_is(tmp_path: Path) -> None:
    def race() -> None:
        with atomic_outputs([tmp_path / "a"]) as (temporary,):
            temporary.write_text("mine")
            (tmp_path / "a").write_text("somebody else's")

    with pytest.raises(OutputError, match="appeared meanwhile"):
        race()
    assert _names(tmp_path) == {"a": "somebody else's"}


def test_a_failed_second_rename_brings_the_first_back(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")

    def write_both() -> None:
        with atomic_outputs([tmp_path / "a", tmp_path / "b"], overwrite=True) as temporary:
            for path in temporary:
                path.write_text("new")
            (tmp_path / "b").mkdir()  # a file cannot be renamed to a folder

    with pytest.raises(OutputError, match="cannot write"):
        write_both()
    assert _names(tmp_path) == {"a": "old", "b": "/"}


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"folder .*missing does not exist; create it first"):
        _write([tmp_path / "missing" / "a"], [""])


def test_a_folder_as_target_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="is a folder; name a file"):
        _write([tmp_path], [""])


def test_a_name_as_long_as_a_name_can_be_is_written(tmp_path: Path) -> None:
    target = tmp_path / ("a" * 251 + ".png")
    _write([target], ["1"])
    _write([target], ["2"], overwrite=True)
    assert _names(tmp_path) == {target.name: "2"}


def test_a_symbolic_link_stays_and_its_file_is_written(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    file, link = tmp_path / "elsewhere" / "a", tmp_path / "link"
    file.write_text("old")
    link.symlink_to(file)
    _write([link], ["new"], overwrite=True)
    assert link.is_symlink()
    assert _names(tmp_path / "elsewhere") == {"a": "new"}


def test_a_device_is_no_output(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="a device or a pipe"):
        _write([Path(os.devnull)], ["x"], overwrite=True)
    assert not Path(os.devnull).is_file()


@pytest.mark.parametrize("how", ["itself", "link", "hard link"])
def test_an_input_is_no_output(tmp_path: Path, how: str) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    source.write_text("mine")
    match how:
        case "link":
            target.symlink_to(source)
        case "hard link":
            target.hardlink_to(source)
        case _:
            target = source
    with (
        pytest.raises(OutputError, match="is also an input"),
        atomic_outputs([target], overwrite=True, inputs=[source]),
    ):
        pass
    assert source.read_text() == "mine"
