"""Records of benchmarks in a browser: the schema, and the form in which they are compared.

A record comes over the network from a page that anybody may have changed: every text and list in it
is bounded, and numbers that follow from samples are computed here, not taken from it.
"""

import re
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from edgesr.benchmark.record import FileFacts, RecordHead
from edgesr.benchmark.results import DeviceKind, Measurement, Moment, milliseconds
from edgesr.benchmark.summary import run_statistics
from edgesr.common.record import Record, first_problem
from edgesr.errors import EdgeSRError

#: Largest record that is taken: two minutes of drift at 1000 runs a second are below it.
MOST_BYTES = 8 * 2**20
_Text = Annotated[str, Field(max_length=400)]
_Milliseconds = Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)]
# As far as JavaScript counts exactly; buffers are larger than a GB.
_Limit = Annotated[int, Field(ge=0, le=2**53)]
_LONGEST_NAME = 400
_SOFTWARE = re.compile("swiftshader|llvmpipe|software|basic render", re.IGNORECASE)


class BrowserRecordError(EdgeSRError):
    """What was sent is no record of a benchmark in a browser."""


class Adapter(Record):
    """A GPU as WebGPU names it; browsers leave texts empty to tell less of the user.

    Attributes:
        vendor: Its maker.
        architecture: Its family.
        device: Its name.
        description: The same in words.
        half: Whether it has FP16 arithmetic; the page computes in FP32.
        limits: WebGPU's names of limits -> numbers.
    """

    vendor: _Text
    architecture: _Text
    device: _Text
    description: _Text
    half: bool
    limits: Annotated[dict[_Text, _Limit], Field(max_length=40)]

    def __str__(self) -> str:
        words = (self.description, self.device, f"{self.vendor} {self.architecture}".strip())
        return next((text for text in words if text), "an unnamed GPU")

    @property
    def software(self) -> bool:
        """Whether a CPU emulates it, as far as its texts tell."""
        texts = (self.vendor, self.architecture, self.device, self.description)
        return any(_SOFTWARE.search(text) for text in texts)


class BrowserMachine(Record):
    """The device, as far as its browser tells.

    Attributes:
        user_agent: Browser and system, in the browser's words.
        platform: Its name of the system.
        cpus: CPUs that it offers.
        isolated: Whether the page could use threads.
        runtime: Runtime and its version.
    """

    user_agent: _Text
    platform: _Text
    cpus: Annotated[int, Field(ge=1, le=10**5)]
    isolated: bool
    runtime: _Text


class BrowserConditions(Record):
    """How it was measured.

    Attributes:
        runs: Timed runs.
        warm_up_runs: Runs before.
        drift_s: Seconds of the sustained runs after them; 0 without.
    """

    runs: Annotated[int, Field(ge=1, le=10_000)]
    warm_up_runs: Annotated[int, Field(ge=0, le=10_000)]
    drift_s: Annotated[int, Field(ge=0, le=3600)]


class BrowserFidelity(Record):
    """Difference to the CPU's output on the reference crop; values in [0, 1].

    Attributes:
        max_abs: Largest difference.
        psnr_db: PSNR with peak 1; 200 where both are equal.
        passed: Whether it is within the gates of `edgesr verify`.
    """

    max_abs: Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
    psnr_db: Annotated[float, Field(ge=-1000, le=200, allow_inf_nan=False)]
    passed: bool


class DriftPoint(Record):
    """One run of the sustained mode: when it ended, and what it took."""

    at_s: Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]
    ms: _Milliseconds


class BrowserCase(Record):
    """The file by one backend.

    Attributes:
        file: Name of the file.
        backend: What computed.
        threaded: Whether WASM had threads.
        adapter: The GPU; None for WASM.
        compile_ms: Opening the file.
        first_ms: First run.
        samples_ms: Each run with the read-back of its result, in order.
        drift: The sustained mode; empty without.
        fidelity: How right the pixels are.
    """

    file: _Text
    backend: Literal["webgpu", "wasm"]
    threaded: bool
    adapter: Adapter | None
    compile_ms: _Milliseconds
    first_ms: _Milliseconds
    samples_ms: Annotated[tuple[_Milliseconds, ...], Field(min_length=1, max_length=10_000)]
    drift: Annotated[tuple[DriftPoint, ...], Field(max_length=200_000)]
    fidelity: BrowserFidelity

    @property
    def setting(self) -> str:
        """The backend in words."""
        if self.backend == "webgpu":
            return "WebGPU in a browser"
        return f"WASM in a browser, {'threads' if self.threaded else 'one thread'}"


