"""Published figures beside measured ones: the record, the document, and both computed anew."""

import importlib
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from PIL import Image

from edgesr.evaluation.benchmark_sets import SETS, benchmark_set
from edgesr.evaluation.methods import network
from edgesr.networks.spec import all_specs
from edgesr.weights.checkpoints import load
from helpers.commands import Ran, run_here

pytestmark = pytest.mark.usefixtures("one_torch_thread")

_ROOT = Path(__file__).parent.parent


def _benchmark(name: str) -> ModuleType:
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(_ROOT / "benchmarks")
        return importlib.import_module(name)


reproduction = _benchmark("reproduction")
Way = reproduction.Way


@pytest.fixture(scope="module")
def record() -> dict[str, Any]:
    return json.loads(
        (_ROOT / "benchmarks/results/tables.json").read_text(),
        parse_constant=lambda name: pytest.fail(f"{name} is no JSON"),
    )


def _row(record: dict[str, Any], subject: str, set_name: str, way: str) -> dict[str, Any]:
    """The one row of a checkpoint, a set and a way."""
    place = {"subject": subject, "set_name": set_name, "way": way}
    (found,) = [r for r in record["quality"] if place.items() <= r.items()]
    return found


def test_the_document_is_what_the_record_says(record: dict[str, Any]) -> None:
    written = (_ROOT / "docs/reproduction.md").read_text().splitlines()
    for number, (line, wanted) in enumerate(
        zip(written, reproduction.render(record).splitlines(), strict=True), 1
    ):
        assert line == wanted, f"line {number}: run benchmarks/tables.py --render"


@pytest.mark.parametrize(
    ("spec", "weights"),
    [pytest.param(s, w, id=w.filename) for s in all_specs() for w in s.all_published],
)
def test_every_published_checkpoint_has_its_rows(
    record: dict[str, Any], spec: Any, weights: Any
) -> None:
    (cost,) = [row for row in record["costs"] if row["subject"] == weights.filename]
    name = f"{spec.name} x{spec.scale}"
    assert (cost["network"], cost["sha256"]) == (name, weights.sha256)
    document = (_ROOT / "docs/reproduction.md").read_text()
    for set_name in SETS:
        assert f"| {name} | `{weights.filename}` | {set_name} |" in document
    rows = [row for row in record["quality"] if row["subject"] == weights.filename]
    assert rows
    for row in rows:
        images = {"Set5": 5, "Set14": 14, "B100": 100}[row["set_name"]]
        assert (row["sha256"], row["images"]) == (weights.sha256, images)


@pytest.mark.parametrize("name", ["imdn x2", "imdn x4", "imdn-plus x4"])
def test_published_quality_is_reproduced(record: dict[str, Any], name: str) -> None:
    rows = [row for row in record["quality"] if row["network"] == name]
    compared = [row for row in rows if row["subject"] != reproduction.PLAIN_TAIL]
    assert {(row["set_name"], row["way"]) for row in compared} >= {("Set5", Way.PYTORCH)}
    for row in compared:
        psnr_db, ssim = reproduction.PUBLISHED_QUALITY[name][row["set_name"]]
        assert row["psnr_db"] == pytest.approx(psnr_db, abs=reproduction.PSNR_TOLERANCE_DB)
        assert row["ssim"] == pytest.approx(ssim, abs=reproduction.SSIM_TOLERANCE)


def test_files_keep_the_quality_of_pytorch(record: dict[str, Any]) -> None:
    allowed_db = {Way.FILE: 0.02, Way.FILE_FP16: 0.1}
    for row in record["quality"]:
        if row["way"] not in allowed_db:
            continue
        torch = _row(record, row["subject"], row["set_name"], Way.PYTORCH)
        apart = row["psnr_db"] - torch["psnr_db"]
        assert abs(apart) <= allowed_db[row["way"]], (row["subject"], row["set_name"], row["way"])


def test_every_network_with_published_quality_is_compared_or_named_as_missing(
    record: dict[str, Any],
) -> None:
    measured = {row["network"] for row in record["quality"]}
    assert set(reproduction.PUBLISHED_QUALITY) - measured == {"fmen x4"}
    missing = reproduction.render(record).partition("## What cannot be measured here")[2]
    assert "fmen x4 (published: 32.24 / 0.8955 on Set5" in missing


@pytest.mark.parametrize("name", ["imdn x2", "imdn x4"])
def test_the_difference_to_imdns_paper_is_the_rounding_of_y(
    record: dict[str, Any], name: str
) -> None:
    (subject,) = {r["subject"] for r in record["costs"] if r["network"] == name}
    rows = [r for r in record["quality"] if (r["subject"], r["way"]) == (subject, Way.PYTORCH)]
    assert rows
    for row in rows:
        psnr_db, ssim = reproduction.PUBLISHED_QUALITY[name][row["set_name"]]
        assert row["unrounded_y"]["psnr_db"] == pytest.approx(psnr_db, abs=0.015)
        assert row["unrounded_y"]["ssim"] == pytest.approx(ssim, abs=0.0002)


