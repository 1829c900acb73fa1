"""Upscaling files: which pictures, under which names, one after the other.

A picture that fails does not stop the others.
"""

import contextlib
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from edgesr.enlarge import FinalSize, enlarge
from edgesr.errors import EdgeSRError, OutputError, PictureError
from edgesr.files import atomic_outputs, check_writable
from edgesr.images import (
    DEFAULT_QUALITY,
    MAX_PIXELS,
    SUFFIXES,
    Format,
    Picture,
    check_storable,
    encode_picture,
    format_by_suffix,
    read_picture,
    sniff_format,
)
from edgesr.progress import ProgressCallback, silent
from edgesr.upscale import PictureUpscaler

_USUAL_SUFFIX = {Format.PNG: ".png", Format.JPEG: ".jpg", Format.WEBP: ".webp"}


@dataclass(frozen=True)
class Sources:
    """What the user's files and folders hold.

    Attributes:
        pictures: Files to read, each once.
        skipped: Files in the folders that are no pictures by their name.
        single: Whether the user named exactly one file.
    """

    pictures: tuple[Path, ...]
    skipped: tuple[Path, ...]
    single: bool


@dataclass(frozen=True)
class Job:
    """One picture to read, and the file to write."""

    source: Path
    target: Path


@dataclass(frozen=True)
class Settings:
    """How pictures are read and written.

    Attributes:
        quality: Of JPEG and WebP, 1 to 100.
        max_pixels: Larger pictures are refused.
        overwrite: Whether outputs that exist may be replaced.
        threads: Cores that encoding may take.
        final_size: What pictures are resized to before the network sees them; None for not at all.
    """

    quality: int = DEFAULT_QUALITY
    max_pixels: int = MAX_PIXELS
    overwrite: bool = False
    threads: int = 1
    final_size: FinalSize | None = None


@dataclass(frozen=True)
class Done:
    """A picture that was upscaled and written.

    Attributes:
        job: The files.
        input_size: Height, width of the input.
        output_size: Height, width of the output.
        tiles: How often the network ran.
        one_tile: Whether it saw all of the picture at once.
        seconds: From the decoded picture to the written file.
        notes: What could not be kept, one sentence each.
    """

    job: Job
    input_size: tuple[int, int]
    output_size: tuple[int, int]
    tiles: int
    one_tile: bool
    seconds: float
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Failed:
    """A picture that was not upscaled; nothing was written for it."""

    job: Job
    error: EdgeSRError

    @property
    def message(self) -> str:
        """What went wrong, with the picture's name."""
        text = str(self.error)
        return text if str(self.job.source) in text else f"{self.job.source}: {text}"


def find_pictures(inputs: Sequence[Path]) -> Sources:
    """List the pictures in files and folders; folders are not searched for further folders.

    A file that is named is taken for a picture; in a folder, names decide. Names that begin with a
    dot are passed over.

    Raises:
        PictureError: A folder cannot be read, or holds no picture.
    """
    pictures: list[Path] = []
    skipped: list[Path] = []
    for path in inputs:
        if not path.is_dir():
            pictures.append(path)
            continue
        found = [p for p in _list_folder(path) if p.suffix.lower() in SUFFIXES and not p.is_dir()]
        if not found:
            raise PictureError(f"folder {path} holds no picture, allowed {', '.join(SUFFIXES)}")
        pictures += found
        skipped += [p for p in _list_folder(path) if p not in set(found)]
    single = len(inputs) == 1 and pictures == list(inputs)
    return Sources(tuple(dict.fromkeys(pictures)), tuple(skipped), single)


def plan(sources: Sources, output: Path | None, label: str) -> tuple[list[Job], Path | None]:
    """Decide on the outputs' names.

    Without `output`, each lies beside its input. `output` is a file if one picture was named, and
    it is no folder and has a suffix; otherwise it is a folder. In a folder, and beside the input,
    the name is `<stem>_<label><suffix>`, with a number behind it where two would be the same.

    Args:
        sources: The pictures.
        output: The user's wish.
        label: What is done to the pictures, e.g. `x2`.

    Returns:
        The jobs, and the folder that all outputs go to, if it is one that the user named.

    Raises:
        PictureError: The suffix of an output file stands for no format.
        OutputError: Several pictures are to go into one file.
    """
    if output is not None and sources.single and output.suffix and not output.is_dir():
        format_by_suffix(output)
        return [Job(sources.pictures[0], output)], None
    if (
        output is not None
        and not output.is_dir()
        and (output.exists() or output.suffix.lower() in SUFFIXES)
    ):
        raise OutputError(
            f"got the file {output} for several pictures or a folder of them; name a folder"
        )
    taken: set[Path] = set()
    jobs: list[Job] = []
    for source in sources.pictures:
        folder = output if output is not None else source.parent
        target = _free_name(folder, f"{source.stem}_{label}", _suffix_for(source), taken)
        taken.add(target)
        jobs.append(Job(source, target))
    return jobs, output


