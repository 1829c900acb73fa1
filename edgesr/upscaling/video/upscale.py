"""Upscale a video: one thread decodes, one runs the network, one encodes."""

import contextlib
import os
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from filelock import FileLock, Timeout

from edgesr.common.files import atomic_outputs, check_writable
from edgesr.common.progress import ProgressCallback, silent
from edgesr.errors import OutputError
from edgesr.images.files import MAX_PIXELS, ImageData
from edgesr.upscaling.final_size import FinalSize, check_pixels, cut_to, upscale_to
from edgesr.upscaling.upscaler import ImageUpscaler
from edgesr.upscaling.video.colours import Plane, Uint16Array, from_rgb
from edgesr.upscaling.video.joining import check_streams, join
from edgesr.upscaling.video.kinds import (
    CONTAINERS,
    VideoSettings,
    check_target,
    choose_encoder,
)
from edgesr.upscaling.video.segments import (
    SEGMENT_FRAMES,
    Encoding,
    SegmentWriter,
    begin,
    kept_if_useful,
    plan_of,
    result_coding,
    work_folder,
)
from edgesr.upscaling.video.source import SourceFrame, VideoFacts, read_facts, read_frames

_T = TypeVar("_T")

# What a video that does not tell is taken to have.
_MANY_FRAMES = 100
# Frames that wait between two threads.
_WAITING = 3


@dataclass(frozen=True)
class UpscaledVideo:
    """What was done.

    Attributes:
        input_size: Height, width of the frames, upright.
        output_size: Height, width of the result's.
        frames: How many there are.
        tiles: How often the network ran.
        one_tile: Whether it saw all of a frame at once.
        notes: What could not be kept, one sentence each.
    """

    input_size: tuple[int, int]
    output_size: tuple[int, int]
    frames: int
    tiles: int
    one_tile: bool
    notes: tuple[str, ...]


def upscale_video(
    source: Path,
    target: Path,
    upscaler: ImageUpscaler,
    settings: VideoSettings,
    *,
    final: FinalSize | None = None,
    max_pixels: int = MAX_PIXELS,
    overwrite: bool = False,
    progress: ProgressCallback = silent,
) -> UpscaledVideo:
    """Upscale a video; the output appears when all of it is there.

    Until then finished segments lie in a hidden folder beside it (`segments.work_folder`), and stay
    there after an interruption.

    Args:
        source: The video.
        target: The file to write; its suffix decides on the container.
        upscaler: The network.
        settings: How to encode.
        final: What size the result gets; None for the network's own.
        max_pixels: Larger frames are refused.
        overwrite: Whether a file that exists may be replaced.
        progress: Told of frames.

    Raises:
        VideoError: The video cannot be read, or the output's container does not hold it.
        OutputError: The output exists, or cannot be written.
        OptionError: The codec is unknown, or its quality out of range.
        MissingDependencyError: PyAV is not installed.
    """
    check_target(target)
    check_writable(target, overwrite=overwrite)
    facts = read_facts(source)
    check_pixels((facts.height, facts.width), max_pixels)
    encoding, notes = _encoding(facts, target, upscaler.scale, settings, final)
    notes += check_streams(facts, target)
    others = {"model": settings.model, "final": repr(final)}
    with _work(work_folder(target)) as folder, kept_if_useful(folder):
        done = begin(folder, plan_of(facts, encoding, others), resume=settings.resume)
        upscaler.expect(facts.frames or _MANY_FRAMES)
        run = _Run(upscaler, final, encoding, max_pixels)
        timing = _encode(folder, done, facts, run, progress)
        with atomic_outputs([target], overwrite=overwrite) as (part,):
            join(folder, timing, encoding, part)
    return UpscaledVideo(
        (facts.height, facts.width),
        (encoding.height, encoding.width),
        len(timing),
        run.tiles,
        run.one_tile,
        facts.notes + notes,
    )


