"""`edgesr bench android`: latency of files on Android devices, over adb."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from edgesr.cli.bench.options import files_argument, output_options, run_options
from edgesr.cli.support.lines import print_line
from edgesr.cli.support.termination import no_time_limit

if TYPE_CHECKING:
    from android_bench.plan import Plan
    from android_bench.record import BenchRecord

_DELEGATES = ("cpu", "xnnpack", "gpu", "nnapi")
_DEVICE_THREADS = (4,)
#: Parameters that a protocol fixes.
_OF_PROTOCOL = (
    *("delegates", "precisions", "gpu_backend", "threads"),
    *("runs", "warm_up", "repeats", "cool_down", "max_battery", "pin"),
)


@dataclass(frozen=True)
class _Options:
    """Values of the options; each attribute is the option of its name."""

    serials: tuple[str, ...]
    delegates: tuple[str, ...]
    precisions: tuple[str, ...]
    gpu_backend: str | None
    protocol: str | None
    binary: Path | None
    repeats: int
    sustained: float | None
    profile: bool
    check: bool
    check_torch: bool
    checkpoints: tuple[Path, ...]
    images: Path | None
    cool_down: float
    max_battery: float
    time_limit: float
    pin: bool
    threads: tuple[int, ...] | None
    runs: int
    warm_up: int

    @property
    def checks(self) -> bool:
        """Whether outputs are compared."""
        return self.check or self.check_torch

    @property
    def sustained_s(self) -> float | None:
        """Duration of the sustained mode in seconds."""
        return None if self.sustained is None else 60 * self.sustained


@click.command(
    epilog="""\b
Examples:
  edgesr bench android imdn-rtc_x2_720x480_fp16.tflite
  edgesr bench android a.tflite b.tflite --delegate gpu --delegate xnnpack --threads 1,4
  edgesr bench android a.tflite --precision fp16 --precision fp32 --check -o device.json
  edgesr bench android a.tflite --protocol phone-sr-1