@contextlib.contextmanager
def output_folder(folder: Path | None) -> Generator[None]:
    """Make sure that a folder exists; take it away again if nothing was put into it.

    Raises:
        OutputError: It cannot be made: what should hold it is missing, read-only or full.
    """
    if folder is None or folder.is_dir():
        yield
        return
    try:
        folder.mkdir()
    except FileNotFoundError as error:
        raise OutputError(f"output folder {folder}: {folder.parent} does not exist") from error
    except OSError as error:
        raise OutputError(f"cannot make output folder {folder}: {error.strerror}") from error
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # it is not empty, as it should be
            folder.rmdir()


class ReadAhead:
    """Decodes pictures in the background, one ahead of the one that is worked on.

    The first is decoded as soon as this is made, while the caller loads the network.
    """

    def __init__(self, paths: Sequence[Path], max_pixels: int) -> None:
        self._read: Callable[[Path], Picture] = lambda path: read_picture(
            path, max_pixels=max_pixels
        )
        self._paths = iter(paths)
        self._pool = ThreadPoolExecutor(1)
        self._next = self._submit()

    def __enter__(self) -> "ReadAhead":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def take(self) -> Picture:
        """The next picture, in order.

        Raises:
            PictureError: It cannot be read.
            IndexError: There are no more.
        """
        if self._next is None:
            raise IndexError("all pictures were taken")
        current, self._next = self._next, None
        picture = current.exception() or current.result()
        self._next = self._submit()
        if isinstance(picture, BaseException):
            raise picture
        return picture

    def _submit(self) -> "Future[Picture] | None":
        path = next(self._paths, None)
        return None if path is None else self._pool.submit(self._read, path)


def upscale_files(
    jobs: Sequence[Job],
    pictures: ReadAhead,
    upscaler: PictureUpscaler,
    settings: Settings,
    progress: ProgressCallback = silent,
) -> Iterator[Done | Failed]:
    """Upscale one picture after the other.

    Args:
        jobs: What to do.
        pictures: The jobs' sources, in the same order.
        upscaler: The network.
        settings: How to read and write.
        progress: Told of pictures and of tiles.

    Yields:
        One result per job, in order.
    """
    sources = {job.source.resolve() for job in jobs}
    for index, job in enumerate(jobs):
        if len(jobs) > 1:
            progress("pictures", index, len(jobs))
        try:
            picture = pictures.take()
            if job.target.resolve() in sources:
                raise OutputError(f"output {job.target} is one of the inputs; choose another")
            yield _upscale_one(job, picture, upscaler, settings, progress)
        except EdgeSRError as error:
            yield Failed(job, error)
        except MemoryError:
            yield Failed(job, PictureError(f"{job.source}: the result does not fit into memory"))


def _upscale_one(
    job: Job,
    picture: Picture,
    upscaler: PictureUpscaler,
    settings: Settings,
    progress: ProgressCallback,
) -> Done:
    started = time.perf_counter()
    check_writable(job.target, overwrite=settings.overwrite)
    input_size = (picture.height, picture.width)
    if settings.final_size is not None:
        check_storable(picture, job.target, settings.final_size.of(picture))
        picture = enlarge(picture, settings.final_size, settings.max_pixels)
    size = (upscaler.scale * picture.height, upscaler.scale * picture.width)
    check_storable(picture, job.target, size)
    result = upscaler.upscale(picture, progress)
    content, notes = encode_picture(
        result, job.target, quality=settings.quality, threads=settings.threads
    )
    with atomic_outputs([job.target], overwrite=settings.overwrite) as (temporary,):
        temporary.write_bytes(content)
    return Done(
        job,
        input_size,
        (result.height, result.width),
        upscaler.count_tiles(picture),
        upscaler.is_one_tile(picture),
        time.perf_counter() - started,
        picture.notes + notes,
    )


def _list_folder(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise PictureError(f"cannot read folder {folder}: {error.strerror}") from error


def _suffix_for(source: Path) -> str:
    """The input's own suffix; its format's usual one if the name tells nothing."""
    if source.suffix.lower() in SUFFIXES:
        return source.suffix
    try:
        with source.open("rb") as file:
            kind = sniff_format(file.read(12))
    except OSError:
        kind = None  # reading it will fail, with a message
    return _USUAL_SUFFIX[kind or Format.PNG]


def _free_name(folder: Path, stem: str, suffix: str, taken: set[Path]) -> Path:
    """A name in the folder that no other job has."""
    target, number = folder / f"{stem}{suffix}", 2
    while target in taken:
        target, number = folder / f"{stem}-{number}{suffix}", number + 1
    return target
