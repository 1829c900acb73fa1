"""The phone's part of `edgesr bench`: settings from options, a record for people and programs."""

import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from android_bench.cases import Plan
from android_bench.check import TorchReference
from android_bench.command import Delegate, GpuBackend, Load, Precision, Setting
from android_bench.cooldown import Cooldown
from android_bench.errors import BenchError, SettingError
from android_bench.harness import run_benchmark
from android_bench.measured import REFERENCES
from android_bench.protocol import load_protocol, scored
from android_bench.record import BenchRecord, Case
from edgesr.cli.bench_options import PhoneOptions, refuse_beside_protocol
from edgesr.cli.bench_records import give_out
from edgesr.cli.bench_torch import find_networks
from edgesr.cli.progress_bar import progress_bar
from edgesr.errors import PictureError

_PHONE_THREADS = (4,)
_PICTURES = 2
_PIPE_WIDTH = 160
_OPERATORS = 10


def settings(
    delegates: Sequence[str],
    precisions: Sequence[str],
    gpu_backend: str | None,
    threads: Sequence[int],
) -> tuple[Setting, ...]:
    """Every combination that can be.

    Raises:
        SettingError: A delegate has none of the precisions, or an option means nothing.
    """
    if gpu_backend is not None and "gpu" not in delegates:
        raise SettingError(f"got --gpu-backend {gpu_backend} without --delegate gpu")
    found: list[Setting] = []
    for delegate in map(Delegate, dict.fromkeys(delegates)):
        on_gpu = delegate is Delegate.GPU
        default = Precision.FP32 if delegate.on_cpu else Precision.FP16
        wanted = [Precision(name) for name in dict.fromkeys(precisions)] or [default]
        if delegate is Delegate.CPU and len(wanted) > 1:
            wanted = [Precision.FP32]  # the other is for the other delegates
        backend = GpuBackend(gpu_backend) if on_gpu and gpu_backend else None
        for precision in wanted:
            for count in threads if delegate.on_cpu else (None,):
                found.append(Setting(delegate, precision, backend, count))
    return tuple(found)


def measured(
    files: Sequence[Path],
    options: PhoneOptions,
    threads: tuple[int, ...] | None,
    runs: int,
    warm_up: int,
) -> BenchRecord:
    """The whole measurement with --on android, scored where there is a protocol.

    Args:
        files: The `.tflite` files.
        options: The options of phones.
        threads: CPU threads; None for the usual number.
        runs: Of one invocation.
        warm_up: Runs before these.

    Raises:
        EdgeSRError: The options do not fit, or no file can be measured.
        click.UsageError: An option stands beside a protocol that fixes it.
    """
    rules = None
    if options.protocol is None:
        plan = _plan(options, threads or _PHONE_THREADS, runs, warm_up)
    else:
        refuse_beside_protocol()
        rules = load_protocol(options.protocol)
        plan = rules[0].plan(
            limit_s=options.time_limit,
            sustained_s=_seconds(options.sustained),
            profile=options.profile,
        )
    pictures = choose_pictures(options.pictures) if options.checks else None
    networks = (
        find_networks(files, options.checkpoints, required=options.check_torch)
        if options.checks
        else {}
    )
    record = measure(files, plan, options.serials, options.binary, pictures, networks)
    return record if rules is None else scored(record, *rules)


def _plan(options: PhoneOptions, threads: tuple[int, ...], runs: int, warm_up: int) -> Plan:
    """What the options ask for where no protocol does."""
    return Plan(
        settings=settings(options.delegates, options.precisions, options.gpu_backend, threads),
        load=Load(runs=runs, warm_up_runs=warm_up, max_secs=options.time_limit / 3),
        repeats=options.repeats,
        pinned=options.pin,
        cooldown=Cooldown(battery_celsius=options.max_battery, limit_s=options.cool_down),
        limit_s=options.time_limit,
        sustained_s=_seconds(options.sustained),
        profile=options.profile,
    )


def _seconds(minutes: float | None) -> float | None:
    return None if minutes is None else 60 * minutes


def choose_pictures(folder: Path | None) -> list[Path]:
    """The first pictures of a folder by name; none for the test card.

    Raises:
        PictureError: It holds none.
    """
    from edgesr.images import SUFFIXES

    if folder is None:
        return []
    try:
        found = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES)
    except OSError as error:
        raise PictureError(f"cannot read {folder}: {error.strerror or error}") from error
    if not found:
        raise PictureError(f"{folder} holds no picture, allowed {', '.join(SUFFIXES)}")
    return found[:_PICTURES]


def measure(
    files: Sequence[Path],
    plan: Plan,
    serials: Sequence[str],
    binary: Path | None,
    pictures: Sequence[Path] | None,
    torch: Mapping[Path, TorchReference],
) -> BenchRecord:
    """Measure with a progress bar."""
    lock = threading.Lock()
    with progress_bar() as report:

        def progress(stage: str, done: int, total: int) -> None:
            with lock:  # every phone has a thread
                report(stage, done, total)

        return run_benchmark(
            files,
            plan,
            serials=serials,
            binary=binary,
            pictures=pictures,
            torch=torch,
            progress=progress,
        )


