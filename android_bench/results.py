"""Results on devices in the form in which results are compared."""

import statistics
from collections.abc import Iterator, Sequence

from android_bench.benchmark_model.parse import Stats, check_stats
from android_bench.errors import LogError
from android_bench.record import (
    BenchRecord,
    Case,
    DeviceRecord,
    Fidelity,
    Invocation,
    Reference,
    Score,
    Summary,
)
from edgesr.benchmark.results import Measurement, Moment, milliseconds
from edgesr.benchmark.summary import contradiction

#: In words.
REFERENCES: dict[Reference, str] = {"host CPU": "this host's CPU", "PyTorch": "PyTorch"}


def measurements_on_devices(record: BenchRecord) -> Iterator[Measurement]:
    """Convert a record into measurements; a sample is one invocation's latency."""
    digests = {file.name: file.sha256 for file in record.files}
    devices = {device.facts.serial: device for device in record.devices}
    for case in record.cases:
        device = devices[case.device]
        facts = device.facts
        yield Measurement(
            file=case.file,
            sha256=digests[case.file],
            device=f"{facts.manufacturer} {facts.model} ({facts.serial})",
            device_key=f"{facts.manufacturer} {facts.model} ({facts.fingerprint}, benchmark_model "
            f"{device.tool.sha256[:16]})",
            kind="device",
            setting=str(case.setting),
            conditions=_conditions(record),
            sample="invocations' medians"
            if case.summary.statistic == "median of medians"
            else "invocations' means",
            samples_ms=tuple(latency_ms(i) for i in case.invocations if i.purpose == "latency"),
            latency_ms=case.summary.latency_ms,
            facts=_facts(case),
            curve=tuple(
                Moment(point.at_s, point.latency_ms, point.battery_celsius)
                for point in case.sustained
            ),
            notes=(*case.notes, *map(describe_fidelity, case.fidelity)),
            operators=() if case.profile is None else case.profile.inside or case.profile.operators,
            log=_log(case),
        )


def describe_android_device(device: DeviceRecord) -> dict[str, str]:
    """Describe a device and its health, name -> text."""
    facts, before, after = device.facts, device.before, device.after
    memory = "" if facts.memory_kib is None else f"{facts.memory_kib / 1024**2:.1f} GiB"
    told = {
        "chip": facts.soc,
        "Android": f"{facts.android} (API {facts.sdk})",
        "build": facts.fingerprint,
        "ABI": ", ".join(facts.abis),
        "memory": memory,
        "kernel": facts.kernel,
        "free space": f"{device.free_kib // 1024} MiB",
        "battery": f"{_text(before.battery_celsius, ' C')} before, "
        f"{_text(after.battery_celsius, ' C')} after",
        "thermal status": f"{_text(before.thermal_status)} before, "
        f"{_text(after.thermal_status)} after",
        "benchmark_model": f"{device.tool.flavour}, sha256 {device.tool.sha256}, from "
        f"{device.tool.source}",
    }
    return {name: text for name, text in told.items() if text}


def describe_fidelity(check: Fidelity) -> str:
    """Describe a comparison with a reference in one line."""
    verdict = "passed" if check.passed else "FAILED"
    reference = REFERENCES[check.reference]
    return f"{check.image}: {_difference(check)} from {reference}, {check.gate}: {verdict}"


def describe_problems(record: BenchRecord) -> list[str]:
    """Describe failures and outputs that differ, in one line each."""
    failures = [
        failure.error
        if failure.file is None
        else f"{failure.file} with {failure.setting} on {failure.device}: {failure.error}"
        for failure in record.failures
    ]
    return failures + [
        f"{case.file} with {case.setting} on {case.device}: {check.image} differs from "
        f"{REFERENCES[check.reference]}: {_difference(check)}, allowed {check.gate}"
        for case in record.cases
        for check in case.fidelity
        if not check.passed
    ]


def _difference(check: Fidelity) -> str:
    if check.max_abs is None:
        return "NaN or infinity"
    psnr = "" if check.psnr_db is None else f", PSNR {check.psnr_db:.1f} dB"
    return f"max abs {check.max_abs:.2g}{psnr}"


def _conditions(record: BenchRecord) -> str:
    load = record.conditions.load
    pinned = "pinned" if record.conditions.pinned else "not pinned"
    return f"{load.runs} runs after {load.warm_up_runs} of warm-up in each invocation, {pinned}"


