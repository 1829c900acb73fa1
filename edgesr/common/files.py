"""Writing files so that nothing half-written is ever seen."""

import contextlib
import errno
import itertools
import os
import re
import tempfile
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path

from edgesr.errors import OutputError

_LONGEST_SUFFIX = 16  # bytes; no format's is longer
_TEMPORARY = re.compile(r"\.edgesr-(\d+)-\d+\.(part|old)(\.|$)")
_numbers = itertools.count()
_temporary: set[Path] = set()


def check_writable(target: Path, *, overwrite: bool, inputs: Sequence[Path] = ()) -> None:
    """Refuse an output early, before minutes of work are spent on it.

    An output is a regular file, followed through symbolic links, and no input of the same command.

    Args:
        target: The output.
        overwrite: Whether a file that exists may be replaced.
        inputs: What the command reads.

    Raises:
        OutputError: `target` exists and `overwrite` is false, is a folder, a device or an input, or
            its folder is missing or not writable.
    """
    with _os_errors(target):
        _check_kind(target, overwrite=overwrite)
        check_not_input(target, inputs)
        with tempfile.TemporaryFile(dir=_followed(target).parent):
            pass


def check_not_input(target: Path, inputs: Sequence[Path]) -> None:
    """Refuse an output that is, by whatever name, an input of the same command.

    Raises:
        OutputError: It is one.
    """
    for source in inputs:
        if target.exists() and source.exists() and target.samefile(source):
            raise OutputError(f"output {target} is also an input; choose another name")


def input_files(words: Sequence[Path | str | None]) -> list[Path]:
    """List the files that a command may read.

    Args:
        words: Files, folders with images in them and in the folders below, and names of no files.
    """
    found: list[Path] = []
    for path in (Path(word) for word in words if word is not None):
        with contextlib.suppress(OSError, ValueError):
            found += [*path.glob("*"), *path.glob("*/*")] if path.is_dir() else [path]
    return found


def _check_kind(target: Path, *, overwrite: bool) -> None:
    if target.is_dir():
        raise OutputError(f"output {target} is a folder; name a file")
    if not target.exists():
        return
    if not target.is_file():
        raise OutputError(f"output {target} is a device or a pipe, allowed is a regular file")
    if not overwrite:
        raise OutputError(f"output {target} exists; choose another name or pass --force")


def _followed(target: Path) -> Path:
    """Target of a symbolic link: the link stays, its file is written."""
    if not target.is_symlink():
        return target
    try:
        followed = target.resolve()
    except RuntimeError:  # until Python 3.12, of links that lead to each other
        followed = target
    if followed.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    return followed


@contextlib.contextmanager
def atomic_outputs(
    targets: Sequence[Path], *, overwrite: bool = False, inputs: Sequence[Path] = ()
) -> Generator[list[Path]]:
    """Write several files whole, or none of them.

    Gives one temporary path per target; all move into place when the block ends without error.

    The temporary files lie in the targets' own folders, so that the move is a rename. They keep
    the targets' suffixes, because some writers choose the format by it. If the block raises, or is
    interrupted, every temporary file is removed and no target has changed.

    Args:
        targets: The files to be written together.
        overwrite: Whether files that exist may be replaced.
        inputs: What the command reads; none of it may be replaced.

    Yields:
        The temporary paths, in the order of `targets`.

    Raises:
        OutputError: A target exists, is no regular file or an input, or its folder is missing,
            read-only or full.
    """
    for target in targets:
        check_writable(target, overwrite=overwrite, inputs=inputs)
    followed = [_followed(target) for target in targets]
    temporary = [_beside(path, "part") for path in followed]
    _temporary.update(temporary)
    try:
        with _os_errors(targets[0]):
            yield temporary
            for target in targets:
                if target.exists() and not overwrite:
                    raise OutputError(f"output {target} appeared meanwhile; it is left as it is")
            _rename_all(temporary, followed)
    finally:
        for path in temporary:
            path.unlink(missing_ok=True)
        _temporary.difference_update(temporary)


