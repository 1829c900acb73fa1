"""`edgesr upscale` where it cannot: one line, and nothing half-written is left."""

import io
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgesr.images.several import encode_series
from helpers.commands import HEED_CTRL_C, RUN, Ran, files_in, run_here, run_on_small_disk
from helpers.images import noise_image
from helpers.small_net import SmallNet
from helpers.upscale_command import NET, Upscale

# What is refused -----------------------------------------------------------------------------


def _bomb() -> bytes:
    content = bytearray(_png_bytes())
    content[16:24] = (50_000).to_bytes(4, "big") * 2
    import zlib

    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    return bytes(content)


def _png_bytes() -> bytes:
    file = io.BytesIO()
    Image.fromarray(noise_image()).save(file, format="PNG")
    return file.getvalue()


_UNFIT: dict[str, tuple[Callable[[], bytes], str]] = {
    "text": (lambda: b"hello, world", "no image that edgesr reads"),
    "empty": (lambda: b"", "no image that edgesr reads"),
    "truncated": (lambda: _png_bytes()[:1500], "damaged or truncated"),
    "bomb": (_bomb, "decompression bomb: got 50000x50000"),
}


@pytest.mark.parametrize("case", list(_UNFIT))
def test_an_unfit_image_ends_in_one_line(folder: Path, upscale: Upscale, case: str) -> None:
    make, message = _UNFIT[case]
    (folder / "bad.png").write_bytes(make())
    upscale(folder / "bad.png").fails(str(folder / "bad.png"), message)
    assert files_in(folder) == ["a.png", "bad.png"]


def test_one_bad_image_does_not_stop_the_others(folder: Path, upscale: Upscale) -> None:
    (folder / "0.png").write_text("no image")
    Image.fromarray(noise_image(3, 3)).save(folder / "z.png")
    ran = upscale(folder, folder / "missing.png", "-o", folder / "out")
    assert files_in(folder / "out") == ["a_x2.png", "z_x2.png"]
    failed = [line for line in ran.err.splitlines() if line.startswith("edgesr: failed: ")]
    assert len(failed) == 2
    assert f"cannot read {folder / 'missing.png'}: No such file or directory" in failed[1]
    ran.fails("2 of 4 images failed, 2 upscaled")


def test_a_name_that_gets_too_long_does_not_stop_the_others(folder: Path, upscale: Upscale) -> None:
    """A name that fits within 255 bytes, and would not with the scale behind it."""
    shutil.copy(folder / "a.png", folder / f"{249 * 'n'}.png")
    shutil.copy(folder / "a.png", folder / "z.png")
    ran = upscale(folder, "-o", folder / "out")
    assert files_in(folder / "out") == ["a_x2.png", "z_x2.png"]
    assert "File name too long" in ran.err
    ran.fails("1 of 3 images failed, 2 upscaled")


@pytest.mark.parametrize("length", [246, 255])
def test_an_output_of_any_length_that_fits_is_written(
    folder: Path, upscale: Upscale, length: int
) -> None:
    target = folder / f"{(length - 4) * 'n'}.png"
    assert upscale(folder / "a.png", "-o", target).status == 0
    assert target.read_bytes().startswith(b"\x89PNG")


def test_an_operating_systems_error_does_not_stop_the_others(
    folder: Path, upscale: Upscale, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(folder / "a.png", folder / "b.png")
    failing = iter([OSError(5, "Input/output error")])

    def encode(*args: Any, **options: Any) -> Any:
        if error := next(failing, None):
            raise error
        return encode_series(*args, **options)

    monkeypatch.setattr("edgesr.upscaling.files.encode_series", encode)
    ran = upscale(folder)
    ran.fails("1 of 2 images failed, 1 upscaled")
    assert f"cannot write {folder / 'a_x2.png'}: Input/output error" in ran.err
    assert files_in(folder) == ["a.png", "b.png", "b_x2.png"]


def test_a_pipe_without_a_suffix_is_refused_and_not_waited_for(
    folder: Path, upscale: Upscale
) -> None:
    os.mkfifo(folder / "pipe")
    upscale(folder / "pipe").fails("it is a named pipe")


def test_a_name_too_long_for_an_input_is_one_line(upscale: Upscale) -> None:
    upscale(300 * "n").fails("cannot read", "File name too long")


@pytest.mark.parametrize("words", [("",), ("a.png", "-o", "")], ids=["image", "output"])
def test_an_empty_name_is_not_the_current_folder(
    folder: Path, upscale: Upscale, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    upscale(*words).fails_alone("got an empty name")
    assert files_in(folder) == ["a.png"]


def test_a_link_to_an_input_is_no_output(folder: Path, upscale: Upscale) -> None:
    before = (folder / "a.png").read_bytes()
    (folder / "b.png").hardlink_to(folder / "a.png")
    (folder / "c.png").symlink_to("a.png")
    for name in ("b.png", "c.png"):
        upscale(folder / "a.png", "-o", folder / name, "--force").fails("is one of the inputs")
    assert (folder / "a.png").read_bytes() == before


def test_a_folder_without_images_is_refused(tmp_path: Path, upscale: Upscale) -> None:
    upscale(tmp_path).fails("holds no image")


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
    ran = upscale(folder / "a.png", folder / "a_x2.png", "--force")
    ran.fails("1 of 2 images failed")
    assert (folder / "a.png").read_bytes() == before
    assert (folder / "a_x2.png").read_bytes() == before


def test_transparency_into_jpeg_is_refused(folder: Path, upscale: Upscale) -> None:
    Image.new("RGBA", (9, 9), (1, 2, 3, 4)).save(folder / "t.png")
    upscale(folder / "t.png", "-o", folder / "t.jpg").fails("JPEG is not", ".webp")


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("b.bmp", ["suffix .bmp", ".webp"]),
        ("missing/out/", ["missing does not exist"]),
        ("missing/b.png", ["missing does not exist"]),
        ("plain", ["plain is a file without a suffix", ".png"]),
        ("plain/", ["plain is a file, not a folder"]),
        ("out.v2", ["got suffix .v2", "a folder is written with a slash", "out.v2/"]),
        ("loop.png", ["cannot write", "symbolic links"]),
        (260 * "n" + ".png", ["cannot write", "File name too long"]),
    ],
    ids=[
        "unknown suffix",
        "folder in nowhere",
        "file in nowhere",
        "file without a suffix",
        "file as a folder",
        "folder without a slash",
        "link to itself",
        "long name",
    ],
)
def test_an_output_that_cannot_be_is_refused(
    folder: Path, upscale: Upscale, output: str, words: list[str]
) -> None:
    (folder / "plain").write_text("precious")
    (folder / "loop.png").symlink_to("loop.png")
    upscale(folder / "a.png", "-o", f"{folder}/{output}", "--force").fails(*words)
    assert sorted(os.listdir(folder)) == ["a.png", "loop.png", "plain"]
    assert (folder / "plain").read_text() == "precious"


