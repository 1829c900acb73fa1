"""`edgesr upscale`, run as users run it: files in, files out, one line for what goes wrong."""

import io
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from edgesr.batch import Settings
from edgesr.cli import main
from edgesr.cli.upscale import command
from edgesr.runtime import ModelShape
from helpers.bundles import replace_bundle
from helpers.commands import HEED_CTRL_C, RUN, Ran, run_here, run_on_small_disk
from helpers.small_net import SmallNet

_NET = SmallNet(2, 2)
_SHAPE = ModelShape(16, 24, 2)


def _noise(height: int = 30, width: int = 40) -> NDArray[np.uint8]:
    return np.random.RandomState(5).randint(0, 256, (height, width, 3)).astype(np.uint8)


@pytest.fixture(scope="session")
def small_tflite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real file of a small network that says how far it reaches."""
    path = tmp_path_factory.mktemp("model") / "small.tflite"
    path.write_bytes(_NET.tflite(_SHAPE.height, _SHAPE.width))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder for pictures, with one in it."""
    made = tmp_path / "pictures"
    made.mkdir()
    Image.fromarray(_noise()).save(made / "a.png")
    return made


Upscale = Callable[..., Ran]


@pytest.fixture
def upscale(
    small_tflite: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Upscale:
    """Runs the command in this process, with the small file unless another is named."""

    def run(*arguments: object) -> Ran:
        words = [str(argument) for argument in arguments]
        if "-m" not in words and "--model-file" not in words:
            words += ["-m", str(small_tflite)]
        monkeypatch.setattr(sys, "argv", ["edgesr", "upscale", *words])
        with pytest.raises(SystemExit) as caught:
            main()
        return Ran(caught.value.code, *capsys.readouterr())

    return run


def _files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


# What is written, and where ------------------------------------------------------------------


def test_the_result_lies_beside_the_picture_and_is_right(folder: Path, upscale: Upscale) -> None:
    ran = upscale(folder / "a.png")
    assert ran.status == 0, ran.err
    with Image.open(folder / "a_x2.png") as image:
        got = np.asarray(image)
    error = np.abs(got - _NET.expected(_noise(), _SHAPE).clip(0, 1) * 255)
    assert error.max() < 0.51, f"off by {error.max():.3f} grey levels"
    assert ran.out.startswith(f"{folder / 'a.png'} 30x40 -> {folder / 'a_x2.png'} 60x80 (6 tiles,")
    assert ran.err == ""


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
    assert json.loads(ran.out)["pictures"][0]["model"] == str(shipped)
    with Image.open(folder / "a_x2.png") as image:
        assert image.size == (80, 60)


@pytest.mark.parametrize("name", ["fmen-s", "rtx"])
def test_a_network_whose_file_does_not_come_with_edgesr_is_one_line(
    folder: Path, upscale: Upscale, small_tflite: Path, tmp_path: Path, name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    replace_bundle(monkeypatch, tmp_path / "bundle").add_file(small_tflite)
    upscale(folder / "a.png", "-m", name).fails_alone(name, "imdn-rtc, rtc")
    assert _files(folder) == ["a.png"]


@pytest.mark.parametrize("name", ["b.jpg", "b.webp", "b.PNG"])
def test_the_outputs_suffix_is_its_format(folder: Path, upscale: Upscale, name: str) -> None:
    assert upscale(folder / "a.png", "-o", folder / name).status == 0
    with Image.open(folder / name) as image:
        assert image.format == {"b.jpg": "JPEG", "b.webp": "WEBP", "b.PNG": "PNG"}[name]
        assert image.size == (80, 60)


def test_a_folder_is_made_for_the_results(folder: Path, upscale: Upscale) -> None:
    Image.fromarray(_noise(5, 6)).save(folder / "b.jpeg")
    assert upscale(folder, "-o", folder / "out").status == 0
    assert _files(folder / "out") == ["a_x2.png", "b_x2.jpeg"]


def test_one_picture_goes_into_a_folder_that_exists(folder: Path, upscale: Upscale) -> None:
    (folder / "out.png").mkdir()
    assert upscale(folder / "a.png", "-o", folder / "out.png").status == 0
    assert _files(folder / "out.png") == ["a_x2.png"]


def test_equal_names_from_different_folders_get_numbers(folder: Path, upscale: Upscale) -> None:
    for name in ("p", "q"):
        (folder / name).mkdir()
        Image.fromarray(_noise(4, 4)).save(folder / name / "a.png")
        Image.fromarray(_noise(4, 4)).save(folder / name / "a.jpg")
    ran = upscale(folder / "p", folder / "q", folder / "a.png", "-o", folder / "out")
    assert ran.status == 0, ran.err
    names = ["a_x2-2.jpg", "a_x2-2.png", "a_x2-3.png", "a_x2.jpg", "a_x2.png"]
    assert _files(folder / "out") == names


def test_a_picture_named_twice_is_upscaled_once(folder: Path, upscale: Upscale) -> None:
    assert upscale(folder / "a.png", folder, "-o", folder / "out").status == 0
    assert _files(folder / "out") == ["a_x2.png"]


def test_a_name_without_a_known_suffix_gets_that_of_the_content(
    folder: Path, upscale: Upscale
) -> None:
    Image.fromarray(_noise(4, 4)).save(folder / "b", format="WEBP")
    assert upscale(folder / "b").status == 0
    with Image.open(folder / "b_x2.webp") as image:
        assert image.format == "WEBP"


def test_what_is_no_picture_in_a_folder_is_listed_as_skipped(
    folder: Path, upscale: Upscale
) -> None:
    (folder / "notes.txt").write_text("hello")
    (folder / "sub").mkdir()
    (folder / ".hidden").write_text("")
    ran = upscale(folder, "-o", folder / "out")
    assert ran.status == 0
    names = f"{folder / 'notes.txt'}, {folder / 'sub'}"
    assert ran.err == f"edgesr: skipped, no picture by name: {names}\n"


def test_json_is_all_that_is_on_stdout(folder: Path, upscale: Upscale, small_tflite: Path) -> None:
    (folder / "b.png").write_text("no picture")
    ran = upscale(folder, "-o", folder / "out", "--json")
    report = json.loads(ran.out)
    (done,), (failed,) = report["pictures"], report["failed"]
    assert 0 < done.pop("seconds") < 60
    assert done == {
        "input": str(folder / "a.png"),
        "output": str(folder / "out" / "a_x2.png"),
        "input_size": {"height": 30, "width": 40},
        "output_size": {"height": 60, "width": 80},
        "tiles": 6,
        "model": str(small_tflite),
        "backend": "cpu",
        "notes": [],
    }
    assert failed["input"] == str(folder / "b.png")
    assert "no picture that edgesr reads" in failed["error"]
    ran.fails("1 of 2 pictures failed, 1 upscaled")


def test_fp16_arithmetic_gives_nearly_the_same(folder: Path, upscale: Upscale) -> None:
    assert upscale(folder / "a.png", "--backend", "cpu-fp16").status == 0
    with Image.open(folder / "a_x2.png") as image:
        got = np.asarray(image)
    error = np.abs(got - _NET.expected(_noise(), _SHAPE).clip(0, 1) * 255)
    assert error.max() < 2, f"off by {error.max():.3f} grey levels"


def test_quality_is_passed_on(folder: Path, upscale: Upscale) -> None:
    for quality in (20, 95):
        assert upscale(folder / "a.png", "-o", folder / f"{quality}.jpg", "--quality", quality)
    assert (folder / "20.jpg").stat().st_size < (folder / "95.jpg").stat().st_size / 2


def test_what_cannot_be_kept_is_noted(folder: Path, upscale: Upscale) -> None:
    Image.fromarray(_noise()[..., 0].astype(np.uint16) * 257).save(folder / "deep.png")
    ran = upscale(folder / "deep.png", "-o", folder / "deep.jpg")
    assert ran.status == 0
    assert ran.err.startswith(f"edgesr: note: {folder / 'deep.png'}: JPEG holds 8 bits")


def test_a_file_that_does_not_say_how_far_it_reaches_gets_a_note(
    folder: Path, upscale: Upscale
) -> None:
    model = folder / "foreign.tflite"
    model.write_bytes(_NET.tflite(16, 24, facts=False))
    ran = upscale(folder / "a.png", "-m", model)
    assert ran.status == 0
    assert "tiles overlap by 4 pixels" in ran.err
    assert upscale(folder / "a.png", "-m", model, "--overlap", 2, "--force").err == ""


def test_defaults_are_those_of_the_library() -> None:
    defaults = {option.name: option.default for option in command.params}
    assert defaults["quality"] == Settings().quality
    assert defaults["max_pixels"] == Settings().max_pixels


# What is refused -----------------------------------------------------------------------------


def _bomb() -> bytes:
    content = bytearray(_png_bytes())
    content[16:24] = (50_000).to_bytes(4, "big") * 2
    import zlib

    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    return bytes(content)


def _png_bytes() -> bytes:
    file = io.BytesIO()
    Image.fromarray(_noise()).save(file, format="PNG")
    return file.getvalue()


_UNFIT: dict[str, tuple[Callable[[], bytes], str]] = {
    "text": (lambda: b"hello, world", "no picture that edgesr reads"),
    "empty": (lambda: b"", "no picture that edgesr reads"),
    "truncated": (lambda: _png_bytes()[:1500], "damaged or truncated"),
    "bomb": (_bomb, "decompression bomb: got 50000x50000"),
}


@pytest.mark.parametrize("case", list(_UNFIT))
def test_an_unfit_picture_ends_in_one_line(folder: Path, upscale: Upscale, case: str) -> None:
    make, message = _UNFIT[case]
    (folder / "bad.png").write_bytes(make())
    upscale(folder / "bad.png").fails(str(folder / "bad.png"), message)
    assert _files(folder) == ["a.png", "bad.png"]


def test_one_bad_picture_does_not_stop_the_others(folder: Path, upscale: Upscale) -> None:
    (folder / "0.png").write_text("no picture")
    Image.fromarray(_noise(3, 3)).save(folder / "z.png")
    ran = upscale(folder, folder / "missing.png", "-o", folder / "out")
    assert _files(folder / "out") == ["a_x2.png", "z_x2.png"]
    failed = [line for line in ran.err.splitlines() if line.startswith("edgesr: failed: ")]
    assert len(failed) == 2
    assert f"cannot read {folder / 'missing.png'}: No such file or directory" in failed[1]
    ran.fails("2 of 4 pictures failed, 2 upscaled")


def test_a_folder_without_pictures_is_refused(tmp_path: Path, upscale: Upscale) -> None:
    upscale(tmp_path).fails("holds no picture")


def test_an_output_that_exists_is_left_as_it_is(folder: Path, upscale: Upscale) -> None:
    target = folder / "b.png"
    target.write_text("precious")
    upscale(folder / "a.png", "-o", target).fails("exists", "--force")
    assert target.read_text() == "precious"
    assert upscale(folder / "a.png", "-o", target, "--force").status == 0
    assert target.read_bytes().startswith(b"\x89PNG")


def test_an_input_is_never_overwritten(folder: Path, upscale: Upscale) -> None:
    before = (folder / "a.png").read_bytes()
    upscale(folder / "a.png", "-o", folder / "a.png", "--force").fails("is one of the inputs")
    shutil.copy(folder / "a.png", folder / "a_x2.png")
    upscale(folder, "--force").fails("1 of 2 pictures failed")
    assert (folder / "a.png").read_bytes() == before
    assert (folder / "a_x2.png").read_bytes() == before


def test_transparency_into_jpeg_is_refused(folder: Path, upscale: Upscale) -> None:
    Image.new("RGBA", (9, 9), (1, 2, 3, 4)).save(folder / "t.png")
    upscale(folder / "t.png", "-o", folder / "t.jpg").fails("JPEG is not", ".webp")


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("b.tiff", ["suffix .tiff", ".webp"]),
        ("missing/out/", ["missing does not exist"]),
        ("missing/b.png", ["missing does not exist"]),
    ],
    ids=["unknown suffix", "folder in nowhere", "file in nowhere"],
)
def test_an_output_that_cannot_be_is_refused(
    folder: Path, upscale: Upscale, output: str, words: list[str]
) -> None:
    upscale(folder / "a.png", "-o", folder / output).fails(*words)
    assert _files(folder) == ["a.png"]


