"""Upscale files and folders, one image after the other.

An image that fails does not stop the others.
"""

import contextlib
import time
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from edgesr.common.files import atomic_outputs, check_writable
from edgesr.common.progress import ProgressCallback, silent
from edgesr.errors import EdgeSRError, ImageError, OutputError
from edgesr.images.encoding import DEFAULT_QUALITY, check_storable
from edgesr.images.files import MAX_PIXELS, ImageData
from edgesr.images.several import ImageSeries, check_series, encode_series, read_series
from edgesr.upscaling.final_size import FinalSize, upscale_to
from edgesr.upscaling.jobs import Job
from edgesr.upscaling.upscaler import ImageUpscaler
from edgesr.upscaling.video.kinds import VideoSettings

_T = TypeVar("_T")

_NO_RUN = "it is as large as asked already: the network did not run"


@dataclass(frozen=True)
class Settings:
    """Options for reading and writing images.

    Attributes:
        quality: Of JPEG, WebP and AVIF, 1 to 100.
        max_pixels: Larger images are refused.
        overwrite: Whether outputs that exist may be replaced.
        final_size: What size results get; None for the network's own.
        video: Options for videos.
        resume: Whether interrupted videos go on; None for those found in folders.
    """

    quality: int = DEFAULT_QUALITY
    max_pixels: int = MAX_PIXELS
    overwrite: bool = False
    final_size: FinalSize | None = None
    video: VideoSettings = field(default_factory=VideoSettings)
    resume: bool | None = None


@dataclass(frozen=True)
class UpscaledFile:
    """An image or a video that was upscaled and written.

    Attributes:
        job: The files.
        input_size: Height, width of the input.
        output_size: Height, width of the output.
        tiles: How often the network ran.
        one_tile: Whether it saw all of the image at once.
        seconds: From the decoded image to the written file.
        notes: What could not be kept, one sentence each.
        frames: Of a video; 0 for others.
    """

    job: Job
    input_size: tuple[int, int]
    output_size: tuple[int, int]
    tiles: int
    one_tile: bool
    seconds: float
    notes: tuple[str, ...]
    frames: int = 0


@dataclass(frozen=True)
class SkippedFile:
    """An image whose result is there already, from a run before."""

    job: Job


@dataclass(frozen=True)
class FailedFile:
    """An image that was not upscaled; nothing was written for it."""

    job: Job
    error: EdgeSRError

    @property
    def message(self) -> str:
        """The error's message, with the image's name."""
        text = str(self.error)
        return text if str(self.job.source) in text else f"{self.job.source}: {text}"


_Outcome = UpscaledFile | FailedFile


class ReadAhead:
    """Decodes images in the background, one ahead of the one that is worked on.

    The first is decoded as soon as this is made, while the caller loads the network.
    """

    def __init__(self, paths: Sequence[Path], max_pixels: int) -> None:
        self._read: Callable[[Path], ImageSeries] = lambda path: read_series(
            path, max_pixels=max_pixels
        )
        self._paths = iter(paths)
        self._pool = ThreadPoolExecutor(1)
        self._next = self._submit()

    def __enter__(self) -> "ReadAhead":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        # An interruption does not wait for the end of an image that nobody will use.
        self._pool.shutdown(wait=kind is None, cancel_futures=True)

    def take(self) -> ImageSeries:
        """What the next file holds, in order.

        Raises:
            ImageError: It cannot be read.
            IndexError: There are no more.
        """
        if self._next is None:
            raise IndexError("all images were taken")
        current, self._next = self._next, None
        image = current.exception() or current.result()
        self._next = self._submit()
        if isinstance(image, BaseException):
            raise image
        return image

    def _submit(self) -> "Future[ImageSeries] | None":
        path = next(self._paths, None)
        return None if path is None else self._pool.submit(self._read, path)


def upscale_files(
    jobs: Sequence[Job],
    images: ReadAhead,
    upscaler: ImageUpscaler,
    settings: Settings,
    progress: ProgressCallback = silent,
) -> Iterator[UpscaledFile | FailedFile]:
    """Upscale one image after the other.

    Args:
        jobs: What to do.
        images: The sources of the jobs that are no videos, in the same order.
        upscaler: The network.
        settings: How to read and write.
        progress: Told of images and of tiles.

    Yields:
        One result per job, in order.
    """
    sources = {_identity(job.source) for job in jobs} - {None}
    with _background() as encoding:
        before: Future[_Outcome] | None = None
        for index, job in enumerate(jobs):
            if len(jobs) > 1:
                progress("images", index, len(jobs))
            try:
                write = _upscaled(job, sources, images, upscaler, settings, progress)
            except BaseException:  # an interruption: what was written counts
                if before is not None:
                    yield before.result()
                raise
            if before is not None:
                yield before.result()
            before = encoding.submit(write)
        if before is not None:
            yield before.result()
    if len(jobs) > 1:
        progress("images", len(jobs), len(jobs))


