"""Protocols: their files, their scores, and `edgesr bench --protocol`."""

from pathlib import Path

import pytest
from fake_device import AdbServer, FakeDevice, Fault

from android_bench.errors import SettingError
from android_bench.protocol import FORMULA, load_protocol, protocol_names
from android_bench.record import BenchRecord
from helpers.benching import bench_command, is_clean
from helpers.commands import run_here

SHORT = """
name = "short"
description = "For a test"
on = "android"
runs = 4
warm_up_runs = 1
repeats = 1
cool_down_s = 1.0
cool_battery_celsius = 40.0
pinned = false

[[sections]]
name = "GPU"
delegate = "gpu"
precision = "fp16"
weight = 3.0
reference_ms = 10.0

[[sections]]
name = "CPU"
delegate = "xnnpack"
precision = "fp32"
threads = 4
weight = 1.0
reference_ms = 40.0
"""


@pytest.fixture
def short(tmp_path: Path) -> Path:
    """A protocol of two sections."""
    path = tmp_path / "short.toml"
    path.write_text(SHORT)
    return path


@pytest.mark.parametrize("name", protocol_names())
def test_those_in_the_package_are_whole(name: str) -> None:
    protocol, digest = load_protocol(name)
    assert protocol.name == name
    assert len(digest) == 64
    assert len(protocol.plan(limit_s=60, sustained_s=None).settings) == len(protocol.sections)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        pytest.param("weight = 3.0", "weight = 0.0", "sections.0.weight", id="weight 0"),
        pytest.param("reference_ms = 10.0", "", "sections.0.reference_ms", id="no reference"),
        pytest.param("runs = 4", "runs = 4\nrums = 4", "rums", id="typo"),
        pytest.param('"gpu"', '"gpv"', "sections.0.delegate", id="delegate"),
        pytest.param("runs = 4", "runs = ", "no TOML", id="no TOML"),
        pytest.param("weight = 3.0", "weight = inf", "sections.0.weight", id="infinite"),
    ],
)
def test_a_file_that_is_none_says_where(short: Path, old: str, new: str, words: str) -> None:
    short.write_text(SHORT.replace(old, new, 1))
    with pytest.raises(SettingError, match=words):
        load_protocol(str(short))


def test_an_unknown_name_lists_those_there_are() -> None:
    with pytest.raises(SettingError, match="no protocol device, allowed gpu-quick-1, phone-sr-1"):
        load_protocol("device")


@pytest.mark.parametrize("failing", [False, True], ids=["healthy", "GPU refuses"])
def test_a_run_by_a_protocol_gives_scores(
    adb_server: AdbServer,
    benchmark_binary: Path,
    sr_tflite: Path,
    short: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    failing: bool,
) -> None:
    bench_command(adb_server.environment(), sr_tflite, benchmark_binary, monkeypatch, capsys)
    target = tmp_path / "r.json"
    with FakeDevice({Fault.PARTIAL_DELEGATION} if failing else ()) as device:
        adb_server.connect(device)
        words = [sr_tflite, "--on", "android", "--binary", benchmark_binary, "--protocol", short]
        ran = run_here(monkeypatch, capsys, "bench", *words, "-o", target)
        assert is_clean(device)
    record = BenchRecord.model_validate_json(target.read_text())
    assert record.protocol is not None
    assert (record.protocol.name, record.protocol.formula) == ("short", FORMULA)
    (score,) = record.scores
    gpu, cpu = score.sections
    assert cpu.latency_ms is not None
    assert cpu.points == pytest.approx(100 * 40 / cpu.latency_ms)
    if failing:
        assert ran.status == 1
        assert (score.points, gpu.points) == (None, None)
        assert "no score, GPU failed" in ran.out
    else:
        assert ran.status == 0, ran.err
        assert gpu.points is not None
        assert score.points == pytest.approx((3 * gpu.points + cpu.points) / 4)
        assert f"{score.points:.1f} (short: {FORMULA})" in ran.out


def test_what_a_protocol_fixes_is_not_to_be_changed(
    short: Path,
    sr_tflite: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["bench", sr_tflite, "--on", "android", "--protocol", short, "--runs", 3]
    run_here(monkeypatch, capsys, *words).is_wrong_usage("--runs", "protocol of your own")
