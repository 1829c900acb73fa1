"""Devices that `edgesr doctor --devices` calls ready can be written to."""

import pytest
from fake_device import AdbServer, FakeDevice, Fault

from edgesr.doctor import adb
from edgesr.doctor.check import Check, State


@pytest.fixture(autouse=True)
def _server(adb_server: AdbServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in adb_server.environment().items():
        monkeypatch.setenv(name, value)


def _devices(checks: list[Check]) -> list[Check]:
    return [check for check in checks if check.name == "devices"]


def test_a_device_that_can_be_written_is_ready_and_left_clean(adb_server: AdbServer) -> None:
    with FakeDevice() as device:
        adb_server.connect(device)
        checks = adb.adb_checks(ask_devices=True)
        assert [check.state for check in _devices(checks)] == [State.OK]
        assert adb.device_job(checks).can_run is True
        assert device.files() == []


def test_a_device_that_cannot_be_written_is_not_ready(adb_server: AdbServer) -> None:
    with FakeDevice({Fault.READ_ONLY}) as device:
        adb_server.connect(device)
        checks = adb.adb_checks(ask_devices=True)
    (found,) = _devices(checks)
    assert found.state is State.BROKEN
    assert "/data/local/tmp cannot be written" in found.found
    assert "reboot" in found.remedy
    assert adb.device_job(checks).can_run is False
