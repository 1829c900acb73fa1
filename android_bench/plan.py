"""All files with all settings on one device, in interleaved rounds.

A drift of the device's speed then hits all alike.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from android_bench.benchmark_model.command import Delegate, Load, Run, Setting
from android_bench.benchmark_model.invoke import RESULT, Session, invoke
from android_bench.benchmark_model.profile import Profile, parse_profile
from android_bench.correctness import Expected, check_fidelity
from android_bench.device.cooldown import Cooldown
from android_bench.device.info import fast_cores
from android_bench.device.workspace import WORKSPACE
from android_bench.errors import BenchError, LogError, SettingError, ToolError
from android_bench.record import (
    Case,
    CurvePoint,
    DeviceInfo,
    Failure,
    Fidelity,
    Health,
    Invocation,
    Purpose,
)
from android_bench.results import latency_ms, summarise
from edgesr.common.progress import ProgressCallback

_CACHE = f"{WORKSPACE}/kernels"
_TRIES = 3
_MEMORY_RUNS = 10
_PROFILE_RUNS = 20
# Long enough for many runs, short enough for a curve: thirty points, of 2 to 20 s each.
_POINTS, _SHORTEST_S, _LONGEST_S = 30, 2.0, 20.0


@dataclass(frozen=True)
class Plan:
    """Settings, runs, repeats and further measurements.

    Attributes:
        settings: What is to compute, one after the other.
        load: Runs of one invocation.
        repeats: Invocations of each case.
        pinned: Whether to keep the program to the fastest cores.
        cooldown: When the device is cool enough.
        limit_s: Time limit of one invocation.
        starts: Whether to measure the GPU's start with an empty and with a filled kernel cache.
        memory: Whether to measure the peak of memory.
        sustained_s: Duration of the sustained mode of each case; None for none.
        profile: Whether to measure what each operator takes.
    """

    settings: tuple[Setting, ...]
    load: Load
    repeats: int = 3
    pinned: bool = True
    cooldown: Cooldown = field(default_factory=Cooldown)
    limit_s: float = 600.0
    starts: bool = True
    memory: bool = True
    sustained_s: float | None = None
    profile: bool = False


@dataclass
class CaseRun:
    """One file with one setting, while it is measured.

    Attributes:
        file: Name of the file.
        model_path: Where it lies on the device.
        setting: What computes.
        cpu_mask: CPUs that the program is kept to.
        invocations: What was measured so far.
        sustained: The curve.
        fidelity: The comparisons.
        profile: What each operator takes.
        notes: What a reader must know.
        failure: Why there is no result; None so far.
    """

    file: str
    model_path: str
    setting: Setting
    cpu_mask: str | None
    invocations: list[Invocation] = field(default_factory=list[Invocation])
    sustained: list[CurvePoint] = field(default_factory=list[CurvePoint])
    fidelity: list[Fidelity] = field(default_factory=list[Fidelity])
    profile: Profile | None = None
    notes: list[str] = field(default_factory=list[str])
    failure: BenchError | None = None

    @classmethod
    def of(
        cls, file: str, model_path: str, setting: Setting, facts: DeviceInfo, plan: Plan
    ) -> "CaseRun":
        """Before anything is measured."""
        mask = fast_cores(facts.cpu_khz, setting.threads or 1) if plan.pinned else None
        case = cls(file, model_path, setting, mask)
        if plan.pinned and mask is None:
            case.notes.append("not pinned: the device does not say which cores are the fast ones")
        return case

    def run(self, load: Load) -> Run:
        """An invocation of this case."""
        return Run(self.setting, load, self.model_path)

    def record(self, serial: str) -> Case:
        """What was measured, as it goes into the benchmark's record."""
        return Case(
            device=serial,
            file=self.file,
            setting=self.setting,
            cpu_mask=self.cpu_mask,
            summary=summarise(self.invocations),
            invocations=tuple(self.invocations),
            sustained=tuple(self.sustained),
            fidelity=tuple(self.fidelity),
            profile=self.profile,
            notes=tuple(self.notes),
        )

    def failed(self, serial: str) -> Failure:
        """Why there is none."""
        log = self.failure.log if isinstance(self.failure, ToolError) else ""
        return Failure(
            device=serial, file=self.file, setting=self.setting, error=str(self.failure), log=log
        )


def measure_cases(
    session: Session,
    cases: Sequence[CaseRun],
    plan: Plan,
    expected: Mapping[str, Expected],
    progress: ProgressCallback,
) -> Health:
    """Measure everything; a case that failed is left out of what follows.

    Returns:
        The device afterwards.

    Raises:
        AdbError: The device was lost; none of its results count.
        UnfitDeviceError: It does not cool down.
    """
    work = _Work(session, plan, expected, progress)
    steps: list[tuple[Callable[[CaseRun], None], int]] = [(work.latency, plan.repeats)]
    if expected:
        # First, because it is short: what computes wrongly need not be timed for an hour.
        steps.insert(0, (work.check, 1))
    if plan.starts:
        steps.append((work.starts, 1))
    if plan.memory:
        steps.append((work.memory, 1))
    if plan.profile:
        steps.append((work.profile, 1))
    if plan.sustained_s is not None:
        steps.append((work.sustained, 1))
    total, done = len(cases) * sum(times for _, times in steps), 0
    for step, times in steps:
        for _ in range(times):
            for case in cases:
                progress(session.device.serial, done, total)
                if case.failure is None:
                    _attempt(step, case)
                done += 1
    progress(session.device.serial, total, total)
    return session.ask_health()


def _attempt(step: Callable[[CaseRun], None], case: CaseRun) -> None:
    try:
        step(case)
    except (ToolError, SettingError) as error:
        case.failure = error


