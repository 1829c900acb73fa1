"""Latency of files on this host, in interleaved rounds.

Start-up and memory of each file are measured in a process of its own.
"""

import contextlib
import datetime
import json
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

import numpy as np

from edgesr import __version__
from edgesr.benchmark.record import (
    NO_OPERATOR_TIMES,
    FileFacts,
    GpuFacts,
    HostCase,
    HostConditions,
    HostMachine,
    HostRecord,
    HostSetting,
    HostSummary,
)
from edgesr.benchmark.summary import run_statistics
from edgesr.benchmark.timing import Float64Array, time_interleaved
from edgesr.common import subprocesses
from edgesr.common.machine import processor, system
from edgesr.common.progress import ProgressCallback, silent
from edgesr.errors import EdgeSRError
from edgesr.runtime.interpreter import interpreter_class
from edgesr.runtime.session import Backend, Runner, available_threads, open_model
from edgesr.weights.download import file_sha256

_MEMORY_RUNS = 2
_START_LIMIT_S = 900.0
#: More programs than half the CPUs want to run: what is measured is the others too.
_BUSY = 0.5


class HostBenchError(EdgeSRError):
    """A file gave no result on this host."""


@dataclass(frozen=True)
class HostPlan:
    """Settings, runs and time of a benchmark on this host.

    Attributes:
        settings: What is to compute, one after the other.
        runs: Runs of each file.
        warm_up: Runs of each before.
        budget_s: Time for the runs of one setting; None for as long as they take.
    """

    settings: tuple[HostSetting, ...]
    runs: int = 50
    warm_up: int = 5
    budget_s: float | None = None


@dataclass(frozen=True)
class _Start:
    cold_ms: float
    first_ms: float
    warm_ms: float
    peak_bytes: int | None


def run_host_benchmark(
    files: Sequence[Path], plan: HostPlan, *, progress: ProgressCallback = silent
) -> HostRecord:
    """Measure files on this host.

    Args:
        files: Super-resolution `.tflite` files; ratios are to the first.
        plan: What to measure, and how.
        progress: Told how far it is.

    Raises:
        ModelFileError: A file is unreadable, or not a super-resolution model.
        NoGpuError: A GPU is to compute, and there is none, or not in that precision.
        GpuRefusalError: The accelerator does not take a whole file.
        AcceleratorError: The accelerator failed.
        MissingDependencyError: There is no runtime for a setting.
        HostBenchError: A process that was to open a file failed.
    """
    named = unique_names(files)
    before = _load()
    cases = [case for setting in plan.settings for case in _measure(named, setting, plan, progress)]
    interpreter = interpreter_class()
    return HostRecord(
        created_at=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        edgesr=__version__,
        host=system(),
        files=file_facts(named),
        machine=HostMachine(
            processor=processor(),
            cpus=available_threads(),
            python=platform.python_version(),
            runtime=_version(interpreter.__module__),
            load_before=before,
            load_after=_load(),
        ),
        conditions=HostConditions(
            runs=plan.runs, warm_up_runs=plan.warm_up, budget_s=plan.budget_s
        ),
        cases=tuple(_noted(case, before) for case in cases),
    )


def combine_settings(
    backends: Sequence[Backend], threads: Sequence[int] | None
) -> tuple[HostSetting, ...]:
    """Combine backends with numbers of threads, each combination once.

    Args:
        backends: The backends; the number of threads is for those on the CPU.
        threads: CPU threads; None for all CPUs.
    """
    counts = threads or (available_threads(),)
    return tuple(
        HostSetting(backend=backend, threads=count)
        for backend in dict.fromkeys(backends)
        for count in ((None,) if backend.is_gpu else counts)
    )


def unique_names(files: Sequence[Path]) -> dict[str, Path]:
    """Name each file: its name, or its path where names collide."""
    unique = list(dict.fromkeys(files))
    names = [path.name for path in unique]
    return {path.name if names.count(path.name) == 1 else str(path): path for path in unique}


