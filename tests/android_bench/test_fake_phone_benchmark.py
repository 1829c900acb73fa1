"""benchmark_model on the fake phone, through the real adb."""

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from fake_phone import AdbServer, Dialect, FakePhone, Fault, Heat, Speed

from edgesr.runtime import open_model

FOLDER = "/data/local/tmp/t"
CPU = f"{FOLDER}/benchmark_model --graph={FOLDER}/small.tflite --num_threads=4"
GPU = f"{CPU} --use_gpu=true"


def install(adb_server: AdbServer, *files: Path) -> None:
    """Push the files into the folder of these tests."""
    for file in files:
        done = adb_server.adb("push", file, f"{FOLDER}/{file.name}")
        assert done.returncode == 0, done.stderr


def run(adb_server: AdbServer, command: str) -> subprocess.CompletedProcess[str]:
    """Run a command on the phone, stderr merged, with its status as the last line."""
    return adb_server.adb("shell", f'{command} 2>&1; echo "__RC=$?"')


def counts(log: str) -> list[int]:
    """How many runs the log tells of: warm-up, then measurement."""
    return [int(count) for count in re.findall(r"count=(\d+)", log)]


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(CPU, id="absolute path"),
        pytest.param(f"cd {FOLDER} && ./benchmark_model --graph=small.tflite", id="relative path"),
        pytest.param(f"timeout 20 taskset f0 {CPU}", id="behind timeout and taskset"),
        pytest.param(f"LD_LIBRARY_PATH={FOLDER} {CPU}", id="behind a variable"),
        pytest.param(CPU.replace(f"{FOLDER}/b", f"'{FOLDER}'/b", 1), id="quoted in part"),
        pytest.param(f"sh -c '{CPU}'", id="in a shell of its own"),
        pytest.param(f"{CPU} > {FOLDER}/log; cat {FOLDER}/log", id="into a file"),
    ],
)
def test_benchmark_model_runs_however_it_is_called(
    adb_server: AdbServer, phone: FakePhone, benchmark_binary: Path, sr_tflite: Path, command: str
) -> None:
    install(adb_server, benchmark_binary, sr_tflite)
    log = run(adb_server, command).stdout
    assert "Inference timings in us: Init: " in log, log
    assert log.endswith("__RC=0\n")
    assert "phone-" not in log, "a path of the host"
    assert len(phone.runs) == 1
    assert phone.runs[0].affinity == ("f0" if "taskset" in command else "")
    assert phone.has_no_processes()


def test_flags_decide_how_many_runs(
    adb_server: AdbServer, phone: FakePhone, benchmark_binary: Path, sr_tflite: Path
) -> None:
    install(adb_server, benchmark_binary, sr_tflite)
    exact = "--warmup_runs=3 --warmup_min_secs=0 --num_runs=60 --min_secs=0"
    assert counts(run(adb_server, f"{GPU} {exact}").stdout) == [3, 60]
    assert counts(run(adb_server, f"{GPU} {exact} --max_secs=0.3").stdout)[1] < 60


@pytest.mark.parametrize(
    ("dialect", "first", "statistics", "timings"),
    [
        (Dialect.NEW, "INFO: STARTING!", r"std=\d+ p5=\d+ median=\d+ p95=\d+\n", "Inference tim"),
        (Dialect.NO_PERCENTILES, "INFO: STARTING!", r"std=\d+\n", "Inference timings in us"),
        (Dialect.OLD, "STARTING!", r"std=\d+\n", "\nInference timings in us"),
        (Dialect.OLDEST, "STARTING!", r"std=\d+\n", "Average inference timings in us: Warmup"),
    ],
    ids=lambda value: str(value) if isinstance(value, Dialect) else "",
)
def test_dialects(
    adb_server: AdbServer,
    benchmark_binary: Path,
    sr_tflite: Path,
    dialect: Dialect,
    first: str,
    statistics: str,
    timings: str,
) -> None:
    with FakePhone(dialect=dialect) as phone:
        adb_server.connect(phone)
        install(adb_server, benchmark_binary, sr_tflite)
        log = run(adb_server, GPU).stdout
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
    adb_server: AdbServer, benchmark_binary: Path, sr_tflite: Path, speed: Speed, expected: str
) -> None:
    with FakePhone(speed=speed) as phone:
        adb_server.connect(phone)
        install(adb_server, benchmark_binary, sr_tflite)
        log = run(adb_server, GPU).stdout
    assert re.search(expected, log), log


def test_output_file_holds_what_the_model_computes(
    adb_server: AdbServer, phone: FakePhone, benchmark_binary: Path, sr_tflite: Path, tmp_path: Path
) -> None:
    lr_nhwc = np.random.default_rng(1).random((1, 12, 16, 3), dtype=np.float32)
    (tmp_path / "lr.bin").write_bytes(lr_nhwc.tobytes())
    install(adb_server, benchmark_binary, sr_tflite, tmp_path / "lr.bin")
    layer = "--input_layer=lr --input_layer_shape=1,12,16,3"
    files = f"--input_layer_value_files=lr:{FOLDER}/lr.bin --output_filepath={FOLDER}/hr.bin"
    assert run(adb_server, f"{CPU} {layer} {files}").stdout.endswith("__RC=0\n")
    assert adb_server.adb("pull", f"{FOLDER}/hr.bin", tmp_path / "hr.bin").returncode == 0
    hr_nhwc = np.fromfile(tmp_path / "hr.bin", np.float32).reshape(1, 24, 32, 3)
    runner = open_model(sr_tflite, threads=1)
    np.testing.assert_allclose(hr_nhwc, runner.run(lr_nhwc), atol=1e-6)
    runner.close()