@pytest.mark.parametrize("exists", [False, True])
def test_several_pictures_do_not_go_into_one_file(
    folder: Path, upscale: Upscale, exists: bool
) -> None:
    target = folder / ("plain" if exists else "b.png")
    if exists:
        target.write_text("precious")
    upscale(folder / "a.png", folder / "other.png", "-o", target).fails(
        "several pictures", "name a folder"
    )
    assert not exists or target.read_text() == "precious"


def test_a_folder_that_was_made_for_nothing_is_taken_away(folder: Path, upscale: Upscale) -> None:
    (folder / "a.png").write_text("no picture any more")
    upscale(folder, "-o", folder / "out").fails("no picture that edgesr reads")
    assert not (folder / "out").exists()


def test_the_pixel_limit_can_be_set(folder: Path, upscale: Upscale) -> None:
    upscale(folder / "a.png", "--max-pixels", 1199).fails("1200 pixels", "--max-pixels")


_MODELS: dict[str, tuple[Callable[[], bytes] | None, str]] = {
    "missing": (None, "cannot read"),
    "random": (lambda: np.random.RandomState(0).bytes(5000), "not a .tflite"),
    "truncated": (lambda: _NET.tflite(16, 24)[:3000], ""),
    "tile too small": (lambda: SmallNet(2, 8).tflite(16, 24), "convert for a larger --size"),
    "NaN": (lambda: SmallNet(2, 2, float("nan")).tflite(16, 24), "NaN or infinity"),
}


