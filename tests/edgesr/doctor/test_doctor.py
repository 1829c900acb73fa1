"""Findings of `edgesr doctor`: packages, and devices through a real or a scripted adb server."""

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Generator
from pathlib import Path

import psutil
import pytest
import tomllib

from android_bench.device import server
from edgesr.common import subprocesses
from edgesr.doctor import Check, State, adb, packages
from edgesr.doctor.weights import weight_checks
from edgesr.networks.spec import find_spec
from helpers.bundles import replace_bundle

_ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("version", "versions", "allowed"),
    [
        pytest.param("2.13.0", "==2.13.0", True, id="equal"),
        pytest.param("2.13.0+cpu", "==2.13.0", True, id="a build of the same version"),
        pytest.param("2.13.1", "==2.13.0", False, id="another patch"),
        pytest.param("2.21", "==2.21.0", True, id="zeros at the end"),
        pytest.param("2.3.0", "<3,>=2.3", True, id="lower end of a range"),
        pytest.param("3.0.0", "<3,>=2.3", False, id="upper end of a range"),
        pytest.param("2.10.0", ">=2.9", True, id="ten is more than nine"),
        pytest.param("1.2", "", True, id="any"),
    ],
)
def test_a_version_is_compared_as_pip_does(version: str, versions: str, allowed: bool) -> None:
    assert (version in packages.allowed(versions)) is allowed


def test_every_package_that_edgesr_asks_for_is_looked_at() -> None:
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    convert = [*extras["convert"], *extras["onnx"]]
    convert.remove("edgesr[onnx]")
    base = [line for line in project["dependencies"] if "python_version" not in line]
    others = ("train", "spandrel", "heif", "video")
    asked = {"": base, "convert": convert, **{name: extras[name] for name in others}}
    expected = {(extra, re.split(r"[=<>!\[]", line)[0]) for extra in asked for line in asked[extra]}
    found = packages.look_at_packages(quick=True)
    assert {(p.extra, p.name) for p in found} == expected
    assert [str(p) for p in found if p.state is not State.OK] == []


@pytest.mark.parametrize(
    ("code", "limit_s", "reason"),
    [
        pytest.param("import os; os.abort()", 60, "crashed with SIGABRT", id="crash"),
        pytest.param("import time; time.sleep(600)", 1, "did not end within 1 s", id="hang"),
        pytest.param("raise SystemExit('no such thing')", 60, "no such thing", id="last line"),
        pytest.param("raise SystemExit(3)", 60, "ended with status 3", id="silence"),
    ],
)
def test_a_program_that_fails_is_explained(code: str, limit_s: float, reason: str) -> None:
    ended = subprocesses.run_to_end([sys.executable, "-c", code], limit_s)
    assert reason in ended.reason


def test_a_grandchild_that_keeps_its_output_open_does_not_hold_up_the_time_limit() -> None:
    ended = subprocesses.run_to_end(["sh", "-c", "setsid sleep 300 & echo $!; sleep 300"], 1)
    assert ended.status is None
    grandchild = psutil.Process(int(ended.out))
    held_open = grandchild.status() != psutil.STATUS_ZOMBIE
    grandchild.kill()
    assert held_open, "the time limit was held up until the grandchild ended"


# Devices: a real adb with a server of its own, and a fake device's daemon.


def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return bound.getsockname()[1]


@pytest.fixture
def adb_port(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Generator[int]:
    """A port for an adb server, which is ended afterwards, with a home folder of its own."""
    if shutil.which("adb") is None:
        message = "no adb on this machine (`make system-deps` installs it)"
        if os.environ.get("EDGESR_REQUIRE_GPU") == "1":  # set where system-deps are installed
            pytest.fail(message)
        pytest.skip(message)
    port = free_port()
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(port))
    monkeypatch.setenv("HOME", str(tmp_path))
    yield port
    # By its id: `adb kill-server` hangs now and then on a server that has only just begun.
    for process in psutil.process_iter(["cmdline"]):
        if f"tcp:{port}" in (process.info["cmdline"] or ()):
            process.kill()
            process.wait(30)


def listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@contextlib.contextmanager
def answering(answer: Callable[[socket.socket], None]) -> Generator[int]:
    """A server on a port of its own that treats each connection so."""

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = server.accept()
                accepted.append(connection)
                with connection, contextlib.suppress(OSError):
                    answer(connection)

    accepted: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        for open_one in (server, *accepted):
            with contextlib.suppress(OSError):
                open_one.shutdown(socket.SHUT_RDWR)
        thread.join(10)


def message(command: bytes, first: int, second: int, payload: bytes) -> bytes:
    """A message of adb's protocol."""
    number = int.from_bytes(command, "little")
    numbers = (number, first, second, len(payload), sum(payload), number ^ 0xFFFFFFFF)
    return b"".join(n.to_bytes(4, "little") for n in numbers) + payload


def read_message(connection: socket.socket) -> tuple[bytes, int]:
    """Command and first argument of the next message."""
    header = connection.recv(24, socket.MSG_WAITALL)
    if len(header) < 24:
        raise OSError("hung up")
    connection.recv(int.from_bytes(header[12:16], "little"), socket.MSG_WAITALL)
    return header[:4], int.from_bytes(header[4:8], "little")


def as_device(connection: socket.socket) -> None:
    read_message(connection)
    banner = b"device::ro.product.name=p;ro.product.model=Fake Phone 9;ro.product.device=d;"
    connection.sendall(message(b"CNXN", 0x01000000, 4096, banner))
    while connection.recv(4096):
        pass


def as_locked_device(connection: socket.socket) -> None:
    """Takes no signature, and leaves the public key, which comes last, unanswered."""
    while read_message(connection) != (b"AUTH", 3):
        connection.sendall(message(b"AUTH", 1, 0, b"x" * 20))
    connection.recv(1)


def connect(server_port: int, device_port: int) -> None:
    argv = ["adb", "-P", str(server_port), "connect", f"127.0.0.1:{device_port}"]
    subprocess.run(argv, check=True, capture_output=True, timeout=60)


def devices(checks: list[Check]) -> list[Check]:
    return [c for c in checks if c.name == "devices"]


def test_no_adb_server_is_started_unasked(adb_port: int) -> None:
    checks = adb.adb_checks(ask_devices=False)
    assert checks[0].state is State.OK
    assert re.match(r"\d+\.\d+\.\d+", checks[0].found)
    (found,) = devices(checks)
    assert found.state is State.UNCHECKED
    assert f"no adb server runs on port {adb_port}" in found.found
    assert found.remedy == "edgesr doctor --devices"
    assert not listens(adb_port)
    assert adb.device_job(checks).can_run is None


def test_an_adb_server_is_started_when_asked_and_sees_no_device(adb_port: int) -> None:
    checks = adb.adb_checks(ask_devices=True)
    (found,) = devices(checks)
    assert (found.state, found.found) == (State.MISSING, "the adb server sees none")
    assert listens(adb_port)
    assert adb.device_job(checks).can_run is False


def test_a_device_is_named_by_a_server_that_runs(adb_port: int) -> None:
    with answering(as_device) as device_port:
        connect(adb_port, device_port)
        checks = adb.adb_checks(ask_devices=False)
    (found,) = devices(checks)
    assert (found.state, found.found) == (State.OK, f"Fake Phone 9 (127.0.0.1:{device_port})")
    job = adb.device_job(checks)
    assert job.can_run is True
    assert job.text == f"a device is ready: Fake Phone 9 (127.0.0.1:{device_port})"


def test_a_device_that_was_not_told_to_trust_this_computer_is_explained(adb_port: int) -> None:
    with answering(as_locked_device) as device_port:
        connect(adb_port, device_port)
        checks = adb.adb_checks(ask_devices=False)
    (found,) = devices(checks)
    assert (found.state, found.found) == (
        State.BROKEN,
        f"127.0.0.1:{device_port} is unauthorized",
    )
    assert "accept its question about USB debugging" in found.remedy
    assert adb.device_job(checks).can_run is False


