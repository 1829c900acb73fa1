"""benchmark_model on the fake device, through the real adb."""

import re
import subprocess
from collections.abc import Generator
from pathlib import Path

import numpy as np
import pytest
from fake_device import AdbServer, Dialect, FakeDevice, Fault, Heat, Speed

from edgesr.runtime.session import open_model

FOLDER = "/data/local/tmp/t"
CPU = f"{FOLDER}/benchmark_model --graph={FOLDER}/small.tflite --num_threads=4"
GPU = f"{CPU} --use_gpu=true"


@pytest.fixture(scope="module")
def one_device(
    adb_session: AdbServer, benchmark_binary: Path, sr_tflite: Path
) -> Generator[FakeDevice]:
    """A device with program and model on it, for all tests of this file."""
    with FakeDevice() as device:
        adb_session.connect(device)
        device.put(benchmark_binary, sr_tflite, folder=FOLDER)
        yield device
    adb_session.disconnect_all()


@pytest.fixture
def device(one_device: FakeDevice) -> Generator[FakeDevice]:
    """The same, healthy at the start of each test."""
    one_device.runs.clear()
    one_device.system.heat = Heat()
    yield one_device
    one_device.faults, one_device.dialect, one_device.speed = frozenset(), Dialect.NEW, Speed()
    assert one_device.has_no_processes()


def run(
    adb: AdbServer, device: FakeDevice, command: str, *, end: str = "__RC=0\n"
) -> subprocess.CompletedProcess[str]:
    """Run a command on the device, stderr merged, with its status as the last line."""
    done = adb.adb("-s", device.serial, "shell", f'{command} 2>&1; echo "__RC=$?"')
    assert done.stdout.endswith(end), done
    return done


def counts(log: str) -> list[int]:
    """How many runs the log tells of: warm-up, then measurement."""
    return [int(count) for count in re.findall(r"count=(\d+)", log)]


def average_us(log: str) -> float:
    """The measurement's average."""
    return float(re.findall(r" avg=([\d.e+]+)", log)[1])


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(CPU, id="absolute path"),
        pytest.param(f"cd {FOLDER} && ./benchmark_model --graph=small.tflite", id="relative path"),
        pytest.param(f"timeout 20 taskset f0 {CPU}", id="behind timeout and taskset"),
        pytest.param(f"LD_LIBRARY_PATH={FOLDER} {CPU}", id="behind a variable"),
        pytest.param(CPU.replace(f"{FOLDER}/b", f"'{FOLDER}'/b", 1), id="quoted in part"),
        pytest.param(f"sh -c 'echo $$ > {FOLDER}/pid && exec {CPU}'", id="in a shell of its own"),
        pytest.param(f"{CPU} > {FOLDER}/log; cat {FOLDER}/log", id="into a file"),
    ],
)
def test_benchmark_model_runs_however_it_is_called(
    adb_session: AdbServer, device: FakeDevice, command: str
) -> None:
    log = run(adb_session, device, command).stdout
    assert "Inference timings in us: Init: " in log, log
    assert "device-" not in log, "a path of the host"
    assert len(device.runs) == 1
    assert device.runs[0].affinity == ("f0" if "taskset" in command else "")
    assert device.runs[0].words[0].endswith("/benchmark_model")


def test_flags_decide_how_many_runs(adb_session: AdbServer, device: FakeDevice) -> None:
    exact = "--warmup_runs=3 --warmup_min_secs=0 --num_runs=60 --min_secs=0"
    assert counts(run(adb_session, device, f"{GPU} {exact}").stdout) == [3, 60]
    assert counts(run(adb_session, device, f"{GPU} {exact} --max_secs=0.3").stdout)[1] < 60


@pytest.mark.parametrize(
    ("dialect", "first", "statistics", "timings"),
    [
        (Dialect.NEW, "INFO: STARTING!", r"std=\d+ p5=\d+ median=\d+ p95=\d+\n", "Inference tim"),
        (Dialect.NO_PERCENTILES, "INFO: STARTING!", r"std=\d+\n", "Inference timings in us"),
        (Dialect.OLD, "STARTING!", r"std=\d+\n", "\nInference timings in us"),
        (Dialect.OLDEST, "STARTING!", r"std=\d+\n", "Average inference timings in us: Warmup"),
        (Dialect.LITERT, "INFO: STARTING!", r"p95=\d+\n", "\n========== BENCHMARK RESULTS ===="),
    ],
    ids=lambda value: str(value) if isinstance(value, Dialect) else "",
)
def test_dialects(
    adb_session: AdbServer,
    device: FakeDevice,
    dialect: Dialect,
    first: str,
    statistics: str,
    timings: str,
) -> None:
    device.dialect = dialect
    log = run(adb_session, device, GPU).stdout
    assert log.startswith(f"{first}\n")
    assert re.search(statistics, log), log
    assert timings in log


