"""`edgesr upscale` with folders of folders, twice, after a kill, and through stdin and stdout."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

import edgesr
from edgesr.upscaling.files import SkippedFile
from helpers.commands import RUN, files_in
from helpers.images import noise_image
from helpers.upscale_command import Upscale


def _save(path: Path, seed_rows: int = 5) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise_image(seed_rows, 6)).save(path)
    return path


def _tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_the_tree_is_kept_below_the_output(folder: Path, upscale: Upscale) -> None:
    _save(folder / "sub" / "deep" / "b.png")
    _save(folder / "sub" / "a.png")
    _save(folder / ".thumbnails" / "hidden.png")
    (folder / "sub" / "notes.txt").write_text("hello")
    ran = upscale(folder, "-r", "-o", folder / "out")
    assert ran.status == 0, ran.err
    assert sorted(_tree(folder / "out")) == ["a_x2.png", "sub/a_x2.png", "sub/deep/b_x2.png"]
    assert "edgesr: 3 images upscaled\n" in ran.err
    assert f"no image by name: {folder / 'sub' / 'notes.txt'}\n" in ran.err


@pytest.mark.parametrize("beside", [True, False], ids=["beside the images", "in a folder"])
def test_a_second_run_does_what_is_missing_only(
    folder: Path, upscale: Upscale, beside: bool
) -> None:
    _save(folder / "sub" / "b.png")
    words = [folder, "-r", *([] if beside else ["-o", folder / "out"])]
    assert upscale(*words).status == 0
    first = _tree(folder)
    assert len(first) == 4
    ran = upscale(*words)
    assert ran.status == 0, ran.err
    assert "0 images upscaled, 2 skipped: their results exist (--force replaces them)" in ran.err
    assert (ran.out, _tree(folder)) == ("", first)
    missing = next(folder.rglob("b_x2.png"))
    missing.unlink()
    ran = upscale(*words, "--json")
    done = json.loads(ran.out)
    assert [entry["output"] for entry in done["images"]] == [str(missing)]
    assert len(done["skipped"]) == 1
    assert _tree(folder) == first
    ran = upscale(*words, "--force")
    assert ran.status == 0, ran.err
    assert len(ran.out.splitlines()) == 2
    assert _tree(folder) == first


def test_a_folder_that_cannot_be_made_fails_its_images_only(folder: Path, upscale: Upscale) -> None:
    _save(folder / "in" / "sub" / "b.png")
    _save(folder / "in" / "c.png")
    (folder / "out").mkdir()
    (folder / "out" / "sub").write_text("a file in the way")
    ran = upscale(folder / "in", "-r", "-o", folder / "out")
    ran.fails("1 of 2 images failed, 1 upscaled")
    assert files_in(folder / "out") == ["c_x2.png", "sub"]


def test_folders_without_results_are_taken_away(folder: Path, upscale: Upscale) -> None:
    (folder / "in" / "sub").mkdir(parents=True)
    (folder / "in" / "sub" / "bad.png").write_text("no image")
    upscale(folder / "in", "-r", "-o", folder / "out").fails("no image that edgesr reads")
    assert not (folder / "out").exists()


def test_a_named_image_is_skipped_only_where_asked(folder: Path, upscale: Upscale) -> None:
    assert upscale(folder / "a.png").status == 0
    upscale(folder / "a.png").fails("exists", "--force")
    ran = upscale(folder / "a.png", "--skip-existing")
    assert ran.status == 0
    assert "0 images upscaled, 1 skipped" in ran.err


def test_a_format_holds_for_all_results(folder: Path, upscale: Upscale) -> None:
    _save(folder / "b.bmp")
    assert upscale(folder, "-o", folder / "out", "--format", "webp").status == 0
    assert files_in(folder / "out") == ["a_x2.webp", "b_x2.webp"]
    with Image.open(folder / "out" / "b_x2.webp") as image:
        assert image.format == "WEBP"
    ran = upscale(folder / "a.png", "-o", folder / "c.png", "--format", "webp")
    ran.fails("is named as PNG, and WebP is asked for")


def test_the_library_skips_and_searches_as_the_command(folder: Path, small_tflite: Path) -> None:
    _save(folder / "sub" / "b.png")
    with edgesr.load_model(small_tflite) as model:
        for kind in (edgesr.UpscaledFile, SkippedFile):
            results = list(
                model.upscale_files([folder], folder / "out", recursive=True, file_format="jpeg")
            )
            assert [type(result) for result in results] == [kind, kind]
    assert sorted(_tree(folder / "out")) == ["a_x2.jpeg", "sub/b_x2.jpeg"]


# Real processes ------------------------------------------------------------------------------


def _argv(*words: object) -> list[str]:
    return [sys.executable, "-c", RUN, "upscale", *map(str, words)]


def test_after_a_kill_the_same_command_gives_what_an_undisturbed_one_gives(
    folder: Path, small_tflite: Path
) -> None:
    for number in range(12):
        _save(folder / "in" / f"{number % 3}" / f"{number:02}.png", 300 + number)
    words = (folder / "in", "-r", "-m", small_tflite, "--tile", "file")
    subprocess.run(_argv(*words, "-o", folder / "whole"), check=True, capture_output=True)
    out = folder / "killed"
    process = subprocess.Popen(
        _argv(*words, "-o", out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 60
    while not list(out.rglob("*_x2.png")) and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait(60)
    assert process.returncode == -signal.SIGKILL
    # What a kill in the middle of writing leaves, which is a matter of luck.
    (out / "1").mkdir(exist_ok=True)
    (out / "1" / f".edgesr-{process.pid}-7.part.png").write_bytes(b"half")
    mine = out / "1" / f".edgesr-{os.getpid()}-7.part.png"  # of a process that runs
    mine.write_bytes(b"half")
    assert len(_tree(out)) < 14, "killed too late"
    done = subprocess.run(_argv(*words, "-o", out), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert mine.exists()
    mine.unlink()
    assert _tree(out) == _tree(folder / "whole")


def test_an_image_goes_from_stdin_to_stdout(folder: Path, small_tflite: Path) -> None:
    upscaled = subprocess.run(
        _argv("-", "-m", small_tflite),
        input=(folder / "a.png").read_bytes(), capture_output=True, check=True,
    )  # fmt: skip
    with Image.open(io.BytesIO(upscaled.stdout)) as image:
        assert (image.format, image.size) == ("PNG", (80, 60))
    assert files_in(folder) == ["a.png"]
    words = (folder / "a.png", "-m", small_tflite, "-o", "-", "--format", "jpeg")
    upscaled = subprocess.run(_argv(*words), capture_output=True, check=True)
    with Image.open(io.BytesIO(upscaled.stdout)) as image:
        assert (image.format, image.size) == ("JPEG", (80, 60))
    bad = subprocess.run(_argv("-", "-m", small_tflite), input=b"hello", capture_output=True)
    assert (bad.returncode, bad.stdout) == (1, b"")
    assert bad.stderr.startswith(b"edgesr: error: stdin is no image that edgesr reads")
    assert bad.stderr.count(b"\n") == 1


@pytest.mark.parametrize("words", [("-", "a.png"), ("-", "--json"), (".", "-o", "-")], ids=str)
def test_what_does_not_fit_a_stream_is_wrong_usage(
    folder: Path, upscale: Upscale, words: tuple[str, ...]
) -> None:
    upscale(*words).is_wrong_usage("leave")
