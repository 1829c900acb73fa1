"""Read a video: its facts, and its frames one by one as upright RGB."""

import contextlib
import struct
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from edgesr.common.inputs import check_regular
from edgesr.common.requirements import require
from edgesr.errors import VideoError
from edgesr.upscaling.video.colours import (
    BT709,
    MATRICES,
    Coding,
    Plane,
    Uint16Array,
    to_rgb,
    usual_matrix,
)
from edgesr.upscaling.video.truncation import check_whole

# Numbers of ITU-T H.273, and of FFmpeg's ranges.
_RGB, _UNSPECIFIED, _FULL = 0, 2, 2
_OLD_FULL = {"yuvj420p": "yuv420p", "yuvj422p": "yuv422p", "yuvj444p": "yuv444p"}
# A display matrix is 3x3 numbers of 32 bits, 16 of them behind the point where they turn.
_MATRIX_BYTES = 36


@dataclass(frozen=True)
class VideoFacts:
    """What holds for all frames of a video.

    Attributes:
        path: The file.
        height: Rows as shown, after turning.
        width: Columns as shown.
        coding: How colours are numbers.
        primaries: Number of the primaries in H.273; 2 where they are not stated.
        transfer: Number of the transfer function, likewise.
        pixel_aspect: Width of a pixel as shown over its height.
        time_base: Seconds per unit of times.
        rate: Frames per second on average.
        frames: How many there are; 0 where that is not known before they are read.
        stream: Number of the stream in the file.
        notes: What a user should know, one sentence each.
    """

    path: Path
    height: int
    width: int
    coding: Coding
    primaries: int
    transfer: int
    pixel_aspect: Fraction
    time_base: Fraction
    rate: Fraction
    frames: int
    stream: int
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class SourceFrame:
    """A decoded frame with its exact time and duration.

    Attributes:
        rgb_hwc: Height x width x 3 over the whole range, upright; None where it equals the one
            before, or was not wanted.
        time: When it is shown, in units of the time base.
        duration: How long, where known; 0 else.
    """

    rgb_hwc: Uint16Array | None
    time: int
    duration: int


@contextlib.contextmanager
def opened(path: Path) -> Generator[Any]:
    """Open a video with PyAV; its errors become one clear line.

    Raises:
        VideoError: It is no video, damaged, or of an unknown kind.
        MissingDependencyError: PyAV is not installed.
    """
    require(f"{path} is a video, which", ["av"], "video")
    import av
    from av.error import FFmpegError

    check_regular(path, VideoError)
    check_whole(path)
    try:
        container = av.open(f"file:{path}", "r", metadata_errors="replace")
    except MemoryError as error:
        raise VideoError(f"{path} does not fit into memory") from error
    except (FFmpegError, ValueError, OSError) as error:
        raise VideoError(
            f"{path} is no video that edgesr reads, or is damaged: {reason(error)}"
        ) from error
    with container:
        yield container