""",
)
@files_argument
@click.option(
    "--serial",
    "serials",
    metavar="S",
    multiple=True,
    help="Device, as `adb devices` lists it; may be repeated, they run at the same time. Default: "
    "ANDROID_SERIAL, else the only one there is.",
)
@click.option(
    "--delegate",
    "delegates",
    type=click.Choice(_DELEGATES),
    multiple=True,
    default=("gpu",),
    show_default=True,
    help="Delegate that must run the whole graph; may be repeated. cpu is TFLite without XNNPACK.",
)
@click.option(
    "--precision",
    "precisions",
    type=click.Choice(["fp16", "fp32"]),
    multiple=True,
    help="Precision of the arithmetic; may be repeated. Default: fp16 on gpu and nnapi, else fp32.",
)
@click.option(
    "--gpu-backend",
    type=click.Choice(["cl", "gl"]),
    help="Exactly this. Default: OpenCL, else OpenGL.",
)
@click.option(
    "--protocol",
    metavar="NAME|FILE",
    help="Measure by a protocol and compute scores, in place of the options that it fixes.",
)
@click.option(
    "--binary",
    type=click.Path(path_type=Path),
    help="benchmark_model to push, TensorFlow's or LiteRT's. Default: TensorFlow's nightly "
    "build, downloaded once.",
)
@click.option(
    "--repeats",
    type=click.IntRange(1),
    default=3,
    show_default=True,
    help="Invocations of benchmark_model for each file and setting, in interleaved rounds.",
)
@click.option(
    "--sustained",
    type=click.FloatRange(0, min_open=True),
    metavar="MINUTES",
    help="Then run that long back to back, for a curve over time.",
)
@click.option(
    "--profile",
    is_flag=True,
    help="Also time each operator, in a run of its own. A GPU delegate is one operator.",
)
@click.option(
    "--check",
    is_flag=True,
    help="Compare outputs with this host's CPU and, where its weights are available, with the "
    "PyTorch network that the file was made from.",
)
@click.option("--check-torch", is_flag=True, help="The same; to lack that network is an error.")
@click.option(
    "--checkpoint",
    "checkpoints",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Weights of your own for --check; a file uses those that it names. May be repeated.",
)
@click.option(
    "--images",
    "--pictures",  # its name until 2026-11
    "images",
    type=click.Path(path_type=Path),
    help="Folder of images for --check, the first two of which are used. Default: a test card.",
)
@click.option(
    "--cool-down",
    type=click.FloatRange(0),
    default=600.0,
    show_default=True,
    metavar="SECONDS",
    help="Longest wait for a warm device before each invocation.",
)
@click.option(
    "--max-battery",
    type=click.FloatRange(0, 60),
    default=38.0,
    show_default=True,
    metavar="CELSIUS",
    help="Wait while the battery is warmer.",
)
@click.option(
    "--time-limit",
    type=click.FloatRange(1),
    default=600.0,
    show_default=True,
    metavar="SECONDS",
    help="Of one invocation.",
)
@click.option(
    "--pin/--no-pin", default=True, show_default=True, help="Pin the program to the fastest cores."
)
@run_options("4")
@output_options
def command(
    *,
    files: tuple[Path, ...],
    as_json: bool,
    output: Path | None,
    force: bool,
    **values: Any,  # noqa: ANN401 - what click gives for the fields of _Options
) -> None:
    """Measure the latency of .tflite FILEs on Android devices, in interleaved rounds.

    benchmark_model runs over adb. A result counts only where its log proves that the delegate ran
    the whole graph, where the device was cool and did not throttle, and where benchmark_model
    ignored no flag; anything else is an error and exits with status 1. Nothing is left on the
    device.
    """
    from android_bench.errors import BenchError
    from android_bench.results import describe_problems
    from edgesr.cli.bench.android_tables import print_record
    from edgesr.cli.bench.records import output_record
    from edgesr.common.files import check_writable, input_files

    options = _Options(**values)
    for name, given in (("--images", options.images), ("--checkpoint", options.checkpoints)):
        if given and not options.checks:
            raise click.UsageError(f"got {name} without --check; add it")
    inputs = input_files([*files, options.binary, options.protocol, *options.checkpoints])
    if output is not None:
        check_writable(output, overwrite=force, inputs=inputs)
    with no_time_limit():  # the devices are cleaned first
        record = _measure(files, options)
    if record.cases:
        output_record(
            record,
            as_json=as_json,
            output=output,
            force=force,
            inputs=inputs,
            print_table=lambda: print_record(record),
        )
    problems = describe_problems(record)
    for text in problems[1:]:
        print_line(f"edgesr: failed: {text}", err=True)
    if problems:
        raise BenchError(problems[0])


def _measure(files: tuple[Path, ...], options: _Options) -> "BenchRecord":
    """The record, scored where there is a protocol."""
    from android_bench.correctness import choose_images
    from android_bench.harness import run_benchmark
    from android_bench.protocol import load_protocol, scored
    from converters.parity.device_reference import find_networks
    from edgesr.cli.support.progress_bar import progress_bar

    protocol = None
    if options.protocol is None:
        plan = _plan(options)
    else:
        _refuse_beside_protocol()
        protocol = load_protocol(options.protocol)
        plan = protocol[0].plan(
            limit_s=options.time_limit,
            sustained_s=options.sustained_s,
            profile=options.profile,
        )
    images = choose_images(options.images) if options.checks else None
    with progress_bar() as progress:
        networks = (
            find_networks(
                files, options.checkpoints, required=options.check_torch, progress=progress
            )
            if options.checks
            else {}
        )
        record = run_benchmark(
            files,
            plan,
            serials=options.serials,
            binary=options.binary,
            images=images,
            torch=networks,
            progress=progress,
        )
    return record if protocol is None else scored(record, *protocol)


def _plan(options: _Options) -> "Plan":
    """The plan by the options, where there is no protocol."""
    from android_bench.benchmark_model.command import Delegate, GpuBackend, Load, combine_settings
    from android_bench.device.cooldown import Cooldown
    from android_bench.plan import Plan
    from edgesr.runtime.precision import ComputePrecision

    return Plan(
        settings=combine_settings(
            [Delegate(name) for name in options.delegates],
            [ComputePrecision(name) for name in options.precisions],
            None if options.gpu_backend is None else GpuBackend(options.gpu_backend),
            options.threads or _DEVICE_THREADS,
        ),
        load=Load(runs=options.runs, warm_up_runs=options.warm_up, max_secs=options.time_limit / 3),
        repeats=options.repeats,
        pinned=options.pin,
        cooldown=Cooldown(battery_celsius=options.max_battery, limit_s=options.cool_down),
        limit_s=options.time_limit,
        sustained_s=options.sustained_s,
        profile=options.profile,
    )


def _refuse_beside_protocol() -> None:
    """Refuse options that a protocol fixes, because scores would not be comparable."""
    context = click.get_current_context()
    for parameter in context.command.params:
        name = parameter.name or ""
        given = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if given and name in _OF_PROTOCOL:
            raise click.UsageError(
                f"got {parameter.opts[0]} beside --protocol, which fixes it; write a protocol of "
                "your own"
            )
