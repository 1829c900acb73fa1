"""`edgesr bench` on devices that misbehave in every way: one line, no record, nothing left."""

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from fake_device import AdbServer, FakeDevice, Fault, Heat

from android_bench.device.workspace import WORKSPACE
from android_bench.record import BenchRecord
from helpers.benching import Bench, is_clean
from helpers.commands import HEED_CTRL_C, RUN


def test_no_device(adb_server: AdbServer, bench: Bench, tmp_path: Path) -> None:
    target = tmp_path / "r.json"
    bench("-o", target).fails_alone("adb sees no device", "USB debugging")
    assert not target.exists()


def test_no_adb(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    bench().fails_alone("no `adb` in PATH", "install it")


def test_several_devices_are_named(adb_server: AdbServer, device: FakeDevice, bench: Bench) -> None:
    with FakeDevice(model="Other Phone") as other:
        adb_server.connect(other)
        words = ("2 devices", device.serial, other.serial, "Other Phone", "--serial")
        bench().fails_alone(*words)
        bench("--serial", "nosuch").fails_alone("no device nosuch", device.serial, other.serial)
        assert device.commands == other.commands == []


def test_the_serial_of_the_environment_is_heeded(
    adb_server: AdbServer, device: FakeDevice, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FakeDevice() as other:
        adb_server.connect(other)
        monkeypatch.setenv("ANDROID_SERIAL", other.serial)
        ran = bench("--json")
        assert ran.status == 0, ran.err
        assert device.commands == []


@pytest.mark.parametrize(
    ("fault", "state", "words"),
    [
        pytest.param(
            Fault.UNAUTHORIZED, "unauthorized", ("is unauthorized", "unlock"), id="unauthorized"
        ),
        pytest.param(
            Fault.OFFLINE, "offline", ("is offline", "adb connect 127.0.0.1:"), id="offline"
        ),
    ],
)
def test_a_device_that_cannot_be_used(
    adb_server: AdbServer, bench: Bench, fault: Fault, state: str, words: tuple[str, ...]
) -> None:
    with FakeDevice({fault}) as device:
        adb_server.connect(device, state=state)
        bench().fails_alone(device.serial, *words)
        assert device.commands == []


FAULTS = {
    Fault.DROP_MID_RUN: ("broke while", "no exit status came back"),
    Fault.DROP_MID_PUSH: ("broke", "benchmark_model"),
    Fault.CLOSED_MID_RUN: ("broke while", "no exit status came back"),
    Fault.REBOOT_MID_RUN: ("rebooted while benchmark_model ran",),
    Fault.NO_SPACE: ("MiB free", "make room"),
    Fault.NO_SPACE_UNSEEN: ("No space left on device", "make room"),
    Fault.READ_ONLY: ("Read-only file system",),
    Fault.CORRUPT_PUSH: ("is damaged", "sha256"),
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
    with FakeDevice({fault}) as device:
        adb_server.connect(device)
        words_of_it = ["-o", target, "--json", "--cool-down", 0, "--repeats", 3]
        bench(*words_of_it).fails_alone(*words)
        assert list(tmp_path.iterdir()) == []
        assert is_clean(device)


def test_a_run_that_hangs_is_ended_at_its_time_limit(adb_server: AdbServer, bench: Bench) -> None:
    with FakeDevice({Fault.HUNG_RUN}) as device:
        adb_server.connect(device)
        bench("--time-limit", 2).fails_alone("did not end", "within 2 s")
        assert is_clean(device)


@pytest.mark.slow
def test_a_device_that_answers_nothing_any_more(adb_server: AdbServer, bench: Bench) -> None:
    with FakeDevice({Fault.HUNG_ADBD}) as device:
        adb_server.connect(device)
        bench("--time-limit", 2).fails_alone("did not end", "within 2 s")
        assert is_clean(device)  # it answers when it is connected anew


@pytest.mark.slow
def test_a_device_that_is_gone_for_good(adb_server: AdbServer, bench: Bench) -> None:
    """What cannot be removed is named, with the command that removes it later."""
    with FakeDevice({Fault.CLOSED_MID_RUN}) as device:
        adb_server.connect(device)
        threading.Thread(target=unplug_mid_run, args=(device, adb_server), daemon=True).start()
        words = ("broke while", f"adb -s {device.serial} shell rm -rf {WORKSPACE}")
        bench().fails_alone(*words)


def unplug_mid_run(device: FakeDevice, adb_server: AdbServer) -> None:
    while len(device.runs) < 2:
        time.sleep(0.005)
    adb_server.disconnect_all()
    device.close()


def test_opencl_that_is_not_there(adb_server: AdbServer, bench: Bench) -> None:
    with FakeDevice({Fault.NO_OPENCL}) as device:
        adb_server.connect(device)
        bench("--gpu-backend", "cl").fails_alone("OpenCL", "--gpu-backend gl")
        ran = bench("--json")  # without a choice the delegate takes the other, and says so
        case = BenchRecord.model_validate_json(ran.out).cases[0]
        assert case.invocations[0].delegation.api == "OpenGL"
        assert "Falling back to OpenGL" in case.invocations[0].complaints
        assert is_clean(device)


def test_a_device_that_throttles_in_every_run(adb_server: AdbServer, bench: Bench) -> None:
    hot = Heat(per_run_celsius=8.0, cooling_celsius_command=8.0)
    with FakeDevice(heat=hot) as device:
        adb_server.connect(device)
        bench().fails_alone("throttled in each of 3 tries", "--sustained")
        assert is_clean(device)


def test_what_one_delegate_refuses_another_may_run(
    adb_server: AdbServer, bench: Bench, tmp_path: Path
) -> None:
    target = tmp_path / "r.json"
    with FakeDevice({Fault.SILENT_FALLBACK}) as device:
        adb_server.connect(device)
        ran = bench("--delegate", "gpu", "--delegate", "xnnpack", "-o", target)
        ran.fails_alone_on_stderr("gpu fp16", "took no operator")
        record = BenchRecord.model_validate_json(target.read_text())
        assert [case.setting.delegate for case in record.cases] == ["xnnpack"]
        assert "Though GPU delegate" in record.failures[0].log


def test_one_device_that_is_lost_does_not_take_the_other_with_it(
    adb_server: AdbServer, device: FakeDevice, bench: Bench
) -> None:
    with FakeDevice({Fault.CLOSED_MID_RUN}) as broken:
        adb_server.connect(broken)
        ran = bench("--serial", device.serial, "--serial", broken.serial, "--json")
        ran.fails_alone_on_stderr(broken.serial, "broke while")
        record = BenchRecord.model_validate_json(ran.out)
        assert [case.device for case in record.cases] == [device.serial]
        assert [failure.device for failure in record.failures] == [broken.serial]
        assert is_clean(device)
        assert is_clean(broken)


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
    with FakeDevice({Fault.HUNG_RUN}) as device:
        adb_server.connect(device)
        words = ["bench", sr_tflite, "--on", "android", "--binary", benchmark_binary, "-o", target]
        process = subprocess.Popen(
            [sys.executable, "-c", HEED_CTRL_C + RUN, *map(str, words)],
            env=adb_server.environment(),
            stderr=subprocess.PIPE,
            text=True,
        )
        hangs = device.hangs.wait(120)
        process.send_signal(number)
        _, err = process.communicate(timeout=120)
        assert hangs, err
        assert process.returncode == status, err
        assert "Traceback" not in err
        assert list(tmp_path.iterdir()) == []
        assert is_clean(device)
