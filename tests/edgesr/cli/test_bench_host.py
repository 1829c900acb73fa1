"""`edgesr bench --on host`."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from edgesr.benchmark.host import HostPlan, run_host_benchmark
from edgesr.benchmark.record import NO_OPERATOR_TIMES, HostRecord, HostSetting
from edgesr.benchmark.timing import time_interleaved
from edgesr.runtime.gpu import GpuDevice
from edgesr.runtime.session import Backend, Float32Array
from edgesr.tflite.shape import ModelShape
from helpers.commands import run_here
from helpers.small_net import SmallNet


class Named:
    """A runner that tells when it runs."""

    shape = ModelShape(2, 2, 2)
    device: GpuDevice | None = None

    def __init__(self, name: str, said: list[str]) -> None:
        self._name, self._said = name, said

    def run(self, lr_nhwc: Float32Array) -> Float32Array:
        self._said.append(self._name)
        return lr_nhwc

    def close(self) -> None: ...


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two small files, the second with four times the pixels."""
    folder = tmp_path_factory.mktemp("files")
    paths = [folder / "small.tflite", folder / "large.tflite"]
    for path, (height, width) in zip(paths, [(48, 32), (96, 64)], strict=True):
        path.write_bytes(SmallNet().tflite(height, width))
    return paths


def test_files_take_turns_and_warm_up_does_not_count() -> None:
    said: list[str] = []
    taken_ms = time_interleaved([Named("a", said), Named("b", said)], runs=3, warm_up=2)
    assert taken_ms.shape == (3, 2)
    assert said == ["a", "b"] * 5


def test_a_budget_ends_the_runs_but_not_before_the_first_turn() -> None:
    said: list[str] = []
    assert time_interleaved([Named("a", said)], runs=50, warm_up=2, budget_s=0.0).shape == (1, 1)
    assert len(said) == 3


def test_a_whole_run_is_a_record_with_every_run(
    files: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    target = tmp_path / "r.json"
    words = ["--backend", "cpu", "--backend", "cpu-fp16", "--threads", 1, "--runs", 6, "-o", target]
    ran = run_here(monkeypatch, capsys, "bench", "host", *files, *words)
    assert ran.status == 0, ran.err
    record = HostRecord.model_validate_json(target.read_text())
    assert [(case.file, str(case.setting)) for case in record.cases] == [
        ("small.tflite", "cpu 1 thread"),
        ("large.tflite", "cpu 1 thread"),
        ("small.tflite", "cpu-fp16 1 thread"),
        ("large.tflite", "cpu-fp16 1 thread"),
    ]
    for case in record.cases:
        got = case.summary
        assert (got.runs, len(case.samples_ms)) == (6, 6)
        assert got.median_ms == pytest.approx(float(np.median(case.samples_ms)))
        assert got.min_ms <= got.median_ms <= got.p90_ms <= got.p95_ms <= got.max_ms
        assert min(got.cold_init_ms, got.warm_init_ms, got.first_ms) > 0
        assert got.peak_mb is None or 10 < got.peak_mb < 1000
        assert NO_OPERATOR_TIMES in case.notes
    assert record.cases[0].summary.ratio_to_first == 1.0
    assert record.machine.runtime.startswith("ai-edge-litert ")
    assert "cpu-fp16 1 thread" in ran.out
    assert NO_OPERATOR_TIMES in ran.out


def test_the_memory_is_that_of_the_file_and_not_of_who_asks(files: list[Path]) -> None:
    """A process inherits ru_maxrss from the one that starts it."""
    held = np.ones(60_000_000)  # 480 MB
    plan = HostPlan((HostSetting(backend=Backend.CPU, threads=1),), runs=1, warm_up=0)
    peak_mb = run_host_benchmark(files[:1], plan).cases[0].summary.peak_mb
    assert peak_mb is None or peak_mb < held.nbytes / 1e6


def test_json_alone_is_on_stdout(
    files: list[Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--on", "host", "--threads", 1, "--runs", 500, "--budget", 0.0001, "--json"]
    ran = run_here(monkeypatch, capsys, "bench", files[0], *words)
    assert ran.status == 0, ran.err
    case = HostRecord.model_validate(json.loads(ran.out)).cases[0]
    assert any("of 500 runs within 0.0001 s" in note for note in case.notes)


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["bench", "host", "compare"], id="named alone"),
        pytest.param(["bench", "./compare", "--on", "host"], id="with a path and --on"),
        pytest.param(["bench", "--on=host", "compare"], id="--on first"),
    ],
)
def test_a_file_named_like_a_subcommand_is_measured(
    files: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(files[0], "compare")
    ran = run_here(monkeypatch, capsys, *words, "--threads", 1, "--runs", 1, "--json")
    assert ran.status == 0, ran.err
    assert HostRecord.model_validate_json(ran.out).files[0].name == "compare"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param(["--on", "host", "--delegate", "gpu"], ("--delegate",), id="android option"),
        pytest.param(["--on", "android", "--budget", "3"], ("--budget",), id="host option"),
        pytest.param([], ("android, browser, compare, host, report",), id="no place"),
        pytest.param(["--on", "ios"], ("got ios", "host, android"), id="unknown place"),
        pytest.param(["--on"], ("--on", "host, android"), id="no value"),
        pytest.param(
            ["--on", "host", "--backend", "gpu", "--threads", "2"], ("--threads",), id="threads"
        ),
    ],
)
def test_an_option_that_does_not_fit_is_wrong_usage(
    files: list[Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    said: tuple[str, ...],
) -> None:
    run_here(monkeypatch, capsys, "bench", files[0], *words).is_wrong_usage(*said)


def test_a_file_that_is_none_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "a.tflite"
    bad.write_bytes(b"nothing")
    run_here(monkeypatch, capsys, "bench", "host", bad).fails_alone("not a .tflite")


@pytest.mark.slow
@pytest.mark.usefixtures("vulkan_driver")
def test_the_gpu_is_named_and_a_software_device_is_marked(
    files: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    software, cpu, page = tmp_path / "gpu.json", tmp_path / "cpu.json", tmp_path / "page.html"
    for backend, target in (("gpu", software), ("cpu", cpu)):
        words = ["--backend", backend, "--runs", 2, "--warm-up", 0, "-o", target]
        ran = run_here(monkeypatch, capsys, "bench", "host", files[0], *words)
        assert ran.status == 0, ran.err
    (case,) = HostRecord.model_validate_json(software.read_text()).cases
    assert case.gpu is not None
    assert case.gpu.adapter
    assert case.setting.threads is None
    if not case.gpu.software:
        return
    assert any("software device" in note for note in case.notes)
    across = run_here(monkeypatch, capsys, "bench", "compare", software, cpu, "--across")
    across.fails_alone("compared with nothing else")
    made = run_here(monkeypatch, capsys, "bench", "report", software, cpu, "-o", page)
    assert made.status == 0, made.err
    real, _, rest = page.read_text().partition("<h2>Software devices</h2>")
    assert case.gpu.adapter not in real
    assert case.gpu.adapter in rest
