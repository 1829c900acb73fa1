"""Time in a training: how fast it is, how long it has taken."""

import time

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
