"""What a process of the pressure test is told."""

from dataclasses import dataclass


@dataclass(frozen=True)
class PressureTask:
    """One picture of one size.

    Attributes:
        file: A `.tflite`, or a checkpoint.
        side: Rows and columns of the picture.
        threads: CPU threads.
        runs: Timed runs, after one that is not timed.
        budget_s: No further run begins after that time.
        limit_bytes: Memory that the process may take; None for any.
    """

    file: str
    side: int
    threads: int
    runs: int
    budget_s: float
    limit_bytes: int | None
