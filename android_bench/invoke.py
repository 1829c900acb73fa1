"""One run of benchmark_model on a phone, believed only when everything about it agrees."""

import re
import tempfile
import time
from dataclasses import dataclass, field, fields
from pathlib import Path

from android_bench.adb import Phone
from android_bench.binary import Binary
from android_bench.command import Flavour, Run, arguments, program_line
from android_bench.cooldown import Cooldown
from android_bench.delegation import not_proven
from android_bench.device import is_throttled, read_health
from android_bench.device_record import Health
from android_bench.errors import (
    BinaryError,
    ConnectionLostError,
    DelegationError,
    LogError,
    ToolError,
)
from android_bench.lines import unknown_flags
from android_bench.parse import ToolResult, parse_log
from android_bench.record import Invocation, Purpose
from android_bench.result_proto import ResultProto, decode_result
from android_bench.tool_errors import explain_failure, refusals
from android_bench.workspace import WORKSPACE, pid_path
from edgesr.progress import ProgressCallback, silent

PROGRAM = f"{WORKSPACE}/benchmark_model"
RESULT = f"{WORKSPACE}/result.pb"
_HELP_LIMIT_S = 60.0
_BACK_LIMIT_S = 20.0
_FRESH_S = 5.0  # in which a phone that does nothing neither warms nor cools
_PROTO_BYTES = 4096
_NOT_EXECUTED = (126, 127)
_FLAG = re.compile(r"^\s*--([\w-]+)=", re.MULTILINE)
#: Flags that only LiteRT's tool has.
_LITERT_FLAGS = {"gpu-precision", "dispatch_library_path"}
# Floats in the result's file, six digits in the log.
_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Tool:
    """The benchmark_model on a phone.

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
    """The phone's health when it was last asked, and when that was."""

    health: Health | None = None
    at_s: float = 0.0


@dataclass(frozen=True)
class Session:
    """A phone with everything on it that runs need.

    Attributes:
        phone: The phone.
        tool: Its benchmark_model.
        cooldown: When it is cool enough to begin.
        boot_id: Of the boot that the session began in.
        limit_s: Time limit of one run.
    """

    phone: Phone
    tool: Tool
    cooldown: Cooldown
    boot_id: str
    limit_s: float
    _latest: _Latest = field(default_factory=_Latest)

    def ask_health(self) -> Health:
        """How the phone is now.

        Raises:
            AdbError: It cannot be asked.
        """
        self._latest.health = read_health(self.phone)
        self._latest.at_s = time.monotonic()
        return self._latest.health

    def make_ready(self, *, cool: bool, progress: ProgressCallback = silent) -> Health:
        """Wait until the phone is cool, if it must be, and say how it is then.

        What it said a moment ago, after the run before, is not asked again.

        Raises:
            DeviceError: It does not cool down.
            AdbError: It cannot be asked.
            StoppedError: The user interrupted.
        """
        known, age_s = self._latest.health, time.monotonic() - self._latest.at_s
        fresh = known is not None and age_s < _FRESH_S
        if known is not None and fresh and not (cool and self.cooldown.too_hot(known)):
            return known
        return self.cooldown.wait(self.phone, progress) if cool else read_health(self.phone)


def ask_tool(phone: Phone, binary: Binary) -> Tool:
    """Have the pushed program say which flags it has; this also shows that it can run.

    Raises:
        BinaryError: The phone cannot run it.
    """
    answer = phone.run(
        program_line([PROGRAM, "--help=true"], cpu_mask=None, pid_path=pid_path()), _HELP_LIMIT_S
    )
    if answer.status in _NOT_EXECUTED:
        said = " ".join(answer.text.split())[:300]
        raise BinaryError(
            f"{phone.serial} cannot run {binary.path} ({binary.abi}): {said}; pass another "
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
        session: The phone and what is on it.
        run: What to run.
        purpose: What for.
        cpu_mask: CPUs to keep it to.
        cool: Whether to wait until the phone is cool.
        progress: Told while it waits.

    Raises:
        ToolError: It failed, ignored a flag, or said nothing that can be believed.
        DelegationError: Something else than what was asked for computed.
        DeviceError: The phone is too hot.
        ConnectionLostError: The phone went away or rebooted.
        TimeLimitError: It did not end in time.
        SettingError: This tool cannot do it.
    """
    phone = session.phone
    words = [PROGRAM, *arguments(run, session.tool.flavour)]
    _check_flags(session.tool, words[1:])
    before = session.make_ready(cool=cool, progress=progress)
    line = program_line(words, cpu_mask=cpu_mask, pid_path=pid_path())
    began = time.monotonic()
    try:
        answer = phone.run(line, session.limit_s)
    except ConnectionLostError as error:
        raise _lost(session, error) from error
    seconds = time.monotonic() - began
    result = _believe(answer.status, answer.text, run)
    after = session.ask_health()
    if after.boot_id != session.boot_id:
        raise ConnectionLostError(f"{phone.serial} rebooted while benchmark_model ran; run again")
    proto = _fetch_proto(phone, result, answer.text) if run.result_path is not None else None
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
    """Refuse what the tool would ignore, where it said which flags it has."""
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
    """Find out whether the phone rebooted or only the connection broke."""
    if session.phone.wait_until_back(_BACK_LIMIT_S):
        now = read_health(session.phone).boot_id
        if now != session.boot_id:
            return ConnectionLostError(
                f"{session.phone.serial} rebooted while benchmark_model ran; run again when it is "
                "ready"
            )
    return error


def _fetch_proto(phone: Phone, result: ToolResult, log: str) -> ResultProto:
    """The result as the tool wrote it into a file, which must be the one in the log."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "result.pb")
        # Removed there: the next run shall not be believed by this one's file.
        phone.take(RESULT, path, _PROTO_BYTES)
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
