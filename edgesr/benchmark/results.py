"""Measurements of any record, in the form in which they are compared."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from edgesr.benchmark.record import HostCase, HostRecord, OperatorTime
from edgesr.benchmark.summary import contradiction, run_statistics

DeviceKind = Literal["device", "CPU", "GPU", "software device"]


@dataclass(frozen=True)
class Moment:
    """One point of a curve over time.

    Attributes:
        at_s: From its beginning.
        latency_ms: Of a run then.
        celsius: Of the battery; None where the device does not say.
    """

    at_s: float
    latency_ms: float
    celsius: float | None


@dataclass(frozen=True)
class Measurement:
    """One file with one setting on one device.

    Attributes:
        file: Name of the file.
        sha256: Digest of its bytes.
        device: What it ran on, for people.
        device_key: What tells that device from others of its name, and its state of software.
        kind: Which kind of device it is.
        setting: What computed there, and how.
        conditions: How it was measured, as far as that changes the numbers.
        sample: What one sample is, in the plural.
        samples_ms: All of them, in order.
        latency_ms: What they amount to.
        facts: Further numbers, name -> text; a number that was not measured is not in it.
        curve: The sustained mode; empty without.
        notes: What a reader must know.
        operators: What each takes; empty where that was not measured.
        log: What the tool said, all of it; empty where there is no tool.
    """

    file: str
    sha256: str
    device: str
    device_key: str
    kind: DeviceKind
    setting: str
    conditions: str
    sample: str
    samples_ms: tuple[float, ...]
    latency_ms: float
    facts: dict[str, str] = field(default_factory=dict[str, str])
    curve: tuple[Moment, ...] = ()
    notes: tuple[str, ...] = ()
    operators: tuple[OperatorTime, ...] = ()
    log: str = ""

    @property
    def name(self) -> str:
        """The result in one line."""
        return f"{self.file} with {self.setting} on {self.device}"


def milliseconds(values: dict[str, float | None]) -> dict[str, str]:
    """Name -> text of those numbers that there are."""
    return {name: f"{value:.2f}" for name, value in values.items() if value is not None}


def measurements_on_host(record: HostRecord) -> Iterator[Measurement]:
    """Every result of a record of a host."""
    digests = {file.name: file.sha256 for file in record.files}
    machine, conditions = record.machine, record.conditions
    for case in record.cases:
        got = case.summary
        yield Measurement(
            file=case.file,
            sha256=digests[case.file],
            device=case.gpu.adapter if case.gpu else machine.processor,
            device_key=f"{machine.processor}, {machine.cpus} CPUs, {machine.runtime}"
            + (f", {case.gpu.adapter}, {case.gpu.api}" if case.gpu else ""),
            kind=_kind(case),
            setting=str(case.setting),
            conditions=f"{conditions.warm_up_runs} runs of warm-up, {len(record.files)} files in "
            "turns",
            sample="runs",
            samples_ms=case.samples_ms,
            latency_ms=got.median_ms,
            facts=milliseconds(
                {
                    "p90": got.p90_ms,
                    "p95": got.p95_ms,
                    "mean": got.mean_ms,
                    "std": got.std_ms,
                    "min": got.min_ms,
                    "max": got.max_ms,
                    "first": got.first_ms,
                    "init cold": got.cold_init_ms,
                    "init warm": got.warm_init_ms,
                    "peak MB": got.peak_mb,
                    "frames/s": got.frames_per_second,
                }
            )
            | {"runs": str(got.runs)},
            notes=case.notes,
        )


def contradiction_on_host(record: HostRecord) -> str | None:
    """Describe the first summary that its samples do not have; None where all follow."""
    first = {case.setting: case for case in reversed(record.cases)}
    for case in record.cases:
        name = f"{case.file} with {case.setting}"
        base_ms = first[case.setting].samples_ms
        if len(case.samples_ms) != len(base_ms) or not _positive(case.samples_ms, base_ms):
            return f"{name}: its samples are not as many positive times as those of the first file"
        computed = run_statistics(case.samples_ms, base_ms)
        found = contradiction(case.summary.model_dump(), computed)
        if found is not None:
            return f"{name}: {found}"
    return None


def _positive(*series: tuple[float, ...]) -> bool:
    return all(samples and min(samples) > 0 for samples in series)


def _kind(case: HostCase) -> DeviceKind:
    if case.gpu is None:
        return "CPU"
    return "software device" if case.gpu.software else "GPU"
