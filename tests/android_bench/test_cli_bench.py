"""`edgesr bench` through the real adb on a phone that misbehaves in every way there is."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection
from pathlib import Path

import pytest
from fake_phone import AdbServer, Dialect, FakePhone, Fault, Heat, Speed, write_benchmark_binary
from fake_phone.flags import CLASSIC, LITERT

from android_bench.record import BenchRecord
from android_bench.workspace import WORKSPACE
from helpers.commands import HEED_CTRL_C, RUN, Ran, run_here


def usage(flags: Collection[str] = CLASSIC) -> str:
    """What --help prints: every flag with its default, type and meaning."""
    lines = (f"\t--{name}=0    \tstring\toptional\tits meaning\n" for name in sorted(flags))
    return f"usage: benchmark_model <flags>\nFlags:\n{''.join(lines)}"


Bench = Callable[..., Ran]


@pytest.fixture
def bench(
    adb_server: AdbServer,
    benchmark_binary: Path,
    sr_tflite: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Bench:
    """The command with the tests' adb server, a short load and one repeat."""
    for name in list(os.environ):
        if name.startswith(("ADB_", "ANDROID_")):
            monkeypatch.delenv(name)
    for name, value in adb_server.environment().items():
        monkeypatch.setenv(name, value)

    def run(*words: object, file: Path = sr_tflite, binary: Path = benchmark_binary) -> Ran:
        base = ["bench", file, "--on", "android", "--binary", binary, "--repeats", 1]
        return run_here(monkeypatch, capsys, *base, *words)

    return run


def is_clean(phone: FakePhone) -> bool:
    """Whether nothing of a benchmark is left on the phone."""
    return phone.files() == [] and phone.has_no_processes()


# What comes of a healthy phone


def test_a_whole_run_on_a_healthy_phone(phone: FakePhone, bench: Bench, tmp_path: Path) -> None:
    target = tmp_path / "r.json"
    words = ["--delegate", "gpu", "--delegate", "xnnpack", "--threads", "1,4", "--repeats", 3]
    ran = bench(*words, "-o", target)
    assert ran.status == 0, ran.err
    assert ran.err == ""
    assert "Fake Fake Phone 9" in ran.out
    assert is_clean(phone)
    record = BenchRecord.model_validate_json(target.read_text())
    assert [str(case.setting) for case in record.cases] == [
        "gpu fp16",
        "xnnpack fp32 1 thread",
        "xnnpack fp32 4 threads",
    ]
    assert record.failures == ()
    gpu = record.cases[0]
    assert gpu.summary.statistic == "median of medians"
    assert 19 < gpu.summary.latency_ms < 21
    assert (gpu.summary.repeats, gpu.summary.runs) == (3, 150)
    assert gpu.summary.peak_mb == 61.2
    assert gpu.cpu_mask == "f0"
    assert gpu.invocations[0].log.count("count=") == 2
    device = record.devices[0]
    assert (device.facts.soc, device.facts.android, device.facts.memory_kib) == (
        "Fakecomm FK9000",
        "14",
        11550464,
    )
    assert device.before.thermal_status == 0
    assert {run.affinity for run in phone.runs[1:]} == {"f0"}


def test_the_files_take_turns(phone: FakePhone, bench: Bench, sr_tflite: Path) -> None:
    other = sr_tflite.with_name("other.tflite")
    other.write_bytes(sr_tflite.read_bytes())
    assert bench(other, "--repeats", 2).status == 0
    graphs = [word for run in phone.runs for word in run.words if word.startswith("--graph")]
    order = [Path(graph).stem for graph in graphs]
    assert order == ["model0", "model1"] * 3  # two repeats and the peak of memory


def test_json_on_stdout_is_the_record_alone(phone: FakePhone, bench: Bench) -> None:
    ran = bench("--json")
    assert json.loads(ran.out)["schema_version"] == 1
    assert BenchRecord.model_validate_json(ran.out).cases[0].device == phone.serial


@pytest.mark.parametrize("dialect", list(Dialect))
def test_every_build_of_benchmark_model(
    adb_server: AdbServer, bench: Bench, dialect: Dialect
) -> None:
    with FakePhone(dialect=dialect) as phone:
        adb_server.connect(phone)
        if dialect is Dialect.LITERT:
            phone.play_next(usage(LITERT), 1)
        ran = bench("--json")
        assert ran.status == 0, ran.err
        summary = BenchRecord.model_validate_json(ran.out).cases[0].summary
        new = dialect in (Dialect.NEW, Dialect.LITERT)
        assert summary.statistic == ("median of medians" if new else "median of means")
        assert (summary.p95_ms is not None) is new
        assert is_clean(phone)