def file_facts(named: dict[str, Path]) -> tuple[FileFacts, ...]:
    """Name, digest and size of each file."""
    return tuple(
        FileFacts(name=name, sha256=file_sha256(path), size_bytes=path.stat().st_size)
        for name, path in named.items()
    )


def _measure(
    named: dict[str, Path], setting: HostSetting, plan: HostPlan, progress: ProgressCallback
) -> list[HostCase]:
    """All files with one setting."""
    with contextlib.ExitStack() as stack:
        runners: list[Runner] = []
        for path in named.values():
            runners.append(open_model(path, setting.backend, threads=setting.threads))
            stack.callback(runners[-1].close)
        taken_ms = time_interleaved(
            runners,
            runs=plan.runs,
            warm_up=plan.warm_up,
            budget_s=plan.budget_s,
            progress=lambda _, done, total: progress(str(setting), done, total),
        )
        devices = [runner.device for runner in runners]
    cases: list[HostCase] = []
    for index, (name, path) in enumerate(named.items()):
        progress(f"{setting}, start of each file", index, len(named))
        device = devices[index]
        gpu = GpuFacts(**asdict(device)) if device is not None else None
        start = _start(path, setting, _memory_runs(taken_ms[:, index], plan.budget_s))
        cases.append(
            HostCase(
                file=name,
                setting=setting,
                gpu=gpu,
                summary=_summary(taken_ms[:, index], taken_ms[:, 0], start),
                samples_ms=tuple(map(float, taken_ms[:, index])),
                notes=_notes(len(taken_ms), plan, gpu),
            )
        )
    return cases


def _summary(taken_ms: Float64Array, first_ms: Float64Array, start: _Start) -> HostSummary:
    return HostSummary(
        **run_statistics(taken_ms, first_ms),
        cold_init_ms=start.cold_ms,
        warm_init_ms=start.warm_ms,
        first_ms=start.first_ms,
        peak_mb=None if start.peak_bytes is None else start.peak_bytes / 1e6,
    )


def _notes(runs: int, plan: HostPlan, gpu: GpuFacts | None) -> tuple[str, ...]:
    notes = [NO_OPERATOR_TIMES]
    if runs < plan.runs:
        notes.append(f"{runs} of {plan.runs} runs within {plan.budget_s:g} s")
    if gpu is not None and gpu.software:
        notes.append(
            "software device: a CPU emulates the GPU; its times say nothing of a GPU's, and are "
            "not to be compared with a CPU's"
        )
    return tuple(notes)


def _noted(case: HostCase, load: float | None) -> HostCase:
    """Add a note where the machine was busy before anything was measured."""
    if load is None or load <= _BUSY * available_threads():
        return case
    busy = f"busy machine: load {load:.1f} on {available_threads()} CPUs before"
    return case.model_copy(update={"notes": (*case.notes, busy)})


def _memory_runs(taken_ms: Float64Array, budget_s: float | None) -> int:
    """Runs after the first, to see whether memory grows.

    None where they outlast the budget.
    """
    seconds = _MEMORY_RUNS * float(np.median(taken_ms)) / 1000
    return 0 if budget_s is not None and seconds > budget_s else _MEMORY_RUNS


def _start(path: Path, setting: HostSetting, runs: int) -> _Start:
    words = [str(path), setting.backend.value, str(setting.threads or 0), str(runs)]
    argv = [sys.executable, "-m", "edgesr.benchmark._startup_child", *words]
    ended = subprocesses.run_to_end(argv, _START_LIMIT_S)
    if ended.status != 0:
        raise HostBenchError(
            f"a process of its own for {path.name} failed: {ended.reason}; run again with more "
            "memory free"
        )
    answer = json.loads(ended.out.splitlines()[-1])
    if "error" in answer:
        raise HostBenchError(f"in a process of its own: {answer['error']}")
    return _Start(**answer)


def _load() -> float | None:
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):  # Windows has none
        return None


def _version(module: str) -> str:
    """Package and version of a runtime, from the module of its interpreter."""
    package = module.partition(".")[0].replace("_", "-")
    try:
        return f"{package} {metadata.version(package)}"
    except metadata.PackageNotFoundError:
        return package
