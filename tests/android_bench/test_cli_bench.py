"""`edgesr bench` through the real adb: what comes of healthy phones."""

import json
import time
from collections.abc import Collection
from pathlib import Path
from types import SimpleNamespace

import pytest
from fake_phone import AdbServer, Dialect, FakePhone, Fault, Heat, Speed
from fake_phone.flags import CLASSIC

from android_bench.command import Precision
from android_bench.record import BenchRecord
from edgesr.bounds import Bounds
from helpers.benching import Bench, is_clean


def usage(flags: Collection[str]) -> str:
    """What --help prints: every flag with its default, type and meaning."""
    lines = (f"\t--{name}=0    \tstring\toptional\tits meaning\n" for name in sorted(flags))
    return f"usage: benchmark_model <flags>\nFlags:\n{''.join(lines)}"


def test_a_whole_run_on_a_healthy_phone(phone: FakePhone, bench: Bench, tmp_path: Path) -> None:
    target = tmp_path / "r.json"
    words = ["--delegate", "gpu", "--delegate", "xnnpack", "--threads", "1,4", "--repeats", 3]
    ran = bench(*words, "-o", target)
    assert ran.status == 0, ran.err
    assert ran.err == ""
    assert "Fake Fake Phone 9" in ran.out
    assert is_clean(phone)
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
    device = record.devices[0]
    assert (device.facts.soc, device.facts.android, device.facts.memory_kib) == (
        "Fakecomm FK9000",
        "14",
        11550464,
    )
    assert device.before.thermal_status == 0
    assert device.free_kib == phone.free_kib
    assert {run.affinity for run in phone.runs[1:]} == {"f0"}