@pytest.mark.parametrize("name", reproduction.PUBLISHED_COSTS)
def test_info_prints_the_challenges_figures_or_the_document_says_why_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    published = reproduction.PUBLISHED_COSTS[name]
    ran = run_here(monkeypatch, capsys, "info", name.partition(" ")[0])
    assert ran.status == 0, ran.err
    printed = {line[:16].strip(): line[16:] for line in ran.out.splitlines()[1:]}
    macs, _, with_relu = printed["MACs"].partition("; ")
    found = {
        "parameters": printed["parameters"].partition("(")[2].rstrip(")"),
        "operations": with_relu.split()[0] if published.rectified and with_relu else macs,
        "activations": printed["activations"],
        "convolutions": int(printed["convolutions"]),
    }
    document = (_ROOT / "docs/reproduction.md").read_text().replace("\n", " ")
    for column, value in found.items():
        wanted = getattr(published, column)
        why = reproduction.EXPLAINED_COSTS.get((name, column))
        if why is None:
            assert value == wanted or not wanted, column
        else:
            assert value != wanted, "it is explained, but does not differ"
            assert why in document


def test_bicubic_of_another_coefficient_is_told_apart(record: dict[str, Any]) -> None:
    found = {
        (r["subject"], r["network"], r["set_name"]): f"{r['psnr_db']:.2f} / {r['ssim']:.4f}"
        for r in record["quality"]
        if r["way"] == Way.NO_NETWORK
    }
    assert len(found) == 2 * 2 * 3
    # As the document states them.
    assert found[reproduction.BICUBIC_075, "x2", "Set5"] == "33.94 / 0.9319"
    assert found[reproduction.BICUBIC_075, "x2", "Set14"] == "30.54 / 0.8742"
    assert found[reproduction.BICUBIC, "x2", "Set5"] == "33.64 / 0.9292"


def test_the_record_keeps_what_was_measured_under_the_same_conditions(tmp_path: Path) -> None:
    tables = _benchmark("tables")
    cell = tables.Cell("model_RTC.pth", "imdn-rtc x2", "00", "Set5", Way.PYTORCH)
    other = tables.Cell("model_RTC.pth", "imdn-rtc x2", "00", "Set5", Way.FILE)
    tables.Record(tmp_path / "r.json").add(other, {"scale": 2, "key": "b"})
    tables.Record(tmp_path / "r.json").add(cell, {"scale": 2, "key": "a"})
    again = tables.Record(tmp_path / "r.json")
    assert again.holds(cell, "a")
    assert not again.holds(cell, "b")
    assert [row["way"] for row in again.content["quality"]] == [Way.PYTORCH, Way.FILE]


@pytest.mark.slow
def test_a_cell_computed_anew_is_what_the_record_says(
    shared: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    record: dict[str, Any],
) -> None:
    """FMEN-S on Set5, in PyTorch and as a file, by the commands that users have."""
    checkpoint, file = shared / "reference/fmen_test_weights.pt", tmp_path / "fmen-s.tflite"

    def run(*words: object) -> Ran:
        ran = run_here(monkeypatch, capsys, *words, "--threads", 1)
        assert ran.status == 0, ran.err
        return ran

    run("convert", "--checkpoint", checkpoint, "--size", "96x64", "-o", file)
    ran = run("eval", checkpoint, file, "--whole", "--data", shared / "data/Set5/x4", "--json")
    found = {entry["target"]: entry["mean"] for entry in json.loads(ran.out)["targets"]}
    row = _row(record, checkpoint.name, "Set5", Way.PYTORCH)
    for target in (checkpoint, file):
        assert found[str(target)]["psnr_db"] == pytest.approx(row["psnr_db"], abs=0.01)
        assert found[str(target)]["ssim"] == pytest.approx(row["ssim"], abs=0.0002)


@pytest.mark.slow
def test_metrics_of_images_on_the_disk_are_the_published_ones(
    shared: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """IMDN x4 on Set5, written as PNG and measured by `edgesr metrics`."""
    upscale = network("imdn", load(shared / "reference/IMDN_x4.pth")).upscale
    for pair in benchmark_set(shared / "data", "Set5", 4):
        Image.fromarray(upscale(pair.lr_hwc_u8)).save(tmp_path / f"{pair.name}.png")
    originals = shared / "data/Set5/x4/HR"
    ran = run_here(monkeypatch, capsys, "metrics", tmp_path, originals, "--shave", 4, "--json")
    assert ran.status == 0, ran.err
    mean = json.loads(ran.out)["mean"]
    psnr_db, ssim = reproduction.PUBLISHED_QUALITY["imdn x4"]["Set5"]
    assert mean["psnr_y"] == pytest.approx(psnr_db, abs=reproduction.PSNR_TOLERANCE_DB)
    assert mean["ssim_y"] == pytest.approx(ssim, abs=reproduction.SSIM_TOLERANCE)
