"""Input files: regular files only, and no larger than what their kind may be."""

import os
import stat
from pathlib import Path

from edgesr.errors import EdgeSRError

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}
# A pipe put in a file's place between the look and the opening must not block.
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


def check_regular(path: Path, error: type[EdgeSRError], *, limit: int | None = None) -> int:
    """Refuse an input that is no regular file, or larger than allowed.

    Args:
        path: The input; symbolic links are followed.
        error: The error to raise.
        limit: Largest size in bytes.

    Returns:
        The size in bytes.

    Raises:
        EdgeSRError: Of the type `error`: the file is missing, unreadable, of another kind, or too
            large.
    """
    try:
        found = path.stat()
    except (OSError, ValueError) as reason:  # ValueError: a null byte in the name
        raise error(f"cannot read {path}: {_text(reason)}") from reason
    return _checked(path, found, error, limit)


def read_regular(path: Path, error: type[EdgeSRError], *, limit: int) -> bytes:
    """Read a whole input.

    Args:
        path: The input; symbolic links are followed.
        error: The error to raise.
        limit: Largest size in bytes.

    Raises:
        EdgeSRError: Of the type `error`: the file is missing, unreadable, no regular file, or too
            large.
    """
    check_regular(path, error, limit=limit)
    try:
        with os.fdopen(os.open(path, _FLAGS), "rb") as file:
            _checked(path, os.fstat(file.fileno()), error, limit)
            content = file.read(limit + 1)
    except OSError as reason:
        raise error(f"cannot read {path}: {_text(reason)}") from reason
    except MemoryError as reason:
        raise error(f"cannot read {path}: it does not fit into memory") from reason
    if len(content) > limit:
        raise error(_too_large(path, len(content), limit))
    return content


def _checked(path: Path, found: os.stat_result, error: type[EdgeSRError], limit: int | None) -> int:
    if not stat.S_ISREG(found.st_mode):
        kind = _KINDS.get(stat.S_IFMT(found.st_mode), "no regular file")
        raise error(f"cannot read {path}: it is {kind}, allowed is a regular file")
    if limit is not None and found.st_size > limit:
        raise error(_too_large(path, found.st_size, limit))
    return found.st_size


def _too_large(path: Path, size: int, limit: int) -> str:
    return (
        f"cannot read {path}: it has {size / 2**20:,.1f} MiB, allowed are {limit / 2**20:,.0f} MiB"
    )


def _text(reason: Exception) -> str:
    return (reason.strerror if isinstance(reason, OSError) else None) or str(reason)