def reason(error: Exception) -> str:
    """What FFmpeg says of an error, in a few words."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(text).split("\n")[0]


def video_stream(path: Path, container: Any) -> Any:  # noqa: ANN401
    """The first stream of moving pictures; a cover is none.

    Raises:
        VideoError: There is none, or its codec is unknown or encrypted.
    """
    streams = [stream for stream in container.streams.video if not is_cover(stream)]
    if not streams:
        kinds = ", ".join(sorted({str(stream.type) for stream in container.streams})) or "nothing"
        raise VideoError(f"{path} has no video stream, got {kinds}; name a video")
    stream = streams[0]
    if getattr(stream, "codec_context", None) is None:
        raise VideoError(
            f"{path}: its video's codec is not known to FFmpeg, or it is encrypted; convert it "
            "first"
        )
    return stream


def is_cover(stream: Any) -> bool:  # noqa: ANN401
    """Whether a video stream is a still image that stands for the file."""
    from av.stream import Disposition

    return bool(stream.disposition & Disposition.attached_pic)


def read_facts(path: Path) -> VideoFacts:
    """Read the header of a video, and its first frame.

    Raises:
        VideoError: It is no video, damaged, or of a kind that is not read.
        MissingDependencyError: PyAV is not installed.
    """
    with opened(path) as container:
        stream = video_stream(path, container)
        first = next(_decoded(path, container, stream), None)
        if first is None:
            raise VideoError(f"{path} has a video stream without frames; name another video")
        return _facts(path, container, stream, first)


def _facts(path: Path, container: Any, stream: Any, first: Any) -> VideoFacts:  # noqa: ANN401
    turns, _ = _placing(first)
    height, width = first.height, first.width
    aspect = stream.sample_aspect_ratio or Fraction(1)
    if turns % 2:
        height, width, aspect = width, height, 1 / aspect
    rate = stream.average_rate or stream.guessed_rate or stream.base_rate or Fraction(25)
    count = stream.frames
    if not count and (stream.duration or container.duration):
        seconds = (
            stream.duration * stream.time_base
            if stream.duration
            else Fraction(container.duration, 1_000_000)
        )
        count = round(seconds * rate)
    return VideoFacts(
        path,
        height,
        width,
        coding_of(path, first),
        int(first.color_primaries),
        int(first.color_trc),
        aspect,
        stream.time_base or 1 / rate,
        rate,
        count,
        stream.index,
        tuple(_notes(first)),
    )


_HDR = ("MASTERING_DISPLAY_METADATA", "CONTENT_LIGHT_LEVEL")


def _notes(first: Any) -> Iterator[str]:  # noqa: ANN401
    if first.interlaced_frame:
        yield "the video is interlaced, and was upscaled as if it were not: deinterlace it first"
    if any(component.is_alpha for component in first.format.components):
        yield "its transparency is not kept"
    matrix = _display_matrix(first)
    if matrix is not None and _turned(matrix) is None:
        yield "it is to be shown turned by an angle that is no multiple of 90 degrees: not kept"
    if any(first.side_data.get(kind) is not None for kind in _HDR):
        yield "what it says of the display that it was made on (HDR metadata) is not kept"


def coding_of(path: Path, frame: Any) -> Coding:  # noqa: ANN401
    """How a frame's colours are numbers.

    Raises:
        VideoError: By a matrix that is not known here.
    """
    described = frame.format
    bits = max(component.bits for component in described.components)
    if described.is_rgb or described.has_palette or described.is_bayer:
        # Screens' colours; the result has luma and colour differences for every pixel.
        return Coding(BT709, False, max(8, bits), 0, 0)
    matrix = int(frame.colorspace)
    if matrix in (_UNSPECIFIED, 3):
        matrix = usual_matrix(frame.height)
    if matrix not in MATRICES:
        raise VideoError(
            f"{path}: got colours by matrix {matrix} of H.273, allowed "
            f"{', '.join(dict.fromkeys(MATRICES.values()))}; convert it first"
        )
    full = int(frame.color_range) == _FULL or described.name in _OLD_FULL
    chroma = [component for component in described.components if component.is_chroma]
    columns = rows = 0
    if chroma:
        columns = round(frame.width / chroma[0].width).bit_length() - 1
        rows = round(frame.height / chroma[0].height).bit_length() - 1
    return Coding(matrix, full, bits, columns, rows)


def read_frames(facts: VideoFacts, skip: int = 0) -> Iterator[SourceFrame]:
    """Decode a video.

    Args:
        facts: What `read_facts` gave.
        skip: Of so many frames at the beginning only times are wanted.

    Raises:
        VideoError: It is damaged or truncated, or a frame has another size than those before.
    """
    with opened(facts.path) as container:
        stream = video_stream(facts.path, container)
        before: list[Plane] = []
        size: tuple[int, int] | None = None
        time = None
        for index, frame in enumerate(_decoded(facts.path, container, stream)):
            size = size or (frame.height, frame.width)
            if (frame.height, frame.width) != size:
                raise VideoError(
                    f"{facts.path}: frame {index + 1} has {frame.height}x{frame.width} pixels "
                    f"after {size[0]}x{size[1]}, allowed one size; split it first"
                )
            time = _time(frame, time, facts)
            duration = int(frame.duration or 0)
            if index < skip:
                yield SourceFrame(None, time, duration)
                continue
            planes = _planes(frame)
            # Of another kind of frame numbers mean something else; of another size there is none.
            same = len(before) == len(planes) and all(map(np.array_equal, before, planes))
            rgb = None if same else _upright(_rgb(facts.path, frame, planes), frame)
            before = planes
            yield SourceFrame(rgb, time, duration)


def _decoded(path: Path, container: Any, stream: Any) -> Iterator[Any]:  # noqa: ANN401
    from av.error import FFmpegError

    stream.thread_type = "AUTO"
    count = 0
    try:
        for packet in container.demux(stream):
            if packet.is_corrupt:
                raise VideoError(f"{path} is damaged or truncated after frame {count}")
            for frame in stream.decode(packet):
                if frame.is_corrupt:
                    raise VideoError(f"{path} is damaged: frame {count + 1} cannot be decoded")
                count += 1
                yield frame
    except FFmpegError as error:
        raise VideoError(
            f"{path} is damaged or truncated after frame {count}: {reason(error)}"
        ) from error


def _time(frame: Any, before: int | None, facts: VideoFacts) -> int:  # noqa: ANN401
    """When a frame is shown; later than the one before, as encoders need it."""
    step = max(1, round(1 / (facts.rate * facts.time_base)))
    earliest = None if before is None else before + 1
    if frame.pts is None:
        return 0 if before is None else before + step
    time = int(frame.pts)
    if frame.time_base and frame.time_base != facts.time_base:
        time = round(time * frame.time_base / facts.time_base)
    return time if earliest is None else max(time, earliest)


def _planes(frame: Any) -> list[Plane]:  # noqa: ANN401
    """A frame's numbers, copied; of kinds that are not planes of numbers, as libswscale unpacks."""
    return [_plane(frame, index) for index in range(len(frame.planes))]


