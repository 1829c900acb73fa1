"""Every fault of the fake device shows as it does with a real one."""

import subprocess
import time
from collections.abc import Generator
from pathlib import Path

import pytest
from fake_device import AdbServer, FakeDevice, Fault, write_benchmark_binary

FOLDER = "/data/local/tmp/t"
#: For what a busy machine may take long to come to.
_PATIENCE_S = 60.0
RUN = f"{FOLDER}/benchmark_model --graph={FOLDER}/small.tflite 2>&1; echo __RC=$?"


@pytest.fixture
def loaded(device: FakeDevice, benchmark_binary: Path, sr_tflite: Path) -> FakeDevice:
    """A healthy device, connected, with program and model on it."""
    device.put(benchmark_binary, sr_tflite, folder=FOLDER)
    return device


@pytest.fixture
def broken(request: pytest.FixtureRequest, adb_server: AdbServer) -> Generator[FakeDevice]:
    """A device with the fault that the test is given, connected."""
    with FakeDevice({request.param}) as device:
        adb_server.connect(device)
        yield device


def push(adb_server: AdbServer, file: Path) -> subprocess.CompletedProcess[str]:
    return adb_server.adb("push", file, f"{FOLDER}/{file.name}")


def test_no_device(adb_server: AdbServer) -> None:
    done = adb_server.adb("shell", "true")
    assert (done.returncode, done.stderr) == (1, "error: no devices/emulators found\n")


def test_unauthorized(adb_server: AdbServer) -> None:
    with FakeDevice({Fault.UNAUTHORIZED}) as device:
        said = adb_server.connect(device, state="unauthorized")
        assert said == f"failed to authenticate to {device.serial}"
        done = adb_server.adb("shell", "true")
        assert done.returncode == 1
        assert done.stderr.startswith("error: device unauthorized.\n")


def test_offline(adb_server: AdbServer, benchmark_binary: Path) -> None:
    with FakeDevice({Fault.OFFLINE}) as device:
        assert adb_server.connect(device, state="offline") == f"connected to {device.serial}"
        done = adb_server.adb("shell", "true")
        assert (done.returncode, done.stderr) == (1, "error: device offline\n")
        done = push(adb_server, benchmark_binary)
        assert "failed to get feature set: device offline" in done.stdout + done.stderr
        assert done.returncode == 1


def test_two_devices(adb_server: AdbServer, device: FakeDevice) -> None:
    with FakeDevice(model="Other Phone") as other:
        adb_server.connect(other)
        assert adb_server.devices() == {device.serial: "device", other.serial: "device"}
        done = adb_server.adb("shell", "true")
        assert (done.returncode, done.stderr) == (1, "error: more than one device/emulator\n")
        for serial, model in ((device.serial, "Fake Phone 9"), (other.serial, "Other Phone")):
            done = adb_server.adb("-s", serial, "shell", "getprop ro.product.model")
            assert done.stdout == f"{model}\n"


@pytest.mark.parametrize("fault", [Fault.DROP_MID_RUN, Fault.CLOSED_MID_RUN, Fault.REBOOT_MID_RUN])
def test_a_run_that_is_cut_off_has_no_status_of_its_own(
    adb_server: AdbServer, loaded: FakeDevice, fault: Fault
) -> None:
    """The client of 2019 returns 0, that of 2024 255: neither is benchmark_model's."""
    before = loaded.boot_id
    loaded.faults = {fault}
    done = adb_server.adb("shell", RUN)
    assert done.returncode in (0, 255)
    assert "__RC=" not in done.stdout
    assert "STARTING!" in done.stdout
    assert "Inference timings" not in done.stdout
    adb_server.wait_for(loaded, "device")
    assert loaded.has_no_processes()
    assert (loaded.boot_id != before) == (fault is Fault.REBOOT_MID_RUN)
    read = adb_server.adb("shell", "cat /proc/sys/kernel/random/boot_id").stdout
    assert read == f"{loaded.boot_id}\n"


def test_reboot_takes_its_time_and_keeps_the_files(
    adb_server: AdbServer, loaded: FakeDevice
) -> None:
    files = loaded.files()
    adb_server.adb("reboot")
    adb_server.wait_for(loaded, "offline")
    adb_server.wait_for(loaded, "device")
    assert adb_server.adb("shell", "getprop sys.boot_completed").stdout == "1\n"
    assert loaded.files() == files


