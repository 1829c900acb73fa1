"""Parts of the harness that need no device; tests/android_bench/test_cli_bench.py has the whole."""

import http.server
import threading
from collections.abc import Generator
from pathlib import Path

import pytest
from fake_device import write_benchmark_binary

from android_bench.benchmark_model.binary import check_abi, fetch_binary, read_binary
from android_bench.benchmark_model.delegation import Delegation
from android_bench.benchmark_model.errors import explain_failure
from android_bench.benchmark_model.parse import Memory, Stats
from android_bench.device.cooldown import Cooldown
from android_bench.errors import BinaryError
from android_bench.record import Health, Invocation, Purpose
from android_bench.results import summarise
from edgesr.errors import DownloadError
from edgesr.weights.download import file_sha256

NAME = "android_aarch64_benchmark_model"


def health(*, status: int | None = 0, battery: float | None = 30.0) -> Health:
    return Health(
        at="",
        thermal_status=status,
        battery_celsius=battery,
        battery_percent=None,
        plugged=None,
        temperatures={},
        max_khz=(),
        memory_available_kib=None,
        boot_id="",
    )


def invocation(
    mean: float, median: float | None, purpose: Purpose = "latency", init: float = 5.0
) -> Invocation:
    return Invocation(
        purpose=purpose,
        command="",
        seconds=1.0,
        before=health(),
        after=health(),
        throttled=False,
        init_ms=init,
        first_ms=2 * mean,
        warm_up=None,
        runs=Stats(50, min_ms=0.9 * mean, max_ms=1.2 * mean, mean_ms=mean, median_ms=median),
        memory=Memory(peak_mb=61.0 if purpose == "memory" else None),
        delegation=Delegation(),
        proto=None,
        complaints=(),
        log="",
    )


def test_the_summary_is_the_median_of_the_repeats_medians() -> None:
    found = summarise([invocation(m, m - 0.5) for m in (10.0, 30.0, 11.0)])
    assert found.statistic == "median of medians"
    assert (found.latency_ms, found.lowest_ms, found.highest_ms) == (10.5, 9.5, 29.5)
    assert (found.min_ms, found.max_ms) == (9.0, 36.0)
    assert (found.runs, found.repeats) == (150, 3)
    assert found.frames_per_second == pytest.approx(1000 / 10.5)


def test_means_and_medians_are_not_mixed() -> None:
    found = summarise([invocation(10.0, 9.0), invocation(12.0, None)])
    assert (found.statistic, found.latency_ms) == ("median of means", 11.0)


def test_only_runs_for_latencies_count_for_latencies() -> None:
    found = summarise([
        invocation(1.0, 1.0, "check"),
        invocation(10.0, 10.0),
        invocation(2.0, 2.0, "cold start", init=400.0),
        invocation(3.0, 3.0, "warm start", init=40.0),
        invocation(50.0, 50.0, "memory"),
    ])  # fmt: skip
    assert (found.latency_ms, found.runs, found.init_ms) == (10.0, 50, 5.0)
    assert (found.cold_init_ms, found.warm_init_ms, found.peak_mb) == (400.0, 40.0, 61.0)


@pytest.mark.parametrize(
    ("now", "reason"),
    [
        pytest.param(health(), None, id="cool"),
        pytest.param(health(status=None, battery=None), None, id="says nothing"),
        pytest.param(health(status=2), "thermal status 2 (moderate), allowed 0", id="status"),
        pytest.param(health(status=9), "thermal status 9 (unknown), allowed 0", id="unknown"),
        pytest.param(health(battery=38.1), "battery at 38.1 C, allowed 38", id="battery"),
        pytest.param(health(battery=38.0), None, id="just cool enough"),
    ],
)
def test_what_is_too_hot(now: Health, reason: str | None) -> None:
    assert Cooldown(battery_celsius=38.0).too_hot(now) == reason


