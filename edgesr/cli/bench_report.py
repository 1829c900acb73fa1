"""`edgesr bench report`: records as one HTML page."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from android_bench.record import BenchRecord
    from edgesr.benching.page import Sheet
    from edgesr.benching.record import HostRecord


@click.command(
    epilog="""\b
Examples:
  edgesr bench report phone.json -o phone.html
  edgesr bench report pixel.json galaxy.json host.json -o all.html
"""
)
@click.argument(
    "records", nargs=-1, required=True, metavar="RECORD.json...", type=click.Path(path_type=Path)
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    help="The page; it needs no other file and fetches nothing.",
)
@click.option("--force", is_flag=True, help="Replace a file that exists.")
def command(*, records: tuple[Path, ...], output: Path, force: bool) -> None:
    """Make one self-contained HTML page of records of `edgesr bench`, side by side."""
    from edgesr.benching.page import render
    from edgesr.files import atomic_outputs, check_writable

    check_writable(output, overwrite=force)
    page = render([_sheet(path) for path in records])
    with atomic_outputs([output], overwrite=force) as (part,):
        part.write_text(page, encoding="utf-8", errors="replace")
    click.echo(output)


def _sheet(path: Path) -> "Sheet":
    from android_bench.record import BenchRecord
    from edgesr.cli.bench_records import read_record

    record = read_record(path)
    return _of_phones(record, path) if isinstance(record, BenchRecord) else _of_host(record, path)


def _files(record: "BenchRecord | HostRecord") -> dict[str, str]:
    return {f.name: f"{f.size_bytes} bytes, sha256 {f.sha256}" for f in record.files}


def _of_host(record: "HostRecord", path: Path) -> "Sheet":
    from edgesr.benching.page import Sheet
    from edgesr.cli.bench_records import results
    from edgesr.gpu import describe_device

    machine, conditions = record.machine, record.conditions
    budget = "" if conditions.budget_s is None else f", at most {conditions.budget_s:g} s"
    load = f"{_text(machine.load_before)} before, {_text(machine.load_after)} after"
    gpus = dict.fromkeys(case.gpu for case in record.cases if case.gpu is not None)
    facts = {
        "measured": record.created_at,
        "processor": f"{machine.processor}, {machine.cpus} CPUs",
        "system": record.host,
        "runtime": f"{machine.runtime}, Python {machine.python}, edgesr {record.edgesr}",
        "load": load,
        "runs": f"{conditions.runs} after {conditions.warm_up_runs} of warm-up{budget}, in turns",
        **{f"GPU {index + 1}": describe_device(gpu) for index, gpu in enumerate(gpus)},
    }
    return Sheet(f"{path.name}, this host", facts | _files(record), results(record, path))


def _of_phones(record: "BenchRecord", path: Path) -> "Sheet":
    from android_bench.measured import describe_phone
    from edgesr.benching.page import Sheet
    from edgesr.cli.bench_records import results

    conditions, load = record.conditions, record.conditions.load
    facts = {
        "measured": record.created_at,
        "by": f"edgesr {record.edgesr}, adb {record.adb}, on {record.host}",
        "runs": f"{load.runs} after {load.warm_up_runs} of warm-up, {conditions.repeats} times",
        "cool": f"battery at {conditions.cool_battery_celsius:g} C or less, thermal status 0",
    }
    if record.protocol is not None:
        facts["protocol"] = f"{record.protocol.name}: {record.protocol.description}"
        facts["formula"] = record.protocol.formula
    failures = [
        (f"{f.file} with {f.setting} on {f.device}: {f.error}" if f.file else f.error, f.log)
        for f in record.failures
    ]
    return Sheet(
        title=f"{path.name}, over adb",
        facts=facts | _files(record),
        results=results(record, path),
        devices={
            f"{d.facts.manufacturer} {d.facts.model} ({d.facts.serial})": describe_phone(d)
            for d in record.devices
        },
        failures=failures,
        scores=_scores(record),
    )


def _scores(record: "BenchRecord") -> list[str]:
    lines: list[str] = []
    for score in record.scores:
        points = "no score" if score.points is None else f"{score.points:.1f}"
        parts = [
            f"{s.name} {'failed' if s.points is None else f'{s.points:.1f}'} "
            f"(weight {s.weight:g}, reference {s.reference_ms:g} ms)"
            for s in score.sections
        ]
        lines.append(f"{score.file} on {score.device}: {points}; {'; '.join(parts)}")
    return lines


def _text(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.1f}"
