import os
import threading
from pathlib import Path

import pytest

from android_bench.device.adb import Adb, Device, choose_devices
from android_bench.device.list import Listed
from android_bench.errors import AdbError, ConnectionLostError, StoppedError, TimeLimitError


@pytest.fixture
def fake_adb(tmp_path: Path) -> Path:
    """A program in place of adb, for output that the installed adb does not give."""
    return tmp_path / "adb"


def says(program: Path, script: str) -> Adb:
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return Adb(str(program))


LIST = r"""cat <<'END'
* daemon started successfully
List of devices attached
R3C\x20device
R5CT            device usb:1-4 product:p model:Pixel_8_Pro device:husky transport_id:3
127.0.0.1:25555        unauthorized transport_id:1
0123            no permissions (missing udev rules? user is in the plugdev group); see [http://developer.android.com/tools/device.html] usb:1-2 transport_id:4

END
"""  # noqa: E501


def test_every_state_of_the_list(fake_adb: Path) -> None:
    listed = says(fake_adb, LIST).devices()
    assert listed[1] == Listed("R5CT", "device", "Pixel 8 Pro")
    assert listed[2] == Listed("127.0.0.1:25555", "unauthorized", "")
    assert listed[3].serial == "0123"
    assert listed[3].state.startswith("no permissions (missing udev rules?")


ONE = Listed("A", "device", "Pixel 8")
OTHER = Listed("B", "device", "")


def test_the_only_device_is_chosen_and_several_are_named() -> None:
    assert choose_devices([ONE], []) == [ONE]
    assert choose_devices([ONE, OTHER], ["B", "A", "B"]) == [OTHER, ONE]
    with pytest.raises(AdbError, match=r"2 devices: Pixel 8 \(A\), B; say which with --serial"):
        choose_devices([ONE, OTHER], [])
    with pytest.raises(AdbError, match=r"no device C, allowed: Pixel 8 \(A\)"):
        choose_devices([ONE], ["C"])


@pytest.mark.parametrize(
    ("state", "remedy"),
    [
        ("unauthorized", "unlock the device"),
        ("offline", "reconnect offline"),
        ("no permissions (missing udev rules?); see [x]", "udev rules"),
        ("recovery", "adb -s A reboot"),
    ],
)
def test_a_device_in_another_state_is_refused_with_a_remedy(state: str, remedy: str) -> None:
    with pytest.raises(AdbError, match=remedy):
        choose_devices([Listed("A", state, "")], [])


STATUS_3 = 'last=; for last; do :; done; eval "(exit 3)${last#*true}"'


def test_the_status_comes_from_the_device_and_not_from_adb(fake_adb: Path) -> None:
    """Without shell_v2, and where the connection breaks, adb's own status is 0."""
    device = Device(says(fake_adb, f"{STATUS_3}; exit 0"), "S")
    assert device.run("true").status == 3


@pytest.mark.parametrize(
    "script",
    [
        pytest.param("exit 0", id="status 0"),
        pytest.param("echo STARTING; exit 0", id="half of the output"),
        pytest.param("exit 255", id="status 255"),
        pytest.param("echo '__edgesr_0123456789abcdef=0'", id="somebody else's word"),
    ],
)
def test_without_the_devices_own_status_the_connection_broke(fake_adb: Path, script: str) -> None:
    with pytest.raises(ConnectionLostError, match="no exit status came back"):
        Device(says(fake_adb, script), "S").run("true")


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("error: device 'S' not found", "device 'S' not found"),
        ("adb: device offline", "device offline; adb reconnect offline"),
        ("adb.exe: error: closed", "adb says: closed"),
        ("error: device unauthorized.", "unlock the device"),
    ],
)
def test_what_adb_says_is_passed_on_in_every_versions_form(
    fake_adb: Path, said: str, words: str
) -> None:
    with pytest.raises(AdbError, match=words):
        Device(says(fake_adb, f'echo "{said}" >&2; exit 1'), "S").run("true")


def test_a_push_that_adb_calls_a_success_is_not_believed(fake_adb: Path, tmp_path: Path) -> None:
    """Old adbd: an error, and yet "1 file pushed" and status 0; the file is not there whole."""
    source = tmp_path / "a"
    source.write_bytes(b"content")
    digest = f'for last; do :; done; eval "echo {"0" * 64}; ${{last#*; }}"'
    script = f'case "$*" in *push*) echo "a: 1 file pushed. 1 MB/s";; *) {digest};; esac'
    with pytest.raises(AdbError, match=r"is damaged: sha256 0000000000000000\.\.\. on the device"):
        Device(says(fake_adb, script), "S").push(source, "/data/local/tmp/a")


def test_a_push_that_says_0_files_is_an_error(fake_adb: Path, tmp_path: Path) -> None:
    source = tmp_path / "a"
    source.touch()
    script = (
        "echo \"adb: error: failed to copy 'a' to '/x': remote write failed: No space left on "
        'device" >&2; echo "a: 0 files pushed."; exit 0'
    )
    with pytest.raises(AdbError, match="No space left on device; make room"):
        Device(says(fake_adb, script), "S").push(source, "/x")


def test_a_client_that_hangs_is_ended(fake_adb: Path, tmp_path: Path) -> None:
    noted = tmp_path / "pid"
    device = Device(says(fake_adb, f"echo $$ > {noted}; exec sleep 60"), "S")
    with pytest.raises(TimeLimitError, match="within 1 s"):
        device.run("true", 1.0)
    with pytest.raises(ProcessLookupError):
        os.kill(int(noted.read_text()), 0)


def test_a_stop_ends_what_runs(fake_adb: Path) -> None:
    stop = threading.Event()
    program = says(fake_adb, "exec sleep 60").program
    threading.Timer(0.3, stop.set).start()
    with pytest.raises(StoppedError):  # and no TimeLimitError
        Device(Adb(program, stop), "S").run("true")


def test_an_adb_that_cannot_be_started_is_said() -> None:
    with pytest.raises(AdbError, match="cannot start /nonexistent/adb"):
        Adb("/nonexistent/adb").devices()


@pytest.mark.parametrize(
    ("serial", "calls"),
    [
        pytest.param("R3C", ["-s R3C reconnect"], id="by USB"),
        pytest.param(
            "10.0.0.7:5555",
            ["disconnect 10.0.0.7:5555", "connect 10.0.0.7:5555"],
            id="by network",
        ),
    ],
)
def test_a_connection_is_made_anew(fake_adb: Path, serial: str, calls: list[str]) -> None:
    """`adb reconnect` of an address makes adb 29 forget it."""
    log = fake_adb.with_name("calls")
    Device(says(fake_adb, f'echo "$@" >> {log}'), serial).connect_anew()
    assert log.read_text().splitlines() == calls