def test_a_tool_that_writes_its_result_is_asked_to(phone: FakePhone, bench: Bench) -> None:
    phone.play_next(usage(), 1)
    ran = bench("--json")
    assert ran.status == 0, ran.err
    invocation = BenchRecord.model_validate_json(ran.out).cases[0].invocations[0]
    assert invocation.proto is not None
    assert invocation.proto.median_ms == pytest.approx(invocation.runs.median_ms)
    assert invocation.proto.runs == 50
    assert is_clean(phone)


def test_a_flag_that_the_tool_does_not_list_is_not_tried(phone: FakePhone, bench: Bench) -> None:
    phone.play_next(usage(frozenset(CLASSIC) - {"gpu_precision_loss_allowed", "min_secs"}), 1)
    bench().fails_alone("does not know --min_secs --gpu_precision_loss_allowed", "--binary")
    assert len(phone.runs) == 1
    assert is_clean(phone)


def test_the_start_with_an_empty_and_with_a_filled_kernel_cache(
    phone: FakePhone, bench: Bench
) -> None:
    phone.play_next(usage(), 1)
    ran = bench("--json")
    assert ran.status == 0, ran.err
    case = BenchRecord.model_validate_json(ran.out).cases[0]
    assert case.notes == ()
    assert case.summary.cold_init_ms == case.summary.init_ms == 400.0
    assert case.summary.warm_init_ms == 40.0
    assert is_clean(phone)


def test_runs_that_are_all_the_same(adb_server: AdbServer, bench: Bench) -> None:
    with FakePhone(speed=Speed(gpu_ms=10, spread=0)) as phone:
        adb_server.connect(phone)
        ran = bench("--json")
        assert ran.status == 0, ran.err
        assert BenchRecord.model_validate_json(ran.out).cases[0].summary.latency_ms == 10.0


def test_a_phone_without_shell_v2(adb_server: AdbServer, bench: Bench) -> None:
    with FakePhone({Fault.NO_SHELL_V2}, carriage_returns=True) as phone:
        adb_server.connect(phone)
        ran = bench("--json")
        assert ran.status == 0, ran.err
        assert is_clean(phone)


def test_a_phone_without_a_thermal_service(adb_server: AdbServer, bench: Bench) -> None:
    with FakePhone({Fault.NO_THERMAL_SERVICE}) as phone:
        adb_server.connect(phone)
        ran = bench("--json")
        assert ran.status == 0, ran.err
        assert BenchRecord.model_validate_json(ran.out).devices[0].before.thermal_status is None


def test_the_check_compares_the_phones_output(phone: FakePhone, bench: Bench) -> None:
    words = ["--precision", "fp16", "--precision", "fp32", "--check", "--json"]
    ran = bench(*words)
    assert ran.status == 0, ran.err
    half, full = (c.fidelity[0] for c in BenchRecord.model_validate_json(ran.out).cases)
    assert (half.picture, half.passed, full.passed) == ("test card", True, True)
    assert half.psnr_db is not None
    assert 55 < half.psnr_db < 90
    assert full.max_abs == 0.0
    assert is_clean(phone)


def test_sustained_gives_a_curve(adb_server: AdbServer, bench: Bench) -> None:
    with FakePhone(heat=Heat(per_run_celsius=1.0)) as phone:
        adb_server.connect(phone)
        ran = bench("--sustained", 0.05, "--json")
        assert ran.status == 0, ran.err
        curve = BenchRecord.model_validate_json(ran.out).cases[0].sustained
        assert len(curve) >= 2
        assert [p.at_s for p in curve] == sorted(p.at_s for p in curve)
        assert (curve[-1].battery_celsius or 0) > (curve[0].battery_celsius or 0)


def test_a_warm_phone_is_waited_for(adb_server: AdbServer, bench: Bench) -> None:
    with FakePhone(heat=Heat(celsius=37.0, cooling_celsius_s=1.0)) as phone:
        adb_server.connect(phone)
        began = time.monotonic()
        ran = bench("--json")
        assert ran.status == 0, ran.err
        assert time.monotonic() - began > 1.0
        assert BenchRecord.model_validate_json(ran.out).devices[0].before.thermal_status == 0