@dataclass(frozen=True)
class _Work:
    """The kinds of measurement."""

    session: Session
    plan: Plan
    expected: Mapping[str, Expected]
    progress: ProgressCallback

    def latency(self, case: CaseRun) -> None:
        """Measure one repeat; a throttled one is done again and never counted."""
        invocation = self._cool_latency(case)
        case.invocations.append(invocation)
        if invocation.runs.count < self.plan.load.runs:
            case.notes.append(
                f"{invocation.runs.count} of {self.plan.load.runs} runs within "
                f"{self.plan.load.max_secs:g} s"
            )
        if invocation.before.thermal_status is None and invocation.before.battery_celsius is None:
            _note(case, "the device reports no temperature: it may have been warm")

    def _cool_latency(self, case: CaseRun) -> Invocation:
        result = RESULT if self.session.tool.writes_results() else None
        run = replace(case.run(self.plan.load), result_path=result)
        status, log = None, ""
        for _ in range(_TRIES):
            invocation = self._invoke(case, run, "latency")
            if not invocation.throttled:
                return invocation
            status, log = invocation.after.thermal_status, invocation.log
        raise ToolError(
            f"the device throttled in each of {_TRIES} tries (thermal status {status} at the end); "
            "cool it, make fewer --runs, or measure just that with --sustained",
            log,
        )

    def starts(self, case: CaseRun) -> None:
        """Measure the GPU's initialisation with an empty and a filled kernel cache."""
        if case.setting.delegate is not Delegate.GPU or not self.session.tool.caches_kernels():
            return
        self.session.device.require(f"rm -rf {_CACHE} && mkdir {_CACHE}", "make a kernel cache")
        load = Load(runs=1, warm_up_runs=0, max_secs=self.plan.load.max_secs)
        run = replace(case.run(load), cache_folder=_CACHE)
        cold = self._invoke(case, run, "cold start")
        warm = self._invoke(case, run, "warm start")
        if warm.delegation.from_cache and not cold.delegation.from_cache:
            case.invocations += [cold, warm]
        else:
            case.notes.append("cold and warm start not told apart: no kernel cache was used")

    def memory(self, case: CaseRun) -> None:
        """Measure the peak of memory in a separate run, because sampling disturbs."""
        if not self.session.tool.samples_memory():
            case.notes.append("no peak of memory: this benchmark_model does not sample it")
            return
        load = Load(runs=min(_MEMORY_RUNS, self.plan.load.runs), max_secs=self.plan.load.max_secs)
        run = replace(case.run(load), measure_memory=True)
        case.invocations.append(self._invoke(case, run, "memory"))

    def profile(self, case: CaseRun) -> None:
        """Time single operators in a separate run, because timing them disturbs."""
        if not self.session.tool.profiles():
            case.notes.append("no times of operators: this benchmark_model does not print them")
            return
        load = Load(runs=min(_PROFILE_RUNS, self.plan.load.runs), max_secs=self.plan.load.max_secs)
        invocation = self._invoke(case, replace(case.run(load), profile=True), "profile")
        try:
            case.profile = parse_profile(invocation.log)
        except LogError as error:
            raise ToolError(str(error), invocation.log) from error
        case.invocations.append(invocation)

    def check(self, case: CaseRun) -> None:
        """Images on the device, on this host and in PyTorch."""
        expected = self.expected[case.file]
        if expected.torch is not None and expected.torch.network is None:
            _note(case, f"PyTorch: not compared, because {expected.torch.missing}")
        case.fidelity, invocations = check_fidelity(
            self.session, case.setting, case.model_path, expected, case.cpu_mask
        )
        case.invocations += invocations

    def sustained(self, case: CaseRun) -> None:
        """Run back to back for the requested time, starting cool.

        Heat is what is measured, so that nothing waits for it meanwhile.
        """
        duration_s = self.plan.sustained_s or 0.0
        piece_s = min(_LONGEST_S, max(_SHORTEST_S, duration_s / _POINTS))
        load = Load(runs=1, warm_up_runs=0, min_secs=piece_s, max_secs=2 * piece_s)
        cached = case.setting.delegate is Delegate.GPU and self.session.tool.caches_kernels()
        run = replace(case.run(load), cache_folder=_CACHE if cached else None)
        if cached:
            self.session.device.require(f"mkdir -p {_CACHE}", "make a kernel cache")
        self.session.make_ready(cool=True, progress=self.progress)
        began = time.monotonic()
        while (at_s := time.monotonic() - began) < duration_s:
            self.progress(f"{self.session.device.serial} sustained", int(at_s), int(duration_s))
            invocation = self._invoke(case, run, "sustained", cool=False)
            case.invocations.append(invocation)
            case.sustained.append(_point(at_s, invocation))

    def _invoke(
        self, case: CaseRun, run: Run, purpose: Purpose, *, cool: bool = True
    ) -> Invocation:
        return invoke(
            self.session,
            run,
            purpose,
            cpu_mask=case.cpu_mask,
            cool=cool,
            progress=self.progress,
        )


def _point(at_s: float, invocation: Invocation) -> CurvePoint:
    runs, after = invocation.runs, invocation.after
    return CurvePoint(
        at_s=at_s,
        seconds=invocation.seconds,
        runs=runs.count,
        busy=runs.count * (runs.mean_ms or 0.0) / 1000 / invocation.seconds,
        latency_ms=latency_ms(invocation),
        thermal_status=after.thermal_status,
        battery_celsius=after.battery_celsius,
        max_khz=after.max_khz,
    )


def _note(case: CaseRun, text: str) -> None:
    if text not in case.notes:
        case.notes.append(text)
