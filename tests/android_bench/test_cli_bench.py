"""`edgesr bench` through the real adb: what comes of healthy devices."""

import json
import time
from collections.abc import Collection
from pathlib import Path
from types import SimpleNamespace

import pytest
from fake_device import AdbServer, Dialect, FakeDevice, Fault, Heat, Speed
from fake_device.benchmark_model.flags import CLASSIC

from android_bench.record import BenchRecord
from edgesr.images.metrics import Bounds
from edgesr.runtime.precision import ComputePrecision
from helpers.benching import Bench, is_clean


def usage(flags: Collection[str]) -> str:
    """What --help prints: every flag with its default, type and meaning."""
    lines = (f"\t--{name}=0    \tstring\toptional\tits meaning\n" for name in sorted(flags))
    return f"usage: benchmark_model <flags>\nFlags:\n{''.join(lines)}"


def test_a_whole_run_on_a_healthy_device(device: FakeDevice, bench: Bench, tmp_path: Path) -> None:
    target = tmp_path / "r.json"
    words = ["--delegate", "gpu", "--delegate", "xnnpack", "--threads", "1,4", "--repeats", 3]
    ran = bench(*words, "-o", target)
    assert ran.status == 0, ran.err
    assert ran.err == ""
    assert "Fake Fake Phone 9" in ran.out
    assert is_clean(device)
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
    measured = record.devices[0]
    assert (measured.facts.soc, measured.facts.android, measured.facts.memory_kib) == (
        "Fakecomm FK9000",
        "14",
        11550464,
    )
    assert measured.before.thermal_status == 0
    assert measured.free_kib == device.free_kib
    assert {run.affinity for run in device.runs[1:]} == {"f0"}