class BrowserRecord(RecordHead):
    """A whole benchmark in a browser; `host` is the browser's name of its system.

    Attributes:
        on: Where the file ran.
        machine: What that is.
        conditions: How it was measured.
        cases: The results.
    """

    created_at: Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00$")]
    edgesr: _Text
    host: _Text
    files: Annotated[tuple[FileFacts, ...], Field(min_length=1, max_length=1)]
    on: Literal["browser"] = "browser"
    machine: BrowserMachine
    conditions: BrowserConditions
    cases: Annotated[tuple[BrowserCase, ...], Field(min_length=1, max_length=10)]


def parse_browser_record(content: bytes) -> BrowserRecord:
    """Read a record that a browser sent.

    Raises:
        BrowserRecordError: It is none, or is of a file that it does not describe.
    """
    try:
        record = BrowserRecord.model_validate_json(content, strict=True)
    except ValidationError as error:
        raise BrowserRecordError(f"no record of a browser: {first_problem(error)}") from error
    file = record.files[0]
    if len(file.name) > _LONGEST_NAME or not re.fullmatch(r"[0-9a-f]{64}", file.sha256):
        raise BrowserRecordError("no record of a browser: its file has no name and sha256")
    if any(case.file != file.name for case in record.cases):
        raise BrowserRecordError("no record of a browser: a result of a file that is not in it")
    if any((case.adapter is None) == (case.backend == "webgpu") for case in record.cases):
        raise BrowserRecordError("no record of a browser: a GPU belongs to WebGPU, and only to it")
    return record


def measurements_in_browser(record: BrowserRecord) -> Iterator[Measurement]:
    """Convert a record into measurements."""
    digests = {file.name: file.sha256 for file in record.files}
    machine, conditions = record.machine, record.conditions
    for case in record.cases:
        got = run_statistics(case.samples_ms, case.samples_ms)
        yield Measurement(
            file=case.file,
            sha256=digests[case.file],
            device=f"{case.adapter or machine.platform}, {short_browser(machine.user_agent)}",
            device_key=f"{machine.user_agent}, {machine.cpus} CPUs, {case.adapter}",
            kind=_kind(case),
            setting=case.setting,
            conditions=f"{conditions.warm_up_runs} runs of warm-up, with read-back",
            sample="runs",
            samples_ms=case.samples_ms,
            latency_ms=got["median_ms"],
            facts=milliseconds(
                {
                    "p90": got["p90_ms"],
                    "min": got["min_ms"],
                    "max": got["max_ms"],
                    "first": case.first_ms,
                    "compile": case.compile_ms,
                }
            )
            | {"runs": str(got["runs"])},
            curve=tuple(Moment(point.at_s, point.ms, None) for point in case.drift),
            notes=_notes(case),
        )


def short_browser(user_agent: str) -> str:
    """Name and version of a browser, as far as its user agent tells."""
    found = re.search(r"(Firefox|Edg|HeadlessChrome|Chrome|Version)/(\d+)", user_agent)
    return f"{found[1].replace('Version', 'Safari')} {found[2]}" if found else "a browser"


def _kind(case: BrowserCase) -> DeviceKind:
    if case.adapter is None:
        return "CPU"
    return "software device" if case.adapter.software else "GPU"


def _notes(case: BrowserCase) -> tuple[str, ...]:
    fidelity = case.fidelity
    equal = f"max abs to the CPU {fidelity.max_abs:.2g}, {fidelity.psnr_db:.1f} dB"
    notes = [
        f"measured in a browser, each run with its read-back; {equal}"
        if fidelity.passed
        else f"wrong picture: {equal}; these times are of no use",
    ]
    if case.adapter is not None and case.adapter.software:
        notes.append("software device: a CPU emulates the GPU; its times say nothing of a GPU's")
    return tuple(notes)
