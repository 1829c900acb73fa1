"""Writing files so that nothing half-written is ever seen."""

import contextlib
import os
import tempfile
from collections.abc import Generator, Sequence
from pathlib import Path

from edgesr.errors import OutputError


def check_writable(target: Path, *, overwrite: bool) -> None:
    """Refuse an output early, before minutes of work are spent on it.

    Raises:
        OutputError: `target` exists and `overwrite` is false, is a folder, or its folder is
            missing or not writable.
    """
    if target.is_dir():
        raise OutputError(f"output {target} is a folder; name a file")
    if target.exists() and not overwrite:
        raise OutputError(f"output {target} exists; choose another name or pass --force")
    with _os_errors(target), tempfile.TemporaryFile(dir=target.parent):
        pass


@contextlib.contextmanager
def atomic_outputs(targets: Sequence[Path], *, overwrite: bool = False) -> Generator[list[Path]]:
    """Give one temporary path per target; move all into place when the block ends without error.

    The temporary files lie in the targets' own folders, so that the move is a rename. They keep
    the targets' suffixes, because some writers choose the format by it. If the block raises, or is
    interrupted, every temporary file is removed and no target has changed.

    Args:
        targets: The files to be written together.
        overwrite: Whether files that exist may be replaced.

    Yields:
        The temporary paths, in the order of `targets`.

    Raises:
        OutputError: A target exists, or its folder is missing, read-only or full.
    """
    for target in targets:
        check_writable(target, overwrite=overwrite)
    temporary = [t.with_name(f".{t.stem}.{os.getpid()}.part{t.suffix}") for t in targets]
    try:
        with _os_errors(targets[0]):
            yield temporary
            for target in targets:
                if target.exists() and not overwrite:
                    raise OutputError(f"output {target} appeared meanwhile; it is left as it is")
            _rename_all(temporary, targets)
    finally:
        for path in temporary:
            path.unlink(missing_ok=True)


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
    """A second name for what is about to be replaced, or None where nothing is."""
    if not target.exists():
        return None
    old = target.with_name(f".{target.stem}.{os.getpid()}.old{target.suffix}")
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
