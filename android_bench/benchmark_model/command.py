"""From typed settings to the command line of benchmark_model, in either flavour.

benchmark_model ignores what it does not know with a warning, so only flags go out that mean
something for the setting, and what a tool cannot do is refused here.

Sources: tensorflow/lite/tools/benchmark/{benchmark_model,benchmark_tflite_model}.cc,
tools/delegates/*_provider.cc, litert/tools/benchmark_litert_model.cc.
"""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from android_bench.errors import SettingError
from edgesr.common.compat import StrEnum
from edgesr.runtime.precision import ComputePrecision


class Delegate(StrEnum):
    """Delegate that computes."""

    CPU = "cpu"
    """TFLite's own CPU kernels, without XNNPACK."""
    XNNPACK = "xnnpack"
    GPU = "gpu"
    NNAPI = "nnapi"

    @property
    def on_cpu(self) -> bool:
        """Whether CPU threads compute."""
        return self in (Delegate.CPU, Delegate.XNNPACK)


class GpuBackend(StrEnum):
    """The GPU's programming interface."""

    CL = "cl"
    GL = "gl"


class Flavour(StrEnum):
    """Which of the two tools called benchmark_model."""

    CLASSIC = "classic"
    LITERT = "litert"


@dataclass(frozen=True)
class Setting:
    """Delegate, precision and number of threads of one measurement.

    Attributes:
        delegate: What computes.
        precision: In what.
        gpu_backend: For the GPU: exactly this; None leaves the choice to the delegate.
        threads: CPU threads; None where none compute.

    Raises:
        SettingError: They contradict each other.
    """

    delegate: Delegate
    precision: ComputePrecision
    gpu_backend: GpuBackend | None = None
    threads: int | None = None

    def __post_init__(self) -> None:
        if self.delegate is Delegate.CPU and self.precision is ComputePrecision.FP16:
            raise SettingError(
                "got precision fp16 for delegate cpu, whose kernels compute in fp32 only; use "
                "--delegate xnnpack, or --precision fp32"
            )
        if self.gpu_backend is not None and self.delegate is not Delegate.GPU:
            raise SettingError(
                f"got GPU backend {self.gpu_backend} for delegate {self.delegate}; it goes with "
                "--delegate gpu"
            )
        if self.delegate.on_cpu != (self.threads is not None):
            given = "no number of threads" if self.threads is None else f"{self.threads} threads"
            raise SettingError(
                f"got {given} for delegate {self.delegate}; threads are for cpu and xnnpack"
            )
        if self.threads is not None and self.threads < 1:
            raise SettingError(f"got {self.threads} threads, allowed 1 and more")

    def __str__(self) -> str:
        parts = [self.delegate.value, self.precision.value]
        if self.gpu_backend is not None:
            parts.append(self.gpu_backend.value)
        if self.threads is not None:
            parts.append(f"{self.threads} thread{'s' * (self.threads != 1)}")
        return " ".join(parts)


def combine_settings(
    delegates: Sequence[Delegate],
    precisions: Sequence[ComputePrecision],
    gpu_backend: GpuBackend | None,
    threads: Sequence[int],
) -> tuple[Setting, ...]:
    """Combine delegates, precisions and numbers of threads into settings.

    Args:
        delegates: The delegates.
        precisions: For each of them; none for the usual one of each. Of several, the delegate cpu
            has FP32 alone.
        gpu_backend: Of the GPU delegate; None leaves the choice to it.
        threads: Of the delegates on the CPU.

    Raises:
        SettingError: A delegate has none of the precisions, or there is none that has the backend.
    """
    if gpu_backend is not None and Delegate.GPU not in delegates:
        raise SettingError(f"got --gpu-backend {gpu_backend} without --delegate gpu; add it")
    found: list[Setting] = []
    for delegate in dict.fromkeys(delegates):
        default = ComputePrecision.FP32 if delegate.on_cpu else ComputePrecision.FP16
        wanted = list(dict.fromkeys(precisions)) or [default]
        if delegate is Delegate.CPU and len(wanted) > 1:
            wanted = [ComputePrecision.FP32]
        backend = gpu_backend if delegate is Delegate.GPU else None
        found += [
            Setting(delegate, precision, backend, count)
            for precision in wanted
            for count in (threads if delegate.on_cpu else (None,))
        ]
    return tuple(found)


@dataclass(frozen=True)
class Load:
    """Number of runs, and limits of their duration.

    The tool goes on until `runs` are done and `min_secs` are over, and stops at `max_secs` in any
    case: with a `min_secs` of 0 the number of runs is exact unless the time ends before.

    Attributes:
        runs: Runs that count.
        warm_up_runs: Runs before, which do not.
        min_secs: Least duration of the runs that count.
        max_secs: Greatest duration of either phase.
    """

    runs: int
    warm_up_runs: int = 1
    min_secs: float = 0.0
    max_secs: float = 150.0


@dataclass(frozen=True)
class TensorFiles:
    """An input from a file and the output into one.

    Attributes:
        name: Name of the input tensor.
        shape: Its shape.
        input_path: Its values on the device, float32, little-endian.
        output_path: Where to write the output on the device.
    """

    name: str
    shape: tuple[int, ...]
    input_path: str
    output_path: str


