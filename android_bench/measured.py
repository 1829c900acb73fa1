"""The results of phones in the form in which results are compared and shown."""

from collections.abc import Iterator

from android_bench.device_record import DeviceRecord
from android_bench.record import BenchRecord, Case, Reference
from android_bench.summary import latency_ms
from edgesr.benching.measured import Measured, Moment, milliseconds

#: In words.
REFERENCES: dict[Reference, str] = {"host CPU": "this host's CPU", "PyTorch": "PyTorch"}


def of_phones(record: BenchRecord) -> Iterator[Measured]:
    """Every result of a record of phones; a sample is what one invocation says of its runs."""
    digests = {file.name: file.sha256 for file in record.files}
    devices = {device.facts.serial: device for device in record.devices}
    for case in record.cases:
        device = devices[case.device]
        facts = device.facts
        yield Measured(
            file=case.file,
            sha256=digests[case.file],
            device=f"{facts.manufacturer} {facts.model} ({facts.serial})",
            device_key=f"{facts.manufacturer} {facts.model} ({facts.fingerprint}, benchmark_model "
            f"{device.tool.sha256[:16]})",
            kind="phone",
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
            notes=(*case.notes, *_fidelity(case)),
            operators=() if case.profile is None else case.profile.inside or case.profile.operators,
            log=_log(case),
        )


def describe_phone(device: DeviceRecord) -> dict[str, str]:
    """What a phone is and how it was, name -> text."""
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


def _conditions(record: BenchRecord) -> str:
    load = record.conditions.load
    pinned = "pinned" if record.conditions.pinned else "not pinned"
    return f"{load.runs} runs after {load.warm_up_runs} of warm-up in each invocation, {pinned}"


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


def _fidelity(case: Case) -> Iterator[str]:
    for check in case.fidelity:
        said = "NaN or infinity" if check.max_abs is None else f"max abs {check.max_abs:.2g}"
        psnr = "" if check.psnr_db is None else f", PSNR {check.psnr_db:.1f} dB"
        verdict = "passed" if check.passed else "FAILED"
        whose = REFERENCES[check.reference]
        yield f"{check.picture}: {said}{psnr} from {whose}, {check.gate}: {verdict}"


def _log(case: Case) -> str:
    return "\n".join(f"# {i.purpose}: {i.command}\n{i.log}" for i in case.invocations)


def _text(value: float | None, unit: str = "") -> str:
    return "unknown" if value is None else f"{value:g}{unit}"
