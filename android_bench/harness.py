"""Benchmark of files on devices, which leaves nothing behind on them.

One thread per device; the main thread waits, so that it is the one that an interruption reaches. It
then tells the others to stop, and waits until each has cleaned its device.
"""

import concurrent.futures
import datetime
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from android_bench.benchmark_model.binary import Binary, check_abi, fetch_binary, read_binary
from android_bench.benchmark_model.invoke import PROGRAM, Session, ask_tool
from android_bench.correctness import Expected, TorchReference, expect
from android_bench.device.adb import Device, choose_devices, find_adb
from android_bench.device.info import read_facts
from android_bench.device.workspace import check_space, put, workspace
from android_bench.errors import StoppedError
from android_bench.plan import CaseRun, Plan, measure_cases
from android_bench.record import (
    BenchRecord,
    Case,
    Conditions,
    DeviceRecord,
    Failure,
    ToolFacts,
)
from edgesr import __version__
from edgesr.benchmark.host import file_facts, unique_names
from edgesr.common.machine import system
from edgesr.common.progress import ProgressCallback, silent
from edgesr.errors import EdgeSRError
from edgesr.tflite.schema import read_model_bytes

_SERIAL_VARIABLE = "ANDROID_SERIAL"  # adb's own


@dataclass(frozen=True)
class _Outcome:
    """Result of one device."""

    device: DeviceRecord | None
    cases: tuple[Case, ...]
    failures: tuple[Failure, ...]


@dataclass(frozen=True)
class _Task:
    """Work that every device does."""

    files: Mapping[str, Path]
    plan: Plan
    binary_for: Callable[[str], Binary]
    expected: Mapping[str, Expected]
    progress: ProgressCallback


def run_benchmark(
    files: Sequence[Path],
    plan: Plan,
    *,
    serials: Sequence[str] = (),
    binary: Path | None = None,
    images: Sequence[Path] | None = None,
    torch: Mapping[Path, TorchReference] | None = None,
    progress: ProgressCallback = silent,
) -> BenchRecord:
    """Measure files on devices.

    Args:
        files: `.tflite` files.
        plan: What to measure, and how.
        serials: Which devices; by default `ANDROID_SERIAL`, else the only one there is.
        binary: The benchmark_model to push; by default TensorFlow's, fetched once.
        images: To compare outputs on, none of them for the test card; None to compare nothing.
        torch: File -> the network that it was made from, to compare outputs with too.
        progress: Called by every device's thread, by one at a time.

    Returns:
        Results and failures; at least one of either per device.

    Raises:
        AdbError: There is no adb, no device, or it is not clear which.
        BinaryError: The benchmark_model is none for Android.
        ModelFileError: A file is no `.tflite`, or none that can be compared.
        ImageError: An image cannot be used.
    """
    named = unique_names(files)
    for path in files:
        read_model_bytes(path)
    given = read_binary(binary) if binary is not None else None
    stop = threading.Event()
    adb = find_adb(stop)
    default = os.environ.get(_SERIAL_VARIABLE)
    wanted = serials or ([default] if default else [])
    devices = [Device(adb, listed.serial) for listed in choose_devices(adb.devices(), wanted)]
    expected: dict[str, Expected] = {}
    if images is not None:
        networks = torch or {}
        expected = {name: expect(path, images, networks.get(path)) for name, path in named.items()}
    lock, report_lock = threading.Lock(), threading.Lock()

    def binary_for(abi: str) -> Binary:
        with lock:  # devices of one kind share one download
            return given or fetch_binary(abi, progress=report)

    def report(stage: str, done: int, total: int) -> None:
        with report_lock:
            progress(stage, done, total)

    task = _Task(named, plan, binary_for, expected, report)
    outcomes = _in_threads(
        [lambda device=device: _measure(device, task) for device in devices], stop
    )
    return _record(named, plan, adb.version(), outcomes)


def _record(
    named: dict[str, Path], plan: Plan, adb: str, outcomes: Sequence[_Outcome]
) -> BenchRecord:
    return BenchRecord(
        created_at=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        edgesr=__version__,
        adb=adb,
        host=system(),
        conditions=Conditions(
            load=plan.load,
            repeats=plan.repeats,
            pinned=plan.pinned,
            cool_battery_celsius=plan.cooldown.battery_celsius,
            sustained_s=plan.sustained_s,
        ),
        files=file_facts(named),
        devices=tuple(o.device for o in outcomes if o.device is not None),
        cases=tuple(case for outcome in outcomes for case in outcome.cases),
        failures=tuple(failure for outcome in outcomes for failure in outcome.failures),
    )


def _in_threads(tasks: Sequence[Callable[[], _Outcome]], stop: threading.Event) -> list[_Outcome]:
    """Run tasks in threads; when interrupted, stop them and wait."""
    with concurrent.futures.ThreadPoolExecutor(max_workers=len(tasks)) as pool:
        futures = [pool.submit(task) for task in tasks]
        try:
            concurrent.futures.wait(futures)
        except BaseException:
            stop.set()
            _wait_in_any_case(futures)
            raise
        return [future.result() for future in futures]


def _wait_in_any_case(futures: Sequence[concurrent.futures.Future[_Outcome]]) -> None:
    """Wait through interruptions for the cleaning, which has time limits."""
    while True:
        try:
            concurrent.futures.wait(futures)
            return
        except KeyboardInterrupt:
            continue


def _measure(device: Device, task: _Task) -> _Outcome:
    """Measure on one device; an error becomes its result."""
    try:
        return _measure_or_raise(device, task)
    except StoppedError:
        raise
    except EdgeSRError as error:
        log = getattr(error, "log", "")
        failure = Failure(device=device.serial, file=None, setting=None, error=str(error), log=log)
        return _Outcome(None, (), (failure,))


def _measure_or_raise(device: Device, task: _Task) -> _Outcome:
    facts = read_facts(device)
    binary = task.binary_for(facts.abis[0] if facts.abis else "")
    check_abi(binary, facts.abis, device.serial)
    sizes = [path.stat().st_size for path in task.files.values()]
    outputs = [s.hr_nhwc.nbytes * 2 for e in task.expected.values() for s in e.samples]
    free_kib = check_space(device, binary.size_bytes + sum(sizes) + max(outputs, default=0))
    plan = task.plan
    with workspace(device):
        task.progress(f"{device.serial} is prepared", 0, 0)
        put(device, binary.path, "benchmark_model")
        device.require(f"chmod 755 {PROGRAM}", "make benchmark_model executable")
        models = {
            name: put(device, path, f"model{index}.tflite")
            for index, (name, path) in enumerate(task.files.items())
        }
        tool = ask_tool(device, binary)
        before = plan.cooldown.wait(device, task.progress)
        session = Session(device, tool, plan.cooldown, before.boot_id, plan.limit_s)
        cases = [
            CaseRun.of(name, models[name], setting, facts, plan)
            for name in task.files
            for setting in plan.settings
        ]
        after = measure_cases(session, cases, plan, task.expected, task.progress)
    record = DeviceRecord(
        facts=facts,
        tool=ToolFacts(
            sha256=binary.sha256,
            size_bytes=binary.size_bytes,
            abi=binary.abi,
            source=binary.source,
            flavour=tool.flavour,
        ),
        free_kib=free_kib,
        before=before,
        after=after,
    )
    return _Outcome(
        record,
        tuple(case.record(device.serial) for case in cases if case.failure is None),
        tuple(case.failed(device.serial) for case in cases if case.failure is not None),
    )
