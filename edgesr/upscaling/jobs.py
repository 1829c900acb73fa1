"""What to upscale, and where to: images and videos in files and folders, names of results."""

import contextlib
import os
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgesr.common.files import ends_with_slash, made_folder, remove_leftovers
from edgesr.common.inputs import check_regular
from edgesr.errors import ImageError, OutputError
from edgesr.images.datasets import find_images
from edgesr.images.files import (
    HEAD_BYTES,
    IMAGE_SUFFIXES,
    SUFFIXES,
    Format,
    format_by_suffix,
    sniff_format,
)
from edgesr.upscaling.video.kinds import (
    CONTAINERS,
    VIDEO_SUFFIXES,
    check_target,
    is_video,
    video_suffix,
)

_USUAL_SUFFIX = {
    Format.JPEG: ".jpg",
    Format.WEBP: ".webp",
    Format.AVIF: ".avif",
    Format.TIFF: ".tiff",
}

# Of files that folders are searched for.
_SUFFIXES = (*IMAGE_SUFFIXES, *VIDEO_SUFFIXES)


@dataclass(frozen=True)
class Sources:
    """Images and videos found in the user's files and folders.

    Attributes:
        images: Files to read, each once, and the folder that each was found in; None where the
            file itself was named.
        skipped: Files in the folders that are no images by their name.
        single: Whether the user named exactly one file.
    """

    images: dict[Path, Path | None]
    skipped: tuple[Path, ...]
    single: bool


@dataclass(frozen=True)
class Job:
    """One image to read, and the file to write.

    Attributes:
        source: The image.
        target: The result.
        found: Whether the image was found in a folder, not named itself.
        video: Whether it is a video.
    """

    source: Path
    target: Path
    found: bool = False
    video: bool = False


def as_paths(names: Sequence[str | os.PathLike[str]]) -> list[Path]:
    """Files and folders as the user named them.

    Raises:
        ImageError: A name is empty: as a path it would be the current folder.
    """
    if any(not os.fspath(name) for name in names):
        raise ImageError("got an empty name, allowed are names of files and folders; . is this one")
    return [Path(name) for name in names]


def find_sources(
    inputs: Sequence[Path], *, recursive: bool = False, output: Path | None = None
) -> Sources:
    """List the images and videos in files and folders.

    A file that is named is taken for one; in a folder, names decide. Names that begin with a
    dot are passed over.

    Args:
        inputs: Files and folders.
        recursive: Whether the folders below them are searched too.
        output: The folder of the results, which is not searched where it lies below an input.

    Raises:
        ImageError: A folder cannot be read, or holds neither.
    """
    images: dict[Path, Path | None] = {}
    skipped: list[Path] = []
    for path in inputs:
        if not os.path.isdir(path):  # never an error, of a name too long either
            images.setdefault(path, None)
            continue
        found = find_images(path, recursive=recursive, suffixes=_SUFFIXES)
        below = set(path.rglob("*") if recursive else path.iterdir())
        if recursive:
            found = [file for file in found if _is_searched(file, path, output)]
            below = {file for file in below if _is_searched(file, path, output)}
        for file in found:
            images.setdefault(file, path)
        others = below - set(found)
        skipped += sorted(
            other
            for other in others
            if not other.name.startswith(".") and not (recursive and other.is_dir())
        )
    single = len(inputs) == 1 and list(images) == list(inputs)
    return Sources(images, tuple(skipped), single)


def _is_searched(file: Path, folder: Path, output: Path | None) -> bool:
    """Whether a file lies in no hidden folder below `folder`, and not among the results."""
    inner = file.relative_to(folder).parts
    among_results = output is not None and output != folder and file.is_relative_to(output)
    return not among_results and not any(part.startswith(".") for part in inner)


