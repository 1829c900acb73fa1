"""The record of a benchmark on devices, one JSON document."""

from typing import Literal

from android_bench.benchmark_model.command import Flavour, Load, Setting
from android_bench.benchmark_model.delegation import Delegation
from android_bench.benchmark_model.parse import Memory, Stats
from android_bench.benchmark_model.profile import Profile
from android_bench.benchmark_model.result_proto import ResultProto
from edgesr.benchmark.record import RecordHead
from edgesr.common.record import Record


class Health(Record):
    """Temperatures, clocks and memory of a device at one moment.

    None where the device does not report a value.

    Attributes:
        at: Time on this host, UTC, ISO 8601.
        thermal_status: Android's: 0 none, 1 light, 2 moderate, 3 severe, 4 critical, ...
        battery_celsius: Temperature of the battery.
        battery_percent: Its charge.
        plugged: Whether it is being fed, by USB too.
        temperatures: Sensor -> degrees Celsius.
        max_khz: What each CPU may clock at the most now.
        memory_available_kib: Memory that programs can have.
        boot_id: Changes when the device reboots.
    """

    at: str
    thermal_status: int | None
    battery_celsius: float | None
    battery_percent: int | None
    plugged: bool | None
    temperatures: dict[str, float]
    max_khz: tuple[int | None, ...]
    memory_available_kib: int | None
    boot_id: str


class DeviceInfo(Record):
    """The phone that was measured: maker, SoC, Android, memory, clocks.

    Attributes:
        serial: Serial number, or address and port.
        manufacturer: Who made it.
        model: Its name.
        device: Its code name.
        soc: Manufacturer and model of the chip; of the board where Android is older than 12.
        android: Version.
        sdk: API level.
        fingerprint: Of the system's build.
        abis: What programs it runs, the preferred kind first.
        memory_kib: Memory in all.
        cpu_khz: Highest clock of each CPU by design.
        kernel: Version of the kernel.
    """

    serial: str
    manufacturer: str
    model: str
    device: str
    soc: str
    android: str
    sdk: int | None
    fingerprint: str
    abis: tuple[str, ...]
    memory_kib: int | None
    cpu_khz: tuple[int | None, ...]
    kernel: str


class ToolFacts(Record):
    """The benchmark_model that a device ran.

    Attributes:
        sha256: Digest of the program.
        size_bytes: Its size.
        abi: What it was built for.
        source: Its file name, or the address it was fetched from.
        flavour: Which of the two tools it is.
    """

    sha256: str
    size_bytes: int
    abi: str
    source: str
    flavour: Flavour


class DeviceRecord(Record):
    """A device that was measured on.

    Attributes:
        facts: What it is.
        tool: What it ran.
        free_kib: Space where files are pushed to, before any was.
        before: Before anything ran.
        after: After everything ran.
    """

    facts: DeviceInfo
    tool: ToolFacts
    free_kib: int
    before: Health
    after: Health


Purpose = Literal["latency", "memory", "cold start", "warm start", "sustained", "check", "profile"]


class Invocation(Record):
    """One complete run of benchmark_model with proven delegation.

    Attributes:
        purpose: What it was for; only `latency` counts for latencies.
        command: The line that the device's shell ran.
        seconds: How long it took, with adb.
        before: The device before.
        after: The device after.
        throttled: Whether heat slowed the device down meanwhile.
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
    """One image on the device against a reference.

    Attributes:
        image: Its name.
        reference: What the device's output is compared with.
        psnr_db: Peak 1.0; None where the outputs are equal.
        max_abs: Largest absolute difference; None where an output is not finite.
        finite: Whether every output is a finite number.
        gate: What was required.
        passed: Whether it was reached.
    """

    image: str
    reference: Reference = "host CPU"
    psnr_db: float | None
    max_abs: float | None
    finite: bool
    gate: str
    passed: bool


class Case(Record):
    """One file with one setting on one device.

    Attributes:
        device: Serial of the device.
        file: Name of the file.
        setting: What computed.
        cpu_mask: CPUs it was pinned to, in hexadecimal; None for all.
        summary: All repeats as one.
        invocations: All of them.
        sustained: The curve over time; empty without the sustained mode.
        fidelity: One entry per image and reference; empty without the check.
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
    """A device, or a case on it, without a result.

    Attributes:
        device: Serial of the device.
        file: Name of the file; None if the device gave no result at all.
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
    """Conditions that all cases share.

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
    """The protocol that a record was measured by, and its digest.

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
    """Score of a file on a device.

    Attributes:
        device: Serial of the device.
        file: Name of the file.
        points: By the protocol's formula; None where a section gave no result.
        sections: What they are made of.
    """

    device: str
    file: str
    points: float | None
    sections: tuple[SectionScore, ...]


class BenchRecord(RecordHead):
    """One benchmark: its phones, every run with its samples, the conditions.

    Attributes:
        on: Where the files ran.
        adb: Version of adb.
        conditions: How everything was measured.
        devices: On what.
        cases: The results.
        failures: What gave none.
        protocol: What was followed; None without.
        scores: By that, one per file and device.
    """

    on: Literal["android"] = "android"
    adb: str
    conditions: Conditions
    devices: tuple[DeviceRecord, ...]
    cases: tuple[Case, ...]
    failures: tuple[Failure, ...]
    protocol: ProtocolFacts | None = None
    scores: tuple[Score, ...] = ()
