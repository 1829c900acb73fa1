"""`edgesr upscale`, run as users run it: files in, files out, one line for what goes wrong."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgesr.cli.upscale import command
from edgesr.upscaling.files import Settings
from helpers.bundles import replace_bundle
from helpers.commands import RUN, files_in, run_here
from helpers.images import noise_image
from helpers.upscale_command import NET, SHAPE, Upscale

# What is written, and where ------------------------------------------------------------------


def test_the_result_lies_beside_the_image_and_is_right(folder: Path, upscale: Upscale) -> None:
    ran = upscale(folder / "a.png")
    assert ran.status == 0, ran.err
    with Image.open(folder / "a_x2.png") as image:
        got = np.asarray(image)
    error = np.abs(got - NET.expected(noise_image(), SHAPE).clip(0, 1) * 255)
    assert error.max() < 0.51, f"off by {error.max():.3f} grey levels"
    assert ran.out.startswith(f"{folder / 'a.png'} 30x40 -> {folder / 'a_x2.png'} 60x80 (1 tile,")
    assert ran.err == ""


@pytest.mark.parametrize(
    ("words", "tiles"), [(["--tile", "file"], 6), (["--tile", "16x16"], 9), (["--memory", 1], 1)]
)
def test_tiles_of_any_size_give_the_same_image(
    folder: Path, upscale: Upscale, words: list[object], tiles: int
) -> None:
    ran = upscale(folder / "a.png", *words, "--json")
    assert ran.status == 0, ran.err
    assert json.loads(ran.out)["images"][0]["tiles"] == tiles
    with Image.open(folder / "a_x2.png") as image:
        error = np.abs(np.asarray(image) - NET.expected(noise_image(), SHAPE).clip(0, 1) * 255)
    assert error.max() < 0.51, f"off by {error.max():.3f} grey levels"


@pytest.mark.parametrize("words", [[], ["-m", "rtc"], ["-m", "imdn-rtc"]], ids=str)
def test_without_a_file_the_one_that_comes_with_edgesr_is_taken(
    folder: Path,
    small_tflite: Path,
    words: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shipped = replace_bundle(monkeypatch, tmp_path / "bundle").add_file(small_tflite)
    ran = run_here(monkeypatch, capsys, "upscale", folder / "a.png", *words, "--json")
    assert (ran.status, ran.err) == (0, "")
    assert json.loads(ran.out)["images"][0]["model"] == str(shipped)
    with Image.open(folder / "a_x2.png") as image:
        assert image.size == (80, 60)


@pytest.mark.parametrize("name", ["fmen-s", "rtx"])
def test_a_network_whose_file_does_not_come_with_edgesr_is_one_line(
    folder: Path, upscale: Upscale, small_tflite: Path, tmp_path: Path, name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    replace_bundle(monkeypatch, tmp_path / "bundle").add_file(small_tflite)
    upscale(folder / "a.png", "-m", name).fails_alone(name, "imdn-rtc, rtc")
    assert files_in(folder) == ["a.png"]


@pytest.mark.parametrize("name", ["b.jpg", "b.webp", "b.PNG"])
def test_the_outputs_suffix_is_its_format(folder: Path, upscale: Upscale, name: str) -> None:
    assert upscale(folder / "a.png", "-o", folder / name).status == 0
    with Image.open(folder / name) as image:
        assert image.format == {"b.jpg": "JPEG", "b.webp": "WEBP", "b.PNG": "PNG"}[name]
        assert image.size == (80, 60)


def test_a_folder_is_made_for_the_results(folder: Path, upscale: Upscale) -> None:
    Image.fromarray(noise_image(5, 6)).save(folder / "b.jpeg")
    assert upscale(folder, "-o", folder / "out").status == 0
    assert files_in(folder / "out") == ["a_x2.png", "b_x2.jpeg"]


def test_a_slash_makes_a_folder_of_any_name(folder: Path, upscale: Upscale) -> None:
    assert upscale(folder / "a.png", "-o", f"{folder}/out.v2/").status == 0
    assert files_in(folder / "out.v2") == ["a_x2.png"]


def test_an_output_is_followed_through_a_symbolic_link(folder: Path, upscale: Upscale) -> None:
    (folder / "b.png").symlink_to("c.png")
    assert upscale(folder / "a.png", "-o", folder / "b.png").status == 0
    assert (folder / "b.png").is_symlink()
    assert (folder / "c.png").read_bytes().startswith(b"\x89PNG")


def test_one_image_goes_into_a_folder_that_exists(folder: Path, upscale: Upscale) -> None:
    (folder / "out.png").mkdir()
    assert upscale(folder / "a.png", "-o", folder / "out.png").status == 0
    assert files_in(folder / "out.png") == ["a_x2.png"]


def test_equal_names_from_different_folders_get_numbers(folder: Path, upscale: Upscale) -> None:
    for name in ("p", "q"):
        (folder / name).mkdir()
        Image.fromarray(noise_image(4, 4)).save(folder / name / "a.png")
        Image.fromarray(noise_image(4, 4)).save(folder / name / "a.jpg")
    ran = upscale(folder / "p", folder / "q", folder / "a.png", "-o", folder / "out")
    assert ran.status == 0, ran.err
    names = ["a_x2-2.jpg", "a_x2-2.png", "a_x2-3.png", "a_x2.jpg", "a_x2.png"]
    assert files_in(folder / "out") == names


def test_a_image_named_twice_is_upscaled_once(folder: Path, upscale: Upscale) -> None:
    assert upscale(folder / "a.png", folder, "-o", folder / "out").status == 0
    assert files_in(folder / "out") == ["a_x2.png"]


def test_a_name_without_a_known_suffix_gets_that_of_the_content(
    folder: Path, upscale: Upscale
) -> None:
    Image.fromarray(noise_image(4, 4)).save(folder / "b", format="WEBP")
    assert upscale(folder / "b").status == 0
    with Image.open(folder / "b_x2.webp") as image:
        assert image.format == "WEBP"


def test_a_bmp_becomes_a_png(folder: Path, upscale: Upscale) -> None:
    Image.fromarray(noise_image(4, 5)).save(folder / "b.bmp")
    assert upscale(folder, "-o", folder / "out").status == 0
    assert files_in(folder / "out") == ["a_x2.png", "b_x2.png"]
    with Image.open(folder / "out" / "b_x2.png") as image:
        assert (image.format, image.size) == ("PNG", (10, 8))


def test_what_is_no_image_in_a_folder_is_listed_as_skipped(folder: Path, upscale: Upscale) -> None:
    (folder / "notes.txt").write_text("hello")
    (folder / "sub").mkdir()
    (folder / ".hidden").write_text("")
    ran = upscale(folder, "-o", folder / "out")
    assert ran.status == 0
    names = f"{folder / 'notes.txt'}, {folder / 'sub'}"
    assert ran.err == f"edgesr: skipped, no image by name: {names}\n"


def test_json_is_all_that_is_on_stdout(folder: Path, upscale: Upscale, small_tflite: Path) -> None:
    (folder / "b.png").write_text("no image")
    ran = upscale(folder, "-o", folder / "out", "--json")
    report = json.loads(ran.out)
    (done,), (failed,) = report["images"], report["failed"]
    assert 0 < done.pop("seconds") < 60
    assert done == {
        "input": str(folder / "a.png"),
        "output": str(folder / "out" / "a_x2.png"),
        "input_size": {"height": 30, "width": 40},
        "output_size": {"height": 60, "width": 80},
        "tiles": 1,
        "one_tile": True,
        "model": str(small_tflite),
        "backend": "cpu",
        "notes": [],
    }
    assert failed["input"] == str(folder / "b.png")
    assert "no image that edgesr reads" in failed["error"]
    ran.fails("1 of 2 images failed, 1 upscaled")


def test_fp16_arithmetic_gives_nearly_the_same(folder: Path, upscale: Upscale) -> None:
    assert upscale(folder / "a.png", "--backend", "cpu-fp16").status == 0
    with Image.open(folder / "a_x2.png") as image:
        got = np.asarray(image)
    error = np.abs(got - NET.expected(noise_image(), SHAPE).clip(0, 1) * 255)
    assert error.max() < 2, f"off by {error.max():.3f} grey levels"


def test_quality_is_passed_on(folder: Path, upscale: Upscale) -> None:
    for quality in (20, 95):
        assert upscale(folder / "a.png", "-o", folder / f"{quality}.jpg", "--quality", quality)
    assert (folder / "20.jpg").stat().st_size < (folder / "95.jpg").stat().st_size / 2


def test_what_cannot_be_kept_is_noted(folder: Path, upscale: Upscale) -> None:
    Image.fromarray(noise_image()[..., 0].astype(np.uint16) * 257).save(folder / "deep.png")
    ran = upscale(folder / "deep.png", "-o", folder / "deep.jpg")
    assert ran.status == 0
    assert ran.err.startswith(f"edgesr: note: {folder / 'deep.png'}: JPEG holds 8 bits")


def test_a_file_that_does_not_say_how_far_it_reaches_gets_a_note(
    folder: Path, upscale: Upscale
) -> None:
    model = folder / "foreign.tflite"
    model.write_bytes(NET.tflite(16, 24, facts=False))
    ran = upscale(folder / "a.png", "-m", model)
    assert ran.status == 0
    assert "tiles overlap by 4 pixels" in ran.err
    assert upscale(folder / "a.png", "-m", model, "--overlap", 2, "--force").err == ""


def test_defaults_are_those_of_the_library() -> None:
    defaults = {option.name: option.default for option in command.params}
    assert defaults["quality"] == Settings().quality
    assert defaults["max_pixels"] == Settings().max_pixels


# The progress bar ----------------------------------------------------------------------------


@pytest.mark.parametrize("terminal", [True, False], ids=["terminal", "pipe"])
def test_the_bar_is_drawn_on_terminals_only(
    folder: Path, small_tflite: Path, terminal: bool
) -> None:
    Image.fromarray(noise_image(300, 300)).save(folder / "b.png")
    argv = ["-c", RUN, "upscale", str(folder), "-m", str(small_tflite)]
    out, drawn = _with_stderr(argv, terminal=terminal)
    assert len(out.splitlines()) == 2, "results belong to stdout"
    assert ("tiles" in drawn and "images" in drawn) == terminal, drawn


def test_the_bar_leaves_stdout_alone_and_notes_stand_above_it() -> None:
    code = (
        "import sys; from edgesr.cli.support.progress_bar import log_line, progress_bar\n"
        "with progress_bar() as report:\n"
        "    report('work', 0, 0); sys.stdout.write('result\\n'); log_line('a note')"
    )
    out, drawn = _with_stderr(["-c", code], terminal=True)
    assert out == "result\n"
    assert "work" in drawn
    erased = r"\x1b\[2K"
    assert re.search(f"{erased}a note\r?\n", drawn), drawn


def _with_stderr(arguments: list[str], *, terminal: bool) -> tuple[str, str]:
    """Run Python with a terminal or a pipe for stderr; what came on stdout and there."""
    ours, theirs = os.openpty() if terminal else os.pipe()
    process = subprocess.Popen(
        [sys.executable, *arguments],
        stdout=subprocess.PIPE,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "80"},
    )
    os.close(theirs)
    drawn = b""
    while chunk := _read(ours):
        drawn += chunk
    out, _ = process.communicate()
    os.close(ours)
    assert process.returncode == 0, drawn.decode()
    return out.decode(), drawn.decode()


def _read(descriptor: int) -> bytes:
    """Some bytes; none at the end, which a terminal tells by an error."""
    try:
        return os.read(descriptor, 65536)
    except OSError:
        return b""