@pytest.mark.parametrize("exists", [False, True])
def test_several_images_do_not_go_into_one_file(
    folder: Path, upscale: Upscale, exists: bool
) -> None:
    target = folder / ("plain" if exists else "b.png")
    if exists:
        target.write_text("precious")
    upscale(folder / "a.png", folder / "other.png", "-o", target).fails(
        "several images", "name a folder"
    )
    assert not exists or target.read_text() == "precious"


def test_a_folder_that_was_made_for_nothing_is_taken_away(folder: Path, upscale: Upscale) -> None:
    (folder / "a.png").write_text("no image any more")
    upscale(folder, "-o", folder / "out").fails("no image that edgesr reads")
    assert not (folder / "out").exists()


def test_the_pixel_limit_can_be_set(folder: Path, upscale: Upscale) -> None:
    upscale(folder / "a.png", "--max-pixels", 1199).fails("1200 pixels", "--max-pixels")


_MODELS: dict[str, tuple[Callable[[], bytes] | None, str]] = {
    "missing": (None, "cannot read"),
    "random": (lambda: np.random.RandomState(0).bytes(5000), "not a .tflite"),
    "truncated": (lambda: NET.tflite(16, 24)[:3000], ""),
    "NaN": (lambda: SmallNet(2, 2, float("nan")).tflite(16, 24), "NaN or infinity"),
}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--tile", "file"], "convert for a larger --size"),
        (["--tile", "9x9"], "convert for a larger --size"),
        (["--tile", "0x9"], "got the tile (0, 9)"),
        (["--tile", "nine"], "allowed HEIGHTxWIDTH in pixels, e.g. 256x256"),
    ],
    ids=str,
)
def test_an_unfit_tile_ends_in_one_line(
    folder: Path, upscale: Upscale, words: list[str], message: str
) -> None:
    model = folder / "far.tflite"
    model.write_bytes(SmallNet(2, 8).tflite(16, 24))
    upscale(folder / "a.png", "-m", model, "-o", folder / "out", *words).fails(message)
    assert files_in(folder) == ["a.png", "far.tflite"]


@pytest.mark.parametrize("words", [["--whole", "--tile", "file"], ["--tile", "9x9", "--memory", 9]])
def test_options_of_tiles_that_exclude_each_other_are_wrong_usage(
    folder: Path, upscale: Upscale, words: list[object]
) -> None:
    upscale(folder / "a.png", *words).is_wrong_usage("leave out")


@pytest.mark.parametrize("case", list(_MODELS))
def test_an_unfit_model_file_ends_in_one_line(folder: Path, upscale: Upscale, case: str) -> None:
    make, message = _MODELS[case]
    model = folder / "bad.tflite"
    if make:
        model.write_bytes(make())
    upscale(folder / "a.png", "-m", model, "-o", folder / "out").fails(message)
    assert files_in(folder) == ["a.png", *(["bad.tflite"] if make else [])]
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
    ran = run_here(monkeypatch, capsys, "upscale", *arguments)
    ran.is_wrong_usage()
    assert "upscale [OPTIONS] IMAGES..." in ran.err


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
    assert files_in(folder) == ["a.png"]


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


@pytest.mark.parametrize(
    ("number", "status", "said"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")],
    ids=["Ctrl-C", "SIGTERM"],
)
def test_a_signal_leaves_whole_files_only_and_counts_them(
    folder: Path, small_tflite: Path, number: signal.Signals, status: int, said: str
) -> None:
    Image.fromarray(noise_image(2000, 3000)).save(folder / "b.png", compress_level=1)
    out = folder / "out"
    argv = [sys.executable, "-c", HEED_CTRL_C + RUN, "upscale", str(folder)]
    argv += ["-m", str(small_tflite)]
    # Tiles of 16x24 that overlap by 7 keep 2 rows each: minutes of work.
    process = subprocess.Popen([*argv, "-o", str(out), "--overlap", "7"], stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while not (out / "a_x2.png").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.5)  # into the work on the second image
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == status, err.decode()
    assert f"edgesr: {said}; whole files written: 1, others: none" in err.decode()
    assert "Traceback" not in err.decode()
    assert files_in(out) == ["a_x2.png"]
    with Image.open(out / "a_x2.png") as image:
        image.load()
