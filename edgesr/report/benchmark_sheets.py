"""Records of `edgesr bench` as the page of benchmarks shows them."""

from pathlib import Path

from android_bench.record import BenchRecord
from android_bench.results import describe_android_device
from edgesr.benchmark.browser import BrowserRecord
from edgesr.benchmark.record import HostRecord
from edgesr.report.benchmark_page import Sheet
from edgesr.report.benchmark_records import read_record, results
from edgesr.runtime.gpu import describe_device


def read_sheet(path: Path) -> Sheet:
    """Read a record, of this host or of devices, for the page.

    Raises:
        RecordFileError: The file is unreadable, or no record.
    """
    record = read_record(path)
    if isinstance(record, BenchRecord):
        return _sheet_of_devices(record, path)
    if isinstance(record, BrowserRecord):
        return _sheet_of_browser(record, path)
    return _sheet_of_host(record, path)


def _files(record: BenchRecord | HostRecord | BrowserRecord) -> dict[str, str]:
    return {f.name: f"{f.size_bytes} bytes, sha256 {f.sha256}" for f in record.files}


def _sheet_of_host(record: HostRecord, path: Path) -> Sheet:
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
        "runs": f"{conditions.runs} after {conditions.warm_up_runs} of warm-up{budget}, in "
        "interleaved rounds",
        **{f"GPU {index + 1}": describe_device(gpu) for index, gpu in enumerate(gpus)},
    }
    return Sheet(f"{path.name}, this host", facts | _files(record), results(record, path))


def _sheet_of_browser(record: BrowserRecord, path: Path) -> Sheet:
    machine, conditions = record.machine, record.conditions
    adapters = {str(case.adapter): case.adapter for case in record.cases if case.adapter}
    facts = {
        "measured": record.created_at,
        "browser": machine.user_agent,
        "system": f"{machine.platform}, {machine.cpus} CPUs, "
        f"{'isolated' if machine.isolated else 'not isolated: one thread'}",
        "runtime": f"{machine.runtime}, page of edgesr {record.edgesr}",
        "runs": f"{conditions.runs} after {conditions.warm_up_runs} of warm-up",
        **{
            f"GPU {name}": ", ".join(f"{key} {value}" for key, value in adapter.limits.items())
            for name, adapter in adapters.items()
        },
    }
    return Sheet(f"{path.name}, in a browser", facts | _files(record), results(record, path))


def _sheet_of_devices(record: BenchRecord, path: Path) -> Sheet:
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
            f"{d.facts.manufacturer} {d.facts.model} ({d.facts.serial})": describe_android_device(d)
            for d in record.devices
        },
        failures=failures,
        scores=_scores(record),
    )


def _scores(record: BenchRecord) -> list[str]:
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