def _upscaled(
    job: Job,
    sources: Collection[tuple[int, int] | None],
    images: ReadAhead,
    upscaler: ImageUpscaler,
    settings: Settings,
    progress: ProgressCallback,
) -> Callable[[], _Outcome]:
    """Run the network on one file; what remains is to encode and write the result."""

    def run() -> Callable[[], _Outcome]:
        series = None if job.video else images.take()
        if _identity(job.target) in sources:
            raise OutputError(f"output {job.target} is one of the inputs; choose another")
        if series is None:
            done = _upscale_video(job, upscaler, settings, progress)
            return lambda: done
        write = _upscale_one(job, series, upscaler, settings, progress)
        return lambda: _or_failure(job, write)

    written = _or_failure(job, run)
    return (lambda: written) if isinstance(written, FailedFile) else written


def _or_failure(job: Job, step: Callable[[], _T]) -> "_T | FailedFile":
    """What a step gives, or why it cannot be."""
    try:
        return step()
    except EdgeSRError as error:
        return FailedFile(job, error)
    except OSError as error:
        reason = error.strerror or error
        return FailedFile(job, OutputError(f"cannot write {job.target}: {reason}"))
    except MemoryError:
        return FailedFile(job, ImageError(f"{job.source}: the result does not fit into memory"))


@contextlib.contextmanager
def _background() -> Generator[ThreadPoolExecutor]:
    """A thread beside this one; an interruption does not wait for what it has not begun."""
    pool = ThreadPoolExecutor(1)
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()


def _upscale_one(
    job: Job,
    series: ImageSeries,
    upscaler: ImageUpscaler,
    settings: Settings,
    progress: ProgressCallback,
) -> Callable[[], UpscaledFile]:
    """Run the network; what remains is to encode and write the result."""
    started = time.perf_counter()
    check_writable(job.target, overwrite=settings.overwrite)
    check_series(series, job.target)
    results: list[ImageData] = []
    runs: list[ImageData] = []
    upscaler.expect(len(series.images))
    for index, image in enumerate(series.images):
        if len(series.images) > 1:
            progress("frames", index, len(series.images))
        if index and np.array_equal(image.pixels_hwc, series.images[index - 1].pixels_hwc):
            results.append(results[-1])
            continue
        result, seen = _run(job, image, upscaler, settings, progress)
        results.append(result)
        runs += seen
    done = UpscaledFile(
        job,
        (series.first.height, series.first.width),
        (results[0].height, results[0].width),
        sum(upscaler.count_tiles(seen) for seen in runs),
        all(upscaler.is_one_tile(seen) for seen in runs),
        0.0,
        tuple(dict.fromkeys(n for i in series.images for n in i.notes)),
    )
    upscaled, ran = replace(series, images=tuple(results)), bool(runs)

    def write() -> UpscaledFile:
        content, notes = encode_series(upscaled, job.target, quality=settings.quality)
        with atomic_outputs([job.target], overwrite=settings.overwrite) as (temporary,):
            temporary.write_bytes(content)
        notes = done.notes + notes + (() if ran else (_NO_RUN,))
        return replace(done, seconds=time.perf_counter() - started, notes=notes)

    return write


def _upscale_video(
    job: Job, upscaler: ImageUpscaler, settings: Settings, progress: ProgressCallback
) -> UpscaledFile:
    from edgesr.upscaling.video.upscale import upscale_video  # images need none of it

    started = time.perf_counter()
    resume = job.found if settings.resume is None else settings.resume
    done = upscale_video(
        job.source,
        job.target,
        upscaler,
        replace(settings.video, resume=resume),
        final=settings.final_size,
        max_pixels=settings.max_pixels,
        overwrite=settings.overwrite,
        progress=progress,
    )
    return UpscaledFile(
        job,
        done.input_size,
        done.output_size,
        done.tiles,
        done.one_tile,
        time.perf_counter() - started,
        done.notes,
        done.frames,
    )


def _run(
    job: Job,
    image: ImageData,
    upscaler: ImageUpscaler,
    settings: Settings,
    progress: ProgressCallback,
) -> tuple[ImageData, list[ImageData]]:
    """The result at its final size, and the images that the network saw."""
    size = (settings.final_size or FinalSize()).of((image.height, image.width), upscaler.scale)
    check_storable(image, job.target, size)
    return upscale_to(settings.final_size, image, upscaler, settings.max_pixels, progress)


def _identity(path: Path) -> tuple[int, int] | None:
    """Device and number of a file, equal under all of its names; None where there is none."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino
