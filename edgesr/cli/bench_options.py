"""The options of `edgesr bench`, and what those of phones come to."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

_DELEGATES = ("cpu", "xnnpack", "gpu", "nnapi")
_BACKENDS = ("cpu", "cpu-fp16", "gpu", "gpu-fp16")
_HOST_NAMES = {"backends", "budget"}
_COMMON_NAMES = {"files", "where", "threads", "runs", "warm_up", "as_json", "output", "force"}
#: What a protocol says.
_OF_PROTOCOL = (
    *("delegates", "precisions", "gpu_backend", "threads"),
    *("runs", "warm_up", "repeats", "cool_down", "max_battery", "pin"),
)

_Decorated = TypeVar("_Decorated", bound=Callable[..., Any])
_Option = Callable[[Any], Any]


@dataclass(frozen=True)
class PhoneOptions:
    """What the options of phones say; each attribute is the option of its name."""

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
    pictures: Path | None
    cool_down: float
    max_battery: float
    time_limit: float
    pin: bool

    @property
    def checks(self) -> bool:
        """Whether outputs are compared."""
        return self.check or self.check_torch

    def refuse_useless(self) -> None:
        """Options of the check without it.

        Raises:
            click.UsageError: There is one.
        """
        for name, given in (("--pictures", self.pictures), ("--checkpoint", self.checkpoints)):
            if given and not self.checks:
                raise click.UsageError(f"got {name} without --check; add it")


def _threads(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> tuple[int, ...] | None:
    """Numbers with commas between them."""
    if value is None:
        return None
    if not re.fullmatch(r"[1-9]\d?(,[1-9]\d?)*", value):
        raise click.BadParameter(f"got {value!r}, allowed numbers from 1 to 99, e.g. 1,4")
    return tuple(dict.fromkeys(map(int, value.split(","))))


_HOST = (
    click.option(
        "--backend",
        "backends",
        type=click.Choice(_BACKENDS),
        multiple=True,
        default=("cpu",),
        show_default=True,
        help="host: what computes; may be repeated. -fp16 computes every operator in FP16.",
    ),
    click.option(
        "--budget",
        type=click.FloatRange(0, min_open=True),
        metavar="SECONDS",
        help="host: time for the runs of one backend; then there are fewer of them.",
    ),
)

_PHONE = (
    click.option(
        "--serial",
        "serials",
        metavar="S",
        multiple=True,
        help="Phone, as `adb devices` lists it; several run side by side. Default: ANDROID_SERIAL, "
        "else the only one there is.",
    ),
    click.option(
        "--delegate",
        "delegates",
        type=click.Choice(_DELEGATES),
        multiple=True,
        default=("gpu",),
        show_default=True,
        help="What computes; may be repeated. cpu is TFLite without XNNPACK. It must run the whole "
        "graph.",
    ),
    click.option(
        "--precision",
        "precisions",
        type=click.Choice(["fp16", "fp32"]),
        multiple=True,
        help="In what it computes; may be repeated. Default: fp16 on gpu and nnapi, else fp32.",
    ),
    click.option(
        "--gpu-backend",
        type=click.Choice(["cl", "gl"]),
        help="Exactly this. Default: OpenCL, else OpenGL.",
    ),
    click.option(
        "--protocol",
        metavar="NAME|FILE",
        help="Measure by a protocol, and give scores; in the place of the options that it fixes.",
    ),
    click.option(
        "--binary",
        type=click.Path(path_type=Path),
        help="benchmark_model to push, TensorFlow's or LiteRT's. Default: TensorFlow's nightly "
        "build, downloaded once.",
    ),
    click.option(
        "--repeats",
        type=click.IntRange(1),
        default=3,
        show_default=True,
        help="How often all that, each time anew and in turns.",
    ),
    click.option(
        "--sustained",
        type=click.FloatRange(0, min_open=True),
        metavar="MINUTES",
        help="Then run that long back to back, for a curve over time.",
    ),
    click.option(
        "--profile",
        is_flag=True,
        help="Also what each operator takes, in a run of its own. A GPU delegate is one operator.",
    ),
    click.option(
        "--check",
        is_flag=True,
        help="Compare outputs with this host's CPU and, where its weights are at hand, with the "
        "PyTorch network that the file was made from.",
    ),
    click.option("--check-torch", is_flag=True, help="The same; to lack that network is an error."),
    click.option(
        "--checkpoint",
        "checkpoints",
        type=click.Path(path_type=Path),
        multiple=True,
        help="Weights of your own for --check; a file takes those that it names. May be repeated.",
    ),
    click.option(
        "--pictures",
        type=click.Path(path_type=Path),
        help="Folder of pictures for --check, the first two of which are used. Default: a test "
        "card.",
    ),
    click.option(
        "--cool-down",
        type=click.FloatRange(0),
        default=600.0,
        show_default=True,
        metavar="SECONDS",
        help="How long to wait for a warm phone before each go.",
    ),
    click.option(
        "--max-battery",
        type=click.FloatRange(0, 60),
        default=38.0,
        show_default=True,
        metavar="CELSIUS",
        help="A warmer battery is waited for.",
    ),
    click.option(
        "--time-limit",
        type=click.FloatRange(1),
        default=600.0,
        show_default=True,
        metavar="SECONDS",
        help="Of one go.",
    ),
    click.option(
        "--pin/--no-pin", default=True, show_default=True, help="Keep it to the fastest cores."
    ),
)

_COMMON = (
    click.option(
        "--threads",
        metavar="N,...",
        callback=_threads,
        help="CPU threads, e.g. 1,4. Default: all CPUs of this host, 4 of a phone.",
    ),
    click.option(
        "--runs", type=click.IntRange(1), default=50, show_default=True, help="In one go."
    ),
    click.option(
        "--warm-up", type=click.IntRange(0), default=5, show_default=True, help="Runs before."
    ),
    click.option("--json", "as_json", is_flag=True, help="Print the record as JSON on stdout."),
    click.option(
        "-o", "--output", type=click.Path(path_type=Path), help="Write the record to this file."
    ),
    click.option("--force", is_flag=True, help="Replace a file that exists."),
)


def host_options(command: _Decorated) -> _Decorated:
    """The options of --on host alone."""
    return _with(command, _HOST)


def phone_options(command: _Decorated) -> _Decorated:
    """The options of --on android alone: the fields of `PhoneOptions`."""
    return _with(command, _PHONE)


def common_options(command: _Decorated) -> _Decorated:
    """The options of both places, but for the first ones."""
    return _with(command, _COMMON)


def _with(command: _Decorated, options: Sequence[_Option]) -> _Decorated:
    for option in reversed(options):
        command = option(command)
    return command


def refuse_others_options(where: str) -> None:
    """Options of the other place would be ignored without a word.

    Raises:
        click.UsageError: There is one.
    """
    context = click.get_current_context()
    for parameter in context.command.params:
        name = parameter.name or ""
        given = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        fits = name in _COMMON_NAMES or (name in _HOST_NAMES) == (where == "host")
        if given and not fits:
            other = "android" if where == "host" else "host"
            raise click.UsageError(f"got {parameter.opts[0]}, which goes with --on {other}")


def refuse_beside_protocol() -> None:
    """What a protocol fixes is not to be changed: the score would mean something else.

    Raises:
        click.UsageError: It is.
    """
    context = click.get_current_context()
    for parameter in context.command.params:
        name = parameter.name or ""
        given = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if given and name in _OF_PROTOCOL:
            raise click.UsageError(
                f"got {parameter.opts[0]} beside --protocol, which fixes it; write a protocol of "
                "your own"
            )