def test_a_run_asks_a_cool_phone_no_more_than_it_must(
    phone: FakePhone, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a phone and on this host each command takes tens of milliseconds."""
    phone.tells_flags = True
    slept: list[float] = []
    clock = SimpleNamespace(monotonic=time.monotonic, sleep=slept.append)
    for module in ("adb", "cooldown"):
        monkeypatch.setattr(f"android_bench.{module}.time", clock)
    monkeypatch.setattr("android_bench.invoke._FRESH_S", 1000.0)  # this machine may be busy
    ran = bench("--check", "--repeats", 2)
    assert ran.status == 0, ran.err
    measured = sum(run.is_measurement for run in phone.runs)
    assert measured == 6  # the check, two repeats, cold and warm start, the peak of memory
    assert slept == []
    # Facts, space, folder, program and its flags, file, health, picture, result, two protocol
    # buffers, kernel cache, cleaning; then a run and the health after it.
    assert len(phone.commands) <= 16 + 2 * measured, "\n".join(phone.commands)
    assert len(phone.pushed) == 3


def test_the_files_take_turns(phone: FakePhone, bench: Bench, sr_tflite: Path) -> None:
    other = sr_tflite.with_name("other.tflite")
    other.write_bytes(sr_tflite.read_bytes())
    assert bench(other, "--repeats", 2).status == 0
    graphs = [word for run in phone.runs for word in run.words if word.startswith("--graph")]
    order = [Path(graph).stem for graph in graphs]
    assert order == ["model0", "model1"] * 3  # two repeats and the peak of memory


def test_json_on_stdout_is_the_record_alone(phone: FakePhone, bench: Bench) -> None:
    ran = bench("--json")
    assert json.loads(ran.out)["schema_version"] == 1
    assert BenchRecord.model_validate_json(ran.out).cases[0].device == phone.serial


@pytest.mark.parametrize("dialect", list(Dialect))
def test_every_build_of_benchmark_model(
    adb_server: AdbServer, bench: Bench, dialect: Dialect
) -> None:
    with FakePhone(dialect=dialect) as phone:
        adb_server.connect(phone)
        ran = bench("--json")
        assert ran.status == 0, ran.err
        summary = BenchRecord.model_validate_json(ran.out).cases[0].summary
        new = dialect in (Dialect.NEW, Dialect.LITERT)
        assert summary.statistic == ("median of medians" if new else "median of means")
        assert (summary.p95_ms is not None) is new
        assert is_clean(phone)


def test_a_tool_that_writes_its_result_is_asked_to(phone: FakePhone, bench: Bench) -> None:
    phone.tells_flags = True
    ran = bench("--json")
    assert ran.status == 0, ran.err
    invocation = BenchRecord.model_validate_json(ran.out).cases[0].invocations[0]
    assert invocation.proto is not None
    assert invocation.proto.median_ms == pytest.approx(invocation.runs.median_ms)
    assert invocation.proto.runs == 50
    assert is_clean(phone)


def test_a_flag_that_the_tool_does_not_list_is_not_tried(phone: FakePhone, bench: Bench) -> None:
    phone.play_next(usage(frozenset(CLASSIC) - {"gpu_precision_loss_allowed", "min_secs"}), 1)
    bench().fails_alone("does not know --min_secs --gpu_precision_loss_allowed", "--binary")
    assert len(phone.runs) == 1
    assert is_clean(phone)


def test_the_start_with_an_empty_and_with_a_filled_kernel_cache(
    phone: FakePhone, bench: Bench
) -> None:
    phone.tells_flags = True
    ran = bench("--json")
    assert ran.status == 0, ran.err
    case = BenchRecord.model_validate_json(ran.out).cases[0]
    assert case.notes == ()
    assert case.summary.cold_init_ms == case.summary.init_ms == 400.0
    assert case.summary.warm_init_ms == 40.0
    assert is_clean(phone)


def test_runs_that_are_all_the_same(adb_server: AdbServer, bench: Bench) -> None:
    with FakePhone(speed=Speed(gpu_ms=10, spread=0)) as phone:
        adb_server.connect(phone)
        ran = bench("--json")
        assert ran.status == 0, ran.err
        assert BenchRecord.model_validate_json(ran.out).cases[0].summary.latency_ms == 10.0


def test_a_phone_without_shell_v2(adb_server: AdbServer, bench: Bench) -> None:
    with FakePhone({Fault.NO_SHELL_V2}, carriage_returns=True) as phone:
        adb_server.connect(phone)
        ran = bench("--json")
        assert ran.status == 0, ran.err
        assert is_clean(phone)


def test_a_phone_without_a_thermal_service(adb_server: AdbServer, bench: Bench) -> None:
    with FakePhone({Fault.NO_THERMAL_SERVICE}) as phone:
        adb_server.connect(phone)
        ran = bench("--json")
        assert ran.status == 0, ran.err
        assert BenchRecord.model_validate_json(ran.out).devices[0].before.thermal_status is None


def test_the_check_compares_the_phones_output(phone: FakePhone, bench: Bench) -> None:
    words = ["--precision", "fp16", "--precision", "fp32", "--check", "--json"]
    ran = bench(*words)
    assert ran.status == 0, ran.err
    half, full = (c.fidelity[0] for c in BenchRecord.model_validate_json(ran.out).cases)
    assert (half.picture, half.passed, full.passed) == ("test card", True, True)
    assert half.psnr_db is not None
    assert 55 < half.psnr_db < 90
    assert full.max_abs == 0.0
    assert is_clean(phone)


def test_sustained_gives_a_curve(adb_server: AdbServer, bench: Bench) -> None:
    with FakePhone(heat=Heat(per_run_celsius=1.0)) as phone:
        adb_server.connect(phone)
        ran = bench("--sustained", 0.05, "--json")
        assert ran.status == 0, ran.err
        curve = BenchRecord.model_validate_json(ran.out).cases[0].sustained
        assert len(curve) >= 2
        assert [p.at_s for p in curve] == sorted(p.at_s for p in curve)
        assert (curve[-1].battery_celsius or 0) > (curve[0].battery_celsius or 0)


def test_a_warm_phone_is_waited_for(adb_server: AdbServer, bench: Bench) -> None:
    with FakePhone(heat=Heat(celsius=37.0, cooling_celsius_s=1.0)) as phone:
        adb_server.connect(phone)
        began = time.monotonic()
        ran = bench("--json")
        assert ran.status == 0, ran.err
        assert time.monotonic() - began > 1.0
        assert BenchRecord.model_validate_json(ran.out).devices[0].before.thermal_status == 0


def test_two_phones_side_by_side(adb_server: AdbServer, phone: FakePhone, bench: Bench) -> None:
    with FakePhone(model="Other Phone", speed=Speed(gpu_ms=40)) as other:
        adb_server.connect(other)
        ran = bench("--serial", phone.serial, "--serial", other.serial, "--json")
        assert ran.status == 0, ran.err
        record = BenchRecord.model_validate_json(ran.out)
        assert [device.facts.model for device in record.devices] == ["Fake Phone 9", "Other Phone"]
        first, second = (case.summary.latency_ms for case in record.cases)
        assert second > 1.5 * first
        assert is_clean(phone)
        assert is_clean(other)


def test_an_output_that_differs_fails_after_it_was_shown(
    phone: FakePhone, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = {Precision.FP16: Bounds(psnr_db=150.0)}  # than FP16 can give
    monkeypatch.setattr("android_bench.check.CPU_GATES", more)
    ran = bench("--check", "--json")
    ran.fails_alone_on_stderr("test card differs from this host's CPU", "allowed PSNR >= 150 dB")
    assert not BenchRecord.model_validate_json(ran.out).cases[0].fidelity[0].passed
