"""`edgesr upscale` on videos."""

import json
import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

import edgesr
from edgesr.upscaling.video.colours import Coding, from_rgb, to_rgb
from helpers.upscale_command import Upscale
from helpers.videos import (
    FRAMES,
    HEIGHT,
    WIDTH,
    make_video,
    packets_of,
    picture,
    planes_of,
    read_frames,
    times_of,
)

_CHAPTERS = [
    {
        "id": number,
        "start": 200 * number,
        "end": 200 * number + 200,
        "time_base": Fraction(1, 1000),
        "metadata": {"title": f"part {number}"},
    }
    for number in (0, 1)
]


@pytest.mark.parametrize(
    ("pixel_format", "colours", "coding"),
    [
        ("yuv420p", (1, 1), Coding(1, False, 8, 1, 1)),
        ("yuv444p", (6, 2), Coding(6, True, 8, 0, 0)),
        ("yuv420p10le", (9, 1), Coding(9, False, 10, 1, 1)),
        ("yuv422p", (5, 1), Coding(5, False, 8, 1, 0)),
    ],
    ids=str,
)
def test_every_frame_is_that_of_the_network_on_the_decoded_one(
    tmp_path: Path,
    upscale: Upscale,
    small_tflite: Path,
    pixel_format: str,
    colours: tuple[int, int],
    coding: Coding,
) -> None:
    source = make_video(
        tmp_path / "in.mkv", pixel_format=pixel_format, colours=colours, codec="ffv1"
    )
    out = tmp_path / "out.mkv"
    ran = upscale(source, "-o", out, "--codec", "ffv1")
    assert ran.status == 0, ran.err
    assert f"48x64 -> {out} 96x128 (10 frames, 10 tiles, " in ran.out
    results = read_frames(out)
    assert len(results) == FRAMES
    with edgesr.load_model(small_tflite) as model:
        for before, after in zip(read_frames(source), results, strict=True):
            assert after.format.name == pixel_format
            assert (int(after.colorspace), int(after.color_range)) == colours
            rgb = to_rgb(planes_of(before), coding)
            expected = from_rgb(model.upscale(rgb), coding)
            for plane, wanted in zip(planes_of(after), expected, strict=True):
                np.testing.assert_array_equal(plane, wanted)


def test_sound_metadata_and_chapters_are_copied(tmp_path: Path, upscale: Upscale) -> None:
    source = make_video(
        tmp_path / "in.mp4", sound="aac", metadata={"title": "Häst", "comment": "c"},
        chapters=_CHAPTERS,
    )  # fmt: skip
    assert upscale(source).status == 0
    out = tmp_path / "in_x2.mp4"
    assert packets_of(out, "audio") == packets_of(source, "audio")
    with av.open(str(out)) as container, av.open(str(source)) as original:
        assert container.metadata["title"] == "Häst"
        assert container.metadata["comment"] == "c"
        assert _chapters(container) == _chapters(original)
        assert _chapters(container)[1] == (Fraction(1, 5), {"title": "part 1"})
        sound, before = container.streams.audio[0], original.streams.audio[0]
        assert (sound.metadata["language"], sound.start_time) == ("fin", before.start_time)
        assert sound.duration == before.duration


def _chapters(container: Any) -> list[tuple[Fraction, dict[str, str]]]:
    return [(c["start"] * c["time_base"], c["metadata"]) for c in container.chapters()]


def test_times_of_a_variable_rate_are_exact(tmp_path: Path, upscale: Upscale) -> None:
    times = [100, 3003, 5000, 5001, 9000, 40000, 40002, 90000, 91000, 200000]
    source = make_video(tmp_path / "in.mp4", times=times, time_base=Fraction(1, 90000), sound="aac")
    for codec in ("h264", "hevc", "vp9", "av1"):
        out = tmp_path / f"{codec}.mp4"
        assert upscale(source, "-o", out, "--codec", codec).status == 0
        assert times_of(out) == times_of(source) == [Fraction(time, 90000) for time in times]
        with av.open(str(out)) as container:
            assert container.streams.video[0].codec_context.codec.canonical_name == codec


#: How frames are shown -> the display matrix, and numpy's way to do the same.
_PLACINGS = {
    "a quarter turn to the right": ((0, 1, -1, 0), lambda a: np.rot90(a, 3)),
    "half a turn": ((-1, 0, 0, -1), lambda a: np.rot90(a, 2)),
    "a quarter turn to the left": ((0, -1, 1, 0), lambda a: np.rot90(a, 1)),
    "mirrored": ((-1, 0, 0, 1), lambda a: a[:, ::-1]),
    "rows and columns swapped": ((0, 1, 1, 0), lambda a: a.swapaxes(0, 1)),
}