@pytest.mark.parametrize(
    ("status", "log", "words"),
    [
        pytest.param(
            1,
            "ERROR: Can not open OpenCL library on this device - dlopen failed: x\n"
            "ERROR: Benchmarking failed.\n",
            "use --gpu-backend gl",
            id="no OpenCL",
        ),
        pytest.param(
            1,
            "ERROR: Didn't find op for builtin opcode 'CONV_2D' version '6'. An older version\n",
            "pass a newer one with --binary",
            id="old tool",
        ),
        pytest.param(
            1,
            "ERROR: Following operations are not supported by GPU delegate:\n"
            "SPLIT: Operation is not supported.\n31 operations will run on the GPU\n"
            "ERROR: Benchmarking failed.\n",
            "GPU delegate: SPLIT: Operation is not supported; see `edgesr inspect`",
            id="operators",
        ),
        pytest.param(134, "FATAL: Aborted here\n", "it aborted: Aborted here", id="abort"),
        pytest.param(139, "", "it crashed and said nothing", id="crash"),
        pytest.param(137, "STARTING!\n", "memory runs out: STARTING!", id="killed"),
        pytest.param(2, "no newline", "status 2: no newline", id="unknown"),
    ],
)
def test_why_the_tool_failed(status: int, log: str, words: str) -> None:
    assert words in explain_failure(status, log)


class _Server(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def published(tmp_path: Path) -> Generator[tuple[str, Path]]:
    """Address and folder of a server on loopback."""
    folder = tmp_path / "published"
    folder.mkdir()

    def handler(*words: object) -> _Server:
        return _Server(*words, directory=str(folder))  # type: ignore[arg-type]

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", folder
        server.shutdown()


def test_a_program_is_fetched_once_with_its_digest(
    published: tuple[str, Path], tmp_path: Path
) -> None:
    base, folder = published
    write_benchmark_binary(folder / NAME)
    first = fetch_binary("arm64-v8a", base=base, cache_dir=tmp_path / "cache")
    assert (first.source, first.abi) == (f"{base}/{NAME}", "arm64-v8a")
    assert first.sha256 == file_sha256(folder / NAME)
    (folder / NAME).unlink()
    assert fetch_binary("arm64-v8a", base=base, cache_dir=tmp_path / "cache") == first


def test_a_cached_program_that_has_changed_is_refused(
    published: tuple[str, Path], tmp_path: Path
) -> None:
    base, folder = published
    write_benchmark_binary(folder / NAME)
    path = fetch_binary("arm64-v8a", base=base, cache_dir=tmp_path / "cache").path
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(BinaryError, match=r"had [0-9a-f]{64} when it was fetched"):
        fetch_binary("arm64-v8a", base=base, cache_dir=tmp_path / "cache")


def test_what_cannot_be_fetched_leaves_nothing(published: tuple[str, Path], tmp_path: Path) -> None:
    base, folder = published
    cache = tmp_path / "cache"
    with pytest.raises(DownloadError, match=r"HTTP 404 .* and pass --binary FILE"):
        fetch_binary("arm64-v8a", base=base, cache_dir=cache)
    (folder / NAME).write_text("<html>Sign in to the hotel's network</html>")
    with pytest.raises(BinaryError, match="no Android program"):
        fetch_binary("arm64-v8a", base=base, cache_dir=cache)
    with pytest.raises(DownloadError, match=r"cannot download.*--binary FILE"):
        fetch_binary("arm64-v8a", base="http://127.0.0.1:1", cache_dir=cache)
    with pytest.raises(BinaryError, match="no benchmark_model is published for x86"):
        fetch_binary("x86", base=base, cache_dir=cache)
    assert list(cache.iterdir()) == []


def test_a_32_bit_program_runs_where_the_device_says_so(tmp_path: Path) -> None:
    binary = read_binary(write_benchmark_binary(tmp_path / "b", abi="armeabi-v7a"))
    check_abi(binary, ("arm64-v8a", "armeabi-v7a"), "S")
    with pytest.raises(BinaryError, match="is for armeabi-v7a, S runs arm64-v8a;"):
        check_abi(binary, ("arm64-v8a",), "S")
