"""`edgesr bench compare`: whether a difference between two records is real."""

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgesr.cli.support.lines import print_line

if TYPE_CHECKING:
    from edgesr.benchmark.compare import Comparison


def _share(context: click.Context, parameter: click.Parameter, value: str | None) -> float | None:
    """A percentage such as `5%`, or a share such as 0.05."""
    if value is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(%?)", value.strip())
    share = float(match[1]) / (100 if match[2] else 1) if match else math.nan
    if not 0 <= share <= 10:
        raise click.BadParameter(f"got {value!r}, allowed 0% to 1000%, e.g. 5% or 0.05")
    return share


@click.command(
    epilog="""\b
Examples:
  edgesr bench compare old.json new.json
  edgesr bench compare old.json new.json --max-regression 5% --json
  edgesr bench compare rtc.json fmen.json --across
"""
)
@click.argument("old", metavar="A.json", type=click.Path(path_type=Path))
@click.argument("new", metavar="B.json", type=click.Path(path_type=Path))
@click.option(
    "--max-regression",
    "most",
    callback=_share,
    metavar="PERCENT",
    help="Fail where B is really slower, and by more than that.",
)
@click.option(
    "--across",
    is_flag=True,
    help="Compare different files, devices or settings too, in their order in the records.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the comparison as JSON on stdout.")
def command(*, old: Path, new: Path, most: float | None, across: bool, as_json: bool) -> None:
    """Compare two records: the ratio of medians, B to A, with its interval.

    A difference is real where the 95 % interval, from 10,000 resamples with a fixed seed, leaves
    out 1. It covers what varied within the records, not what differs from day to day.
    """
    from edgesr.benchmark.compare import (
        FEW,
        LEVEL,
        RESAMPLES,
        SEED,
        check_regression,
        compare,
    )
    from edgesr.cli.support.printing import as_json as print_json
    from edgesr.report.benchmark_records import read_record, results

    sides = [results(read_record(path), path) for path in (old, new)]
    pairs = compare(*sides, across=across)
    if as_json:
        print_json(
            {
                "resamples": RESAMPLES,
                "seed": SEED,
                "level": LEVEL,
                "max_regression": most,
                "comparisons": [_as_dict(pair, most) for pair in pairs],
            }
        )
    else:
        _table(pairs)
        print_line(
            f"{LEVEL:.0%} intervals of the ratio of medians, B to A: {RESAMPLES} resamples of "
            f"neighbouring samples, seed {SEED}"
        )
        if any(pair.few for pair in pairs):
            print_line(f"fewer than {FEW} samples: the interval is a hint; measure more --repeats")
    if most is not None:
        check_regression(pairs, most)


def _as_dict(pair: "Comparison", most: float | None) -> dict[str, object]:
    return {
        "file": pair.new.file,
        "device": pair.new.device,
        "setting": pair.new.setting,
        "old": pair.old.name,
        "old_ms": pair.old.latency_ms,
        "new_ms": pair.new.latency_ms,
        "samples": [len(pair.old.samples_ms), len(pair.new.samples_ms)],
        "sample": pair.new.sample,
        "ratio": pair.ratio,
        "interval": [pair.low, pair.high],
        "verdict": pair.verdict,
        "regression": None if most is None else pair.is_regression(most),
    }


def _table(pairs: "Sequence[Comparison]") -> None:
    from edgesr.cli.support.tables import make_table, print_table

    table = make_table()
    table.add_column("file", overflow="fold")
    table.add_column("setting")
    table.add_column("device", overflow="fold")
    for name in ("A ms", "B ms", "B / A", "interval", "samples"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for pair in pairs:
        old, new = pair.old, pair.new
        row = [
            *(a if a == b else f"{a} -> {b}" for a, b in _differences(pair)),
            f"{old.latency_ms:.2f}",
            f"{new.latency_ms:.2f}",
            f"{pair.ratio:.3f}",
            f"{pair.low:.3f} to {pair.high:.3f}",
            f"{len(old.samples_ms)}, {len(new.samples_ms)}",
            pair.verdict,
        ]
        table.add_row(*row)
    print_table(table)


def _differences(pair: "Comparison") -> list[tuple[str, str]]:
    old, new = pair.old, pair.new
    return [(old.file, new.file), (old.setting, new.setting), (old.device, new.device)]
