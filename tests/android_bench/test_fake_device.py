"""The fake device, through the real adb: what a healthy device does."""

import hashlib
import os
from pathlib import Path

from fake_device import VERSION_CHECKSUM, AdbServer, FakeDevice, Fault


def test_adb_lists_the_device(adb_server: AdbServer, device: FakeDevice) -> None:
    line = adb_server.adb("devices", "-l").stdout.splitlines()[1]
    assert line.startswith(f"{device.serial}")
    assert " device product:fake_prod model:Fake_Phone_9 device:fakedev transport_id:" in line


def test_getprop(adb_server: AdbServer, device: FakeDevice) -> None:
    assert adb_server.adb("shell", "getprop ro.product.model").stdout == "Fake Phone 9\n"
    assert adb_server.adb("shell", "getprop no.such.property").stdout == "\n"
    assert "[ro.product.cpu.abi]: [arm64-v8a]\n" in adb_server.adb("shell", "getprop").stdout
    assert device.commands[0] == "getprop ro.product.model"


def test_push_and_pull_keep_every_byte(
    adb_server: AdbServer, device: FakeDevice, tmp_path: Path
) -> None:
    sent, back = tmp_path / "sent.bin", tmp_path / "back.bin"
    for size in (0, 1, 70_000, 3_000_000):
        sent.write_bytes(os.urandom(size))
        pushed = adb_server.adb("push", sent, "/data/local/tmp/a.bin")
        assert (pushed.returncode, "1 file pushed" in pushed.stdout) == (0, True), pushed
        on_device = adb_server.adb("shell", "sha256sum /data/local/tmp/a.bin").stdout.split()
        assert on_device == [hashlib.sha256(sent.read_bytes()).hexdigest(), "/data/local/tmp/a.bin"]
        assert device.files() == ["/data/local/tmp/a.bin"]
        assert adb_server.adb("pull", "/data/local/tmp/a.bin", back).returncode == 0
        assert back.read_bytes() == sent.read_bytes(), size


def test_a_folder_is_pulled_whole(
    adb_server: AdbServer, device: FakeDevice, tmp_path: Path
) -> None:
    adb_server.adb("shell", "cd /data/local/tmp && mkdir d && echo a > d/a && echo b > d/b")
    assert device.files() == [f"/data/local/tmp/d/{name}" for name in ("", "a", "b")]
    assert adb_server.adb("pull", "/data/local/tmp/d", tmp_path).returncode == 0
    assert {file.name: file.read_text() for file in (tmp_path / "d").iterdir()} == {
        "a": "a\n",
        "b": "b\n",
    }
    missing = adb_server.adb("pull", "/data/local/tmp/no", tmp_path)
    assert missing.returncode == 1
    assert "'/data/local/tmp/no': No such file or directory" in missing.stdout + missing.stderr


def test_exit_status_comes_through(adb_server: AdbServer, device: FakeDevice) -> None:
    for status in (0, 3, 137):
        done = adb_server.adb("shell", f"echo out; echo err >&2; (exit {status})")
        assert (done.returncode, done.stdout, done.stderr) == (status, "out\n", "err\n")
    assert adb_server.adb("shell", "no_such_tool").returncode == 127
    done = adb_server.adb("exec-out", "printf 'a\\0b'")
    assert (done.returncode, done.stdout) == (0, "a\0b")


def test_without_shell_v2_every_status_is_zero(adb_server: AdbServer) -> None:
    with FakeDevice({Fault.NO_SHELL_V2}) as device:
        adb_server.connect(device)
        done = adb_server.adb("shell", "echo out; echo err >&2; exit 3")
        assert (done.returncode, done.stderr) == (0, "")
        assert sorted(done.stdout.split()) == ["err", "out"]


def test_old_protocol_with_checksums(adb_server: AdbServer) -> None:
    with FakeDevice(version=VERSION_CHECKSUM) as device:
        adb_server.connect(device)
        assert adb_server.adb("shell", "echo sum").stdout == "sum\n"
