"""The fake phone, through the real adb: what a healthy phone does."""

import hashlib
import os
from pathlib import Path

import pytest
from fake_phone import VERSION_CHECKSUM, AdbServer, FakePhone, Fault


def test_adb_lists_the_phone(adb_server: AdbServer, phone: FakePhone) -> None:
    line = adb_server.adb("devices", "-l").stdout.splitlines()[1]
    assert line.startswith(f"{phone.serial}")
    assert " device product:fake_prod model:Fake_Phone_9 device:fakedev transport_id:" in line


def test_getprop(adb_server: AdbServer, phone: FakePhone) -> None:
    assert adb_server.adb("shell", "getprop ro.product.model").stdout == "Fake Phone 9\n"
    assert adb_server.adb("shell", "getprop no.such.property").stdout == "\n"
    assert "[ro.product.cpu.abi]: [arm64-v8a]\n" in adb_server.adb("shell", "getprop").stdout
    assert phone.commands[0] == "getprop ro.product.model"


@pytest.mark.parametrize("size", [0, 1, 70_000, 3_000_000])
def test_push_and_pull_keep_every_byte(
    adb_server: AdbServer, phone: FakePhone, tmp_path: Path, size: int
) -> None:
    sent, back = tmp_path / "sent.bin", tmp_path / "back.bin"
    sent.write_bytes(os.urandom(size))
    pushed = adb_server.adb("push", sent, "/data/local/tmp/a.bin")
    assert (pushed.returncode, "1 file pushed" in pushed.stdout) == (0, True), pushed
    on_phone = adb_server.adb("shell", "sha256sum /data/local/tmp/a.bin").stdout.split()
    assert on_phone == [hashlib.sha256(sent.read_bytes()).hexdigest(), "/data/local/tmp/a.bin"]
    assert phone.files() == ["/data/local/tmp/a.bin"]
    assert adb_server.adb("pull", "/data/local/tmp/a.bin", back).returncode == 0
    assert back.read_bytes() == sent.read_bytes()


@pytest.mark.parametrize("status", [0, 3, 127])
def test_exit_status_comes_through(adb_server: AdbServer, phone: FakePhone, status: int) -> None:
    done = adb_server.adb("shell", f"echo out; echo err >&2; (exit {status})")
    assert (done.returncode, done.stdout, done.stderr) == (status, "out\n", "err\n")


def test_without_shell_v2_every_status_is_zero(adb_server: AdbServer) -> None:
    with FakePhone({Fault.NO_SHELL_V2}) as phone:
        adb_server.connect(phone)
        done = adb_server.adb("shell", "echo out; echo err >&2; exit 3")
        assert (done.returncode, done.stderr) == (0, "")
        assert sorted(done.stdout.split()) == ["err", "out"]


def test_old_protocol_with_checksums(adb_server: AdbServer) -> None:
    with FakePhone(version=VERSION_CHECKSUM) as phone:
        adb_server.connect(phone)
        assert adb_server.adb("shell", "echo sum").stdout == "sum\n"
