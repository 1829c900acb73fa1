"""`edgesr upscale` on what is no video, and on videos that are damaged or do not fit."""

import resource
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest

from helpers.commands import RUN
from helpers.upscale_command import Upscale
from helpers.videos import make_video, picture


def _left(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def _refused(upscale: Upscale, path: Path, *words: str, options: tuple[object, ...] = ()) -> None:
    """One line, and nothing new in the folder."""
    before = _left(path.parent)
    upscale(path, *options).fails_alone(*words)
    assert _left(path.parent) == before


def test_a_text_file_named_as_a_video(tmp_path: Path, upscale: Upscale) -> None:
    (tmp_path / "a.mp4").write_text("hello")
    _refused(upscale, tmp_path / "a.mp4", "a.mp4 is no video that edgesr reads, or is damaged")
    (tmp_path / "b.mkv").touch()
    _refused(upscale, tmp_path / "b.mkv", "b.mkv is no video that edgesr reads, or is damaged")


def test_sound_alone(tmp_path: Path, upscale: Upscale) -> None:
    with av.open(str(tmp_path / "a.mp4"), "w") as out:
        stream = out.add_stream("aac", rate=48_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 48_000
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    _refused(upscale, tmp_path / "a.mp4", "a.mp4 has no video stream, got audio; name a video")


@pytest.mark.parametrize("size", [0.3, 0.9])
@pytest.mark.parametrize(
    ("suffix", "codec"),
    [
        (".mp4", "libx264"),
        (".mov", "libx264"),
        (".avi", "mpeg4"),
        (".mkv", "libx264"),
        (".webm", "libvpx-vp9"),
    ],
)
def test_the_end_is_missing(
    tmp_path: Path, upscale: Upscale, suffix: str, codec: str, size: float
) -> None:
    sound = "libopus" if suffix == ".webm" else "aac"
    path = make_video(tmp_path / f"a{suffix}", codec=codec, sound=sound)
    content = path.read_bytes()
    path.write_bytes(content[: int(size * len(content))])
    _refused(upscale, path, f"a{suffix} is truncated: got", "tells of")


def test_a_recording_that_tells_no_size(tmp_path: Path, upscale: Upscale) -> None:
    """What was broken off, or streamed, has an open end: what is there is upscaled."""
    path = make_video(tmp_path / "a.mkv")
    content = path.read_bytes()
    segment = content.index(b"\x18\x53\x80\x67") + 4
    path.write_bytes(content[:segment] + b"\x01" + b"\xff" * 7 + content[segment + 8 :])
    assert upscale(path).status == 0


def test_the_end_is_missing_behind_the_description(tmp_path: Path, upscale: Upscale) -> None:
    """A file that was to be played while it is loaded describes frames that never came."""
    assert upscale(make_video(tmp_path / "in.mp4")).status == 0
    content = (tmp_path / "in_x2.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(content[:-300])
    _refused(upscale, tmp_path / "cut.mp4", "cut.mp4 is truncated: got", "tells of")


def test_a_corrupt_stream(tmp_path: Path, upscale: Upscale) -> None:
    path = make_video(tmp_path / "a.mp4")
    content = bytearray(path.read_bytes())
    start = content.index(b"mdat") + 4
    content[start + 1500 : start + 2500] = bytes(1000)
    path.write_bytes(content)
    _refused(upscale, path, "a.mp4 is damaged")


@pytest.mark.parametrize("name", [b"zzz1", b"encv"], ids=["unknown", "encrypted"])
def test_a_codec_that_cannot_be_decoded(tmp_path: Path, upscale: Upscale, name: bytes) -> None:
    path = make_video(tmp_path / "a.mp4")
    path.write_bytes(path.read_bytes().replace(b"avc1", name))
    _refused(upscale, path, "a.mp4: its video's codec is not known to FFmpeg, or it is encrypted")


def test_a_frame_that_changes_size(tmp_path: Path, upscale: Upscale) -> None:
    parts = []
    for index, (height, width) in enumerate(((48, 64), (64, 48))):
        frames = [picture(place, height, width) for place in range(3)]
        parts.append(make_video(tmp_path / f"{index}.h264", frames).read_bytes())
    for index in (0, 1):
        (tmp_path / f"{index}.h264").unlink()
    (tmp_path / "a.mpg").write_bytes(b"".join(parts))
    _refused(
        upscale, tmp_path / "a.mpg", "a.mpg: frame 4 has 64x48 pixels after 48x64, allowed one size"
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("-o", "out.png"), "out.png: got suffix .png for a video, allowed .mp4"),
        (("-o", "out.avi"), "out.avi: got suffix .avi for a video, allowed .mp4"),
        (("-o", "out.webm"), "WebM does not hold the sound of"),
        (("-o", "out.webm", "--codec", "h264"), "got codec h264, allowed in .webm vp9, av1"),
        (("-o", "out.mp4", "--codec", "ffv1"), "got codec ffv1, allowed in .mp4 h264"),
        (("--crf", "60"), "got crf 60 for h264, allowed 0 (best) to 51"),
        (
            ("--codec", "ffv1", "--crf", "1", "-o", "out.mkv"),
            "got crf 1 for ffv1, which is lossless",
        ),
        (("--max-pixels", "1000"), "3072 pixels, allowed 1000"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused_before_the_work(
    here: Path, upscale: Upscale, options: tuple[str, ...], words: str
) -> None:
    _refused(upscale, make_video(here / "in.mp4", sound="aac"), words, options=options)


def test_an_output_that_exists_stays(tmp_path: Path, upscale: Upscale) -> None:
    source = make_video(tmp_path / "in.mp4")
    (tmp_path / "in_x2.mp4").write_text("mine")
    _refused(upscale, source, "in_x2.mp4 exists; choose another name or pass --force")
    assert (tmp_path / "in_x2.mp4").read_text() == "mine"
    assert upscale(source, "--force").status == 0


def test_without_the_extra_one_line_names_it(
    tmp_path: Path, upscale: Upscale, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_video(tmp_path / "in.mp4")
    monkeypatch.setitem(sys.modules, "av", None)
    _refused(
        upscale, source, "in.mp4 is a video, which needs av", "run: pip install 'edgesr[video]'"
    )


@pytest.mark.parametrize("room", [0, 3000, 12_000], ids=["none", "little", "nearly enough"])
def test_a_full_disk_leaves_no_output(tmp_path: Path, small_tflite: Path, room: int) -> None:
    source = make_video(tmp_path / "in.mp4")
    argv = [
        sys.executable,
        "-c",
        RUN,
        "upscale",
        str(source),
        "-m",
        str(small_tflite),
        "--crf",
        "0",
    ]
    done = subprocess.run(
        argv,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (room, room)),
    )
    assert done.returncode == 1, done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert "cannot write" in done.stderr
    assert "File too large" in done.stderr
    assert _left(tmp_path) == {"in.mp4"}