@pytest.mark.parametrize("placing", _PLACINGS)
def test_frames_are_turned_as_the_display_matrix_shows_them(
    tmp_path: Path, upscale: Upscale, small_tflite: Path, placing: str
) -> None:
    (a, b, c, d), turned = _PLACINGS[placing]
    matrix = [a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30]
    aspect, coding = Fraction(4, 3), Coding(1, False, 8, 0, 0)
    source = make_video(
        tmp_path / "in.mp4", pixel_format="yuv444p", pixel_aspect=aspect, matrix=matrix
    )
    out = tmp_path / "out.mkv"
    assert upscale(source, "-o", out, "--codec", "ffv1").status == 0
    with edgesr.load_model(small_tflite) as model:
        for before, after in zip(read_frames(source), read_frames(out), strict=True):
            assert after.side_data.get("DISPLAYMATRIX") is None
            upright = np.ascontiguousarray(turned(to_rgb(planes_of(before), coding)))
            expected = from_rgb(model.upscale(upright), coding)
            for plane, wanted in zip(planes_of(after), expected, strict=True):
                np.testing.assert_array_equal(plane, wanted)
    assert upscale(source).status == 0
    wide = turned(np.zeros((HEIGHT, WIDTH))).shape == (HEIGHT, WIDTH)
    assert _aspect(tmp_path / "in_x2.mp4") == (aspect if wide else 1 / aspect)


def _aspect(path: Path) -> Fraction | None:
    with av.open(str(path)) as container:
        return container.streams.video[0].sample_aspect_ratio


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("codec", ["h264", "hevc", "av1", "vp9"])
def test_pixels_keep_their_shape_or_it_is_said(
    tmp_path: Path, upscale: Upscale, codec: str, suffix: str
) -> None:
    source = make_video(tmp_path / "in.mp4", pixel_aspect=Fraction(4, 3))
    out = tmp_path / f"out{suffix}"
    ran = upscale(source, "-o", out, "--codec", codec)
    assert ran.status == 0
    lost = suffix == ".mkv" and codec in ("av1", "vp9")
    assert (_aspect(out) != Fraction(4, 3)) == lost
    assert ("the shape of its pixels (4:3) is not kept" in ran.err) == lost


def test_ten_bits_stay_ten_bits(tmp_path: Path, upscale: Upscale) -> None:
    source = make_video(tmp_path / "in.mp4", pixel_format="yuv420p10le", codec="libx265")
    assert upscale(source).status == 0
    with av.open(str(tmp_path / "in_x2.mp4")) as container:
        context = container.streams.video[0].codec_context
        assert (context.codec.canonical_name, context.pix_fmt) == ("hevc", "yuv420p10le")
        assert context.codec_tag == "hvc1"


def test_equal_frames_are_computed_once(tmp_path: Path, upscale: Upscale) -> None:
    frames = [picture(place) for place in (0, 0, 0, 1, 1, 2)]
    source = make_video(tmp_path / "in.mkv", frames, codec="ffv1")
    ran = upscale(source, "-o", tmp_path / "out.mkv", "--codec", "ffv1", "--json")
    (result,) = json.loads(ran.out)["images"]
    assert upscale(source, "-o", tmp_path / "one.mkv", "--codec", "ffv1").status == 0
    (alone,) = json.loads(
        upscale(
            make_video(tmp_path / "three.mkv", [picture(n) for n in (0, 1, 2)], codec="ffv1"),
            "--json",
        ).out
    )["images"]
    assert (result["frames"], alone["frames"]) == (6, 3)
    assert result["tiles"] == alone["tiles"]
    planes = [planes_of(frame)[0] for frame in read_frames(tmp_path / "out.mkv")]
    assert np.array_equal(planes[0], planes[2])
    assert not np.array_equal(planes[2], planes[3])


def test_sizes_hold_for_videos(tmp_path: Path, upscale: Upscale) -> None:
    source = make_video(tmp_path / "in.mp4")
    ran = upscale(source, "--to", "75x75", "--crop", "-o", tmp_path / "out.mkv")
    assert ran.status == 0
    assert "of 75x75 pixels 74x74 are kept: video needs even ones" in ran.err
    frame = read_frames(tmp_path / "out.mkv")[0]
    assert (frame.height, frame.width) == (74, 74)


