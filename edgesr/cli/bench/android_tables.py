"""Tables of `edgesr bench android` on a terminal."""

from rich.table import Table

from android_bench.record import BenchRecord, Case
from android_bench.results import describe_fidelity
from edgesr.cli.support.lines import print_line
from edgesr.cli.support.tables import make_table, print_table

_OPERATORS = 10


def print_record(record: BenchRecord) -> None:
    """Print a table per device, and remarks below it."""
    for device in record.devices:
        facts, health = device.facts, device.before
        battery = f", battery {health.battery_celsius:g} C" if health.battery_celsius else ""
        print_line(
            f"{facts.manufacturer} {facts.model} ({facts.serial}): {facts.soc}, Android "
            f"{facts.android}, {facts.abis[0]}{battery}"
        )
        table = make_table()
        table.add_column("file", overflow="fold")
        table.add_column("setting", no_wrap=True)
        for name in ("ms", "repeats", "p95", "fps", "first", "init", "warm", "peak MB", "ratio"):
            table.add_column(name, justify="right", no_wrap=True)
        cases = [case for case in record.cases if case.device == facts.serial]
        for case in cases:
            table.add_row(*_row(case, cases[0]))
        print_table(table)
        for case in cases:
            _remarks(case)
            if (operators := _operators(case)) is not None:
                print_table(operators)
        _scores(record, facts.serial)


def _row(case: Case, first: Case) -> list[str]:
    got = case.summary
    return [
        case.file,
        str(case.setting),
        f"{got.latency_ms:.2f}",
        f"{got.lowest_ms:.2f}-{got.highest_ms:.2f}",
        _number(got.p95_ms),
        f"{got.frames_per_second:.1f}",
        _number(got.first_ms),
        _number(got.init_ms),
        _number(got.warm_init_ms),
        _number(got.peak_mb),
        f"{got.latency_ms / first.summary.latency_ms:.2f}",
    ]


def _remarks(case: Case) -> None:
    """Print what does not fit into a table."""
    named = f"{case.file} with {case.setting}"
    if case.summary.statistic == "median of means":
        print_line(f"{named}: medians of means, this benchmark_model prints no medians")
    for check in case.fidelity:
        print_line(f"{named}: {describe_fidelity(check)}")
    if case.sustained:
        start, end = case.sustained[0], case.sustained[-1]
        print_line(
            f"{named}: sustained {start.latency_ms:.2f} ms at first, {end.latency_ms:.2f} ms "
            f"after {end.at_s + end.seconds:.0f} s"
        )
    for note in case.notes:
        print_line(f"{named}: {note}")


def _operators(case: Case) -> Table | None:
    """Table of the slowest operators; the record has all of them."""
    if case.profile is None:
        return None
    found = case.profile.inside or case.profile.operators
    shown = sorted(found, key=lambda one: -one.percent)[:_OPERATORS]
    rest = f", the first {len(shown)} of {len(found)}" if len(shown) < len(found) else ""
    table = make_table(title=f"{case.file} with {case.setting}: what each operator takes{rest}")
    table.add_column("operator", overflow="fold")
    table.add_column("name", overflow="fold")
    for name in ("%", "ms", "calls"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in shown:
        numbers = (f"{one.percent:.1f}", f"{one.mean_ms:.3f}", str(one.calls))
        table.add_row(one.kind, one.name, *numbers)
    return table


def _scores(record: BenchRecord, serial: str) -> None:
    for score in record.scores:
        if score.device != serial or record.protocol is None:
            continue
        missing = ", ".join(s.name for s in score.sections if s.points is None)
        points = f"no score, {missing} failed" if score.points is None else f"{score.points:.1f}"
        print_line(f"{score.file}: {points} ({record.protocol.name}: {record.protocol.formula})")


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