@pytest.mark.parametrize(
    ("speed", "expected"),
    [
        pytest.param(Speed(gpu_ms=7, spread=0), r"count=\d+ curr=7000\(all same\)", id="all same"),
        pytest.param(Speed(gpu_ms=1234.5), r"avg=1\.\d+e\+06", id="scientific notation"),
    ],
)
def test_forms_of_numbers(
    adb_session: AdbServer, device: FakeDevice, speed: Speed, expected: str
) -> None:
    device.speed = speed
    log = run(adb_session, device, GPU).stdout
    assert re.search(expected, log), log


def test_output_file_holds_what_the_model_computes(
    adb_session: AdbServer, device: FakeDevice, sr_tflite: Path, tmp_path: Path
) -> None:
    lr_nhwc = np.random.default_rng(1).random((1, 12, 16, 3), dtype=np.float32)
    (tmp_path / "lr.bin").write_bytes(lr_nhwc.tobytes())
    adb_session.adb("push", tmp_path / "lr.bin", f"{FOLDER}/lr.bin")
    layer = "--input_layer=lr --input_layer_shape=1,12,16,3"
    files = f"--input_layer_value_files=lr:{FOLDER}/lr.bin --output_filepath={FOLDER}/hr.bin"
    runner = open_model(sr_tflite, threads=1)
    expected = runner.run(lr_nhwc).copy()
    runner.close()
    for command, least, most in ((CPU, 0.0, 1e-6), (GPU, 1e-6, 1e-2)):
        run(adb_session, device, f"{command} {layer} {files}")
        adb_session.adb("pull", f"{FOLDER}/hr.bin", tmp_path / "hr.bin")
        hr_nhwc = np.fromfile(tmp_path / "hr.bin", np.float32).reshape(1, 24, 32, 3)
        error = float(np.abs(hr_nhwc - expected).max())
        assert least <= error <= most, f"{command}: {error}"


@pytest.mark.parametrize(
    ("flags", "status", "message"),
    [
        ("--graph=/data/local/tmp/no", 1, "Could not open '/data/local/tmp/no'."),
        ("--num_runs=abc", 1, "Failed to parse flag 'num_runs' against argv '--num_runs=abc'"),
        ("--input_layer_value_files=lr:/no --input_layer=lr", 134, "Failed to read the input_"),
        ("--input_layer_value_files=lr:/no", 134, "FATAL: Cannot find the corresponding input_"),
        (f"--input_layer=lr --input_layer_value_files=lr:{FOLDER}/benchmark_model", 134, "should"),
        ("--nmu_runs=3", 0, "WARN: Unconsumed cmdline flags: --nmu_runs=3"),
        ("--num_threads=2", 0, "WARN: Unconsumed cmdline flags: --num_threads=2"),
        ("--use_gpu=yes", 1, "Failed to parse flag 'use_gpu' against argv '--use_gpu=yes'"),
    ],
)
def test_wrong_flags(
    adb_session: AdbServer, device: FakeDevice, flags: str, status: int, message: str
) -> None:
    command = CPU.partition(" --graph")[0] if "--graph" in flags else CPU
    log = run(adb_session, device, f"{command} {flags}", end=f"__RC={status}\n").stdout
    assert message in log, log
    assert ("Benchmarking failed." in log) == (status == 1)


@pytest.mark.parametrize(
    ("fault", "flags", "status", "expected"),
    [
        (None, "", 0, ["Replacing 31 out of 31 node(s)", "completely executed by the delegate"]),
        (Fault.PARTIAL_DELEGATION, "", 0, ["Replacing 29 out of 31", "partially executed"]),
        (Fault.PARTIAL_DELEGATION, "--require_full_delegation=true", 1, ["Disallowed CPU fallba"]),
        (Fault.SILENT_FALLBACK, "", 0, ["Though GPU delegate is explicitly applied, the model"]),
        (Fault.SILENT_FALLBACK, "--require_full_delegation=true", 1, ["Disallowed CPU fallback"]),
        (Fault.NO_OPENCL, "", 0, ["Falling back to OpenGL", "Initialized OpenGL-based API."]),
        (Fault.NO_OPENCL, "--gpu_backend=cl", 1, ["Failed to apply GPU delegate."]),
        (Fault.UNKNOWN_FLAG, "", 0, ["WARN: Unconsumed cmdline flags: --num_threads=4 --use_gpu"]),
        (Fault.NO_RESULT, "", 0, ["count="]),
        (Fault.ABORT, "", 134, ["count="]),
        (Fault.SEGFAULT, "", 139, ["count="]),
        (Fault.OUT_OF_MEMORY, "", 137, ["count="]),
    ],
)
def test_how_a_gpu_run_goes_wrong(
    adb_session: AdbServer,
    device: FakeDevice,
    fault: Fault | None,
    flags: str,
    status: int,
    expected: list[str],
) -> None:
    device.faults = {fault} if fault else set()
    log = run(adb_session, device, f"{GPU} {flags}", end=f"__RC={status}\n").stdout
    missing = [words for words in expected if words not in log]
    assert not missing, f"{missing} not in {log}"
    assert ("Inference timings" in log) == (status == 0 and fault is not Fault.NO_RESULT)


