"""`edgesr bench host`: latency of files on this host."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgesr.cli.bench.options import files_argument, output_options, run_options
from edgesr.cli.support.lines import print_line

if TYPE_CHECKING:
    from edgesr.benchmark.record import HostCase, HostRecord

_BACKENDS = ("cpu", "cpu-fp16", "gpu", "gpu-fp16")


@click.command(
    epilog="""\b
Examples:
  edgesr bench host imdn-rtc_x2_720x480_fp16.tflite
  edgesr bench host a.tflite b.tflite --backend cpu --backend cpu-fp16 --threads 2 -o host.json
"""
)
@files_argument
@click.option(
    "--backend",
    "backends",
    type=click.Choice(_BACKENDS),
    multiple=True,
    default=("cpu",),
    show_default=True,
    help="Backend; may be repeated. -fp16 computes every operator in FP16.",
)
@click.option(
    "--budget",
    type=click.FloatRange(0, min_open=True),
    metavar="SECONDS",
    help="Time for the runs of one backend; then there are fewer of them.",
)
@run_options("all CPUs of this host")
@output_options
def command(
    *,
    files: tuple[Path, ...],
    backends: tuple[str, ...],
    budget: float | None,
    threads: tuple[int, ...] | None,
    runs: int,
    warm_up: int,
    as_json: bool,
    output: Path | None,
    force: bool,
) -> None:
    """Measure the latency of .tflite FILEs on this host, in interleaved rounds.

    `edgesr bench compare` and `edgesr bench report` read the records.
    """
    from edgesr.benchmark.host import HostPlan, combine_settings, run_host_benchmark
    from edgesr.cli.bench.records import output_record
    from edgesr.cli.support.progress_bar import progress_bar
    from edgesr.common.files import check_writable
    from edgesr.runtime.session import Backend

    chosen = [Backend(name) for name in backends]
    if threads is not None and all(backend.is_gpu for backend in chosen):
        raise click.UsageError("got --threads, which is for the backends cpu and cpu-fp16")
    if output is not None:
        check_writable(output, overwrite=force, inputs=files)
    plan = HostPlan(combine_settings(chosen, threads), runs, warm_up, budget)
    with progress_bar() as progress:
        record = run_host_benchmark(files, plan, progress=progress)
    output_record(
        record,
        as_json=as_json,
        output=output,
        force=force,
        inputs=files,
        print_table=lambda: _table(record),
    )


def _table(record: "HostRecord") -> None:
    from edgesr.benchmark.record import NO_OPERATOR_TIMES
    from edgesr.cli.support.tables import make_table, print_table
    from edgesr.runtime.gpu import describe_device

    machine = record.machine
    load = "" if machine.load_before is None else f", load {machine.load_before:.1f} before"
    print_line(f"{machine.processor}, {machine.cpus} CPUs, {machine.runtime}{load}")
    table = make_table()
    table.add_column("file", overflow="fold")
    table.add_column("setting", no_wrap=True)
    for name in (
        *("median ms", "p90", "p95", "mean", "std", "min", "max", "fps"),
        *("first", "cold", "warm", "peak MB", "ratio"),
    ):
        table.add_column(name, justify="right", no_wrap=True)
    for case in record.cases:
        table.add_row(*_row(case))
    print_table(table)
    for device in dict.fromkeys(case.gpu for case in record.cases if case.gpu is not None):
        print_line(f"GPU: {describe_device(device)}")
    for note in dict.fromkeys(note for case in record.cases for note in case.notes):
        noted = [case for case in record.cases if note in case.notes]
        names = ", ".join(f"{c.file} with {c.setting}" for c in noted)
        everywhere = len(noted) == len(record.cases) or note == NO_OPERATOR_TIMES
        print_line(note if everywhere else f"{names}: {note}")


def _row(case: "HostCase") -> list[str]:
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