def test_a_folder_takes_its_videos_along(tmp_path: Path, upscale: Upscale, folder: Path) -> None:
    (folder / "sub").mkdir()
    make_video(folder / "sub" / "b.mp4")
    make_video(folder / "c.avi", codec="mpeg4")
    (folder / "broken.mov").write_text("hello")
    out = folder / "out"
    ran = upscale(folder, "-r", "-o", out, "--format", "jpeg")
    ran.fails("1 of 4 images failed, 3 upscaled")
    assert f"edgesr: failed: {folder / 'broken.mov'} is no video" in ran.err
    made = sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())
    assert made == ["a_x2.jpeg", "c_x2.mp4", "sub/b_x2.mp4"]


def test_python_does_the_same(tmp_path: Path, small_tflite: Path) -> None:
    source = make_video(tmp_path / "in.mp4", sound="aac")
    seen: list[tuple[str, int, int]] = []
    done = edgesr.upscale(
        source, tmp_path / "out.mp4", model=small_tflite, codec="hevc", crf=30,
        progress=lambda *step: seen.append(step),
    )  # fmt: skip
    assert (done.output_size, done.frames) == ((2 * HEIGHT, 2 * WIDTH), FRAMES)
    assert seen[0] == ("frames", 0, FRAMES)
    assert seen[-1] == ("frames", FRAMES, FRAMES)
    assert len(read_frames(tmp_path / "out.mp4")) == FRAMES


def test_subtitles_stay_where_the_container_holds_them(tmp_path: Path, upscale: Upscale) -> None:
    (tmp_path / "in.srt").write_text("1\n00:00:00,100 --> 00:00:00,300\nHello\n")
    plain = make_video(tmp_path / "plain.mkv", sound="aac")
    source = tmp_path / "in.mkv"
    with (
        av.open(str(plain)) as video,
        av.open(str(tmp_path / "in.srt")) as text,
        av.open(str(source), "w") as out,
    ):
        for container in (video, text):
            for stream in container.streams:
                copy = out.add_stream_from_template(stream, opaque=True)
                copy.metadata["language"] = "swe"
        for container, first in ((text, 2), (video, 0)):
            for packet in container.demux():
                if packet.size:
                    packet.stream = out.streams[first + packet.stream.index]
                    out.mux(packet)
    assert upscale(source).status == 0
    assert packets_of(tmp_path / "in_x2.mkv", "subtitle") == [b"Hello"]
    with av.open(str(tmp_path / "in_x2.mkv")) as container:
        assert container.streams.subtitles[0].metadata["language"] == "swe"
    ran = upscale(source, "-o", tmp_path / "out.mp4")
    assert ran.status == 0
    assert "MP4 does not hold this, it is left out: subtitle (subrip)" in ran.err


def test_an_image_named_as_a_video_is_an_image(tmp_path: Path, upscale: Upscale) -> None:
    Image.fromarray(picture(0)).save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / "a.mp4")
    assert upscale(tmp_path / "a.mp4").status == 0
    assert Image.open(tmp_path / "a_x2.png").size == (2 * WIDTH, 2 * HEIGHT)


def test_a_mp4_can_be_played_while_it_is_loaded(tmp_path: Path, upscale: Upscale) -> None:
    """The box that describes all others comes before the frames."""
    assert upscale(make_video(tmp_path / "in.mp4")).status == 0
    content, at, names = (tmp_path / "in_x2.mp4").read_bytes(), 0, list[bytes]()
    while at < len(content):
        length, name = struct.unpack_from(">I4s", content, at)
        names.append(name)
        at += length
    assert names.index(b"moov") < names.index(b"mdat")


def test_hdr_metadata_that_is_not_kept_is_told(tmp_path: Path, upscale: Upscale) -> None:
    source = tmp_path / "in.mp4"
    display = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1)"
    options = {"x265-params": f"log-level=none:master-display={display}:max-cll=1000,400"}
    with av.open(str(source), "w") as out:
        stream: Any = out.add_stream("libx265", rate=10, options=options)
        stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, "yuv420p10le"
        frame = av.VideoFrame.from_ndarray(picture(0), "rgb24").reformat(format="yuv420p10le")
        out.mux(stream.encode(frame))
        out.mux(stream.encode())
    ran = upscale(source, "-o", tmp_path / "out.mp4")
    assert ran.status == 0, ran.err
    assert "HDR metadata) is not kept" in ran.out + ran.err
