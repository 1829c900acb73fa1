"""Encode a video in segments, each a file of its own, so that an interrupted one can go on.

They lie in a hidden folder beside the output, which goes when the output is there. Each begins with
a frame that needs no other, and holds the same number of frames: an interrupted and an undisturbed
run give the same file.
"""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from edgesr.errors import OutputError, VideoError
from edgesr.upscaling.video.colours import Coding, Plane
from edgesr.upscaling.video.kinds import Encoder
from edgesr.upscaling.video.source import VideoFacts

#: Frames in a segment: seconds of work at most, and hardly more than encoders' own distance.
SEGMENT_FRAMES = 120
_PLAN = "plan.json"


@dataclass(frozen=True)
class Encoding:
    """How results are encoded.

    Attributes:
        encoder: The encoder.
        crf: Its quality; None for lossless ones.
        height: Rows of the result.
        width: Columns of the result.
        coding: How its colours are numbers.
        source: Facts of the video.
    """

    encoder: Encoder
    crf: int | None
    height: int
    width: int
    coding: Coding
    source: VideoFacts

    @property
    def pixel_format(self) -> str:
        """FFmpeg's name of the kind of frames."""
        shared = {(0, 0): "444", (1, 0): "422", (1, 1): "420"}
        depth = "" if self.coding.bits == 8 else f"{self.coding.bits}le"
        return f"yuv{shared[self.coding.columns_log2, self.coding.rows_log2]}p{depth}"


def result_coding(encoder: Encoder, source: Coding) -> Coding:
    """How the numbers of a result are to be: as the source's where the encoder can."""
    import av

    bits = 8 if source.bits <= 8 or not encoder.deep else 10 if source.bits <= 10 else 12
    columns, rows = min(source.columns_log2, 1), min(source.rows_log2, 1)
    if (columns, rows) == (0, 1):
        columns = 1
    formats = av.Codec(encoder.library, "w").video_formats or []
    names = {found.name for found in formats}
    for kept_bits in dict.fromkeys((bits, min(bits, 10), 8)):
        for shared in ((columns, rows), (1, 1)):
            coding = Coding(source.matrix, source.full_range, kept_bits, *shared)
            if Encoding(encoder, None, 0, 0, coding, None).pixel_format in names:  # type: ignore[arg-type]
                return coding
    raise VideoError(f"{encoder.codec} of this FFmpeg takes no kind of frames that edgesr makes")


