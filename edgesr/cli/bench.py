"""`edgesr bench`: how long files take where they run."""

import importlib
from pathlib import Path
from typing import Any

import click

from edgesr.cli.bench_options import (
    PhoneOptions,
    common_options,
    host_options,
    phone_options,
    refuse_others_options,
)

#: First word -> module that holds the command.
_COMMANDS = {"compare": "edgesr.cli.bench_compare", "report": "edgesr.cli.bench_report"}


class _Bench(click.Command):
    """A command whose first argument may be the name of another instead of a file."""

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,  # noqa: ANN401 - as click has it
    ) -> click.Context:
        if args and args[0] in _COMMANDS:
            command: click.Command = importlib.import_module(_COMMANDS[args[0]]).command
            return command.make_context(f"{info_name} {args[0]}", args[1:], parent, **extra)
        return super().make_context(info_name, args, parent, **extra)


@click.command(
    cls=_Bench,
    epilog="""\b
Examples:
  edgesr bench a.tflite b.tflite --on host --backend cpu --backend cpu-fp16 --threads 2
  edgesr bench imdn-rtc_x2_720x480_fp16.tflite --on android
  edgesr bench a.tflite b.tflite --on android --delegate gpu --delegate xnnpack --threads 1,4
  edgesr bench a.tflite --on android --precision fp16 --precision fp32 --check -o a.json
  edgesr bench compare old.json new.json --max-regression 5%
  edgesr bench report new.json -o new.html
""",
)
@click.argument(
    "files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path)
)
@click.option(
    "--on",
    "where",
    type=click.Choice(["host", "android"]),
    required=True,
    help="Where to run: here, or on phones over adb.",
)
@host_options
@phone_options
@common_options
def command(
    *,
    files: tuple[Path, ...],
    where: str,
    backends: tuple[str, ...],
    budget: float | None,
    threads: tuple[int, ...] | None,
    runs: int,
    warm_up: int,
    as_json: bool,
    output: Path | None,
    force: bool,
    **phone: Any,  # noqa: ANN401 - what click gives for the fields of PhoneOptions
) -> None:
    """Measure the latency of .tflite FILEs, in turns.

    Options of host are for --on host alone; those of no mark but --threads, --runs, --warm-up and
    the output are for phones. `edgesr bench compare` and `edgesr bench report` take the records.

    On a phone, benchmark_model runs over adb. A result counts only where its log proves that the
    delegate ran the whole graph, where the phone was cool and did not throttle, and where
    benchmark_model ignored no flag; anything else is an error and exits with status 1. Nothing is
    left on the phone.
    """
    from edgesr.files import check_writable

    refuse_others_options(where)
    options = PhoneOptions(**phone)
    options.refuse_useless()
    if output is not None:
        check_writable(output, overwrite=force)
    if where == "host":
        from edgesr.benching.host import HostPlan
        from edgesr.cli import bench_host

        plan = HostPlan(bench_host.settings(backends, threads), runs, warm_up, budget)
        bench_host.measure_and_show(files, plan, as_json=as_json, output=output, force=force)
        return
    from edgesr.cli import bench_android

    record = bench_android.measured(files, options, threads, runs, warm_up)
    bench_android.show(record, as_json=as_json, output=output, force=force)
