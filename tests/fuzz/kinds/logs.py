"""Damaged logs through the parser of benchmark_model's output: numbers that agree, or an error."""

import math
import re
import sys
from pathlib import Path
from random import Random

from fuzz.case import Case
from helpers.mutations import mutate
from helpers.tool_logs import LITERT, LITERT_BLOCK, LITERT_REPLACED, LOGCAT, OLD, classic

_NUMBERS = ("1e999", "0", "-1", "nan", "inf", "1e-320", "9" * 400, "119375", "1", "99999999999")


def make(rng: Random) -> Case:
    """A log that was damaged, or of which a number is another."""
    bases = (classic(), OLD, LITERT, LITERT_REPLACED + LITERT_BLOCK, classic(prefix=LOGCAT))
    log = rng.choice(bases)
    if rng.random() < 0.5:
        log = mutate(log, rng)
    else:
        places = list(re.finditer(r"\d+(?:\.\d+)?", log))
        chosen = rng.choice(places)
        log = log[: chosen.start()] + rng.choice(_NUMBERS) + log[chosen.end() :]
    entry = "fuzz.kinds.logs:parse"
    return Case(["log.txt"], {"log.txt": log.encode(errors="replace")}, entry=entry)


def parse() -> None:
    """Parse the log that is named, as the benchmark does, and check what is read."""
    from android_bench.benchmark_model.parse import parse_log
    from edgesr.errors import EdgeSRError

    try:
        result = parse_log(Path(sys.argv[1]).read_text(errors="replace"))
    except EdgeSRError as error:
        sys.stderr.write(f"edgesr: error: {error}\n")
        sys.exit(1)
    runs, memory = result.runs, result.memory
    numbers = [result.init_ms, result.first_ms, memory.init_mb, memory.overall_mb, memory.peak_mb]
    for stats in (runs, result.warm_up):
        if stats is not None:
            ordered = [stats.min_ms, stats.p5_ms, stats.median_ms, stats.p95_ms, stats.max_ms]
            known = [number for number in ordered if number is not None]
            assert known == sorted(known), f"order of {known}"
            assert stats.std_ms is None or stats.std_ms > 0 or known[:1] == known[-1:], stats
            numbers += [*ordered, stats.mean_ms, stats.std_ms]
    for number in numbers:
        assert number is None or (math.isfinite(number) and number >= 0), numbers
    if memory.init_mb is not None and memory.overall_mb is not None:
        assert memory.init_mb <= memory.overall_mb, memory