def _plane(frame: Any, index: int) -> Plane:  # noqa: ANN401
    plane = frame.planes[index]
    rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
    sized = {c.plane: c.width * -(-c.bits // 8) for c in frame.format.components}
    if frame.format.is_planar and index in sized and len(sized) == len(frame.format.components):
        rows = rows[: plane.height, : sized[index]]
    return rows.copy()


def _rgb(path: Path, frame: Any, planes: list[Plane]) -> Uint16Array:  # noqa: ANN401
    """A frame's pixels as they are stored."""
    described = frame.format
    if described.is_rgb or described.has_palette or described.is_bayer:
        return np.asarray(_as_rgb48(frame), np.uint16)
    coding = coding_of(path, frame)
    name = _OLD_FULL.get(described.name, described.name)
    wanted = _planar_name(coding, grey=len(described.components) < 3)
    if name != wanted:
        # Only the layout changes: neither libswscale's matrices nor its ranges are used.
        frame = frame.reformat(format=wanted)
        planes = _planes(frame)
    kind = "u1" if coding.bits == 8 else "<u2"
    return to_rgb([plane.view(kind) for plane in planes], coding)


def _planar_name(coding: Coding, *, grey: bool) -> str:
    depth = "" if coding.bits == 8 else f"{coding.bits}le"
    if grey:
        return f"gray{depth}"
    shared = {(0, 0): "444", (1, 0): "422", (1, 1): "420", (2, 0): "411", (0, 1): "440",
              (2, 2): "410"}  # fmt: skip
    return f"yuv{shared[coding.columns_log2, coding.rows_log2]}p{depth}"


def _as_rgb48(frame: Any) -> Any:  # noqa: ANN401
    """RGB of any kind; 8 bits become 16 here, since libswscale does it by shifts."""
    bits = max(component.bits for component in frame.format.components)
    if bits > 8:
        return frame.to_ndarray(format="rgb48le")
    return frame.to_ndarray(format="rgb24").astype(np.uint16) * 257


def _display_matrix(frame: Any) -> tuple[int, ...] | None:  # noqa: ANN401
    data = frame.side_data.get("DISPLAYMATRIX")
    if data is None or len(bytes(data)) < _MATRIX_BYTES:
        return None
    return struct.unpack("=9i", bytes(data)[:_MATRIX_BYTES])


def _turned(matrix: tuple[int, ...]) -> tuple[int, bool] | None:
    """Quarter turns against the clock for `numpy.rot90`, after mirroring left and right."""
    a, b, _, c, d = matrix[:5]
    signs = tuple((value > 0) - (value < 0) for value in (a, b, c, d))
    return {
        (1, 0, 0, 1): (0, False),
        (0, 1, -1, 0): (3, False),
        (-1, 0, 0, -1): (2, False),
        (0, -1, 1, 0): (1, False),
        (-1, 0, 0, 1): (0, True),
        (0, 1, 1, 0): (1, True),
        (1, 0, 0, -1): (2, True),
        (0, -1, -1, 0): (3, True),
    }.get(signs)  # pyright: ignore[reportArgumentType,reportCallIssue]


def _placing(frame: Any) -> tuple[int, bool]:  # noqa: ANN401
    matrix = _display_matrix(frame)
    return (None if matrix is None else _turned(matrix)) or (0, False)


def _upright(rgb_hwc: Uint16Array, frame: Any) -> Uint16Array:  # noqa: ANN401
    turns, mirrored = _placing(frame)
    if mirrored:
        rgb_hwc = rgb_hwc[:, ::-1]
    return np.ascontiguousarray(np.rot90(rgb_hwc, turns)) if turns or mirrored else rgb_hwc
