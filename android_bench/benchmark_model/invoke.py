"""One run of benchmark_model on a device, checked in every respect."""

import re
import tempfile
import time
from dataclasses import dataclass, field, fields
from pathlib import Path

from android_bench.benchmark_model.binary import Binary
from android_bench.benchmark_model.command import Flavour, Run, arguments, program_line
from android_bench.benchmark_model.delegation import not_proven
from android_bench.benchmark_model.errors import explain_failure, refusals
from android_bench.benchmark_model.parse import ToolResult, parse_log, unknown_flags
from android_bench.benchmark_model.result_proto import ResultProto, decode_result
from android_bench.device.adb import Device
from android_bench.device.cooldown import Cooldown
from android_bench.device.info import is_throttled, read_health
from android_bench.device.workspace import WORKSPACE, pid_path
from android_bench.errors import (
    BinaryError,
    ConnectionLostError,
    DelegationError,
    LogError,
    ToolError,
)
from android_bench.record import Health, Invocation, Purpose
from edgesr.common.progress import ProgressCallback, silent

PROGRAM = f"{WORKSPACE}/benchmark_model"
RESULT = f"{WORKSPACE}/result.pb"
_HELP_LIMIT_S = 60.0
_BACK_LIMIT_S = 20.0
_FRESH_S = 5.0  # in which a device that does nothing neither warms nor cools
_PROTO_BYTES = 4096
_NOT_EXECUTED = (126, 127)
_FLAG = re.compile(r"^\s*--([\w-]+)=", re.MULTILINE)
#: Flags that only LiteRT's tool has.
_LITERT_FLAGS = {"gpu-precision", "dispatch_library_path"}
# Floats in the result's file, six digits in the log.
_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Tool:
    """The benchmark_model on a device.

    Attributes:
        binary: What was pushed.
        flavour: Which of the two tools it is.
        flags: Names of the flags that it says it has; empty if it does not say.
    """

    binary: Binary
    flavour: Flavour
    flags: frozenset[str]

    def writes_results(self) -> bool:
        """Whether it is known to write its result into a file."""
        return "result_file_path" in self.flags

    def samples_memory(self) -> bool:
        """Whether it samples the peak of memory, as far as is known."""
        return not self.flags or "report_peak_memory_footprint" in self.flags

    def profiles(self) -> bool:
        """Whether it times single operators, as far as is known."""
        known = not self.flags or "enable_op_profiling" in self.flags
        return known and self.flavour is Flavour.CLASSIC

    def caches_kernels(self) -> bool:
        """Whether it is known to keep compiled kernels."""
        return bool(self.flags & {"delegate_serialize_dir", "gpu_serialization_dir"})


@dataclass
class _Latest:
    """The device's health when it was last asked, and when that was."""

    health: Health | None = None
    at_s: float = 0.0


@dataclass(frozen=True)
class Session:
    """A device with everything on it that runs need.

    Attributes:
        device: The device.
        tool: Its benchmark_model.
        cooldown: When it is cool enough to begin.
        boot_id: Of the boot that the session began in.
        limit_s: Time limit of one run.
    """

    device: Device
    tool: Tool
    cooldown: Cooldown
    boot_id: str
    limit_s: float
    _latest: _Latest = field(default_factory=_Latest)

    def ask_health(self) -> Health:
        """Read the device's health now.

        Raises:
            AdbError: It cannot be asked.
        """
        self._latest.health = read_health(self.device)
        self._latest.at_s = time.monotonic()
        return self._latest.health

    def make_ready(self, *, cool: bool, progress: ProgressCallback = silent) -> Health:
        """Wait until the device is cool, if required, and return its health.

        What it said a moment ago, after the run before, is not asked again.

        Raises:
            UnfitDeviceError: It does not cool down.
            AdbError: It cannot be asked.
            StoppedError: The user interrupted.
        """
        known, age_s = self._latest.health, time.monotonic() - self._latest.at_s
        fresh = known is not None and age_s < _FRESH_S
        if known is not None and fresh and not (cool and self.cooldown.too_hot(known)):
            return known
        return self.cooldown.wait(self.device, progress) if cool else read_health(self.device)


def ask_tool(device: Device, binary: Binary) -> Tool:
    """Read the flags of the pushed program from its --help.

    That also shows whether the device can run it.

    Raises:
        BinaryError: The device cannot run it.
    """
    answer = device.run(
        program_line([PROGRAM, "--help=true"], cpu_mask=None, pid_path=pid_path()), _HELP_LIMIT_S
    )
    if answer.status in _NOT_EXECUTED:
        said = " ".join(answer.text.split())[:300]
        raise BinaryError(
            f"{device.serial} cannot run {binary.path} ({binary.abi}): {said}; pass another "
            "benchmark_model with --binary"
        )
    flags = frozenset(_FLAG.findall(answer.text))
    if "graph" not in flags:  # the one that every build has: that was no list of flags
        flags = frozenset[str]()
    flavour = Flavour.LITERT if flags & _LITERT_FLAGS else Flavour.CLASSIC
    return Tool(binary, flavour, flags)