def plan(
    sources: Sources,
    output: str | os.PathLike[str] | None,
    label: str,
    kind: Format | None = None,
) -> tuple[list[Job], Path | None]:
    """Decide on the outputs' names.

    Without `output`, each lies beside its input. `output` is a file if one image was named, and
    it is no folder, has a suffix and no slash at its end; otherwise it is a folder, in which
    images from folders below a folder lie in folders of the same names. In a folder, and beside
    the input, the name is `<stem>_<label><suffix>`, with a number behind it where two would be
    the same. An image found in a folder that has the name of another one's result is taken for
    that result, and left out.

    Args:
        sources: The images.
        output: A file or a folder; a slash at its end makes it a folder.
        label: What is done to the images, e.g. `x2`.
        kind: The images' format; None for that of their inputs.

    Returns:
        The jobs, and the folder that all outputs go to, if it is one that the user named.

    Raises:
        ImageError: The suffix of an output file stands for no format, or for another than `kind`.
        VideoError: It stands for no container of videos.
        OutputError: Several images are to go into one file, or the folder is a file.
    """
    folder = None if output is None else Path(output)
    if folder is not None and not os.path.isdir(folder):
        slash = output is not None and ends_with_slash(output)
        if sources.single and folder.suffix and not slash:
            (source,) = sources.images
            if is_video(source, folder):
                check_target(folder)
                return [Job(source, folder, video=True)], None
            return [Job(source, _output_file(folder, kind))], None
        _check_folder(folder, sources, slash=slash)
    taken: set[Path] = set()
    jobs: list[Job] = []
    for source, root in sources.images.items():
        parent = source.parent
        if folder is not None:
            parent = folder / (source.parent.relative_to(root) if root else "")
        video = is_video(source)
        suffix = _suffix_for(source, kind, video=video)
        target = _free_name(parent, f"{source.stem}_{label}", suffix, taken)
        taken.add(target)
        jobs.append(Job(source, target, found=root is not None, video=video))
    return [job for job in jobs if not (job.found and job.source in taken)], folder


def split_done(jobs: Sequence[Job], skip: bool | None) -> tuple[list[Job], list[Job]]:
    """Part what is to do from what is there already.

    Args:
        jobs: All.
        skip: Whether jobs are done whose results exist; None for those of images in folders.
    """
    todo: list[Job] = []
    done: list[Job] = []
    for job in jobs:
        is_done = (job.found if skip is None else skip) and job.target.is_file()
        (done if is_done else todo).append(job)
    return todo, done


def _output_file(path: Path, kind: Format | None) -> Path:
    try:
        found = format_by_suffix(path)
    except ImageError as error:
        raise ImageError(f"{error}; a folder is written with a slash: {path}{os.sep}") from None
    if kind not in (None, found):
        raise ImageError(f"{path} is named as {found}, and {kind} is asked for; leave one out")
    return path


def _check_folder(folder: Path, sources: Sources, *, slash: bool) -> None:
    """Refuse as a folder what is a file, or has the name of one.

    Raises:
        OutputError: It is, or it has.
    """
    exists = os.path.lexists(folder)
    if exists and slash:
        raise OutputError(f"output {folder} is a file, not a folder; choose another name")
    if exists and sources.single:
        raise OutputError(
            f"output {folder} is a file without a suffix, allowed {', '.join(SUFFIXES)} or a folder"
        )
    if exists or (folder.suffix.lower() in (*SUFFIXES, *CONTAINERS) and not slash):
        raise OutputError(
            f"got the file {folder} for several images or a folder of them; name a folder"
        )


@contextlib.contextmanager
def output_folders(folder: Path | None, jobs: Sequence[Job]) -> Generator[None]:
    """Make sure that the folders of all outputs exist; take away again those that stay empty.

    What a killed run left half-written in them is removed.

    Args:
        folder: The folder that the user named; None where results lie beside the images.
        jobs: What is written.

    Raises:
        OutputError: It cannot be made: what should hold it is missing, read-only or full.
    """
    parents = sorted({job.target.parent for job in jobs})
    remove_leftovers(parents)
    with contextlib.ExitStack() as made:
        if folder is not None:
            made.enter_context(made_folder(folder))
        for path in _folders_below(folder, parents):
            with contextlib.suppress(OutputError):  # the image's own failure then says why
                made.enter_context(made_folder(path))
        yield


def _folders_below(folder: Path | None, parents: Sequence[Path]) -> list[Path]:
    """Folders between `folder` and the files in `parents`, the upper ones first."""
    if folder is None:
        return []
    found: dict[Path, None] = {}
    for parent in parents:
        above = [parent, *parent.parents]
        found.update(dict.fromkeys(reversed(above[: above.index(folder)])))
    return list(found)


def _suffix_for(source: Path, kind: Format | None, *, video: bool) -> str:
    """The input's own suffix; else its format's usual one, or PNG's where none can be written."""
    if video:
        return video_suffix(source)
    if kind is not None:
        return f".{kind.name.lower()}"
    if source.suffix.lower() in SUFFIXES:
        return source.suffix
    try:
        check_regular(source, ImageError)
        with source.open("rb") as file:
            kind = sniff_format(file.read(HEAD_BYTES))
    except (ImageError, OSError):
        kind = None  # reading it will fail, with a message
    return _USUAL_SUFFIX.get(kind or Format.PNG, ".png")


def _free_name(folder: Path, stem: str, suffix: str, taken: set[Path]) -> Path:
    """A name in the folder that no other job has."""
    target, number = folder / f"{stem}{suffix}", 2
    while target in taken:
        target, number = folder / f"{stem}-{number}{suffix}", number + 1
    return target
