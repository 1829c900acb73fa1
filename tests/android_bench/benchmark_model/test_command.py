import shlex
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from android_bench.benchmark_model.command import (
    Delegate,
    Flavour,
    GpuBackend,
    Load,
    Run,
    Setting,
    TensorFiles,
    arguments,
    program_line,
)
from android_bench.errors import SettingError
from edgesr.runtime.precision import ComputePrecision

LOAD = Load(runs=50, warm_up_runs=2, max_secs=60)
BASE = [
    "--graph=m.tflite",
    "--num_runs=50",
    "--warmup_runs=2",
    "--min_secs=0",
    "--warmup_min_secs=0",
    "--max_secs=60",
]
FP16, FP32 = ComputePrecision.FP16, ComputePrecision.FP32
CLASSIC = {
    "cpu": (
        Setting(Delegate.CPU, FP32, threads=1),
        ["--num_threads=1", "--use_xnnpack=false"],
    ),
    "xnnpack": (
        Setting(Delegate.XNNPACK, FP32, threads=4),
        ["--num_threads=4", "--use_xnnpack=true"],
    ),
    "xnnpack fp16": (
        Setting(Delegate.XNNPACK, FP16, threads=4),
        ["--num_threads=4", "--use_xnnpack=true", "--xnnpack_force_fp16=true"],
    ),
    "gpu fp16": (
        Setting(Delegate.GPU, FP16),
        ["--use_gpu=true", "--gpu_precision_loss_allowed=true"],
    ),
    "gpu fp32": (
        Setting(Delegate.GPU, FP32),
        ["--use_gpu=true", "--gpu_precision_loss_allowed=false"],
    ),
    "gpu with OpenGL": (
        Setting(Delegate.GPU, FP16, GpuBackend.GL),
        ["--use_gpu=true", "--gpu_precision_loss_allowed=true", "--gpu_backend=gl"],
    ),
    "nnapi": (
        Setting(Delegate.NNAPI, FP16),
        ["--use_nnapi=true", "--nnapi_allow_fp16=true", "--disable_nnapi_cpu=true"],
    ),
}
LITERT = {
    "xnnpack": (
        Setting(Delegate.XNNPACK, FP32, threads=4),
        ["--num_threads=4", "--use_cpu=true"],
    ),
    "gpu": (
        Setting(Delegate.GPU, FP32, GpuBackend.GL),
        [
            "--use_gpu=true",
            "--use_cpu=false",
            "--require_full_delegation=true",
            "--gpu-precision=fp32",
            "--gpu_backend=gl",
        ],
    ),
    "gpu with OpenCL, which is what it takes": (
        Setting(Delegate.GPU, FP16, GpuBackend.CL),
        [
            "--use_gpu=true",
            "--use_cpu=false",
            "--require_full_delegation=true",
            "--gpu-precision=fp16",
        ],
    ),
}


@pytest.mark.parametrize(("setting", "flags"), CLASSIC.values(), ids=CLASSIC.keys())
def test_every_setting_as_flags_of_the_classic_tool(setting: Setting, flags: list[str]) -> None:
    assert arguments(Run(setting, LOAD, "m.tflite")) == BASE + flags


@pytest.mark.parametrize(("setting", "flags"), LITERT.values(), ids=LITERT.keys())
def test_every_setting_as_flags_of_the_litert_tool(setting: Setting, flags: list[str]) -> None:
    assert arguments(Run(setting, LOAD, "m.tflite"), Flavour.LITERT) == BASE + flags


def test_what_else_a_run_may_ask_for() -> None:
    gpu = Setting(Delegate.GPU, FP16)
    run = Run(gpu, LOAD, "m.tflite", "r.pb", "cache", measure_memory=True)
    assert arguments(run)[-4:] == [
        "--delegate_serialize_dir=cache",
        "--delegate_serialize_token=edgesr",
        "--report_peak_memory_footprint=true",
        "--result_file_path=r.pb",
    ]
    assert arguments(run, Flavour.LITERT)[-4:-2] == [
        "--gpu_serialization_dir=cache",
        "--gpu_model_cache_key=edgesr",
    ]


