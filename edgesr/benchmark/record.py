"""Records of benchmarks: the common head, and those of this host."""

from typing import Literal

from edgesr.common.record import Record
from edgesr.runtime.session import Backend

#: Why no record of this host says what each operator takes.
NO_OPERATOR_TIMES = (
    "no times of single operators: LiteRT's Python interface has no profiler, benchmark_model has"
)


class OperatorTime(Record):
    """Time of one operator, which may be a delegate, by a profiler.

    Attributes:
        kind: Its type, e.g. CONV_2D.
        name: What it writes, and its number.
        mean_ms: One call.
        calls: Calls in one run of the graph.
        percent: Of the time of all operators.
    """

    kind: str
    name: str
    mean_ms: float
    calls: int
    percent: float


class FileFacts(Record):
    """A file that was measured.

    Attributes:
        name: Its name.
        sha256: Digest of its bytes.
        size_bytes: How many they are.
    """

    name: str
    sha256: str
    size_bytes: int


class RecordHead(Record):
    """The common head of all records of benchmarks.

    Attributes:
        schema_version: Of the whole record.
        created_at: When it ended, UTC, ISO 8601.
        edgesr: Version of edgesr.
        host: Operating system and architecture of this host.
        files: What was measured.
    """

    schema_version: Literal[1] = 1
    created_at: str
    edgesr: str
    host: str
    files: tuple[FileFacts, ...]


class HostSetting(Record):
    """Backend and number of threads on this host.

    Attributes:
        backend: What computes.
        threads: CPU threads; None where a GPU computes.
    """

    backend: Backend
    threads: int | None

    def __str__(self) -> str:
        if self.threads is None:
            return self.backend.value
        return f"{self.backend} {self.threads} thread{'s' * (self.threads != 1)}"


class GpuFacts(Record):
    """The GPU that LiteRT's accelerator found; fields as in `edgesr.runtime.gpu.GpuDevice`."""

    adapter: str
    api: str
    software: bool
    driver: str
    precision: Literal["fp16", "fp32"]


class HostSummary(Record):
    """The runs of one file as numbers; milliseconds.

    Attributes:
        runs: Runs that count.
        median_ms: Their median.
        mean_ms: Their mean.
        std_ms: Their standard deviation (population).
        p90_ms: 90th percentile.
        p95_ms: 95th percentile.
        min_ms: The shortest.
        max_ms: The longest.
        frames_per_second: 1000 / median_ms.
        ratio_to_first: Median over the turns of this file's time to that of the first file.
        cold_init_ms: Opening the file in a new process that has loaded the runtime.
        warm_init_ms: Opening it once more in the same process.
        first_ms: First run after the cold opening.
        peak_mb: Largest resident size of that process, runtime and all, and of the GPU
            accelerator's; MB of 10^6 bytes; None where the system does not tell.
    """

    runs: int
    median_ms: float
    mean_ms: float
    std_ms: float
    p90_ms: float
    p95_ms: float
    min_ms: float
    max_ms: float
    frames_per_second: float
    ratio_to_first: float
    cold_init_ms: float
    warm_init_ms: float
    first_ms: float
    peak_mb: float | None


class HostCase(Record):
    """One file with one setting.

    Attributes:
        file: Name of the file.
        setting: What computed.
        gpu: Which GPU did; None for the CPU.
        summary: All runs as numbers.
        samples_ms: Each run, in order.
        notes: What a reader of the numbers must know.
    """

    file: str
    setting: HostSetting
    gpu: GpuFacts | None
    summary: HostSummary
    samples_ms: tuple[float, ...]
    notes: tuple[str, ...]


class HostMachine(Record):
    """The machine that a record was measured on, and how busy it was.

    Attributes:
        processor: Its name.
        cpus: How many CPUs the process may use.
        python: Version of Python.
        runtime: Runtime and its version.
        load_before: Load average over one minute, before; None where the system has none.
        load_after: The same afterwards, this benchmark in it.
    """

    processor: str
    cpus: int
    python: str
    runtime: str
    load_before: float | None
    load_after: float | None


class HostConditions(Record):
    """Conditions that all cases share.

    Attributes:
        runs: Runs of each file with each setting, which take turns with the other files'.
        warm_up_runs: Runs of each before.
        budget_s: Time for the runs of one setting, after which there are fewer of them.
    """

    runs: int
    warm_up_runs: int
    budget_s: float | None


class HostRecord(RecordHead):
    """A whole benchmark on this host.

    Attributes:
        on: Where the files ran.
        machine: What that is.
        conditions: How everything was measured.
        cases: The results.
    """

    on: Literal["host"] = "host"
    machine: HostMachine
    conditions: HostConditions
    cases: tuple[HostCase, ...]
