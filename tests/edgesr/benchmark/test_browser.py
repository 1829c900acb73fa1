"""Records of a browser: compared and shown as any other, marked as measured in a browser."""

import json
from pathlib import Path

import pytest

from edgesr.report.benchmark_records import read_record, results
from helpers.browser_records import a_record, save_record
from helpers.commands import run_here

GPU = {
    "vendor": "arm",
    "architecture": "valhall",
    "device": "",
    "description": "",
    "half": True,
    "limits": {"maxBufferSize": 2**40},
}


def by_webgpu(adapter: dict[str, object], *, passed: bool = True) -> list[dict[str, object]]:
    case = json.loads(a_record())["cases"][0]
    fidelity = {"max_abs": 0.5, "psnr_db": 9.0, "passed": passed}
    return [case | {"backend": "webgpu", "adapter": adapter, "fidelity": fidelity}]


def test_measurement_is_marked_as_of_a_browser(tmp_path: Path) -> None:
    path = save_record(tmp_path / "a.json")
    (got,) = results(read_record(path), path)
    assert (got.kind, got.setting) == ("CPU", "WASM in a browser, threads")
    assert got.latency_ms == 11.75
    assert got.notes[0].startswith("measured in a browser")
    assert [moment.at_s for moment in got.curve] == [1.0, 2.0]


def test_gpu_software_device_and_wrong_picture_are_told_apart(tmp_path: Path) -> None:
    path = save_record(tmp_path / "a.json", cases=by_webgpu(GPU, passed=False))
    (got,) = results(read_record(path), path)
    assert (got.kind, got.device) == ("GPU", "arm valhall, Chrome 140")
    assert got.notes[0].startswith("wrong picture")
    software = by_webgpu(GPU | {"architecture": "swiftshader"})
    path = save_record(tmp_path / "b.json", cases=software)
    (got,) = results(read_record(path), path)
    assert got.kind == "software device"


def test_compare_and_report_take_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = save_record(tmp_path / "a.json"), save_record(tmp_path / "b.json")
    ran = run_here(monkeypatch, capsys, "bench", "compare", a, b)
    assert (ran.status, "no difference shown" in ran.out) == (0, True)
    page = tmp_path / "report.html"
    ran = run_here(monkeypatch, capsys, "bench", "report", a, "-o", page)
    assert ran.status == 0
    assert "WASM in a browser" in page.read_text()
    assert "in a browser" in page.read_text()


@pytest.mark.parametrize(
    "changes",
    [
        {"cases": [*by_webgpu(GPU), {}]},
        {"cases": [json.loads(a_record())["cases"][0] | {"file": "other.tflite"}]},
        {"cases": [json.loads(a_record())["cases"][0] | {"adapter": GPU}]},
        {"files": [{"name": "n" * 500, "sha256": "0" * 64, "size_bytes": 1}]},
    ],
    ids=["case", "file", "adapter", "name"],
)
def test_a_damaged_record_is_refused_in_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, object],
) -> None:
    bad = save_record(tmp_path / "bad.json", **changes)
    ran = run_here(monkeypatch, capsys, "bench", "compare", bad, bad)
    ran.fails("bad.json is damaged", "no record of a browser")
