"""PSNR and SSIM of several ways of upscaling on the same pictures, resumable."""

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from edgesr.errors import EdgeSRError, OutputError, PictureError
from edgesr.evaluation.contestants import Contestant
from edgesr.metrics import psnr_y, ssim_y
from edgesr.progress import ProgressCallback, silent
from edgesr.train.pictures import Pair


@dataclass(frozen=True)
class Measured:
    """One picture upscaled in one way.

    Attributes:
        psnr_db: On Y, 8 bits, as many pixels shaved as the scale.
        ssim: Likewise.
        seconds: What upscaling took.
    """

    psnr_db: float
    ssim: float
    seconds: float


@dataclass(frozen=True)
class Column:
    """One contestant on every picture.

    Attributes:
        contestant: What upscaled.
        measured: One entry per picture, in the order of the pictures.
    """

    contestant: Contestant
    measured: tuple[Measured, ...]

    @property
    def mean(self) -> Measured:
        """The mean over the pictures."""
        return Measured(
            fmean(m.psnr_db for m in self.measured),
            fmean(m.ssim for m in self.measured),
            fmean(m.seconds for m in self.measured),
        )


class Journal:
    """What was measured so far, one line of JSON each, so that work that is broken off is not lost.

    An entry counts for the same pixels and the same contestant only: both are known by digest. The
    file comes into being with the first entry.
    """

    def __init__(self, path: Path | None, *, resume: bool) -> None:
        """Begin anew, or go on.

        Args:
            path: The file; None keeps nothing.
            resume: Whether to take what the file holds already.

        Raises:
            OutputError: The file cannot be read or written.
        """
        self._path = path
        self._known: dict[tuple[str, str], Measured] = {}
        if path is None:
            return
        try:
            if resume and path.exists():
                # A line that was broken off would spoil the next one.
                path.write_text(self._read(path.read_text()))
            else:
                path.unlink(missing_ok=True)
        except (OSError, UnicodeDecodeError) as error:
            raise OutputError(f"cannot use {path} for results so far: {error}") from error

    @property
    def known(self) -> int:
        """How many measurements it holds."""
        return len(self._known)

    def find(self, picture: str, contestant: str) -> Measured | None:
        """What was measured before."""
        return self._known.get((picture, contestant))

    def add(self, picture: str, contestant: str, measured: Measured) -> None:
        """Keep a measurement, on the disk at once."""
        self._known[picture, contestant] = measured
        if self._path is None:
            return
        line = json.dumps({"picture": picture, "target": contestant, **asdict(measured)})
        try:
            with self._path.open("a") as file:
                file.write(f"{line}\n")
        except OSError as error:
            raise OutputError(f"cannot write {self._path}: {error.strerror or error}") from error

    def remove(self) -> None:
        """All is done: the results are elsewhere."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def _read(self, text: str) -> str:
        """Take in all whole lines, and give them back."""
        whole = ""
        for line in text.splitlines():
            try:
                entry: dict[str, Any] = json.loads(line)
                key = str(entry["picture"]), str(entry["target"])
                numbers = [float(entry[name]) for name in ("psnr_db", "ssim", "seconds")]
            except (ValueError, KeyError, TypeError):
                continue  # broken off while it was written: it is measured again
            self._known[key] = Measured(*numbers)
            whole += f"{line}\n"
        return whole


def evaluate(
    pairs: Sequence[Pair],
    contestants: Sequence[Contestant],
    journal: Journal,
    progress: ProgressCallback = silent,
) -> list[Column]:
    """Upscale every picture in every way and compare with the large one.

    Args:
        pairs: The pictures, of the contestants' scale.
        contestants: The ways, of one scale.
        journal: What was measured before, and where to keep what is measured now.
        progress: Told of every picture and contestant done, as stage "evaluate".

    Raises:
        PictureError: A picture cannot be upscaled or measured; it names the picture and the way.
    """
    total = len(pairs) * len(contestants)
    columns: list[list[Measured]] = [[] for _ in contestants]
    for index, pair in enumerate(pairs):
        picture = picture_digest(pair)
        for place, contestant in enumerate(contestants):
            progress("evaluate", index * len(contestants) + place, total)
            measured = journal.find(picture, contestant.digest)
            if measured is None:
                measured = _measure(pair, contestant)
                journal.add(picture, contestant.digest, measured)
            columns[place].append(measured)
    progress("evaluate", total, total)
    return [Column(c, tuple(m)) for c, m in zip(contestants, columns, strict=True)]


def picture_digest(pair: Pair) -> str:
    """Of the pixels in both resolutions, whatever file they came from."""
    digest = hashlib.sha256()
    for pixels in (pair.lr_hwc_u8, pair.hr_hwc_u8):
        digest.update(str(pixels.shape).encode())
        digest.update(pixels.tobytes())
    return digest.hexdigest()


def _measure(pair: Pair, contestant: Contestant) -> Measured:
    try:
        started = time.perf_counter()
        made = contestant.upscale(pair.lr_hwc_u8)
        seconds = time.perf_counter() - started
        psnr_db = psnr_y(made, pair.hr_hwc_u8, contestant.scale)
        return Measured(psnr_db, ssim_y(made, pair.hr_hwc_u8, contestant.scale), seconds)
    except EdgeSRError as error:
        raise PictureError(f"{pair.name} by {contestant.name}: {error}") from error