def contradiction_on_devices(record: BenchRecord) -> str | None:
    """Describe the first summary or score that the invocations do not have; None without one."""
    for case in record.cases:
        name = f"{case.file} with {case.setting} on {case.device}"
        timed = [i for i in case.invocations if i.purpose == "latency"]
        if not timed or any(_is_incomplete(i.runs) for i in timed):
            return f"{name}: it has no latencies"
        try:
            for invocation in case.invocations:
                check_stats(invocation.runs)
        except LogError as error:
            return f"{name}: {error}"
        computed = summarise(case.invocations).model_dump()
        found = contradiction(case.summary.model_dump(), computed)
        if found is not None:
            return f"{name}: {found}"
    return next(filter(None, map(_contradiction_of_score, record.scores)), None)


def _is_incomplete(runs: Stats) -> bool:
    return None in (runs.mean_ms, runs.min_ms, runs.max_ms) or not runs.min_ms


def _contradiction_of_score(score: Score) -> str | None:
    name, points = f"{score.file} on {score.device}", [s.points for s in score.sections]
    for section in score.sections:
        latency = section.latency_ms
        computed = None if not latency else 100 * section.reference_ms / latency
        found = contradiction({"points": section.points}, {"points": computed})
        if found is not None:
            return f"{name}, {section.name}: {found}"
    total = None
    if points and None not in points:
        weights = sum(s.weight for s in score.sections)
        total = sum(s.weight * s.points for s in score.sections if s.points is not None) / weights
    found = contradiction({"points": score.points}, {"points": total})
    return None if found is None else f"{name}: {found}"


def _facts(case: Case) -> dict[str, str]:
    got = case.summary
    return milliseconds(
        {
            "p95": got.p95_ms,
            "min": got.min_ms,
            "max": got.max_ms,
            "first": got.first_ms,
            "init": got.init_ms,
            "init cold": got.cold_init_ms,
            "init warm": got.warm_init_ms,
            "peak MB": got.peak_mb,
            "frames/s": got.frames_per_second,
        }
    ) | {"runs": f"{got.runs} in {got.repeats}"}


def _log(case: Case) -> str:
    return "\n".join(f"# {i.purpose}: {i.command}\n{i.log}" for i in case.invocations)


def _text(value: float | None, unit: str = "") -> str:
    return "unknown" if value is None else f"{value:g}{unit}"


def latency_ms(invocation: Invocation) -> float:
    """Latency by one invocation: its median where available, else its mean."""
    median = median_ms(invocation)
    if median is not None:
        return median
    assert invocation.runs.mean_ms is not None  # the parser lets no other pass
    return invocation.runs.mean_ms


def median_ms(invocation: Invocation) -> float | None:
    """Median of its runs, from the log or the result file."""
    if invocation.runs.median_ms is not None:
        return invocation.runs.median_ms
    return invocation.proto.median_ms if invocation.proto is not None else None


def summarise(invocations: Sequence[Invocation]) -> Summary:
    """Summarise the invocations of a case; those for latency count.

    There must be at least one of them.
    """
    timed = [i for i in invocations if i.purpose == "latency"]
    medians = [m for i in timed if (m := median_ms(i)) is not None]
    # Means and medians are not mixed.
    exact = len(medians) == len(timed)
    values = medians if exact else [i.runs.mean_ms for i in timed if i.runs.mean_ms is not None]
    p95 = [p for i in timed if (p := _p95(i)) is not None]
    first = [i.first_ms for i in timed if i.first_ms is not None]
    middle = statistics.median(values)
    return Summary(
        statistic="median of medians" if exact else "median of means",
        latency_ms=middle,
        lowest_ms=min(values),
        highest_ms=max(values),
        p95_ms=statistics.median(p95) if len(p95) == len(timed) else None,
        min_ms=min(i.runs.min_ms for i in timed if i.runs.min_ms is not None),
        max_ms=max(i.runs.max_ms for i in timed if i.runs.max_ms is not None),
        runs=sum(i.runs.count for i in timed),
        repeats=len(timed),
        init_ms=statistics.median(i.init_ms for i in timed),
        first_ms=statistics.median(first) if first else None,
        frames_per_second=1000 / middle,
        cold_init_ms=_init(invocations, "cold start"),
        warm_init_ms=_init(invocations, "warm start"),
        peak_mb=next((i.memory.peak_mb for i in invocations if i.purpose == "memory"), None),
    )


def _p95(invocation: Invocation) -> float | None:
    if invocation.runs.p95_ms is not None:
        return invocation.runs.p95_ms
    return invocation.proto.p95_ms if invocation.proto is not None else None


def _init(invocations: Sequence[Invocation], purpose: str) -> float | None:
    return next((i.init_ms for i in invocations if i.purpose == purpose), None)