def remove_temporaries() -> None:
    """Remove what `atomic_outputs` has not moved yet, before the process is ended by force."""
    for path in list(_temporary):
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def ends_with_slash(name: str | os.PathLike[str]) -> bool:
    """Whether a name, as the user wrote it, ends as folders' names may."""
    return os.fspath(name).endswith(tuple(filter(None, (os.sep, os.altsep))))


def is_folder_name(name: str | os.PathLike[str]) -> bool:
    """Whether a name stands for a folder, there or not: one that exists, or with a slash."""
    return os.path.isdir(name) or ends_with_slash(name)


@contextlib.contextmanager
def made_folder(folder: Path) -> Generator[None]:
    """Make a folder where there is none; it goes again where nothing came into it.

    Raises:
        OutputError: It cannot be made.
    """
    if os.path.isdir(folder):  # never an error, of a name too long either
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
        with contextlib.suppress(OSError):  # it holds the results
            folder.rmdir()


def remove_leftovers(folders: Sequence[Path]) -> None:
    """Remove what processes that were killed have left of `atomic_outputs` in some folders.

    Args:
        folders: Where to look; what cannot be read or removed stays.
    """
    for folder in folders:
        with contextlib.suppress(OSError):
            for path in folder.glob(".edgesr-*"):
                match = _TEMPORARY.match(path.name)
                if match is not None and not _runs(int(match[1])):
                    path.unlink(missing_ok=True)


def _runs(process: int) -> bool:
    """Whether there is a process of that number; true where that cannot be told."""
    import psutil  # signal 0, by which POSIX tells, would interrupt it on Windows

    try:
        return psutil.pid_exists(process)
    except (OSError, OverflowError, psutil.Error):
        return True


def write_texts(
    contents: Mapping[Path, str], *, overwrite: bool, inputs: Sequence[Path] = ()
) -> None:
    """Write several text files in UTF-8, all or none.

    Args:
        contents: Path -> text.
        overwrite: Whether to replace files that exist.
        inputs: What the command reads; none of it may be replaced.

    Raises:
        OutputError: One cannot be written, or exists and must not be replaced.
    """
    if contents:
        with atomic_outputs(list(contents), overwrite=overwrite, inputs=inputs) as temporary:
            for path, text in zip(temporary, contents.values(), strict=True):
                # A file's name may hold bytes that are no text; a report of it is still wanted.
                path.write_text(text, encoding="utf-8", errors="replace")


def _beside(target: Path, role: str) -> Path:
    """A free name in the same folder, of a length that always fits."""
    suffix = target.suffix if len(os.fsencode(target.suffix)) <= _LONGEST_SUFFIX else ""
    return target.with_name(f".edgesr-{os.getpid()}-{next(_numbers)}.{role}{suffix}")


def _rename_all(sources: Sequence[Path], targets: Sequence[Path]) -> None:
    """Rename every source to its target, or leave every target as it was."""
    kept: dict[Path, Path | None] = {}
    try:
        for source, target in zip(sources, targets, strict=True):
            kept[target] = _keep(target)
            source.replace(target)
    except OSError:
        for target, old in kept.items():
            if old is None:
                target.unlink(missing_ok=True)
            else:
                old.replace(target)
        raise
    finally:
        for old in kept.values():
            if old is not None:
                old.unlink(missing_ok=True)


def _keep(target: Path) -> Path | None:
    """Link a file about to be replaced under a second name; None if there is none."""
    if not target.exists():
        return None
    old = _beside(target, "old")
    old.hardlink_to(target)
    return old


@contextlib.contextmanager
def temporary_file_errors() -> Generator[None]:
    """Turn the operating system's refusal of temporary files into one clear line.

    Raises:
        OutputError: The folder for temporary files is missing, read-only or full.
    """
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"cannot write temporary files in {tempfile.tempdir or 'any folder'}: "
            f"{error.strerror or error}; make room there or set TMPDIR to another folder"
        ) from error


@contextlib.contextmanager
def _os_errors(target: Path) -> Generator[None]:
    """Turn the operating system's refusal to write `target` into one clear line."""
    try:
        yield
    except OSError as error:
        folder = target.parent
        if not folder.is_dir():
            raise OutputError(f"output folder {folder} does not exist; create it first") from error
        reason = error.strerror or str(error)
        raise OutputError(f"cannot write {target}: {reason}") from error
