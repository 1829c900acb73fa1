"""Journal of an evaluation: results on disk as they come, so that it can be resumed."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edgesr.common.inputs import read_regular
from edgesr.errors import OutputError
from edgesr.evaluation.results import ImageScore

_SUFFIX = ".partial.jsonl"
_MOST_BYTES = 256 * 2**20


class Journal:
    """Scores so far, one line of JSON each.

    An entry is valid for the same pixels and the same method only: both are identified by digest.
    The file is created with the first entry.
    """

    def __init__(self, path: Path | None, *, resume: bool) -> None:
        """Start an empty journal, or continue one.

        Args:
            path: The file; None keeps nothing on disk.
            resume: Whether to read the entries that the file holds.

        Raises:
            OutputError: The file cannot be read or written.
        """
        self._path = path
        self._known: dict[tuple[str, str], ImageScore] = {}
        if path is None:
            return
        try:
            if resume and path.exists():
                # A line cut short by an interruption would spoil the next one.
                content = read_regular(path, OutputError, limit=_MOST_BYTES)
                path.write_text(self._read(content.decode("utf-8")), "utf-8")
            else:
                path.unlink(missing_ok=True)
        except UnicodeDecodeError as error:
            raise OutputError(
                f"cannot use {path} for results so far: it is no text in UTF-8; delete it"
            ) from error
        except OSError as error:
            raise OutputError(
                f"cannot use {path} for results so far: {error.strerror or error}"
            ) from error

    @property
    def known(self) -> int:
        """Number of entries."""
        return len(self._known)

    def find(self, image: str, method: str) -> ImageScore | None:
        """Look up the score of an image's digest and a method's digest."""
        return self._known.get((image, method))

    def add(self, image: str, method: str, score: ImageScore) -> None:
        """Append a score; it is on disk when this returns.

        Raises:
            OutputError: The file cannot be written.
        """
        self._known[image, method] = score
        if self._path is None:
            return
        line = json.dumps({"image": image, "target": method, **asdict(score)})
        try:
            with self._path.open("a") as file:
                file.write(f"{line}\n")
        except OSError as error:
            raise OutputError(f"cannot write {self._path}: {error.strerror or error}") from error

    def remove(self) -> None:
        """Delete the file, once the evaluation is complete."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def _read(self, text: str) -> str:
        """Read every complete line, and return those lines."""
        complete = ""
        for line in text.splitlines():
            try:
                entry: dict[str, Any] = json.loads(line)
                key = str(entry["image"]), str(entry["target"])
                numbers = [float(entry[name]) for name in ("psnr_db", "ssim", "seconds")]
            except (ValueError, KeyError, TypeError):
                continue  # cut short while it was written: that image is measured again
            self._known[key] = ImageScore(*numbers)
            complete += f"{line}\n"
        return complete


def open_journal(outputs: Sequence[Path], *, resume: bool, force: bool) -> Journal:
    """Open the journal that lies beside the first output; without outputs, one in memory.

    Args:
        outputs: Files that the evaluation will write.
        resume: Whether to continue an interrupted evaluation.
        force: Whether to discard the results of an interrupted one.

    Raises:
        OutputError: There are results of an interrupted evaluation, and neither flag is set; or
            the file cannot be read or written.
    """
    if not outputs:
        return Journal(None, resume=False)
    path = outputs[0].with_name(f"{outputs[0].name}{_SUFFIX}")
    if path.exists() and not (resume or force):
        raise OutputError(
            f"an evaluation was interrupted: its results are in {path}; continue it with --resume, "
            "or start again with --force"
        )
    return Journal(path, resume=resume)