@pytest.mark.parametrize("case", list(_MODELS))
def test_an_unfit_model_file_ends_in_one_line(folder: Path, upscale: Upscale, case: str) -> None:
    make, message = _MODELS[case]
    model = folder / "bad.tflite"
    if make:
        model.write_bytes(make())
    upscale(folder / "a.png", "-m", model, "-o", folder / "out").fails(message)
    assert _files(folder) == ["a.png", *(["bad.tflite"] if make else [])]
    assert not (folder / "out").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["a.png", "-m", "x", "--threads", "0"],
        ["a.png", "-m", "x", "--quality", "101"],
    ],
    ids=["nothing", "no threads", "quality"],
)
def test_wrong_usage_has_status_2(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["edgesr", "upscale", *arguments])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    assert "upscale [OPTIONS] PICTURES..." in capsys.readouterr().err


# Folders that do not take files, and interruption: real processes ------------------------------


def _process(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-c", RUN, "upscale", *map(str, arguments)]
    return subprocess.run(argv, capture_output=True, text=True, **options)  # type: ignore[call-overload,no-any-return]


def _assert_one_line(done: "subprocess.CompletedProcess[str]", *words: str) -> None:
    Ran(done.returncode, done.stdout, done.stderr).fails(*words)


def test_a_read_only_folder_is_refused(folder: Path, small_tflite: Path) -> None:
    """/sys takes files from nobody, not even root."""
    if not Path("/sys/kernel").is_dir():
        pytest.skip("needs Linux's /sys")
    done = _process(folder / "a.png", "-m", small_tflite, "-o", "/sys/kernel/b.png")
    _assert_one_line(done, "/sys/kernel/b.png", "Permission denied")
    done = _process(folder, "-m", small_tflite, "-o", "/sys/kernel/edgesr")
    _assert_one_line(done, "cannot make output folder /sys/kernel/edgesr")


def test_a_write_that_fails_midway_leaves_nothing(folder: Path, small_tflite: Path) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

    target = folder / "b.png"
    done = _process(folder / "a.png", "-m", small_tflite, "-o", target, preexec_fn=limit)
    _assert_one_line(done, f"cannot write {target}", "File too large")
    assert _files(folder) == ["a.png"]


@pytest.mark.parametrize(
    ("prepare", "reason"),
    [
        ("true", "No space left on device"),
        ("mount -o remount,ro tmpfs '{mount}'", "Read-only file system"),
    ],
    ids=["full", "read-only"],
)
def test_a_small_or_read_only_disk_is_one_line_and_leaves_nothing(
    folder: Path, small_tflite: Path, prepare: str, reason: str
) -> None:
    mount = folder / "mount"
    mount.mkdir()
    words = ("upscale", folder / "a.png", "-m", small_tflite, "-o", mount / "b.png")
    ran = run_on_small_disk(mount, *words, size="8k", prepare=prepare.format(mount=mount))
    ran.fails(f"cannot write {mount / 'b.png'}", reason)
    assert ran.out == "", "files were left"


def test_ctrl_c_leaves_whole_files_only(folder: Path, small_tflite: Path) -> None:
    Image.fromarray(_noise(2000, 3000)).save(folder / "b.png", compress_level=1)
    out = folder / "out"
    argv = [sys.executable, "-c", HEED_CTRL_C + RUN, "upscale", str(folder)]
    argv += ["-m", str(small_tflite)]
    # Tiles of 16x24 that overlap by 7 keep 2 rows each: minutes of work.
    process = subprocess.Popen([*argv, "-o", str(out), "--overlap", "7"], stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while not (out / "a_x2.png").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.5)  # into the work on the second picture
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err.decode()
    assert "edgesr: interrupted; whole files written: 1, others: none" in err.decode()
    assert "Traceback" not in err.decode()
    assert _files(out) == ["a_x2.png"]
    with Image.open(out / "a_x2.png") as image:
        image.load()


# The progress bar ----------------------------------------------------------------------------


@pytest.mark.parametrize("terminal", [True, False], ids=["terminal", "pipe"])
def test_the_bar_is_drawn_on_terminals_only(
    folder: Path, small_tflite: Path, terminal: bool
) -> None:
    Image.fromarray(_noise(300, 300)).save(folder / "b.png")
    argv = ["-c", RUN, "upscale", str(folder), "-m", str(small_tflite)]
    out, drawn = _with_stderr(argv, terminal=terminal)
    assert len(out.splitlines()) == 2, "results belong to stdout"
    assert ("tiles" in drawn and "pictures" in drawn) == terminal, drawn


def test_the_bar_leaves_stdout_alone_and_notes_stand_above_it() -> None:
    code = (
        "import sys; from edgesr.cli.progress_bar import progress_bar, say\n"
        "with progress_bar() as report:\n"
        "    report('work', 0, 0); sys.stdout.write('result\\n'); say('a note')"
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