def test_two_phones_side_by_side(adb_server: AdbServer, phone: FakePhone, bench: Bench) -> None:
    with FakePhone(model="Other Phone", speed=Speed(gpu_ms=40)) as other:
        adb_server.connect(other)
        ran = bench("--serial", phone.serial, "--serial", other.serial, "--json")
        assert ran.status == 0, ran.err
        record = BenchRecord.model_validate_json(ran.out)
        assert [device.facts.model for device in record.devices] == ["Fake Phone 9", "Other Phone"]
        first, second = (case.summary.latency_ms for case in record.cases)
        assert second > 1.5 * first
        assert is_clean(phone)
        assert is_clean(other)


# What goes wrong: one line, status 1, no record, nothing left


def test_no_phone(adb_server: AdbServer, bench: Bench, tmp_path: Path) -> None:
    target = tmp_path / "r.json"
    bench("-o", target).fails_alone("adb sees no phone", "USB debugging")
    assert not target.exists()


def test_no_adb(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    bench().fails_alone("no `adb` in PATH", "install it")


def test_several_phones_are_named(adb_server: AdbServer, phone: FakePhone, bench: Bench) -> None:
    with FakePhone(model="Other Phone") as other:
        adb_server.connect(other)
        words = ("2 phones", phone.serial, other.serial, "Other Phone", "--serial")
        bench().fails_alone(*words)
        bench("--serial", "nosuch").fails_alone("no phone nosuch", phone.serial, other.serial)
        assert phone.commands == other.commands == []


def test_the_serial_of_the_environment_is_heeded(
    adb_server: AdbServer, phone: FakePhone, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FakePhone() as other:
        adb_server.connect(other)
        monkeypatch.setenv("ANDROID_SERIAL", other.serial)
        ran = bench("--json")
        assert ran.status == 0, ran.err
        assert phone.commands == []


@pytest.mark.parametrize(
    ("fault", "state", "words"),
    [
        pytest.param(
            Fault.UNAUTHORIZED, "unauthorized", ("is unauthorized", "unlock"), id="unauthorized"
        ),
        pytest.param(Fault.OFFLINE, "offline", ("is offline", "plug it in again"), id="offline"),
    ],
)
def test_a_phone_that_cannot_be_used(
    adb_server: AdbServer, bench: Bench, fault: Fault, state: str, words: tuple[str, ...]
) -> None:
    with FakePhone({fault}) as phone:
        adb_server.connect(phone, state=state)
        bench().fails_alone(phone.serial, *words)
        assert phone.commands == []


FAULTS = {
    Fault.DROP_MID_RUN: ("broke while", "no exit status came back"),
    Fault.DROP_MID_PUSH: ("broke", "benchmark_model"),
    Fault.CLOSED_MID_RUN: ("broke while", "no exit status came back"),
    Fault.REBOOT_MID_RUN: ("rebooted while benchmark_model ran",),
    Fault.NO_SPACE: ("MiB free", "make room"),
    Fault.NO_SPACE_UNSEEN: ("No space left on device", "make room"),
    Fault.READ_ONLY: ("Read-only file system",),
    Fault.CORRUPT_PUSH: ("is damaged", "sha256"),
    Fault.WRONG_ABI: ("is for arm64-v8a", "runs armeabi-v7a", "--binary"),
    Fault.THROTTLING: ("too hot", "thermal status"),
    Fault.PARTIAL_DELEGATION: ("took 29 of 31 nodes", "SPLIT: Operation is not supported"),
    Fault.SILENT_FALLBACK: ("took no operator", "the CPU computed all of it"),
    Fault.UNKNOWN_FLAG: ("does not know", "--min_secs=0", "--use_gpu=true"),
    Fault.NO_RESULT: ("ends before its result", "exit status was 0"),
    Fault.ABORT: ("benchmark_model failed", "it aborted"),
    Fault.SEGFAULT: ("benchmark_model failed", "it crashed"),
    Fault.OUT_OF_MEMORY: ("benchmark_model failed", "memory runs out"),
}


@pytest.mark.parametrize(("fault", "words"), FAULTS.items(), ids=[str(f) for f in FAULTS])
def test_every_fault_is_one_line_and_leaves_nothing(
    adb_server: AdbServer, bench: Bench, tmp_path: Path, fault: Fault, words: tuple[str, ...]
) -> None:
    target = tmp_path / "r.json"
    with FakePhone({fault}) as phone:
        adb_server.connect(phone)
        words_of_it = ["-o", target, "--json", "--cool-down", 0, "--repeats", 3]
        bench(*words_of_it).fails_alone(*words)
        assert list(tmp_path.iterdir()) == []
        assert is_clean(phone)


def test_a_run_that_hangs_is_ended_at_its_time_limit(adb_server: AdbServer, bench: Bench) -> None:
    with FakePhone({Fault.HUNG_RUN}) as phone:
        adb_server.connect(phone)
        bench("--time-limit", 2).fails_alone("did not end", "within 2 s")
        assert is_clean(phone)


@pytest.mark.slow
def test_a_phone_that_answers_nothing_any_more(adb_server: AdbServer, bench: Bench) -> None:
    with FakePhone({Fault.HUNG_ADBD}) as phone:
        adb_server.connect(phone)
        bench("--time-limit", 2).fails_alone("did not end", "within 2 s")
        assert is_clean(phone)  # it answers when it is connected anew


@pytest.mark.slow
def test_a_phone_that_is_gone_for_good(adb_server: AdbServer, bench: Bench) -> None:
    """What cannot be removed is named, with the command that removes it later."""
    with FakePhone({Fault.CLOSED_MID_RUN}) as phone:
        adb_server.connect(phone)
        threading.Thread(target=unplug_mid_run, args=(phone, adb_server), daemon=True).start()
        words = ("broke while", f"adb -s {phone.serial} shell rm -rf {WORKSPACE}")
        bench().fails_alone(*words)


def unplug_mid_run(phone: FakePhone, adb_server: AdbServer) -> None:
    while len(phone.runs) < 2:
        time.sleep(0.005)
    adb_server.disconnect_all()
    phone.close()


def test_opencl_that_is_not_there(adb_server: AdbServer, bench: Bench) -> None:
    with FakePhone({Fault.NO_OPENCL}) as phone:
        adb_server.connect(phone)
        bench("--gpu-backend", "cl").fails_alone("OpenCL", "--gpu-backend gl")
        ran = bench("--json")  # without a choice the delegate takes the other, and says so
        case = BenchRecord.model_validate_json(ran.out).cases[0]
        assert case.invocations[0].delegation.api == "OpenGL"
        assert "Falling back to OpenGL" in case.invocations[0].complaints
        assert is_clean(phone)


def test_a_phone_that_throttles_in_every_run(adb_server: AdbServer, bench: Bench) -> None:
    hot = Heat(per_run_celsius=8.0, cooling_celsius_s=8.0)
    with FakePhone(heat=hot) as phone:
        adb_server.connect(phone)
        bench().fails_alone("throttled in each of 3 tries", "--sustained")
        assert is_clean(phone)


def test_what_one_delegate_refuses_another_may_run(
    adb_server: AdbServer, bench: Bench, tmp_path: Path
) -> None:
    target = tmp_path / "r.json"
    with FakePhone({Fault.SILENT_FALLBACK}) as phone:
        adb_server.connect(phone)
        ran = bench("--delegate", "gpu", "--delegate", "xnnpack", "-o", target)
        ran.fails_alone_on_stderr("gpu fp16", "took no operator")
        record = BenchRecord.model_validate_json(target.read_text())
        assert [case.setting.delegate for case in record.cases] == ["xnnpack"]
        assert "Though GPU delegate" in record.failures[0].log


def test_one_phone_that_is_lost_does_not_take_the_other_with_it(
    adb_server: AdbServer, phone: FakePhone, bench: Bench
) -> None:
    with FakePhone({Fault.CLOSED_MID_RUN}) as broken:
        adb_server.connect(broken)
        ran = bench("--serial", phone.serial, "--serial", broken.serial, "--json")
        ran.fails_alone_on_stderr(broken.serial, "broke while")
        record = BenchRecord.model_validate_json(ran.out)
        assert [case.device for case in record.cases] == [phone.serial]
        assert [failure.device for failure in record.failures] == [broken.serial]
        assert is_clean(phone)
        assert is_clean(broken)


def test_a_program_for_another_processor(phone: FakePhone, bench: Bench, tmp_path: Path) -> None:
    binary = write_benchmark_binary(tmp_path / "b", abi="x86_64")
    bench(binary=binary).fails_alone("is for x86_64", "runs arm64-v8a", "--binary")
    assert phone.pushed == []


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(None, ("cannot read",), id="missing"),
        pytest.param(b"#!/bin/sh\n", ("no Android program",), id="a script"),
        pytest.param(
            b"\x7fELF" + bytes(14) + b"\xb7\x00" + b"/lib/ld-linux-aarch64.so.1",
            ("built for Linux",),
            id="for desktop Linux",
        ),
        pytest.param(b"\x7fELF" + bytes(14) + b"\xf3\x00", ("machine 243",), id="RISC-V"),
    ],
)
def test_what_is_no_benchmark_model(
    phone: FakePhone, bench: Bench, tmp_path: Path, content: bytes | None, words: tuple[str, ...]
) -> None:
    binary = tmp_path / "b"
    if content is not None:
        binary.write_bytes(content)
    bench(binary=binary).fails_alone(*words)
    assert phone.commands == []