def test_a_recording_is_played_as_it_is(adb_session: AdbServer, device: FakeDevice) -> None:
    device.script_next("anything\nat all", exit_status=9)
    log = run(adb_session, device, GPU, end="__RC=9\n").stdout
    assert log == "anything\nat all__RC=9\n"
    assert "Inference timings" in run(adb_session, device, GPU).stdout, "scripted once"


def test_help_lists_the_flags_of_the_build(adb_session: AdbServer, device: FakeDevice) -> None:
    device.dialect = Dialect.LITERT
    log = run(adb_session, device, f"{FOLDER}/benchmark_model --help", end="__RC=1\n").stdout
    assert f"usage: {FOLDER}/benchmark_model <flags>\nFlags:\n\t--graph=" in log
    assert re.search(r"^\t--gpu-precision=auto +\tstring\toptional\t", log, re.MULTILINE)
    assert not device.runs[0].is_measurement


def test_result_file_is_the_proto(
    adb_session: AdbServer, device: FakeDevice, tmp_path: Path
) -> None:
    log = run(adb_session, device, f"{GPU} --result_file_path={FOLDER}/r.pb").stdout
    assert f"Saved benchmark result to: {FOLDER}/r.pb\n" in log
    adb_session.adb("pull", f"{FOLDER}/r.pb", tmp_path / "r.pb")
    content = (tmp_path / "r.pb").read_bytes()
    assert content[:2] == bytes([1 << 3 | 2, len("small.tflite")])
    start = 2 + len("small.tflite") + 2
    assert content[start] == 1 << 3 | 5
    found_ms = np.frombuffer(content, "<f4", 1, offset=start + 1)[0]
    assert found_ms == pytest.approx(average_us(log) / 1000, rel=1e-5)


def test_a_cache_of_kernels_makes_the_second_start_fast(
    adb_session: AdbServer, device: FakeDevice
) -> None:
    cache = f"--delegate_serialize_dir={FOLDER}/cache --delegate_serialize_token=t"
    adb_session.adb("shell", f"mkdir {FOLDER}/cache")
    logs = [run(adb_session, device, f"{GPU} {cache}").stdout for _ in range(2)]
    assert ["from serialized data" in log for log in logs] == [False, True]
    cold, warm = (int(re.findall(r" Init: (\d+)", log)[0]) for log in logs)
    assert cold == 10 * warm


def test_throttling_heats_the_device_and_slows_it_down(
    adb_session: AdbServer, device: FakeDevice
) -> None:
    read = (
        "dumpsys battery | grep temperature; dumpsys thermalservice | grep 'Thermal Status'; "
        "cat /sys/devices/system/cpu/cpu7/cpufreq/scaling_max_freq"
    )
    device.system.heat = Heat(per_run_celsius=6.0)
    states, averages = [adb_session.adb("shell", read).stdout.split()], []
    for _ in range(3):
        averages.append(average_us(run(adb_session, device, GPU).stdout))
        states.append(adb_session.adb("shell", read).stdout.split())
    assert states[0] == ["temperature:", "290", "Thermal", "Status:", "0", "2803200"]
    assert states[-1] == ["temperature:", "470", "Thermal", "Status:", "4", "1601828"]
    assert averages[-1] > 1.5 * averages[0]


def test_a_device_cools_down(adb_session: AdbServer, device: FakeDevice) -> None:
    device.system.heat = Heat(celsius=40.0, cooling_celsius_s=40.0)
    read = "dumpsys thermalservice | grep 'Thermal Status'; sleep 0.15"
    states = [adb_session.adb("shell", read).stdout.split()[-1] for _ in range(4)]
    assert states[0] in "12"
    assert states[-1] == "0"