@dataclass(frozen=True)
class Run:
    """One run of benchmark_model.

    Attributes:
        setting: What computes.
        load: For how long.
        model_path: The `.tflite` on the device.
        result_path: Where to write the result as a protocol buffer, for tools that can.
        cache_folder: Folder on the device for compiled GPU kernels; None compiles anew.
        measure_memory: Whether to sample the peak of memory, which disturbs the latencies.
        profile: Whether to time every operator, which does so too; the classic tool alone can.
        tensors: Input and output files.
    """

    setting: Setting
    load: Load
    model_path: str
    result_path: str | None = None
    cache_folder: str | None = None
    measure_memory: bool = False
    profile: bool = False
    tensors: TensorFiles | None = None


def arguments(run: Run, flavour: Flavour = Flavour.CLASSIC) -> list[str]:
    """The arguments of benchmark_model, without the program.

    Raises:
        SettingError: This tool cannot do it.
    """
    load = run.load
    flags: dict[str, str] = {
        "graph": run.model_path,
        "num_runs": str(load.runs),
        "warmup_runs": str(load.warm_up_runs),
        "min_secs": f"{load.min_secs:g}",
        "warmup_min_secs": "0",
        "max_secs": f"{load.max_secs:g}",
    }
    if run.setting.threads is not None:
        flags["num_threads"] = str(run.setting.threads)
    build = _classic if flavour is Flavour.CLASSIC else _litert
    flags |= build(run)
    if run.measure_memory:
        flags["report_peak_memory_footprint"] = "true"
    if run.result_path is not None:
        flags["result_file_path"] = run.result_path
    return [f"--{name}={value}" for name, value in flags.items()]


def _classic(run: Run) -> dict[str, str]:
    half = "true" if run.setting.precision is ComputePrecision.FP16 else "false"
    flags: dict[str, str] = {}
    match run.setting.delegate:
        case Delegate.CPU:
            # Not giving the flag applies XNNPACK all the same.
            flags["use_xnnpack"] = "false"
        case Delegate.XNNPACK:
            flags["use_xnnpack"] = "true"
            if run.setting.precision is ComputePrecision.FP16:
                flags["xnnpack_force_fp16"] = "true"
        case Delegate.GPU:
            flags |= {"use_gpu": "true", "gpu_precision_loss_allowed": half}
            if run.setting.gpu_backend is not None:
                flags["gpu_backend"] = run.setting.gpu_backend.value
            if run.cache_folder is not None:
                flags |= {
                    "delegate_serialize_dir": run.cache_folder,
                    "delegate_serialize_token": "edgesr",
                }
        case Delegate.NNAPI:
            # Its own CPU implementation would pass for an accelerator.
            flags |= {"use_nnapi": "true", "nnapi_allow_fp16": half, "disable_nnapi_cpu": "true"}
    if run.tensors is not None:
        flags |= _tensor_flags(run.tensors)
    if run.profile:
        flags["enable_op_profiling"] = "true"
    return flags


def _tensor_flags(tensors: TensorFiles) -> dict[str, str]:
    if "," in tensors.name:
        raise SettingError(
            f"got an input named {tensors.name!r}; benchmark_model reads a comma for two inputs"
        )
    return {
        "input_layer": tensors.name,
        "input_layer_shape": ",".join(map(str, tensors.shape)),
        "input_layer_value_files": f"{tensors.name.replace(':', '::')}:{tensors.input_path}",
        "output_filepath": tensors.output_path,
    }


def _litert(run: Run) -> dict[str, str]:
    setting = run.setting
    if run.tensors is not None:
        raise SettingError(
            "LiteRT's benchmark_model accepts no input files; pass the classic TFLite one with "
            "--binary to use --check"
        )
    if run.profile:
        raise SettingError(
            "LiteRT's benchmark_model prints no times of operators; pass the classic TFLite one "
            "with --binary to use --profile"
        )
    if setting.delegate in (Delegate.CPU, Delegate.NNAPI) or (
        setting.delegate is Delegate.XNNPACK and setting.precision is ComputePrecision.FP16
    ):
        raise SettingError(
            f"LiteRT's benchmark_model cannot run {setting}, allowed gpu, and xnnpack in fp32; "
            "pass the classic TFLite one with --binary"
        )
    if setting.delegate is Delegate.XNNPACK:
        return {"use_cpu": "true"}
    # With use_cpu the accelerator's refusals would go to the CPU.
    flags = {
        "use_gpu": "true",
        "use_cpu": "false",
        "require_full_delegation": "true",
        "gpu-precision": setting.precision.value,
    }
    if setting.gpu_backend is GpuBackend.GL:
        flags["gpu_backend"] = "gl"
    if run.cache_folder is not None:
        flags |= {"gpu_serialization_dir": run.cache_folder, "gpu_model_cache_key": "edgesr"}
    return flags


def program_line(argv: Sequence[str], *, cpu_mask: str | None, pid_path: str) -> str:
    """Build a line of shell that runs a program and writes its id.

    Both its outputs come as one, in their order. The id is that of the program itself: `exec` and
    taskset replace the shell.

    Args:
        argv: The program and its arguments.
        cpu_mask: CPUs that it may use, in hexadecimal without 0x; None for all.
        pid_path: The file.
    """
    pinned = [*(["taskset", cpu_mask] if cpu_mask else []), *argv]
    script = f"echo $$ > {shlex.quote(pid_path)} && exec {shlex.join(pinned)}"
    return f"sh -c {shlex.quote(script)} 2>&1"