def test_a_file_that_is_no_tflite(phone: FakePhone, bench: Bench, tmp_path: Path) -> None:
    bad = tmp_path / "a.tflite"
    bad.write_bytes(b"nothing")
    bench(file=bad).fails_alone("a.tflite", "not a .tflite")
    assert phone.commands == []


def test_an_output_that_exists_is_left_alone(
    phone: FakePhone, bench: Bench, tmp_path: Path
) -> None:
    target = tmp_path / "r.json"
    target.write_text("mine")
    bench("-o", target).fails_alone("exists", "--force")
    assert target.read_text() == "mine"
    assert phone.commands == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param(
            ("--delegate", "cpu", "--precision", "fp16"), "kernels compute in fp32", id="cpu fp16"
        ),
        pytest.param(
            ("--delegate", "cpu", "--gpu-backend", "cl"), "without --delegate gpu", id="backend"
        ),
    ],
)
def test_settings_that_mean_nothing(bench: Bench, words: tuple[str, ...], said: str) -> None:
    bench(*words).fails_alone(said)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param(("--threads", "1,x"), "allowed numbers", id="threads"),
        pytest.param(("--pictures", "."), "without --check", id="pictures"),
        pytest.param(("--runs", "0"), "--runs", id="no runs"),
    ],
)
def test_wrong_usage(bench: Bench, words: tuple[str, ...], said: str) -> None:
    bench(*words).is_wrong_usage(said)


