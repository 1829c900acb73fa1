"""Small videos, made with PyAV."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

HEIGHT, WIDTH, FRAMES, RATE = 48, 64, 10, 25
_SOUND_RATE, _SOUND_FRAME = 48_000, 1024


def picture(index: int, height: int = HEIGHT, width: int = WIDTH) -> NDArray[np.uint8]:
    """RGB that is smooth, and symmetric in no direction."""
    y, x = np.mgrid[:height, :width]
    red, green = 128 + 100 * np.sin((x + 3 * index) / 9), 128 + 100 * np.cos(y / 7)
    blue = 128 + 90 * np.sin((x + y + index) / 11)
    return np.stack([red, green, blue], axis=-1).astype(np.uint8)


def make_video(
    path: Path,
    frames: Sequence[NDArray[np.uint8]] | None = None,
    *,
    pixel_format: str = "yuv420p",
    codec: str = "libx264",
    sound: str | None = None,
    times: Sequence[int] | None = None,
    time_base: Fraction = Fraction(1, RATE),
    pixel_aspect: Fraction | None = None,
    colours: tuple[int, int] = (1, 1),
    matrix: list[int] | None = None,
    metadata: dict[str, str] | None = None,
    chapters: list[dict[str, Any]] | None = None,
) -> Path:
    """Write a video.

    Args:
        path: The file; its suffix is the container.
        frames: RGB; by default ten of `picture`.
        pixel_format: FFmpeg's name.
        codec: The encoder.
        sound: The encoder of a tone; None for no sound.
        times: When each frame is shown; by default one after the other.
        time_base: Their unit in seconds.
        pixel_aspect: Width of a pixel over its height.
        colours: Numbers of the matrix and the range (1 limited, 2 full).
        matrix: A display matrix of nine numbers.
        metadata: Of the file.
        chapters: Likewise.
    """
    frames = [picture(index) for index in range(FRAMES)] if frames is None else frames
    options = {"libx264": {"crf": "8"}, "libx265": {"x265-params": "log-level=none:crf=8"}}
    # Where a video begins is stored in this unit, of a thousandth else.
    movie = {"movie_timescale": "90000"} if path.suffix == ".mp4" else {}
    with av.open(str(path), "w", options=movie) as out:
        stream: Any = out.add_stream(codec, rate=RATE, options=options.get(codec, {}))
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pixel_format
        stream.codec_context.time_base = time_base
        stream.codec_context.colorspace, stream.codec_context.color_range = colours
        if pixel_aspect is not None:
            stream.codec_context.sample_aspect_ratio = pixel_aspect
        if matrix is not None:
            stream.set_display_matrix(matrix)
        tone: Any = None
        if sound is not None:
            tone = out.add_stream(sound, rate=_SOUND_RATE, layout="mono")
            tone.metadata["language"] = "fin"
        out.metadata.update(metadata or {})
        if chapters is not None:
            out.set_chapters(chapters)  # type: ignore[arg-type]
        names = {1: "ITU709", 5: "ITU601", 6: "ITU601", 9: "BT2020"}
        for index, rgb in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
            if not pixel_format.startswith(("rgb", "gbr", "bgr")):
                frame = frame.reformat(
                    format=pixel_format,
                    dst_colorspace=names[colours[0]],
                    dst_color_range=colours[1],
                )
            frame.pts = times[index] if times else index
            frame.time_base = time_base
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
        if tone is not None:
            _add_tone(out, tone, len(frames) * _SOUND_RATE // RATE)
    return path


def _add_tone(out: Any, stream: Any, samples: int) -> None:
    for start in range(0, samples, _SOUND_FRAME):
        at = np.arange(start, min(start + _SOUND_FRAME, samples))
        values = np.sin(at / 20).astype(np.float32)[None]
        frame = av.AudioFrame.from_ndarray(values, format="fltp", layout="mono")
        frame.sample_rate, frame.pts = _SOUND_RATE, start
        out.mux(stream.encode(frame))
    out.mux(stream.encode(None))


def read_frames(path: Path) -> list[Any]:
    """All frames of a video."""
    with av.open(str(path)) as container:
        return list(container.decode(video=0))


def times_of(path: Path) -> list[Fraction]:
    """When each frame is shown, in seconds."""
    return [frame.pts * frame.time_base for frame in read_frames(path)]


def planes_of(frame: Any) -> list[NDArray[Any]]:
    """A frame's numbers, without what fills its rows."""
    kind = np.dtype("u1" if frame.format.components[0].bits == 8 else "<u2")
    sizes = {c.plane: (c.height, c.width) for c in frame.format.components}
    planes = []
    for index, (height, width) in sorted(sizes.items()):
        plane = frame.planes[index]
        rows = np.frombuffer(plane, kind).reshape(-1, plane.line_size // kind.itemsize)
        planes.append(rows[:height, :width].copy())
    return planes


def packets_of(path: Path, kind: str) -> list[bytes]:
    """The packets of the first stream of a kind."""
    with av.open(str(path)) as container:
        stream = next(stream for stream in container.streams if stream.type == kind)
        return [bytes(packet) for packet in container.demux(stream) if packet.size]