def test_a_run_asks_a_cool_device_no_more_than_it_must(
    device: FakeDevice, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a device and on this host each command takes tens of milliseconds."""
    device.lists_flags = True
    slept: list[float] = []
    clock = SimpleNamespace(monotonic=time.monotonic, sleep=slept.append)
    for module in ("adb", "cooldown"):
        monkeypatch.setattr(f"android_bench.device.{module}.time", clock)
    monkeypatch.setattr(
        "android_bench.benchmark_model.invoke._FRESH_S", 1000.0
    )  # this machine may be busy
    ran = bench("--check", "--repeats", 2)
    assert ran.status == 0, ran.err
    measured = sum(run.is_measurement for run in device.runs)
    assert measured == 6  # the check, two repeats, cold and warm start, the peak of memory
    assert slept == []
    # Facts, space, folder, program and its flags, file, health, image, result, two protocol
    # buffers, kernel cache, cleaning; then a run and the health after it.
    assert len(device.commands) <= 16 + 2 * measured, "\n".join(device.commands)
    assert len(device.pushed) == 3


def test_the_files_are_measured_in_interleaved_rounds(
    device: FakeDevice, bench: Bench, sr_tflite: Path
) -> None:
    other = sr_tflite.with_name("other.tflite")
    other.write_bytes(sr_tflite.read_bytes())
    assert bench(other, "--repeats", 2).status == 0
    graphs = [word for run in device.runs for word in run.words if word.startswith("--graph")]
    order = [Path(graph).stem for graph in graphs]
    assert order == ["model0", "model1"] * 3  # two repeats and the peak of memory


@pytest.mark.parametrize("dialect", list(Dialect))
def test_every_build_of_benchmark_model(
    adb_server: AdbServer, bench: Bench, dialect: Dialect
) -> None:
    with FakeDevice(dialect=dialect) as device:
        adb_server.connect(device)
        ran = bench("--json")
        assert ran.status == 0, ran.err
        summary = BenchRecord.model_validate_json(ran.out).cases[0].summary
        new = dialect in (Dialect.NEW, Dialect.LITERT)
        assert summary.statistic == ("median of medians" if new else "median of means")
        assert (summary.p95_ms is not None) is new
        assert is_clean(device)


def test_a_tool_that_lists_its_flags_writes_results_and_caches_kernels(
    device: FakeDevice, bench: Bench
) -> None:
    device.lists_flags = True
    ran = bench("--json")
    assert ran.status == 0, ran.err
    assert json.loads(ran.out)["schema_version"] == 1
    case = BenchRecord.model_validate_json(ran.out).cases[0]
    assert case.device == device.serial
    assert case.notes == ()
    assert case.summary.cold_init_ms == case.summary.init_ms == 400.0
    assert case.summary.warm_init_ms == 40.0
    invocation = case.invocations[0]
    assert invocation.proto is not None
    assert invocation.proto.median_ms == pytest.approx(invocation.runs.median_ms)
    assert invocation.proto.runs == 50
    assert is_clean(device)


def test_a_flag_that_the_tool_does_not_list_is_not_tried(device: FakeDevice, bench: Bench) -> None:
    device.script_next(usage(frozenset(CLASSIC) - {"gpu_precision_loss_allowed", "min_secs"}), 1)
    bench().fails_alone("does not know --min_secs --gpu_precision_loss_allowed", "--binary")
    assert len(device.runs) == 1
    assert is_clean(device)


def test_a_device_without_shell_v2(adb_server: AdbServer, bench: Bench) -> None:
    with FakeDevice({Fault.NO_SHELL_V2}, carriage_returns=True) as device:
        adb_server.connect(device)
        ran = bench("--json")
        assert ran.status == 0, ran.err
        assert is_clean(device)


def test_a_device_without_a_thermal_service(adb_server: AdbServer, bench: Bench) -> None:
    with FakeDevice({Fault.NO_THERMAL_SERVICE}) as device:
        adb_server.connect(device)
        ran = bench("--json")
        assert ran.status == 0, ran.err
        assert BenchRecord.model_validate_json(ran.out).devices[0].before.thermal_status is None


def test_the_check_compares_the_devices_output(device: FakeDevice, bench: Bench) -> None:
    words = ["--precision", "fp16", "--precision", "fp32", "--check", "--json"]
    ran = bench(*words)
    assert ran.status == 0, ran.err
    half, full = (c.fidelity[0] for c in BenchRecord.model_validate_json(ran.out).cases)
    assert (half.image, half.passed, full.passed) == ("test card", True, True)
    assert half.psnr_db is not None
    assert 55 < half.psnr_db < 90
    assert full.max_abs == 0.0
    assert is_clean(device)


def test_sustained_gives_a_curve(adb_server: AdbServer, bench: Bench) -> None:
    with FakeDevice(heat=Heat(per_run_celsius=1.0)) as device:
        adb_server.connect(device)
        ran = bench("--sustained", 0.05, "--json")
        assert ran.status == 0, ran.err
        curve = BenchRecord.model_validate_json(ran.out).cases[0].sustained
        assert len(curve) >= 2
        assert [p.at_s for p in curve] == sorted(p.at_s for p in curve)
        assert (curve[-1].battery_celsius or 0) > (curve[0].battery_celsius or 0)


def test_a_warm_device_is_waited_for(
    adb_server: AdbServer, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each command cools the device by 0.1 degrees: it takes more than those of the preparation."""
    slept_s: list[float] = []
    monkeypatch.setattr(
        "android_bench.device.cooldown._sleep", lambda _, seconds: slept_s.append(seconds)
    )
    with FakeDevice(heat=Heat(celsius=38.5, cooling_celsius_command=0.1)) as device:
        adb_server.connect(device)
        ran = bench("--json")
        assert ran.status == 0, ran.err
        assert slept_s
        assert BenchRecord.model_validate_json(ran.out).devices[0].before.thermal_status == 0


def test_two_devices_side_by_side(adb_server: AdbServer, device: FakeDevice, bench: Bench) -> None:
    with FakeDevice(model="Other Phone", speed=Speed(gpu_ms=40)) as other:
        adb_server.connect(other)
        ran = bench("--serial", device.serial, "--serial", other.serial, "--json")
        assert ran.status == 0, ran.err
        record = BenchRecord.model_validate_json(ran.out)
        assert [device.facts.model for device in record.devices] == ["Fake Phone 9", "Other Phone"]
        first, second = (case.summary.latency_ms for case in record.cases)
        assert second > 1.5 * first
        assert is_clean(device)
        assert is_clean(other)


def test_an_output_that_differs_fails_after_it_was_shown(
    device: FakeDevice, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = {ComputePrecision.FP16: Bounds(psnr_db=150.0)}  # than FP16 can give
    monkeypatch.setattr("android_bench.correctness.CPU_GATES", more)
    ran = bench("--check", "--json")
    ran.fails_alone_on_stderr("test card differs from this host's CPU", "allowed PSNR >= 150 dB")
    assert not BenchRecord.model_validate_json(ran.out).cases[0].fidelity[0].passed
