"""This host's part of `edgesr bench`: settings from options, a record for people and programs."""

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from edgesr.benching.host import HostPlan, run_host_benchmark
from edgesr.benching.record import NO_OPERATOR_TIMES, HostCase, HostRecord, HostSetting
from edgesr.cli.bench_records import give_out
from edgesr.cli.progress_bar import progress_bar
from edgesr.runtime import Backend, available_threads

_PIPE_WIDTH = 160


def settings(backends: Sequence[str], threads: Sequence[int] | None) -> tuple[HostSetting, ...]:
    """Every combination that can be.

    Args:
        backends: What computes.
        threads: CPU threads; None for all CPUs.

    Raises:
        UsageError: Threads are given and only GPUs compute.
    """
    chosen = [Backend(name) for name in dict.fromkeys(backends)]
    if threads is not None and all(backend.is_gpu for backend in chosen):
        raise click.UsageError("got --threads, which is for the backends cpu and cpu-fp16")
    counts = threads or (available_threads(),)
    return tuple(
        HostSetting(backend=backend, threads=count)
        for backend in chosen
        for count in ((None,) if backend.is_gpu else counts)
    )


def measure_and_show(
    files: Sequence[Path], plan: HostPlan, *, as_json: bool, output: Path | None, force: bool
) -> None:
    """The whole command with --on host.

    Raises:
        EdgeSRError: A file cannot be measured, or the record not be written.
    """
    with progress_bar() as progress:
        record = run_host_benchmark(files, plan, progress=progress)
    give_out(record, as_json=as_json, output=output, force=force, table=lambda: show(record))


def show(record: HostRecord) -> None:
    """Print what was measured."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    machine = record.machine
    load = "" if machine.load_before is None else f", load {machine.load_before:.1f} before"
    click.echo(f"{machine.processor}, {machine.cpus} CPUs, {machine.runtime}{load}")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("file", overflow="fold")
    table.add_column("setting", no_wrap=True)
    for name in (
        *("median ms", "p90", "p95", "mean", "std", "min", "max", "fps"),
        *("first", "cold", "warm", "peak MB", "ratio"),
    ):
        table.add_column(name, justify="right", no_wrap=True)
    for case in record.cases:
        table.add_row(*map(Text, _row(case)))
    Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH).print(table)
    for device in dict.fromkeys(case.gpu for case in record.cases if case.gpu is not None):
        from edgesr.gpu import describe_device

        click.echo(f"GPU: {describe_device(device)}")
    common = [note for note in dict.fromkeys(n for c in record.cases for n in c.notes)]
    for note in common:
        whose = [case for case in record.cases if note in case.notes]
        names = ", ".join(f"{c.file} with {c.setting}" for c in whose)
        everyone = len(whose) == len(record.cases) or note == NO_OPERATOR_TIMES
        click.echo(note if everyone else f"{names}: {note}")


def _row(case: HostCase) -> list[str]:
    got = case.summary
    return [
        case.file,
        f"{case.setting}, software device" if case.gpu and case.gpu.software else str(case.setting),
        f"{got.median_ms:.2f}",
        *(
            f"{value:.2f}"
            for value in (got.p90_ms, got.p95_ms, got.mean_ms, got.std_ms, got.min_ms, got.max_ms)
        ),
        f"{got.frames_per_second:.1f}",
        f"{got.first_ms:.1f}",
        f"{got.cold_init_ms:.1f}",
        f"{got.warm_init_ms:.1f}",
        "-" if got.peak_mb is None else f"{got.peak_mb:.0f}",
        f"{got.ratio_to_first:.3f}",
    ]