def show(record: BenchRecord, *, as_json: bool, output: Path | None, force: bool) -> None:
    """Print and write what was measured, and fail if anything failed.

    Raises:
        BenchError: Something gave no result, or computes something else than this host.
    """
    if record.cases:
        give_out(
            record,
            as_json=as_json,
            output=output,
            force=force,
            table=lambda: _table(record),
        )
    problems = [_failure(record, index) for index in range(len(record.failures))]
    problems += [
        f"{case.file} with {case.setting} on {case.device}: {check.picture} differs from "
        f"{REFERENCES[check.reference]}: {_difference(check.psnr_db, check.max_abs)}, allowed "
        f"{check.gate}"
        for case in record.cases
        for check in case.fidelity
        if not check.passed
    ]
    if problems:
        for text in problems[1:]:
            click.echo(f"edgesr: failed: {text}", err=True)
        raise BenchError(problems[0])


def _failure(record: BenchRecord, index: int) -> str:
    failure = record.failures[index]
    if failure.file is None:
        return failure.error
    return f"{failure.file} with {failure.setting} on {failure.device}: {failure.error}"


def _difference(psnr_db: float | None, max_abs: float | None) -> str:
    if max_abs is None:
        return "NaN or infinity"
    return f"max abs {max_abs:.2g}" + (f", PSNR {psnr_db:.1f} dB" if psnr_db is not None else "")


def _table(record: BenchRecord) -> None:
    console = Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH)
    for device in record.devices:
        facts, health = device.facts, device.before
        battery = f", battery {health.battery_celsius:g} C" if health.battery_celsius else ""
        click.echo(
            f"{facts.manufacturer} {facts.model} ({facts.serial}): {facts.soc}, Android "
            f"{facts.android}, {facts.abis[0]}{battery}"
        )
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        table.add_column("file", overflow="fold")
        table.add_column("setting", no_wrap=True)
        for name in ("ms", "repeats", "p95", "fps", "first", "init", "warm", "peak MB", "ratio"):
            table.add_column(name, justify="right", no_wrap=True)
        cases = [case for case in record.cases if case.device == facts.serial]
        for case in cases:
            table.add_row(*map(Text, _row(case, cases[0])))
        console.print(table)
        for case in cases:
            _remarks(case)
            if (operators := _operators(case)) is not None:
                console.print(operators)
        _scores(record, facts.serial)


def _row(case: Case, first: Case) -> list[str]:
    got = case.summary
    return [
        case.file,
        str(case.setting),
        f"{got.latency_ms:.2f}",
        f"{got.lowest_ms:.2f}-{got.highest_ms:.2f}",
        _number(got.p95_ms),
        f"{got.frames_per_second:.1f}",
        _number(got.first_ms),
        _number(got.init_ms),
        _number(got.warm_init_ms),
        _number(got.peak_mb),
        f"{got.latency_ms / first.summary.latency_ms:.2f}",
    ]


def _remarks(case: Case) -> None:
    """What does not fit into a table."""
    named = f"{case.file} with {case.setting}"
    if case.summary.statistic == "median of means":
        click.echo(f"{named}: medians of means, this benchmark_model gives no medians")
    for check in case.fidelity:
        verdict = "passed" if check.passed else "FAILED"
        click.echo(
            f"{named}: {check.picture}: {_difference(check.psnr_db, check.max_abs)} from "
            f"{REFERENCES[check.reference]}, {check.gate}: {verdict}"
        )
    if case.sustained:
        start, end = case.sustained[0], case.sustained[-1]
        click.echo(
            f"{named}: sustained {start.latency_ms:.2f} ms at first, {end.latency_ms:.2f} ms "
            f"after {end.at_s + end.seconds:.0f} s"
        )
    for note in case.notes:
        click.echo(f"{named}: {note}")


def _operators(case: Case) -> Table | None:
    """Those that take most; all of them are in the record and in the report."""
    if case.profile is None:
        return None
    found = case.profile.inside or case.profile.operators
    shown = sorted(found, key=lambda one: -one.percent)[:_OPERATORS]
    rest = f", the first {len(shown)} of {len(found)}" if len(shown) < len(found) else ""
    table = Table(
        title=f"{case.file} with {case.setting}: what each operator takes{rest}",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    table.add_column("operator", overflow="fold")
    table.add_column("name", overflow="fold")
    for name in ("%", "ms", "calls"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in shown:
        numbers = (f"{one.percent:.1f}", f"{one.mean_ms:.3f}", str(one.calls))
        table.add_row(*map(Text, (one.kind, one.name, *numbers)))
    return table


def _scores(record: BenchRecord, serial: str) -> None:
    for score in record.scores:
        if score.device != serial or record.protocol is None:
            continue
        missing = ", ".join(s.name for s in score.sections if s.points is None)
        points = f"no score, {missing} failed" if score.points is None else f"{score.points:.1f}"
        click.echo(f"{score.file}: {points} ({record.protocol.name}: {record.protocol.formula})")


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