def _start_and_leave(adb_server: AdbServer, device: FakeDevice, command: str) -> None:
    """Have a run hang, then end the client that waits for it."""
    client = subprocess.Popen(
        ["adb", "shell", command],
        env=adb_server.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert device.hangs.wait(_PATIENCE_S)
    finally:
        client.kill()
        client.wait()


def _wait_for_one_process(device: FakeDevice) -> None:
    """The shell may take a while to end."""
    end = time.monotonic() + _PATIENCE_S
    while len(device.processes_left()) != 1 and time.monotonic() < end:
        time.sleep(0.05)
    assert len(device.processes_left()) == 1


def test_a_hung_run_outlives_its_client_until_it_is_killed(
    adb_server: AdbServer, loaded: FakeDevice
) -> None:
    loaded.faults = {Fault.HUNG_RUN}
    run = f"sh -c 'echo $$ > {FOLDER}/pid && exec {RUN.partition(' 2>')[0]}'"
    _start_and_leave(adb_server, loaded, run)
    _wait_for_one_process(loaded)
    for ask in ("pidof benchmark_model", "pgrep -f benchmark_model"):
        assert adb_server.adb("shell", ask).stdout.split() == [str(loaded.processes_left()[0])]
    assert adb_server.adb("shell", "pgrep -f nothing").returncode == 1
    kill = f"p=$(cat {FOLDER}/pid); grep -q benchmark_model /proc/$p/cmdline && kill -9 $p"
    done = adb_server.adb("shell", kill)
    assert done.returncode == 0, done
    assert loaded.has_no_processes()


def test_kill_reaches_no_process_of_the_host(adb_server: AdbServer, device: FakeDevice) -> None:
    with subprocess.Popen(["sleep", "30"]) as bystander:
        done = adb_server.adb("shell", f"kill -9 {bystander.pid}")
        assert (done.returncode, "No such process" in done.stderr) == (1, True)
        assert bystander.poll() is None
        bystander.kill()


def test_a_hung_adbd_answers_nothing_until_it_is_connected_anew(
    adb_server: AdbServer, loaded: FakeDevice
) -> None:
    loaded.faults = {Fault.HUNG_ADBD}
    _start_and_leave(adb_server, loaded, RUN)
    with pytest.raises(subprocess.TimeoutExpired):
        adb_server.adb("shell", "true", timeout_s=0.7)
    assert adb_server.devices() == {loaded.serial: "device"}
    adb_server.adb("disconnect", loaded.serial)
    adb_server.connect(loaded)
    assert adb_server.adb("shell", "echo back").stdout == "back\n"


@pytest.mark.parametrize(
    ("broken", "message", "kib_free"),
    [
        (Fault.NO_SPACE, "remote write failed: No space left on device", 1),
        (Fault.NO_SPACE_UNSEEN, "remote write failed: No space left on device", 50_000_000),
        (Fault.READ_ONLY, "remote couldn't create file: Read-only file system", 50_000_000),
        (Fault.DROP_MID_PUSH, "couldn't read from device", None),
    ],
    indirect=["broken"],
)
def test_a_push_fails(
    adb_server: AdbServer,
    broken: FakeDevice,
    benchmark_binary: Path,
    message: str,
    kib_free: int | None,
) -> None:
    if kib_free is not None:
        df = adb_server.adb("shell", "df -k /data/local/tmp").stdout.splitlines()[1].split()
        assert int(df[3]) == kib_free
    done = push(adb_server, benchmark_binary)
    assert done.returncode == 1
    assert message in done.stdout + done.stderr
    assert "0 files pushed" in done.stdout + done.stderr
    assert [file for file in broken.files() if not file.endswith("/")] == []


@pytest.mark.parametrize("broken", [Fault.READ_ONLY], indirect=True)
def test_a_read_only_device_refuses_the_shell_too(
    adb_server: AdbServer, broken: FakeDevice
) -> None:
    for command in ("mkdir {}/d", "echo x > {}/f", "touch {}/f", "tee {}/f"):
        done = adb_server.adb("shell", command.format("/data/local/tmp"))
        assert done.returncode != 0, done
    assert broken.files() == []


def test_a_push_that_arrives_damaged_looks_like_success(
    adb_server: AdbServer, device: FakeDevice, benchmark_binary: Path
) -> None:
    device.faults = {Fault.CORRUPT_PUSH}
    assert push(adb_server, benchmark_binary).returncode == 0
    stored = device.system.storage.host(f"{FOLDER}/benchmark_model").read_bytes()
    sent = benchmark_binary.read_bytes()
    assert sum(a != b for a, b in zip(stored, sent, strict=True)) == 1


@pytest.mark.parametrize("broken", [Fault.WRONG_ABI], indirect=True)
def test_wrong_abi(
    adb_server: AdbServer, broken: FakeDevice, benchmark_binary: Path, tmp_path: Path
) -> None:
    assert adb_server.adb("shell", "getprop ro.product.cpu.abi").stdout == "armeabi-v7a\n"
    push(adb_server, benchmark_binary)
    done = adb_server.adb("shell", f"{FOLDER}/benchmark_model --graph=x")
    assert (done.returncode, "not executable: 64-bit ELF file" in done.stderr) == (126, True)
    push(adb_server, write_benchmark_binary(tmp_path / "benchmark_model", "armeabi-v7a"))
    done = adb_server.adb("shell", f"{FOLDER}/benchmark_model --graph=x")
    assert (done.returncode, "Could not open 'x'." in done.stderr) == (1, True)


@pytest.mark.parametrize("broken", [Fault.NO_THERMAL_SERVICE], indirect=True)
def test_no_thermal_service(adb_server: AdbServer, broken: FakeDevice) -> None:
    done = adb_server.adb("shell", "dumpsys thermalservice")
    assert "Can't find service: thermalservice" in done.stderr
    assert done.stdout == ""


def test_a_fault_may_strike_in_one_run_alone(
    adb_server: AdbServer, benchmark_binary: Path, sr_tflite: Path
) -> None:
    with FakeDevice({Fault.SEGFAULT}, only_in_run=2) as device:
        adb_server.connect(device)
        device.put(benchmark_binary, sr_tflite, folder=FOLDER)
        ends = [adb_server.adb("shell", RUN).stdout.splitlines()[-1] for _ in range(3)]
    assert ends == ["__RC=0", "__RC=139", "__RC=0"]


def test_nothing_of_the_host_is_touched(adb_server: AdbServer, device: FakeDevice) -> None:
    outside = "/data/local/tmp/../../../../x"
    for command in ("ls /etc", f"rm -r {outside}", 'D=; rm -rf "$D"/*', "cd / && rm -r home"):
        done = adb_server.adb("shell", command)
        assert (done.returncode != 0, "Permission denied" in done.stderr) == (True, True), done