def invoke(
    session: Session,
    run: Run,
    purpose: Purpose,
    *,
    cpu_mask: str | None,
    cool: bool = True,
    progress: ProgressCallback = silent,
) -> Invocation:
    """Run benchmark_model once.

    Args:
        session: The device and what is on it.
        run: What to run.
        purpose: What for.
        cpu_mask: CPUs to keep it to.
        cool: Whether to wait until the device is cool.
        progress: Told while it waits.

    Raises:
        ToolError: It failed, ignored a flag, or said nothing that can be believed.
        DelegationError: Something else than what was requested computed.
        UnfitDeviceError: The device is too hot.
        ConnectionLostError: The device went away or rebooted.
        TimeLimitError: It did not end in time.
        SettingError: This tool cannot do it.
    """
    device = session.device
    words = [PROGRAM, *arguments(run, session.tool.flavour)]
    _check_flags(session.tool, words[1:])
    before = session.make_ready(cool=cool, progress=progress)
    line = program_line(words, cpu_mask=cpu_mask, pid_path=pid_path())
    began = time.monotonic()
    try:
        answer = device.run(line, session.limit_s)
    except ConnectionLostError as error:
        raise _lost(session, error) from error
    seconds = time.monotonic() - began
    result = _believe(answer.status, answer.text, run)
    after = session.ask_health()
    if after.boot_id != session.boot_id:
        raise ConnectionLostError(f"{device.serial} rebooted while benchmark_model ran; run again")
    proto = _fetch_proto(device, result, answer.text) if run.result_path is not None else None
    return _record(purpose, line, seconds, (before, after), result, proto, answer.text)


def _believe(status: int, log: str, run: Run) -> ToolResult:
    """The result in a log, if there is nothing against it."""
    if ignored := unknown_flags(log):
        raise ToolError(_unknown(ignored), log)
    if status != 0:
        raise ToolError(explain_failure(status, log), log)
    try:
        result = parse_log(log)
    except LogError as error:
        raise ToolError(f"{error} (its exit status was 0)", log) from error
    if (reason := not_proven(run.setting, result.delegation)) is not None:
        why = refusals(log)
        raise DelegationError(f"{reason}{f' ({why})' if why else ''}; no result", log)
    return result


def _check_flags(tool: Tool, words: list[str]) -> None:
    """Refuse flags that the tool would ignore, where it lists its flags."""
    names = [word.removeprefix("--").partition("=")[0] for word in words]
    missing = [f"--{name}" for name in names if tool.flags and name not in tool.flags]
    if missing:
        raise ToolError(_unknown(" ".join(missing)))


def _unknown(flags: str) -> str:
    return (
        f"this benchmark_model does not know {flags} and would run without; pass another one with "
        "--binary"
    )


def _lost(session: Session, error: ConnectionLostError) -> ConnectionLostError:
    """Find out whether the device rebooted or only the connection broke."""
    if session.device.wait_until_back(_BACK_LIMIT_S):
        now = read_health(session.device).boot_id
        if now != session.boot_id:
            return ConnectionLostError(
                f"{session.device.serial} rebooted while benchmark_model ran; run again when it is "
                "ready"
            )
    return error


def _fetch_proto(device: Device, result: ToolResult, log: str) -> ResultProto:
    """Fetch the tool's result file and compare it with its log."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "result.pb")
        # Removed there: the next run shall not be believed by this one's file.
        device.take(RESULT, path, _PROTO_BYTES)
        try:
            proto = decode_result(path.read_bytes())
        except LogError as error:
            raise ToolError(str(error), log) from error
    if proto.runs not in (None, result.runs.count):
        raise ToolError(
            f"the result's file has {proto.runs} runs, the log {result.runs.count}", log
        )
    logged = {f.name: getattr(result.runs, f.name) for f in fields(result.runs)}
    logged |= {"first_ms": result.first_ms, "init_ms": result.init_ms}
    for name, here in logged.items():
        there = getattr(proto, name, None)
        # LiteRT's block has two decimals of milliseconds, and means have six digits.
        slack = 0.0051 + _TOLERANCE * (here or 0.0)
        if there is not None and here is not None and abs(there - here) > slack:
            raise ToolError(f"the result's file has {name} {there:g}, the log {here:g}", log)
    return proto


def _record(
    purpose: Purpose,
    line: str,
    seconds: float,
    health: tuple[Health, Health],
    result: ToolResult,
    proto: ResultProto | None,
    log: str,
) -> Invocation:
    before, after = health
    return Invocation(
        purpose=purpose,
        command=line,
        seconds=seconds,
        before=before,
        after=after,
        throttled=is_throttled(before, after),
        init_ms=result.init_ms,
        first_ms=result.first_ms,
        warm_up=result.warm_up,
        runs=result.runs,
        memory=result.memory,
        delegation=result.delegation,
        proto=proto,
        complaints=result.complaints,
        log=log,
    )
