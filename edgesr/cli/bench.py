"""`edgesr bench`: how long files take where they run."""

import re
from pathlib import Path

import click

_DELEGATES = ("cpu", "xnnpack", "gpu", "nnapi")


def _threads(context: click.Context, parameter: click.Parameter, value: str) -> tuple[int, ...]:
    """Numbers with commas between them."""
    if not re.fullmatch(r"[1-9]\d?(,[1-9]\d?)*", value):
        raise click.BadParameter(f"got {value!r}, allowed numbers from 1 to 99, e.g. 1,4")
    return tuple(dict.fromkeys(map(int, value.split(","))))


@click.command(
    epilog="""\b
Examples:
  edgesr bench imdn-rtc_x2_720x480_fp16.tflite --on android
  edgesr bench a.tflite b.tflite --on android --delegate gpu --delegate xnnpack --threads 1,4
  edgesr bench a.tflite --on android --precision fp16 --precision fp32 --check -o a.json
"""
)
@click.argument(
    "files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path)
)
@click.option(
    "--on",
    "where",
    type=click.Choice(["android"]),
    required=True,
    help="Where to run: phones, over adb.",
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
    default="4",
    show_default=True,
    metavar="N,...",
    callback=_threads,
    help="CPU threads of cpu and xnnpack, e.g. 1,4.",
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
@click.option("--check", is_flag=True, help="Compare outputs with this host's CPU.")
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
    serials: tuple[str, ...],
    delegates: tuple[str, ...],
    precisions: tuple[str, ...],
    gpu_backend: str | None,
    threads: tuple[int, ...],
    binary: Path | None,
    runs: int,
    warm_up: int,
    repeats: int,
    sustained: float | None,
    check: bool,
    pictures: Path | None,
    cool_down: float,
    max_battery: float,
    time_limit: float,
    pin: bool,
    as_json: bool,
    output: Path | None,
    force: bool,
) -> None:
    """Measure the latency of .tflite FILEs.

    On a phone, benchmark_model runs over adb. A result counts only where its log proves that the
    delegate ran the whole graph, where the phone was cool and did not throttle, and where
    benchmark_model ignored no flag; anything else is an error and exits with status 1. Nothing is
    left on the phone.
    """
    from android_bench.cases import Plan
    from android_bench.command import Load
    from android_bench.cooldown import Cooldown
    from edgesr.cli import bench_android
    from edgesr.files import check_writable

    assert where == "android"
    if pictures is not None and not check:
        raise click.UsageError("got --pictures without --check; add it")
    if output is not None:
        check_writable(output, overwrite=force)
    plan = Plan(
        settings=bench_android.settings(delegates, precisions, gpu_backend, threads),
        load=Load(runs=runs, warm_up_runs=warm_up, max_secs=time_limit / 3),
        repeats=repeats,
        pinned=pin,
        cooldown=Cooldown(battery_celsius=max_battery, limit_s=cool_down),
        limit_s=time_limit,
        sustained_s=None if sustained is None else 60 * sustained,
    )
    chosen = bench_android.choose_pictures(pictures) if check else None
    record = bench_android.measure(files, plan, serials, binary, chosen)
    bench_android.show(record, as_json=as_json, output=output, force=force)
