"""Comparison of two records by bootstrap intervals of ratios of medians.

Runs follow one another, so that a slow second hits several: blocks of neighbouring samples are
drawn, not single ones. Source: Politis and Romano, A circular block-resampling procedure for
stationary data, 1992.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgesr.benchmark.results import Measurement
from edgesr.errors import EdgeSRError

RESAMPLES = 10_000
SEED = 0
LEVEL = 0.95
#: With fewer samples the interval is a hint.
FEW = 10


class ComparisonError(EdgeSRError):
    """Two records cannot be compared, or one is too much slower."""


@dataclass(frozen=True)
class Comparison:
    """One pair.

    Attributes:
        old: The first record's result.
        new: The second's.
        ratio: Median of the new samples to that of the old ones; above 1 is slower.
        low: Lower end of the ratio's interval.
        high: Its upper end.
    """

    old: Measurement
    new: Measurement
    ratio: float
    low: float
    high: float

    @property
    def is_real(self) -> bool:
        """Whether the interval leaves out 1."""
        return self.low > 1 or self.high < 1

    @property
    def verdict(self) -> str:
        """The interval in words."""
        if not self.is_real:
            return "no difference shown"
        return "slower" if self.ratio > 1 else "faster"

    @property
    def few(self) -> bool:
        """Whether there are so few samples that the interval is a hint."""
        return min(len(self.old.samples_ms), len(self.new.samples_ms)) < FEW

    def is_regression(self, most: float) -> bool:
        """Whether it is really slower, and by more than that share."""
        return self.low > 1 and self.ratio > 1 + most


def compare(
    old: Sequence[Measurement], new: Sequence[Measurement], *, across: bool
) -> list[Comparison]:
    """Compare the results of two records.

    Args:
        old: Those of the first.
        new: Those of the second.
        across: Whether to compare different files, devices and settings too, in their order.

    Raises:
        ComparisonError: The records do not belong together.
    """
    pairs = _across(old, new) if across else _alike(old, new)
    return [_compare(*pair) for pair in pairs]


def check_regression(pairs: Sequence[Comparison], most: float) -> None:
    """Raise where a new result is slower by more than a share.

    Raises:
        ComparisonError: One is; the message names the worst.
    """
    slower = [pair for pair in pairs if pair.is_regression(most)]
    if slower:
        worst = max(slower, key=lambda pair: pair.ratio)
        raise ComparisonError(
            f"{worst.new.name} takes {worst.ratio:.3f} times as long, allowed {1 + most:.3f}"
            + (f"; so do {len(slower) - 1} more" if len(slower) > 1 else "")
        )


def ratio_interval(old_ms: Sequence[float], new_ms: Sequence[float]) -> tuple[float, float]:
    """The interval of the ratio of medians, new to old."""
    random = np.random.default_rng(SEED)
    ratios = _medians(new_ms, random) / _medians(old_ms, random)
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(ratios, [tail, 1 - tail])
    return float(low), float(high)


def _medians(samples: Sequence[float], random: np.random.Generator) -> NDArray[np.float64]:
    values = np.asarray(samples)
    count = len(values)
    block = max(1, round(count ** (1 / 3)))
    starts = random.integers(count, size=(RESAMPLES, -(-count // block)))
    indices = (starts[:, :, None] + np.arange(block)).reshape(RESAMPLES, -1)[:, :count] % count
    return np.median(values[indices], axis=1)


def _compare(old: Measurement, new: Measurement) -> Comparison:
    low, high = ratio_interval(old.samples_ms, new.samples_ms)
    ratio = float(np.median(new.samples_ms) / np.median(old.samples_ms))
    return Comparison(old, new, ratio, low, high)


def _alike(
    old: Sequence[Measurement], new: Sequence[Measurement]
) -> list[tuple[Measurement, Measurement]]:
    """Pairs of the same file, device, setting and conditions."""
    if not old or not new:
        raise ComparisonError("a record without results cannot be compared; measure again")
    for name, get in _MUST_AGREE.items():
        one, other = ({get(m): None for m in side} for side in (old, new))
        for side, rest, which in ((one, other, "second"), (other, one, "first")):
            missing = next((text for text in side if text not in rest), None)
            if missing is not None:
                raise ComparisonError(
                    f"the records differ in their {name}: the {which} has no {missing}, it has "
                    f"{', '.join(rest)}; pass --across to compare all the same"
                )
    by_key = {_key(m): m for m in new}
    pairs = [(m, by_key[_key(m)]) for m in old if _key(m) in by_key]
    if len(pairs) != len(old) or len(old) != len(new):
        raise ComparisonError(
            f"the records have {len(old)} and {len(new)} results, {len(pairs)} of them in common; "
            "measure what failed again"
        )
    return pairs


_MUST_AGREE: dict[str, Callable[[Measurement], str]] = {
    "file": lambda m: f"{m.file} (sha256 {m.sha256[:16]}...)",
    "device": lambda m: m.device_key,
    "setting": lambda m: m.setting,
    "conditions": lambda m: f"{m.conditions}, {m.sample}",
}


def _key(one: Measurement) -> tuple[str, str, str]:
    return one.sha256, one.device_key, one.setting


def _across(
    old: Sequence[Measurement], new: Sequence[Measurement]
) -> list[tuple[Measurement, Measurement]]:
    if len(old) != len(new) or not old:
        raise ComparisonError(
            f"the records have {len(old)} and {len(new)} results; --across compares them in their "
            "order and needs as many"
        )
    pairs = list(zip(old, new, strict=True))
    for one, other in pairs:
        if one.kind != other.kind and "software device" in (one.kind, other.kind):
            raise ComparisonError(
                f"{one.name} is of a {one.kind}, {other.name} of a {other.kind}: the times of a "
                "GPU emulated by a CPU are compared with nothing else"
            )
    return pairs