def test_two_benchmarks_on_one_phone(phone: FakePhone, bench: Bench) -> None:
    owner = phone.device.storage.host(f"{WORKSPACE}/owner")
    owner.parent.mkdir(parents=True)
    owner.write_text("elsewhere 1\n")
    bench().fails_alone("in use by another benchmark", "process 1 on elsewhere", "rm -r")
    assert phone.files() != []


def test_what_a_killed_benchmark_left_is_taken_over(phone: FakePhone, bench: Bench) -> None:
    import platform

    dead = subprocess.Popen(["true"])
    dead.wait()
    owner = phone.device.storage.host(f"{WORKSPACE}/owner")
    owner.parent.mkdir(parents=True)
    owner.write_text(f"{platform.node()} {dead.pid}\n")
    assert bench("--json").status == 0
    assert is_clean(phone)


# Interruption


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["Ctrl-C", "SIGTERM"]
)
def test_an_interruption_in_the_middle_of_a_run_leaves_nothing(
    adb_server: AdbServer,
    benchmark_binary: Path,
    sr_tflite: Path,
    tmp_path: Path,
    number: signal.Signals,
    status: int,
) -> None:
    target = tmp_path / "r.json"
    with FakePhone({Fault.HUNG_RUN}) as phone:
        adb_server.connect(phone)
        words = ["bench", sr_tflite, "--on", "android", "--binary", benchmark_binary, "-o", target]
        process = subprocess.Popen(
            [sys.executable, "-c", HEED_CTRL_C + RUN, *map(str, words)],
            env=adb_server.environment(),
            stderr=subprocess.PIPE,
            text=True,
        )
        end = time.monotonic() + 30
        while len(phone.runs) < 2 and time.monotonic() < end:  # the first one asks for its flags
            time.sleep(0.05)
        process.send_signal(number)
        _, err = process.communicate(timeout=30)
        assert process.returncode == status, err
        assert "Traceback" not in err
        assert list(tmp_path.iterdir()) == []
        assert is_clean(phone)
