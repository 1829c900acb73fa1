"""Files on phones: everything that is measured, in turns, and nothing left behind.

One thread per phone; the main thread waits, so that it is the one that an interruption reaches. It
then tells the others to stop, and waits until each has cleaned its phone.
"""

import concurrent.futures
import datetime
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from android_bench.adb import Phone, choose_phones, find_adb
from android_bench.binary import Binary, check_abi, fetch_binary, read_binary
from android_bench.cases import CaseRun, Plan, measure_cases
from android_bench.check import Expected, TorchReference, expect
from android_bench.device import read_facts
from android_bench.device_record import DeviceRecord, ToolFacts
from android_bench.errors import StoppedError
from android_bench.invoke import PROGRAM, Session, ask_tool
from android_bench.record import (
    BenchRecord,
    Case,
    Conditions,
    Failure,
)
from android_bench.workspace import check_space, put, workspace
from edgesr import __version__
from edgesr.benching.host import file_facts, unique_names
from edgesr.errors import EdgeSRError
from edgesr.machine import system
from edgesr.progress import ProgressCallback, silent
from edgesr.runtime import read_model_bytes

_SERIAL_VARIABLE = "ANDROID_SERIAL"  # adb's own


@dataclass(frozen=True)
class _Outcome:
    """What a phone gave."""

    device: DeviceRecord | None
    cases: tuple[Case, ...]
    failures: tuple[Failure, ...]


@dataclass(frozen=True)
class _Work:
    """What every phone is to do."""

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
    pictures: Sequence[Path] | None = None,
    torch: Mapping[Path, TorchReference] | None = None,
    progress: ProgressCallback = silent,
) -> BenchRecord:
    """Measure files on phones.

    Args:
        files: `.tflite` files.
        plan: What to measure, and how.
        serials: Which phones; by default `ANDROID_SERIAL`, else the only one there is.
        binary: The benchmark_model to push; by default TensorFlow's, fetched once.
        pictures: To compare outputs on, none of them for the test card; None to compare nothing.
        torch: File -> the network that it was made from, to compare outputs with too.
        progress: Told by every phone's thread how far it is.

    Returns:
        Results and failures; at least one of either per phone.

    Raises:
        AdbError: There is no adb, no phone, or it is not clear which.
        BinaryError: The benchmark_model is none for Android.
        ModelFileError: A file is no `.tflite`, or none that can be compared.
        PictureError: A picture cannot be used.
    """
    named = unique_names(files)
    for path in files:
        read_model_bytes(path)
    given = read_binary(binary) if binary is not None else None
    stop = threading.Event()
    adb = find_adb(stop)
    default = os.environ.get(_SERIAL_VARIABLE)
    wanted = serials or ([default] if default else [])
    phones = [Phone(adb, listed.serial) for listed in choose_phones(adb.devices(), wanted)]
    expected: dict[str, Expected] = {}
    if pictures is not None:
        networks = torch or {}
        expected = {
            name: expect(path, pictures, networks.get(path)) for name, path in named.items()
        }
    lock = threading.Lock()

    def binary_for(abi: str) -> Binary:
        with lock:  # phones of one kind share one download
            return given or fetch_binary(abi, progress=progress)

    work = _Work(named, plan, binary_for, expected, progress)
    outcomes = _in_threads([lambda phone=phone: _measure(phone, work) for phone in phones], stop)
    return BenchRecord(
        created_at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        edgesr=__version__,
        adb=adb.version(),
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
    """Run tasks side by side; when interrupted, tell them to stop and wait until they have."""
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
    """Wait for the cleaning, which has time limits of its own, through further interruptions."""
    while True:
        try:
            concurrent.futures.wait(futures)
            return
        except KeyboardInterrupt:
            continue


def _measure(phone: Phone, work: _Work) -> _Outcome:
    """Everything on one phone. What ends the phone's work is its only result."""
    try:
        return _measure_or_raise(phone, work)
    except StoppedError:
        raise
    except EdgeSRError as error:
        log = getattr(error, "log", "")
        failure = Failure(device=phone.serial, file=None, setting=None, error=str(error), log=log)
        return _Outcome(None, (), (failure,))


def _measure_or_raise(phone: Phone, work: _Work) -> _Outcome:
    facts = read_facts(phone)
    binary = work.binary_for(facts.abis[0] if facts.abis else "")
    check_abi(binary, facts.abis, phone.serial)
    sizes = [path.stat().st_size for path in work.files.values()]
    outputs = [s.hr_nhwc.nbytes * 2 for e in work.expected.values() for s in e.samples]
    free_kib = check_space(phone, binary.size_bytes + sum(sizes) + max(outputs, default=0))
    plan = work.plan
    with workspace(phone):
        work.progress(f"{phone.serial} is prepared", 0, 0)
        put(phone, binary.path, "benchmark_model")
        phone.require(f"chmod 755 {PROGRAM}", "make benchmark_model executable")
        models = {
            name: put(phone, path, f"model{index}.tflite")
            for index, (name, path) in enumerate(work.files.items())
        }
        tool = ask_tool(phone, binary)
        before = plan.cooldown.wait(phone, work.progress)
        session = Session(phone, tool, plan.cooldown, before.boot_id, plan.limit_s)
        cases = [
            CaseRun.of(name, models[name], setting, facts, plan)
            for name in work.files
            for setting in plan.settings
        ]
        after = measure_cases(session, cases, plan, work.expected, work.progress)
    device = DeviceRecord(
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
        device,
        tuple(case.record(phone.serial) for case in cases if case.failure is None),
        tuple(case.failed(phone.serial) for case in cases if case.failure is not None),
    )
