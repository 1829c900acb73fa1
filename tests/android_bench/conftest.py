"""A device and an adb server for tests of the benchmarks over adb."""

import os
import shutil
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))  # for the package fake_device

from fake_device import AdbServer, FakeDevice, write_benchmark_binary

from helpers.benching import Bench, bench_command
from helpers.small_net import SmallNet


@pytest.fixture(scope="session")
def adb_session(tmp_path_factory: pytest.TempPathFactory) -> Generator[AdbServer]:
    """The server of `adb_server`, for fixtures of wider scope."""
    if shutil.which("adb") is None:
        message = "no adb on this machine (`make system-deps` installs it)"
        if "1" in (os.environ.get("EDGESR_REQUIRE_ADB"), os.environ.get("EDGESR_REQUIRE_GPU")):
            pytest.fail(message)
        pytest.skip(message)
    server = AdbServer(tmp_path_factory.mktemp("adb"))
    yield server
    server.stop()


@pytest.fixture
def adb_server(adb_session: AdbServer) -> Generator[AdbServer]:
    """The real adb server, on a port of its own, without any device at first.

    Without adb the test is skipped; with EDGESR_REQUIRE_ADB=1, or EDGESR_REQUIRE_GPU=1 as in CI,
    where the system packages are installed, it fails instead.
    """
    adb_session.disconnect_all()
    yield adb_session
    adb_session.disconnect_all()


@pytest.fixture
def device(adb_server: AdbServer) -> Generator[FakeDevice]:
    """A healthy device, connected."""
    with FakeDevice() as healthy:
        adb_server.connect(healthy)
        yield healthy


@pytest.fixture(scope="session")
def benchmark_binary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file to push as benchmark_model."""
    return write_benchmark_binary(tmp_path_factory.mktemp("binary") / "benchmark_model")


@pytest.fixture(scope="session")
def sr_tflite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small real super-resolution model, x2, of 12x16 pixels; input "lr", output "hr"."""
    path = tmp_path_factory.mktemp("model") / "small.tflite"
    path.write_bytes(SmallNet().tflite(12, 16))
    return path


@pytest.fixture
def bench(
    adb_server: AdbServer,
    benchmark_binary: Path,
    sr_tflite: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Bench:
    """`edgesr bench --on android`, short."""
    environment = adb_server.environment()
    return bench_command(environment, sr_tflite, benchmark_binary, monkeypatch, capsys)