@pytest.mark.parametrize(
    ("flags", "status", "message"),
    [
        ("--graph=/data/local/tmp/no", 1, "Could not open '/data/local/tmp/no'."),
        ("--num_runs=abc", 1, "Failed to parse flag 'num_runs' against argv '--num_runs=abc'"),
        ("--input_layer_value_files=lr:/no --input_layer=lr", 134, "Failed to read the input_"),
        ("--input_layer_value_files=lr:/no", 134, "FATAL: Cannot find the corresponding input_"),
        (f"--input_layer=lr --input_layer_value_files=lr:{FOLDER}/benchmark_model", 134, "should"),
        ("--nmu_runs=3", 0, "WARN: Unconsumed cmdline flags: --nmu_runs=3"),
        ("--num_threads=2", 0, "WARN: Duplicate flags: num_threads"),
    ],
)
def test_wrong_flags(
    adb_server: AdbServer,
    phone: FakePhone,
    benchmark_binary: Path,
    sr_tflite: Path,
    flags: str,
    status: int,
    message: str,
) -> None:
    install(adb_server, benchmark_binary, sr_tflite)
    log = run(adb_server, f"{CPU} {flags}").stdout
    assert message in log, log
    assert log.endswith(f"__RC={status}\n")
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
    adb_server: AdbServer,
    benchmark_binary: Path,
    sr_tflite: Path,
    fault: Fault | None,
    flags: str,
    status: int,
    expected: list[str],
) -> None:
    with FakePhone({fault} if fault else ()) as phone:
        adb_server.connect(phone)
        install(adb_server, benchmark_binary, sr_tflite)
        log = run(adb_server, f"{GPU} {flags}").stdout
        assert phone.has_no_processes()
    missing = [words for words in expected if words not in log]
    assert not missing, f"{missing} not in {log}"
    assert log.endswith(f"__RC={status}\n"), log
    cut = fault in (Fault.NO_RESULT, Fault.ABORT, Fault.SEGFAULT, Fault.OUT_OF_MEMORY)
    assert ("Inference timings" in log) == (status == 0 and not cut)


def test_a_recording_is_played_as_it_is(
    adb_server: AdbServer, phone: FakePhone, benchmark_binary: Path, sr_tflite: Path
) -> None:
    install(adb_server, benchmark_binary, sr_tflite)
    phone.play_next("anything\nat all", exit_status=9)
    assert run(adb_server, GPU).stdout == "anything\nat all__RC=9\n"
    assert "Inference timings" in run(adb_server, GPU).stdout, "played once"


def test_result_file_is_the_proto(
    adb_server: AdbServer, phone: FakePhone, benchmark_binary: Path, sr_tflite: Path, tmp_path: Path
) -> None:
    install(adb_server, benchmark_binary, sr_tflite)
    log = run(adb_server, f"{GPU} --result_file_path={FOLDER}/r.pb").stdout
    assert f"Saved benchmark result to: {FOLDER}/r.pb\n" in log
    adb_server.adb("pull", f"{FOLDER}/r.pb", tmp_path / "r.pb")
    content = (tmp_path / "r.pb").read_bytes()
    assert content[:2] == bytes([1 << 3 | 2, len("small.tflite")])
    average = re.findall(r" avg=([\d.e+]+)", log)[1]
    start = 2 + len("small.tflite") + 2
    assert content[start] == 1 << 3 | 5
    found_ms = np.frombuffer(content, "<f4", 1, offset=start + 1)[0]
    assert found_ms == pytest.approx(float(average) / 1000, rel=1e-5)


def test_throttling_heats_the_phone_and_slows_it_down(
    adb_server: AdbServer, benchmark_binary: Path, sr_tflite: Path
) -> None:
    read = (
        "dumpsys battery | grep temperature; dumpsys thermalservice | grep 'Thermal Status'; "
        "cat /sys/devices/system/cpu/cpu7/cpufreq/scaling_max_freq"
    )
    with FakePhone({Fault.THROTTLING}) as phone:
        adb_server.connect(phone)
        install(adb_server, benchmark_binary, sr_tflite)
        before = adb_server.adb("shell", read).stdout.split()
        averages = []
        for _ in range(6):
            averages.append(float(re.findall(r" avg=([\d.e+]+)", run(adb_server, GPU).stdout)[1]))
        after = adb_server.adb("shell", read).stdout.split()
    assert before == ["temperature:", "290", "Thermal", "Status:", "0", "2803200"]
    assert after == ["temperature:", "470", "Thermal", "Status:", "4", "1601828"]
    assert averages[-1] > 1.5 * averages[0]


def test_a_phone_may_cool_down(adb_server: AdbServer) -> None:
    with FakePhone(heat=Heat(celsius=40.0, cooling_celsius_s=100.0)) as phone:
        adb_server.connect(phone)
        read = "dumpsys thermalservice | grep 'Thermal Status'"
        states = {adb_server.adb("shell", read).stdout for _ in range(6)}
    assert "Thermal Status: 0\n" in states
