"""No command replaces its own input, a device, or a link with its output."""

import os
from pathlib import Path

import pytest

from helpers.commands import files_in, run_here
from helpers.images import noise_image, save_image

#: Command with I for an input that is also its output.
_COMMANDS = {
    "fold": ["fold", "I", "-o", "I"],
    "bench report": ["bench", "report", "I", "-o", "I"],
    "bench host": ["bench", "host", "I", "-o", "I"],
    "bench android": ["bench", "android", "I", "-o", "I"],
    "bench android, its protocol": ["bench", "android", "a", "--protocol", "I", "-o", "I"],
    "report": ["report", "I", "-o", "I"],
    "report, its image": ["report", "rtc", "--image", "I", "-o", "I"],
    "report, its charts": ["report", "I", "--svg", "I"],
    "eval": ["eval", "I", "--data", "D", "--csv", "I"],
    "eval, its images": ["eval", "rtc", "--data", "D", "--html", "D/HR/a.png"],
    "convert": ["convert", "--checkpoint", "I", "-o", "I"],
}
_SUFFIX = {"fold": ".safetensors", "convert": ".tflite"}


@pytest.mark.parametrize("name", _COMMANDS)
def test_an_input_is_never_an_output(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    source = Path(f"input{_SUFFIX.get(name, '.toml')}")
    source.write_bytes(b"precious")
    save_image(Path("D/HR/a.png"), noise_image())
    content = Path("D/HR/a.png").read_bytes()
    before = files_in(tmp_path)
    words = [str(source) if word == "I" else word for word in _COMMANDS[name]]
    run_here(monkeypatch, capsys, *words, "--force").fails_alone("is also an input", words[-1])
    assert source.read_bytes() == b"precious"
    assert Path("D/HR/a.png").read_bytes() == content
    assert files_in(tmp_path) == before


def test_another_name_of_the_input_is_the_input(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    source = tmp_path / "r.json"
    source.write_bytes(b"precious")
    (tmp_path / "hard.json").hardlink_to(source)
    (tmp_path / "soft.json").symlink_to(source)
    for name in ("hard.json", "soft.json"):
        words = ["bench", "report", source, "-o", tmp_path / name, "--force"]
        run_here(monkeypatch, capsys, *words).fails_alone("is also an input")
    assert source.read_bytes() == b"precious"


@pytest.mark.parametrize("kind", ["pipe", "loop", "folder"])
def test_an_output_is_a_regular_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, kind: str
) -> None:
    target = tmp_path / "out.html"
    if kind == "pipe":
        os.mkfifo(target)
    elif kind == "loop":
        target.symlink_to(target)
    else:
        target.mkdir()
    before = target.lstat().st_mode
    words = ["bench", "report", tmp_path / "r.json", "-o", target, "--force"]
    run_here(monkeypatch, capsys, *words).fails_alone("out.html")
    assert target.lstat().st_mode == before


@pytest.mark.parametrize("link", ["hard", "soft"])
def test_an_upscaled_image_never_replaces_one_of_the_inputs(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    small_tflite: Path,
    link: str,
) -> None:
    first = save_image(tmp_path / "a.png", noise_image())
    target = tmp_path / "b.png"
    target.hardlink_to(first) if link == "hard" else target.symlink_to(first)
    before = first.read_bytes()
    words = ["upscale", first, "-m", small_tflite, "-o", target, "--force"]
    run_here(monkeypatch, capsys, *words).fails_alone("b.png is one of the inputs")
    assert first.read_bytes() == before
