"""`edgesr bench`: how long files take where they run."""

import importlib
import re
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

_DELEGATES = ("cpu", "xnnpack", "gpu", "nnapi")
_BACKENDS = ("cpu", "cpu-fp16", "gpu", "gpu-fp16")
_HOST_ONLY = {"backends", "budget"}
_BOTH = {"files", "where", "threads", "runs", "warm_up", "as_json", "output", "force"}
_PHONE_THREADS = (4,)
#: What a protocol says.
_OF_PROTOCOL = (
    *("delegates", "precisions", "gpu_backend", "threads"),
    *("runs", "warm_up", "repeats", "cool_down", "max_battery", "pin"),
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


def _threads(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> tuple[int, ...] | None:
    """Numbers with commas between them."""
    if value is None:
        return None
    if not re.fullmatch(r"[1-9]\d?(,[1-9]\d?)*", value):
        raise click.BadParameter(f"got {value!r}, allowed numbers from 1 to 99, e.g. 1,4")
    return tuple(dict.fromkeys(map(int, value.split(","))))


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
@click.option(
    "--backend",
    "backends",
    type=click.Choice(_BACKENDS),
    multiple=True,
    default=("cpu",),
    show_default=True,
    help="host: what computes; may be repeated. -fp16 computes every operator in FP16.",
)
@click.option(
    "--budget",
    type=click.FloatRange(0, min_open=True),
    metavar="SECONDS",
    help="host: time for the runs of one backend; then there are fewer of them.",
)
@click.option(
    "--serial",
    "serials",
    metavar="S",
    multiple=True,
    help="Phone, as `adb devices` lists it; several run side by side. Default: ANDROID_SERIAL, "
    "else the only one there is.",
)
@click.option(
    "--delegate",
    "delegates",
    type=click.Choice(_DELEGATES),
    multiple=True,
    default=("gpu",),
    show_default=True,
    help="What computes; may be repeated. cpu is TFLite without XNNPACK. It must run the whole "
    "graph.",
)
@click.option(
    "--precision",
    "precisions",
    type=click.Choice(["fp16", "fp32"]),
    multiple=True,
    help="In what it computes; may be repeated. Default: fp16 on gpu and nnapi, else fp32.",
)
@click.option(
    "--gpu-backend",
    type=click.Choice(["cl", "gl"]),
    help="Exactly this. Default: OpenCL, else OpenGL.",
)
@click.option(
    "--threads",
    metavar="N,...",
    callback=_threads,
    help="CPU threads, e.g. 1,4. Default: all CPUs of this host, 4 of a phone.",
)
@click.option(
    "--protocol",
    metavar="NAME|FILE",
    help="Measure by a protocol, and give scores; in the place of the options that it fixes.",
)
@click.option(
    "--binary",
    type=click.Path(path_type=Path),
    help="benchmark_model to push, TensorFlow's or LiteRT's. Default: TensorFlow's nightly build, "
    "downloaded once.",
)
@click.option("--runs", type=click.IntRange(1), default=50, show_default=True, help="In one go.")
@click.option(
    "--warm-up", type=click.IntRange(0), default=5, show_default=True, help="Runs before."
)
@click.option(
    "--repeats",
    type=click.IntRange(1),
    default=3,
    show_default=True,
    help="How often all that, each time anew and in turns.",
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
    help="Also what each operator takes, in a run of its own. A GPU delegate is one operator.",
)
@click.option(
    "--check",
    is_flag=True,
    help="Compare outputs with this host's CPU and, where its weights are at hand, with the "
    "PyTorch network that the file was made from.",
)
@click.option("--check-torch", is_flag=True, help="The same; to lack that network is an error.")
@click.option(
    "--checkpoint",
    "checkpoints",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Weights of your own for --check; a file takes those that it names. May be repeated.",
)
@click.option(
    "--pictures",
    type=click.Path(path_type=Path),
    help="Folder of pictures for --check, the first two of which are used. Default: a test card.",
)
@click.option(
    "--cool-down",
    type=click.FloatRange(0),
    default=600.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for a warm phone before each go.",
)
@click.option(
    "--max-battery",
    type=click.FloatRange(0, 60),
    default=38.0,
    show_default=True,
    metavar="CELSIUS",
    help="A warmer battery is waited for.",
)
@click.option(
    "--time-limit",
    type=click.FloatRange(1),
    default=600.0,
    show_default=True,
    metavar="SECONDS",
    help="Of one go.",
)
@click.option(
    "--pin/--no-pin", default=True, show_default=True, help="Keep it to the fastest cores."
)
@click.option("--json", "as_json", is_flag=True, help="Print the record as JSON on stdout.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Write the record to this file."
)
@click.option("--force", is_flag=True, help="Replace a file that exists.")
def command(
    *,
    files: tuple[Path, ...],
    where: str,
    backends: tuple[str, ...],
    budget: float | None,
    serials: tuple[str, ...],
    delegates: tuple[str, ...],
    precisions: tuple[str, ...],
    gpu_backend: str | None,
    threads: tuple[int, ...] | None,
    protocol: str | None,
    binary: Path | None,
    runs: int,
    warm_up: int,
    repeats: int,
    sustained: float | None,
    profile: bool,
    check: bool,
    check_torch: bool,
    checkpoints: tuple[Path, ...],
    pictures: Path | None,
    cool_down: float,
    max_battery: float,
    time_limit: float,
    pin: bool,
    as_json: bool,
    output: Path | None,
    force: bool,
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

    _refuse_others_options(where)
    check = check or check_torch
    for name, given in {"--pictures": pictures, "--checkpoint": checkpoints}.items():
        if given and not check:
            raise click.UsageError(f"got {name} without --check; add it")
    if output is not None:
        check_writable(output, overwrite=force)
    if where == "host":
        from edgesr.benching.host import HostPlan
        from edgesr.cli import bench_host

        host_plan = HostPlan(bench_host.settings(backends, threads), runs, warm_up, budget)
        bench_host.measure_and_show(files, host_plan, as_json=as_json, output=output, force=force)
        return
    from android_bench.cases import Plan
    from android_bench.command import Load
    from android_bench.cooldown import Cooldown
    from android_bench.protocol import load_protocol, scored
    from edgesr.cli import bench_android
    from edgesr.cli.bench_torch import find_networks

    seconds = None if sustained is None else 60 * sustained
    rules = None
    if protocol is not None:
        _refuse_beside_protocol()
        rules = load_protocol(protocol)
        plan = rules[0].plan(limit_s=time_limit, sustained_s=seconds, profile=profile)
    else:
        plan = Plan(
            settings=bench_android.settings(
                delegates, precisions, gpu_backend, threads or _PHONE_THREADS
            ),
            load=Load(runs=runs, warm_up_runs=warm_up, max_secs=time_limit / 3),
            repeats=repeats,
            pinned=pin,
            cooldown=Cooldown(battery_celsius=max_battery, limit_s=cool_down),
            limit_s=time_limit,
            sustained_s=seconds,
            profile=profile,
        )
    chosen = bench_android.choose_pictures(pictures) if check else None
    torch = find_networks(files, checkpoints, required=check_torch) if check else {}
    record = bench_android.measure(files, plan, serials, binary, chosen, torch)
    if rules is not None:
        record = scored(record, *rules)
    bench_android.show(record, as_json=as_json, output=output, force=force)


def _refuse_others_options(where: str) -> None:
    """An option of the other place would be ignored without a word."""
    context = click.get_current_context()
    for parameter in context.command.params:
        name = parameter.name or ""
        given = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        fits = name in _BOTH or (name in _HOST_ONLY) == (where == "host")
        if given and not fits:
            other = "android" if where == "host" else "host"
            raise click.UsageError(f"got {parameter.opts[0]}, which goes with --on {other}")


def _refuse_beside_protocol() -> None:
    """What a protocol fixes is not to be changed: the score would mean something else."""
    context = click.get_current_context()
    for parameter in context.command.params:
        name = parameter.name or ""
        given = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if given and name in _OF_PROTOCOL:
            raise click.UsageError(
                f"got {parameter.opts[0]} beside --protocol, which fixes it; write a protocol of "
                "your own"
            )
