"""What reaches a terminal: clean text, and numbers that no width cuts."""

import io
import json
import os
import pty
import re
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgesr.cli.support.lines import print_line
from edgesr.cli.support.progress_bar import log_line
from edgesr.cli.support.tables import make_table, print_table
from helpers.commands import RUN, run_alone, run_here
from helpers.image_files import png_chunk, write_file
from helpers.images import save_image

_EVIL = "a\x1b[31m\u202e[red]b\nedgesr: error: forged"
_SHOWN = r"a\x1b[31m\u202e[red]b\nedgesr: error: forged"


@pytest.mark.parametrize("columns", ["0", "1", "20", "40", "79", "200"])
def test_no_width_cuts_a_number(columns: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        for name in ("one.png", "a-rather-long-name-of-an-image.png"):
            save_image(tmp_path / folder / name, rng.integers(0, 256, (32, 32, 3), dtype=np.uint8))
    words = ["metrics", str(tmp_path / "a"), str(tmp_path / "b")]
    measured = json.loads(run_alone(*words, "--json").out)
    shown = _on_terminal(words, columns)
    numbers = [
        text
        for scores in (*measured["images"], measured["mean"])
        for key, form in (("psnr_y", ".2f"), ("ssim_y", ".4f"), ("psnr_rgb", ".2f"))
        for text in [format(scores[key], form)]
    ]
    assert [number for number in numbers if number not in shown] == [], shown
    assert "\u2026" not in shown


def _on_terminal(words: list[str], columns: str) -> str:
    """Run a command whose stdout is a terminal of that width; what it printed."""
    master, slave = pty.openpty()
    done = subprocess.Popen(
        [sys.executable, "-c", RUN, *words],
        stdout=slave,
        stderr=slave,
        env={**os.environ, "COLUMNS": columns, "TERM": "xterm", "NO_COLOR": "1"},
    )
    os.close(slave)
    text = b""
    while True:
        try:
            part = os.read(master, 65536)
        except OSError:  # Linux: the other end is closed
            break
        if not part:
            break
        text += part
    os.close(master)
    assert done.wait(60) == 0, text
    return text.decode()


def test_lines_tables_and_notes_show_what_a_terminal_would_obey(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_line(_EVIL)
    log_line(_EVIL)
    table = make_table(title=_EVIL)
    table.add_column("x", overflow="fold")
    table.add_row(_EVIL)
    print_table(table)
    captured = capsys.readouterr()
    assert captured.err == f"{_SHOWN}\n"
    assert captured.out.count(_SHOWN) == 3
    assert "\x1b" not in captured.out
    assert "\u202e" not in captured.out


def test_a_record_with_names_that_forge_lines_is_shown_on_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        save_image(
            tmp_path / name / f"{_EVIL.replace('/', '')}.png", np.zeros((16, 16, 3), np.uint8)
        )
        save_image(tmp_path / name / "plain.png", np.zeros((16, 16, 3), np.uint8))
    ran = run_here(monkeypatch, capsys, "metrics", tmp_path / "a", tmp_path / "b")
    assert ran.status == 0, ran.err
    assert _SHOWN in ran.out
    assert "\x1b" not in ran.out


@pytest.mark.parametrize("command", ["upscale", "convert", "verify", "eval", "train", "report"])
@pytest.mark.parametrize("threads", ["0", "513", "2147483648", "99999999999999999999"])
def test_threads_out_of_bounds_are_wrong_usage(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
    threads: str,
) -> None:
    ran = run_here(monkeypatch, capsys, command, "--threads", threads)
    assert ran.status == 2
    assert len(ran.err) < 1000


@pytest.mark.parametrize("threads", ["0", "513", "1,2147483648", "1,,2", ","])
def test_threads_of_a_benchmark_have_the_same_bounds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], threads: str
) -> None:
    ran = run_here(monkeypatch, capsys, "bench", "host", "a.tflite", "--threads", threads)
    ran.is_wrong_usage("allowed numbers from 1 to 512")


def test_an_interlaced_png_brings_no_bare_warning(tmp_path: Path) -> None:
    """A PNG of 16 bits, which imagecodecs decodes; Adam7 of 11x11 pixels, all zero."""
    rows = b"".join(bytes(1 + 6 * width) * height for height, width in _adam7(11, 11))

    path = write_file(
        tmp_path / "interlaced.png",
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", struct.pack(">IIBBBBB", 11, 11, 16, 2, 0, 0, 1))
        + png_chunk(b"IDAT", zlib.compress(rows))
        + png_chunk(b"IEND", b""),
    )
    ran = run_alone("metrics", path, path)
    assert (ran.status, ran.err) == (0, "")


def _adam7(height: int, width: int) -> list[tuple[int, int]]:
    """Sizes of the seven passes, by the start and step of each."""
    starts = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2)]
    starts.append((1, 0, 2, 1))
    return [(len(range(y, height, dy)), len(range(x, width, dx))) for y, x, dy, dx in starts]


@pytest.mark.parametrize("name", ["-dash.png", "--dash.png"])
def test_a_file_that_is_taken_for_an_option_brings_a_hint(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    run_here(monkeypatch, capsys, "upscale", name).is_wrong_usage(f"./{name}", "-- before it")


def test_an_unknown_option_brings_no_hint_about_files(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = run_here(monkeypatch, capsys, "upscale", "--hole", "a.png")
    ran.is_wrong_usage("No such option")
    assert "./" not in ran.err.splitlines()[-1]


def test_what_pillow_logs_of_a_tiff_is_no_bare_line(tmp_path: Path) -> None:
    file = io.BytesIO()
    Image.new("RGB", (11, 11)).save(file, "TIFF")
    content = bytearray(file.getvalue())
    entry = content.index(struct.pack("<HHI", 277, 3, 1))  # SamplesPerPixel
    content[entry + 8 : entry + 10] = struct.pack("<H", 279)
    path = write_file(tmp_path / "a.tif", bytes(content))
    ran = run_alone("metrics", path, path)
    ran.fails("a.tif")
    assert len(ran.err.splitlines()) == 1, ran.err


def test_frames_are_counted_with_their_rate_and_the_time_left(
    tmp_path: Path, small_tflite: Path
) -> None:
    frames = [Image.new("RGB", (40, 30), (i, 0, 0)) for i in range(40)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    words = ["upscale", str(tmp_path / "a.gif"), "-m", str(small_tflite)]
    shown = _on_terminal([*words, "-o", str(tmp_path / "a.png")], "120")
    assert re.search(r"frames .* [0-9.]+/s ", shown), shown
    assert re.search(r" 0:00:0\d .*/s 0:00:0\d", shown), shown


def test_the_package_runs_as_a_module() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "edgesr", "--version"], capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith("edgesr, version ")
