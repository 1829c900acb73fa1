"""The log of a training: a CSV that grows by a row, and an image of it."""

import csv
import io
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgesr.common.files import atomic_outputs
from edgesr.common.inputs import read_regular
from edgesr.errors import OutputError

_MOST_BYTES = 256 * 2**20
_COLUMNS = ("step", "learning_rate", "loss", "psnr_y_db", "seconds")


@dataclass(frozen=True)
class Row:
    """One line of the log.

    Attributes:
        step: Steps done.
        learning_rate: Of the last of them.
        loss: Mean since the row before, in the network's value range.
        psnr_y_db: Mean over the validation images, where it was measured.
        seconds: Time spent so far, over all resumptions.
    """

    step: int
    learning_rate: float
    loss: float
    psnr_y_db: float | None
    seconds: float


class Log:
    """The file `log.csv`.

    Rows behind the step of a checkpoint, which a killed training has left, are dropped when the
    training goes on from there: it will write them again.

    Attributes:
        rows: All of them.

    Args:
        path: The file.
        step: Rows up to this step are kept.

    Raises:
        OutputError: The file cannot be read or written.
    """

    def __init__(self, path: Path, step: int) -> None:
        self._path = path
        self.rows = [row for row in read_rows(path) if row.step <= step]
        with atomic_outputs([path], overwrite=True) as (temporary,):
            _write(temporary, "w", [_COLUMNS, *map(_cells, self.rows)])

    def add(self, row: Row) -> None:
        """Write a row at once.

        Raises:
            OutputError: The file cannot be written.
        """
        self.rows.append(row)
        try:
            _write(self._path, "a", [_cells(row)])
        except OSError as error:
            raise OutputError(f"cannot write {self._path}: {error.strerror or error}") from error


def read_rows(path: Path) -> list[Row]:
    """The rows of a log; none if there is no file. A last line that was cut short is left out.

    Raises:
        OutputError: The file cannot be read.
    """
    try:
        if not path.exists():
            return []
        text = read_regular(path, OutputError, limit=_MOST_BYTES).decode("utf-8")
        lines = list(csv.reader(io.StringIO(text, newline="")))[1:]
    except UnicodeDecodeError as error:
        raise OutputError(f"cannot read {path}: it is no text in UTF-8; move it away") from error
    except csv.Error as error:
        raise OutputError(f"cannot read {path}: {error}; move it away") from error
    rows: list[Row] = []
    for line in lines:
        try:
            step, rate, loss, psnr, seconds = line
            rows.append(
                Row(
                    int(step), float(rate), float(loss), float(psnr) if psnr else None,
                    float(seconds),
                )
            )  # fmt: skip
        except ValueError:
            break
    return rows


def draw_curve(path: Path, rows: Sequence[Row], bicubic_db: float | None) -> None:
    """Draw loss and PSNR over the steps as a PNG.

    Args:
        path: The file, replaced if it exists.
        rows: The log.
        bicubic_db: PSNR of bicubic upscaling, as a line to compare with.

    Raises:
        OutputError: The file cannot be written.
    """
    # Not pyplot, which keeps every figure and chooses a window system.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 6), layout="constrained")
    loss_axes, psnr_axes = figure.subplots(2, 1, sharex=True)
    loss_axes.plot([row.step for row in rows], [row.loss for row in rows], linewidth=0.8)
    # A loss in decibels is negative, and logarithmic already.
    positive = all(row.loss > 0 for row in rows)
    loss_axes.set(ylabel="loss", yscale="log" if positive else "linear")
    measured = [(row.step, row.psnr_y_db) for row in rows if row.psnr_y_db is not None]
    if measured:
        psnr_axes.plot(*zip(*measured, strict=True), marker=".", label="averaged weights")
    if bicubic_db is not None:
        psnr_axes.axhline(bicubic_db, color="grey", linestyle="--", label="bicubic")
    if measured or bicubic_db is not None:
        psnr_axes.legend()
    psnr_axes.set(xlabel="step", ylabel="PSNR on Y, dB")
    with atomic_outputs([path], overwrite=True) as (temporary,):
        figure.savefig(temporary, dpi=120)


def _cells(row: Row) -> tuple[str, ...]:
    # repr gives the shortest text that reads back as the same number.
    psnr = "" if row.psnr_y_db is None else repr(row.psnr_y_db)
    return str(row.step), repr(row.learning_rate), repr(row.loss), psnr, f"{row.seconds:.1f}"


def _write(path: Path, mode: str, lines: Sequence[Sequence[str]]) -> None:
    with path.open(mode, newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(lines)


_CURVE_EVERY_S = 60.0


class Clock:
    """Time and steps since the last row of the log.

    Attributes:
        steps_per_second: Between the last `start` and `stop`.
    """

    def __init__(self, step: int) -> None:
        self.steps_per_second = 0.0
        self._spent_from = self._curve_from = time.perf_counter()
        self.start(step)

    def start(self, step: int) -> None:
        """Count speed from here."""
        self._step, self._from = step, time.perf_counter()

    def stop(self, step: int) -> None:
        """Count speed up to here."""
        seconds = max(time.perf_counter() - self._from, 1e-9)
        self.steps_per_second = (step - self._step) / seconds

    def curve_is_old(self) -> bool:
        """Whether the curve is worth a third of a second again; counts from the last yes."""
        now = time.perf_counter()
        if now - self._curve_from < _CURVE_EVERY_S:
            return False
        self._curve_from = now
        return True

    def spent(self) -> float:
        """Seconds since this was last asked."""
        now = time.perf_counter()
        seconds, self._spent_from = now - self._spent_from, now
        return seconds