def test_input_files_with_a_colon_in_the_tensors_name() -> None:
    tensors = TensorFiles("serving_default_x:0", (1, 72, 48, 3), "in.bin", "out.bin")
    run = Run(Setting(Delegate.GPU, FP16), LOAD, "m.tflite", tensors=tensors)
    assert arguments(run)[-4:] == [
        "--input_layer=serving_default_x:0",
        "--input_layer_shape=1,72,48,3",
        "--input_layer_value_files=serving_default_x::0:in.bin",
        "--output_filepath=out.bin",
    ]


def refused_cases() -> dict[str, tuple[Setting, TensorFiles | None, Flavour, str]]:
    files = TensorFiles("x", (1, 2, 2, 3), "i", "o")
    gpu = Setting(Delegate.GPU, FP16)
    comma = TensorFiles("a,b", (1, 2, 2, 3), "i", "o")
    return {
        "a comma in a name": (gpu, comma, Flavour.CLASSIC, "'a,b'"),
        "LiteRT with files": (gpu, files, Flavour.LITERT, "no input files"),
        "LiteRT on NNAPI": (Setting(Delegate.NNAPI, FP16), None, Flavour.LITERT, "nnapi fp16"),
        "LiteRT without XNNPACK": (
            Setting(Delegate.CPU, FP32, threads=1),
            None,
            Flavour.LITERT,
            "cpu fp32 1 thread,",
        ),
        "LiteRT with XNNPACK in FP16": (
            Setting(Delegate.XNNPACK, FP16, threads=2),
            None,
            Flavour.LITERT,
            "xnnpack fp16 2 threads",
        ),
    }


@pytest.mark.parametrize(
    ("setting", "tensors", "flavour", "words"), refused_cases().values(), ids=refused_cases().keys()
)
def test_what_a_tool_cannot_do_is_refused(
    setting: Setting, tensors: TensorFiles | None, flavour: Flavour, words: str
) -> None:
    with pytest.raises(SettingError, match=words):
        arguments(Run(setting, LOAD, "m.tflite", tensors=tensors), flavour)


@pytest.mark.parametrize(
    ("delegate", "precision", "backend", "threads", "words"),
    [
        pytest.param("cpu", "fp16", None, 1, "kernels compute in fp32 only", id="cpu in fp16"),
        pytest.param("nnapi", "fp16", "cl", None, "GPU backend cl", id="backend without GPU"),
        pytest.param("gpu", "fp16", None, 4, "4 threads for delegate gpu", id="threads on GPU"),
        pytest.param("xnnpack", "fp32", None, None, "no number of threads", id="no threads"),
        pytest.param("xnnpack", "fp32", None, 0, "0 threads", id="zero threads"),
    ],
)
def test_settings_that_contradict_themselves(
    delegate: str, precision: str, backend: str | None, threads: int | None, words: str
) -> None:
    with pytest.raises(SettingError, match=words):
        Setting(
            Delegate(delegate),
            ComputePrecision(precision),
            None if backend is None else GpuBackend(backend),
            threads,
        )


def test_the_program_is_pinned_and_writes_its_own_process_id() -> None:
    line = program_line(["./benchmark_model", "--graph=m"], cpu_mask="f0", pid_path="pid")
    assert shlex.split(line) == [
        "sh",
        "-c",
        "echo $$ > pid && exec taskset f0 ./benchmark_model --graph=m",
        "2>&1",
    ]


@given(st.lists(st.text(st.characters(exclude_characters="\x00"), max_size=20), max_size=4))
def test_a_shell_gives_the_program_exactly_its_arguments(words: list[str]) -> None:
    try:
        [word.encode() for word in words]
    except UnicodeEncodeError:
        return
    program = ["printf", "%s\\0", *words]
    line = program_line(program, cpu_mask=None, pid_path="/dev/null")
    done = subprocess.run(["sh", "-c", line], capture_output=True, check=True)
    wanted = "".join(f"{word}\0" for word in words) or "\0"
    assert done.stdout.decode() == wanted


def test_the_process_id_is_that_of_the_program(tmp_path: Path) -> None:
    pid = tmp_path / "pid of it"
    line = program_line(["sh", "-c", "echo $$"], cpu_mask=None, pid_path=str(pid))
    done = subprocess.run(["sh", "-c", line], capture_output=True, check=True, text=True)
    assert done.stdout == pid.read_text()