class SegmentWriter:
    """Encodes frames into segment files. Used by one thread at a time."""

    def __init__(self, folder: Path, encoding: Encoding, first: int) -> None:
        """Begin behind the segments that are finished.

        Args:
            folder: Where the segments lie.
            encoding: How to encode.
            first: Number of the first segment to write.
        """
        self._folder = folder
        self._encoding = encoding
        self._number = first
        self._frames = 0
        self._container: Any = None
        self._stream: Any = None

    def add(self, planes: Sequence[Plane], time: int, duration: int) -> None:
        """Encode a frame.

        Raises:
            OutputError: It cannot be written.
            VideoError: The encoder failed.
        """
        with writing(self._folder):
            if self._container is None:
                self._container, self._stream = self._opened()
            frame = self._frame(planes, time, duration)
            self._container.mux(self._stream.encode(frame))
            self._frames += 1
            if self._frames == SEGMENT_FRAMES:
                self._finish()

    def finish(self) -> None:
        """Finish the last segment.

        Raises:
            OutputError: It cannot be written.
        """
        if self._container is not None:
            with writing(self._folder):
                self._finish()

    def discard(self) -> None:
        """Take away the segment that is not finished."""
        if self._container is not None:
            with contextlib.suppress(Exception):  # what it has not written is not wanted
                self._container.close()
            self._container = None
        _part(self._folder).unlink(missing_ok=True)

    def _opened(self) -> tuple[Any, Any]:
        import av

        container = av.open(str(_part(self._folder)), "w", format="nut")
        return container, add_video_stream(container, self._encoding)

    def _finish(self) -> None:
        self._container.mux(self._stream.encode(None))
        self._container.close()
        self._container = None
        self._frames = 0
        part = _part(self._folder)
        with part.open("rb+") as file:  # the name must not be there before the content
            os.fsync(file.fileno())
        part.replace(segment_path(self._folder, self._number))
        self._number += 1

    def _frame(self, planes: Sequence[Plane], time: int, duration: int) -> Any:  # noqa: ANN401
        import av

        encoding = self._encoding
        frame = av.VideoFrame(encoding.width, encoding.height, encoding.pixel_format)
        for plane, values in zip(frame.planes, planes, strict=True):
            buffer: Any = plane
            stored = np.frombuffer(buffer, values.dtype)
            rows = stored.reshape(-1, plane.line_size // values.itemsize)
            rows[: values.shape[0], : values.shape[1]] = values
        frame.pts, frame.duration = time, duration
        frame.time_base = encoding.source.time_base
        frame.colorspace = encoding.coding.matrix
        frame.color_range = 2 if encoding.coding.full_range else 1
        frame.color_primaries = encoding.source.primaries
        frame.color_trc = encoding.source.transfer
        return frame


def add_video_stream(container: Any, encoding: Encoding) -> Any:  # noqa: ANN401
    """Add a stream of video to be encoded."""
    from av.codec.context import Flags

    os.environ.setdefault("SVT_LOG", "1")  # SVT-AV1 tells of itself on stderr, past FFmpeg's log
    options = dict(encoding.encoder.options)
    if encoding.crf is not None:
        options["crf"] = str(encoding.crf)
    source = encoding.source
    rate = source.rate.limit_denominator(1 << 20)
    stream = container.add_stream(encoding.encoder.library, rate=rate, options=options)
    context = stream.codec_context
    context.width, context.height = encoding.width, encoding.height
    context.pix_fmt = encoding.pixel_format
    context.time_base = stream.time_base = source.time_base
    describe(context, encoding)
    context.flags |= Flags.global_header
    return stream


def describe(context: Any, encoding: Encoding) -> None:  # noqa: ANN401
    """State how the numbers are to be read, without which players guess by the size."""
    context.sample_aspect_ratio = encoding.source.pixel_aspect
    context.colorspace = encoding.coding.matrix
    context.color_range = 2 if encoding.coding.full_range else 1
    context.color_primaries = encoding.source.primaries
    context.color_trc = encoding.source.transfer


@contextlib.contextmanager
def writing(target: Path) -> Generator[None]:
    """Turn FFmpeg's and the operating system's refusals to write into one clear line.

    Raises:
        OutputError: The disk is full, or the folder is gone or read-only.
        VideoError: The encoder failed.
    """
    from av.error import FFmpegError

    try:
        yield
    except OSError as error:
        raise OutputError(f"cannot write {target}: {error.strerror or error}") from error
    except FFmpegError as error:
        raise VideoError(f"{target}: the video cannot be encoded: {error}") from error


def segment_path(folder: Path, number: int) -> Path:
    """Where a finished segment lies."""
    return folder / f"{number:06d}.nut"


def _part(folder: Path) -> Path:
    return folder / "part.nut"


def work_folder(target: Path) -> Path:
    """The folder of an output's segments: hidden, beside it, of a length that always fits."""
    name = hashlib.sha256(os.fsencode(target.name)).hexdigest()[:16]
    return target.with_name(f".edgesr-video-{name}")


def begin(folder: Path, plan: Mapping[str, object], *, resume: bool) -> int:
    """Make the folder of segments, or take up that of a run before.

    Args:
        folder: The folder.
        plan: All that the result depends on. Segments of another plan are not used.
        resume: Whether finished segments are kept.

    Returns:
        How many segments are finished.

    Raises:
        OutputError: The folder cannot be made.
    """
    text = json.dumps(dict(plan), indent=1, sort_keys=True)
    try:
        known = folder / _PLAN
        if resume and known.is_file() and known.read_text(encoding="utf-8") == text:
            count = 0
            while segment_path(folder, count).is_file():
                count += 1
            return count
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        known.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"cannot write {folder}: {error.strerror or error}") from error
    return 0


@contextlib.contextmanager
def kept_if_useful(folder: Path) -> Generator[None]:
    """Take the folder of segments away at the end, unless another run can go on with them.

    It can after an interruption and on a full disk, and cannot after an error of the video.
    """
    try:
        yield
    except (KeyboardInterrupt, SystemExit, OSError, OutputError):
        if not segment_path(folder, 0).is_file():
            shutil.rmtree(folder, ignore_errors=True)
        raise
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)


def plan_of(source: VideoFacts, encoding: Encoding, others: Mapping[str, object]) -> dict[str, Any]:
    """All that a result depends on, for JSON."""
    import av

    found = source.path.stat()
    return {
        "source": [found.st_size, found.st_mtime_ns],
        "size": [encoding.height, encoding.width],
        "codec": encoding.encoder.codec,
        "crf": encoding.crf,
        "options": encoding.encoder.options,
        "format": encoding.pixel_format,
        "frames_in_a_segment": SEGMENT_FRAMES,
        "av": av.__version__,
        "time_base": str(Fraction(source.time_base)),
        **others,
    }