@pytest.mark.parametrize(
    ("line", "found", "remedy"),
    [
        pytest.param(
            "R3CT70 offline usb:1-4 transport_id:2",
            "R3CT70 is offline",
            "adb reconnect offline",
            id="offline",
        ),
        pytest.param(
            "R3CT70 recovery usb:1-4 product:p model:Pixel_8 device:d transport_id:2",
            "Pixel 8 (R3CT70) is recovery",
            "adb -s R3CT70 reboot",
            id="recovery",
        ),
        pytest.param(
            "R3CT70 no permissions (user u is not in the plugdev group); "
            "see [http://developer.android.com/tools/device.html] usb:1-4 transport_id:1",
            "R3CT70 is no permissions (user u is not in the plugdev group); "
            "see [http://developer.android.com/tools/device.html]",
            "usermod --append --groups plugdev $USER, and log in again",
            id="not in plugdev",
        ),
        pytest.param(
            "R3CT70 no permissions (missing udev rules? user is in the plugdev group); "
            "see [http://developer.android.com/tools/device.html] usb:1-4 transport_id:1",
            "R3CT70 is no permissions (missing udev rules? user is in the plugdev group); "
            "see [http://developer.android.com/tools/device.html]",
            "android-sdk-platform-tools-common",
            id="no udev rules",
        ),
        pytest.param("R3CT70 neither", "R3CT70 is neither", "plug it in again", id="unknown"),
        pytest.param("R3CT70", "the adb server says: R3CT70", "", id="no state"),
    ],
)
def test_every_state_of_a_device_is_explained(
    monkeypatch: pytest.MonkeyPatch, line: str, found: str, remedy: str
) -> None:
    def answer(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(f"OKAY{len(line) + 1:04x}{line}\n".encode())

    with answering(answer) as port:
        monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(port))
        (device,) = devices(adb.adb_checks(ask_devices=False))
    assert (device.state, device.found) == (State.BROKEN, found)
    assert remedy in device.remedy


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"HTTP/1.1 400 Bad Request\r\n\r\n", id="a web server"),
        pytest.param(b"OKAYzzzz", id="no length"),
        pytest.param(b"OKAY0100short", id="broken off"),
        pytest.param(b"FAIL0007no such", id="refused"),
        pytest.param(b"", id="hung up"),
        pytest.param(None, id="silence"),
    ],
)
def test_a_stranger_on_adbs_port_is_told_from_a_server(
    monkeypatch: pytest.MonkeyPatch, answer: bytes | None
) -> None:
    def reply(connection: socket.socket) -> None:
        connection.recv(4096)
        if answer is None:
            connection.recv(4096)  # until the other side gives up
        else:
            connection.sendall(answer)

    with answering(reply) as port:
        monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(port))
        monkeypatch.setattr(server, "_ANSWER_LIMIT_S", 1.0)
        (found,) = devices(adb.adb_checks(ask_devices=False))
    assert found.state is State.BROKEN
    assert f"what listens on port {port} is no adb server" in found.found


@pytest.mark.parametrize("port", ["0", "65536", "-1", "five", "٣"])
def test_a_port_that_cannot_be_is_refused(monkeypatch: pytest.MonkeyPatch, port: str) -> None:
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", port)
    (found,) = devices(adb.adb_checks(ask_devices=True))
    assert found.state is State.BROKEN
    assert found.found == f"got ANDROID_ADB_SERVER_PORT={port}, allowed 1 to 65535"
    assert found.remedy == "unset ANDROID_ADB_SERVER_PORT"


# Weights


def test_bundled_weights_are_enough_and_damaged_ones_stop_the_main_job(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bundle = replace_bundle(monkeypatch, tmp_path)
    path = bundle.add_rtc()
    bundle.add_file(path)
    found = weight_checks([find_spec("rtc")])
    assert [(c.name, c.state, c.needed) for c in found] == [("imdn-rtc x2", State.OK, True)]
    assert found[0].found == f"bundled: {path}; imdn-rtc_x2_720x480_fp16.tflite"
    path.write_bytes(b"damaged")
    (broken,) = weight_checks([find_spec("rtc")])
    assert (broken.state, broken.needed) == (State.BROKEN, True)
    assert "sha256" in broken.found
