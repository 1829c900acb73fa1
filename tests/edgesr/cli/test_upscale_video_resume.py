"""`edgesr upscale` on videos, interrupted and taken up again."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgesr.upscaling.video.segments import SEGMENT_FRAMES, segment_path, work_folder
from helpers.commands import HEED_CTRL_C, RUN
from helpers.upscale_command import Upscale
from helpers.videos import make_video, picture, times_of

_FRAMES = 2 * SEGMENT_FRAMES + 60


@pytest.fixture(scope="module")
def long_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    frames = [picture(index) for index in range(_FRAMES)]
    return make_video(tmp_path_factory.mktemp("long") / "in.mp4", frames, sound="aac")


def _stop_after_a_segment(argv: list[str], target: Path, number: int) -> str:
    """Start a command, send it a signal when a segment is finished, and give its stderr."""
    process = subprocess.Popen(
        [sys.executable, "-c", HEED_CTRL_C + RUN, "upscale", *argv],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    finished, until = segment_path(work_folder(target), 0), time.monotonic() + 60
    while not finished.is_file():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.002)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode != 0, "it was too fast"
    return err


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM], ids=str)
def test_an_interrupted_video_goes_on_and_becomes_the_same_file(
    tmp_path: Path, upscale: Upscale, small_tflite: Path, long_video: Path, number: int
) -> None:
    whole, target = tmp_path / "whole.mp4", tmp_path / "out.mp4"
    assert upscale(long_video, "-o", whole).status == 0
    words = [str(long_video), "-o", str(target)]
    err = _stop_after_a_segment([*words, "-m", str(small_tflite)], target, number)
    assert not target.exists()
    assert work_folder(target).is_dir()
    if number != signal.SIGKILL:
        assert "--resume" in err
        assert len(err.splitlines()) == 1
    ran = upscale(*words, "--resume", "--json")
    assert ran.status == 0, ran.err
    (result,) = json.loads(ran.out)["images"]
    assert result["frames"] == _FRAMES
    assert result["tiles"] <= _FRAMES - SEGMENT_FRAMES
    assert target.read_bytes() == whole.read_bytes()
    assert sorted(os.listdir(tmp_path)) == ["out.mp4", "whole.mp4"]
    assert len(times_of(target)) == _FRAMES


def test_a_folders_videos_go_on_by_themselves(
    tmp_path: Path, upscale: Upscale, small_tflite: Path, long_video: Path
) -> None:
    folder, out = tmp_path / "clips", tmp_path / "out"
    folder.mkdir()
    (folder / "in.mp4").write_bytes(long_video.read_bytes())
    words = [str(folder), "-o", str(out)]
    target = out / "in_x2.mp4"
    out.mkdir()
    _stop_after_a_segment([*words, "-m", str(small_tflite)], target, signal.SIGKILL)
    ran = upscale(*words, "--json")
    (result,) = json.loads(ran.out)["images"]
    assert result["tiles"] <= _FRAMES - SEGMENT_FRAMES
    assert sorted(os.listdir(out)) == ["in_x2.mp4"]


@pytest.mark.parametrize("other", [("--crf", "30"), ("--factor", "3"), ()], ids=str)
def test_segments_of_another_run_are_not_used(
    tmp_path: Path, upscale: Upscale, small_tflite: Path, long_video: Path, other: tuple[str, ...]
) -> None:
    """Of other settings, or where the user did not ask for it."""
    target = tmp_path / "out.mp4"
    words = [str(long_video), "-o", str(target)]
    _stop_after_a_segment([*words, "-m", str(small_tflite)], target, signal.SIGKILL)
    ran = upscale(*words, *other, "--json", *(("--resume",) if other else ()))
    (result,) = json.loads(ran.out)["images"]
    assert result["tiles"] >= _FRAMES
    assert sorted(os.listdir(tmp_path)) == ["out.mp4"]