def _encoding(
    facts: VideoFacts,
    target: Path,
    scale: int,
    settings: VideoSettings,
    final: FinalSize | None,
) -> tuple[Encoding, tuple[str, ...]]:
    encoder = choose_encoder(settings.codec, settings.crf, target, facts.coding.bits)
    coding = result_coding(encoder, facts.coding)
    notes: tuple[str, ...] = ()
    if coding.bits < facts.coding.bits:
        notes += (f"of {facts.coding.bits} bits {encoder.codec} keeps {coding.bits}",)
    movie = CONTAINERS[target.suffix.lower()] in ("mp4", "mov")
    if facts.pixel_aspect != 1 and not (movie or encoder.states_aspect):
        aspect = f"{facts.pixel_aspect.numerator}:{facts.pixel_aspect.denominator}"
        notes += (f"the shape of its pixels ({aspect}) is not kept; use --codec h264, or .mp4",)
    wanted = final or FinalSize()
    height, width = wanted.of((facts.height, facts.width), scale)
    even = height - height % (1 << coding.rows_log2), width - width % (1 << coding.columns_log2)
    if min(even) < 1:
        even = height, width
    if even != (height, width):
        notes += (
            f"of {height}x{width} pixels {even[0]}x{even[1]} are kept: video needs even ones",
        )
    crf = encoder.crf if settings.crf is None else settings.crf
    return Encoding(encoder, crf, *even, coding, facts), notes


class _Run:
    """The network on frames, and how often it ran."""

    def __init__(
        self,
        upscaler: ImageUpscaler,
        final: FinalSize | None,
        encoding: Encoding,
        max_pixels: int,
    ) -> None:
        self._upscaler = upscaler
        self._final = final
        self._size = encoding.height, encoding.width
        self._max_pixels = max_pixels
        self.encoding = encoding
        self.tiles = 0
        self.one_tile = True

    def upscale(self, rgb_hwc: Uint16Array) -> Uint16Array:
        """Upscale a frame to its final size."""
        image = ImageData(rgb_hwc)
        result, runs = upscale_to(self._final, image, self._upscaler, self._max_pixels)
        self.tiles += sum(self._upscaler.count_tiles(seen) for seen in runs)
        self.one_tile &= all(self._upscaler.is_one_tile(seen) for seen in runs)
        return cut_to(result, self._size).pixels_hwc  # pyright: ignore[reportReturnType]


def _encode(
    folder: Path, done: int, facts: VideoFacts, run: _Run, progress: ProgressCallback
) -> list[tuple[int, int]]:
    """Encode what is missing, and give the times of all frames."""
    timing: list[tuple[int, int]] = []
    skip = done * SEGMENT_FRAMES
    writer = SegmentWriter(folder, run.encoding, done)
    try:
        with _thread() as decoding, _thread() as encoding:
            waiting: deque[Future[list[Plane]]] = deque()
            latest: Future[list[Plane]] | None = None
            for frame in _ahead(read_frames(facts, skip), decoding):
                timing.append((frame.time, frame.duration))
                progress("frames", len(timing) - 1, max(facts.frames, len(timing)))
                if len(timing) <= skip:
                    continue
                result = None if frame.rgb_hwc is None else run.upscale(frame.rgb_hwc)
                latest = encoding.submit(_write, writer, result, latest, frame, run.encoding)
                waiting.append(latest)
                if len(waiting) > _WAITING:
                    waiting.popleft().result()
            for future in waiting:
                future.result()
            encoding.submit(writer.finish).result()
            progress("frames", len(timing), len(timing))
    except BaseException:
        writer.discard()
        raise
    return timing


def _write(
    writer: SegmentWriter,
    rgb_hwc: Uint16Array | None,
    before: "Future[list[Plane]] | None",
    frame: SourceFrame,
    encoding: Encoding,
) -> list[Plane]:
    """Encode a frame, or once more the one before, and give its planes."""
    if rgb_hwc is None:
        assert before is not None, "the first frame equals none"
        planes = before.result()
    else:
        planes = from_rgb(rgb_hwc, encoding.coding)
    writer.add(planes, frame.time, frame.duration)
    return planes


@contextlib.contextmanager
def _thread() -> Generator[ThreadPoolExecutor]:
    """A thread that ends with the block; what it has not begun then is left."""
    pool = ThreadPoolExecutor(1)
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _ahead(items: Iterator[_T], pool: ThreadPoolExecutor) -> Iterator[_T]:
    """Items that were made in another thread, a few ahead."""
    end = object()
    take: Callable[[], object] = lambda: next(items, end)  # noqa: E731
    waiting = deque(pool.submit(take) for _ in range(_WAITING))
    while (item := waiting.popleft().result()) is not end:
        waiting.append(pool.submit(take))
        yield item  # type: ignore[misc]


@contextlib.contextmanager
def _work(folder: Path) -> Generator[Path]:
    """Keep a second process from the folder of segments."""
    lock = FileLock(os.fspath(folder) + ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise OutputError(f"{folder} is in use: another process writes this video") from error
    except OSError as error:
        raise OutputError(f"cannot write {folder}: {error.strerror or error}") from error
    try:
        yield folder
    finally:
        lock.release()
        Path(lock.lock_file).unlink(missing_ok=True)
