"""A time after which no further measurement begins."""

import time

#: Why something was not measured after it.
TIME_BUDGET = "time budget"


class Deadline:
    """Counts from when it is made."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    @property
    def left_s(self) -> float:
        """Seconds that are left; 0 when it is over."""
        return max(0.0, self._end - time.monotonic())

    @property
    def is_over(self) -> bool:
        """Whether there is none left."""
        return self.left_s <= 0
