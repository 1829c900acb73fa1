"""How long each run takes on the device, by a clock that nobody waits for, and how that is told."""

import itertools
import random
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from .flags import Flags


@dataclass(frozen=True)
class Speed:
    """How fast the device is.

    Attributes:
        gpu_ms: One run on the GPU in FP16.
        init_ms: Initialisation with the GPU delegate; a tenth of it without, or with its kernels
            from a cache.
        spread: Standard deviation, as a share of the run's time; 0: all runs take the same.
    """

    gpu_ms: float = 20.0
    init_ms: float = 400.0
    spread: float = 0.02

    def run_us(self, flags: Flags, *, on_gpu: bool) -> float:
        """One run, in microseconds; a CPU takes five times as long on one thread."""
        if on_gpu:
            half = flags.on("gpu_precision_loss_allowed", True)
            half = half and flags.text("gpu-precision") != "fp32"
            return self.gpu_ms * 1000 * (1 if half else 1.6)
        threads = max(1, min(4, flags.number("num_threads", 1)))
        return self.gpu_ms * 1000 * 5 / threads**0.8


@dataclass(frozen=True)
class Timings:
    """What one invocation measured; microseconds."""

    init_us: int
    warm_up: Sequence[int]
    runs: Sequence[int]

    @property
    def first_us(self) -> int:
        """The very first run."""
        return next(iter([*self.warm_up, *self.runs]), 0)


def measure(flags: Flags, run_us: float, init_us: float, spread: float, seed: int) -> Timings:
    """As many runs as the flags ask for: at least num_runs and min_secs, at most max_secs."""
    draw = random.Random(seed)
    longest_us = flags.number("max_secs", 150) * 1e6

    def sample(count: float, least_secs: float, factor: float) -> list[int]:
        taken: list[int] = []
        clock = 0
        while (len(taken) < count or clock < least_secs * 1e6) and clock <= longest_us:
            taken.append(max(1, round(run_us * factor * draw.gauss(1, spread))))
            clock += taken[-1]
        return taken

    warm_up = sample(flags.number("warmup_runs", 1), flags.number("warmup_min_secs", 0.5), 1.05)
    runs = sample(flags.number("num_runs", 50), flags.number("min_secs", 1), 1.0)
    return Timings(round(init_us), warm_up, runs)


def mean(samples: Sequence[int]) -> float:
    """Their mean; 0 where there are none."""
    return sum(samples) / len(samples) if samples else 0.0


def deviation(samples: Sequence[int]) -> int:
    """Standard deviation of the population, its fraction cut off, as the tool prints it."""
    middle = mean(samples)
    return int((sum((s - middle) ** 2 for s in samples) / max(1, len(samples))) ** 0.5)


def percentile(samples: Sequence[int], share: int) -> int:
    """The element at index n * share / 100 of the ordered samples."""
    return sorted(samples)[len(samples) * share // 100]


def count_line(samples: Sequence[int], *, percentiles: bool) -> str:
    """The line `count=...`, in the form that the tool chooses for these samples."""
    if not samples:
        return "count=0"
    if len(samples) == 1:
        return f"count=1 curr={samples[0]}"
    if len(set(samples)) == 1:
        return f"count={len(samples)} curr={samples[0]}(all same)"
    line = (
        f"count={len(samples)} first={samples[0]} curr={samples[-1]} min={min(samples)} "
        f"max={max(samples)} avg={mean(samples):g} std={deviation(samples)}"
    )
    if percentiles:
        names = zip((5, 50, 95), ("p5", "median", "p95"), strict=True)
        line += "".join(f" {name}={percentile(samples, share)}" for share, name in names)
    return line


def result_proto(name: str, timings: Timings, model_mb: float) -> bytes:
    """`--result_file_path`: BenchmarkResult, as benchmark_result.proto (proto2) declares it."""
    runs_ms = [sample / 1000 for sample in timings.runs] or [0.0]
    whole = timings.runs or [0]
    latency = (
        mean(timings.runs) / 1000,
        min(runs_ms),
        max(runs_ms),
        deviation(timings.runs) / 1000,
        percentile(whole, 50) / 1000,
        percentile(whole, 5) / 1000,
        percentile(whole, 95) / 1000,
        timings.init_us / 1000,
        timings.first_us / 1000,
        mean(timings.warm_up) / 1000,
    )
    memory = _integer(1, 9_192) + _integer(2, 19_172) + _float(3, 61.2)
    misc = _float(1, model_mb) + _integer(2, len(timings.runs)) + _integer(3, len(timings.warm_up))
    floats = itertools.starmap(_float, enumerate(latency, start=1))
    return (
        _message(1, name.encode())
        + _message(2, b"".join(floats))
        + _message(3, memory)
        + _message(4, misc)
    )


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _integer(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _float(field: int, value: float) -> bytes:
    return _varint(field << 3 | 5) + struct.pack("<f", value)


def _message(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content
