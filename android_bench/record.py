"""The record of a benchmark: everything that a number depends on, in one JSON document."""

from typing import Literal

from android_bench.command import Load, Setting
from android_bench.delegation import Delegation
from android_bench.device_record import DeviceRecord, Health
from android_bench.parse import Memory, Stats
from android_bench.profile import Profile
from android_bench.result_proto import ResultProto
from edgesr.benching.record import Record, RecordHead

Purpose = Literal["latency", "memory", "cold start", "warm start", "sustained", "check", "profile"]


class Invocation(Record):
    """One run of benchmark_model that came to its end and proved what computed.

    Attributes:
        purpose: What it was for; only `latency` counts for latencies.
        command: The line that the phone's shell ran.
        seconds: How long it took, with adb.
        before: The phone before.
        after: The phone after.
        throttled: Whether heat slowed the phone down meanwhile.
        init_ms: Initialisation.
        first_ms: First inference.
        warm_up: Runs that do not count.
        runs: Runs that do.
        memory: What the tool says it used.
        delegation: Which delegate took what.
        proto: The tool's own record, where it writes one.
        complaints: Warnings and errors that it went on after.
        log: Everything that it said.
    """

    purpose: Purpose
    command: str
    seconds: float
    before: Health
    after: Health
    throttled: bool
    init_ms: float
    first_ms: float | None
    warm_up: Stats | None
    runs: Stats
    memory: Memory
    delegation: Delegation
    proto: ResultProto | None
    complaints: tuple[str, ...]
    log: str


class Summary(Record):
    """The repeats of a case as one; milliseconds.

    Attributes:
        statistic: What `latency_ms` is: a median of medians where the tool gives medians.
        latency_ms: Over the repeats.
        lowest_ms: The lowest of the repeats' values.
        highest_ms: The highest of them.
        p95_ms: Median of the repeats' 95th percentiles.
        min_ms: The shortest run of all.
        max_ms: The longest run of all.
        runs: Runs that count, all repeats together.
        repeats: Invocations.
        init_ms: Median initialisation, without a kernel cache.
        first_ms: Median first inference.
        frames_per_second: 1000 / latency_ms.
        cold_init_ms: Initialisation that compiles the GPU's kernels and stores them.
        warm_init_ms: Initialisation that loads them from there.
        peak_mb: Peak memory, in a run of its own.
    """

    statistic: Literal["median of medians", "median of means"]
    latency_ms: float
    lowest_ms: float
    highest_ms: float
    p95_ms: float | None
    min_ms: float
    max_ms: float
    runs: int
    repeats: int
    init_ms: float
    first_ms: float | None
    frames_per_second: float
    cold_init_ms: float | None = None
    warm_init_ms: float | None = None
    peak_mb: float | None = None


class CurvePoint(Record):
    """One invocation of the sustained mode.

    Attributes:
        at_s: When it began, from the beginning of the mode.
        seconds: How long it took, initialisation and all.
        runs: Inferences.
        busy: Share of `seconds` that inferences took.
        latency_ms: Their median, else their mean.
        thermal_status: After it.
        battery_celsius: After it.
        max_khz: After it.
    """

    at_s: float
    seconds: float
    runs: int
    busy: float
    latency_ms: float
    thermal_status: int | None
    battery_celsius: float | None
    max_khz: tuple[int | None, ...]


#: The same file in FP32 on this host's CPU, or the PyTorch network that it was made from.
Reference = Literal["host CPU", "PyTorch"]


class Fidelity(Record):
    """One picture on the phone against a reference.

    Attributes:
        picture: Its name.
        reference: What the phone's output is compared with.
        psnr_db: Peak 1.0; None where the outputs are equal.
        max_abs: Largest absolute difference; None where an output is not finite.
        finite: Whether every output is a finite number.
        gate: What was required.
        passed: Whether it was reached.
    """

    picture: str
    reference: Reference = "host CPU"
    psnr_db: float | None
    max_abs: float | None
    finite: bool
    gate: str
    passed: bool


class Case(Record):
    """One file with one setting on one phone.

    Attributes:
        device: Serial of the phone.
        file: Name of the file.
        setting: What computed.
        cpu_mask: CPUs it was pinned to, in hexadecimal; None for all.
        summary: All repeats as one.
        invocations: All of them.
        sustained: The curve over time; empty without the sustained mode.
        fidelity: One entry per picture and reference; empty without the check.
        profile: What each operator takes, in a run of its own; None where that was not asked for,
            or this benchmark_model does not say.
        notes: What a reader of the numbers must know.
    """

    device: str
    file: str
    setting: Setting
    cpu_mask: str | None
    summary: Summary
    invocations: tuple[Invocation, ...]
    sustained: tuple[CurvePoint, ...] = ()
    fidelity: tuple[Fidelity, ...] = ()
    profile: Profile | None = None
    notes: tuple[str, ...] = ()


class Failure(Record):
    """What gave no result.

    Attributes:
        device: Serial of the phone.
        file: Name of the file; None if the phone gave no result at all.
        setting: What was to compute; None likewise.
        error: Why.
        log: What benchmark_model said; empty if it never ran.
    """

    device: str
    file: str | None
    setting: Setting | None
    error: str
    log: str


class Conditions(Record):
    """How everything was measured.

    Attributes:
        load: Runs of one invocation.
        repeats: Invocations of each case, which take turns.
        pinned: Whether the program was kept to the fastest cores.
        cool_battery_celsius: No run began with a warmer battery.
        sustained_s: Duration of the sustained mode; None without.
    """

    load: Load
    repeats: int
    pinned: bool
    cool_battery_celsius: float
    sustained_s: float | None


class ProtocolFacts(Record):
    """What everything was measured by.

    Attributes:
        name: Its name.
        description: What it is for.
        sha256: Digest of its file.
        formula: How points come of latencies.
    """

    name: str
    description: str
    sha256: str
    formula: str


class SectionScore(Record):
    """One section of a protocol.

    Attributes:
        name: Its name.
        setting: What computed.
        weight: How much it counts.
        reference_ms: The latency that gives 100 points.
        latency_ms: What was measured; None where that failed.
        points: 100 reference_ms / latency_ms.
    """

    name: str
    setting: Setting
    weight: float
    reference_ms: float
    latency_ms: float | None
    points: float | None


class Score(Record):
    """What a file reached on a phone.

    Attributes:
        device: Serial of the phone.
        file: Name of the file.
        points: By the protocol's formula; None where a section gave no result.
        sections: What they are made of.
    """

    device: str
    file: str
    points: float | None
    sections: tuple[SectionScore, ...]


class BenchRecord(RecordHead):
    """A whole benchmark.

    Attributes:
        on: Where the files ran.
        adb: Version of adb.
        conditions: How everything was measured.
        devices: On what.
        cases: The results.
        failures: What gave none.
        protocol: What was followed; None without.
        scores: By that, one per file and phone.
    """

    on: Literal["android"] = "android"
    adb: str
    conditions: Conditions
    devices: tuple[DeviceRecord, ...]
    cases: tuple[Case, ...]
    failures: tuple[Failure, ...]
    protocol: ProtocolFacts | None = None
    scores: tuple[Score, ...] = ()
