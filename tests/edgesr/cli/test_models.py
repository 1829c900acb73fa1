"""`edgesr models`, as a user runs it."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import edgesr
from edgesr.cli.app import cli
from edgesr.networks.spec import all_specs
from edgesr.weights.bundled import PUBLISHED_QUALITY, tiled_quality
from helpers.bundles import LICENCE, replace_bundle
from helpers.commands import processor_s


def run(*arguments: str) -> str:
    result = CliRunner().invoke(cli, ["models", *arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_table_has_one_row_for_each_network() -> None:
    rows = [line.split() for line in run().splitlines() if " x" in line]
    for spec in all_specs():
        side = 2 * spec.receptive_radius + 1
        field = "whole" if spec.whole_image else f"{side}x{side}"
        aliases = [f"({alias})" for alias in spec.aliases]
        facts = [spec.name, *aliases, f"x{spec.scale}", f"{spec.parameters:,}", field]
        assert sum(row[: len(facts)] == facts for row in rows) == 1, facts
        if spec.published:
            row = next(line for line in run().splitlines() if spec.published.project in line)
            assert f"published by {spec.published.project}" in row
            assert spec.published.licence in row


def test_table_names_known_figures() -> None:
    assert re.search(r"imdn-rtc \(rtc\) +x2 +20,190 +45x45 ", run())
    assert re.search(r"published by github.com/Zheng222/IMDN +none stated +37.24", run())


def test_bundled_weights_come_first_with_licence_and_quality(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bundle = replace_bundle(monkeypatch, tmp_path)
    bundle.add_rtc()
    shutil.copy(Path(edgesr.__file__).parent / "weights" / PUBLISHED_QUALITY, bundle.weights)
    first, second = [line.split() for line in run().splitlines()[2:4]]
    assert first[0] == "imdn-rtc"
    assert first[5:7] == ["exact", "bundled"]
    assert first[6:] == ["bundled", *LICENCE.split(), "12.34"]
    assert second == ["published", "by", "github.com/Zheng222/IMDN", "none", "stated", "37.24"]
    rtc = json.loads(run("--json"))["models"][0]
    assert rtc["bundled"]["psnr_db"] == {"Set5": 12.344}
    assert rtc["bundled"]["path"].endswith("imdn-rtc_x2.safetensors")
    assert round(rtc["published"][0]["psnr_db"]["Set14"], 2) == 32.95


def test_how_near_tiles_come_is_told_of_networks_that_look_at_the_whole_image() -> None:
    rows = [line.split() for line in run().splitlines() if " x" in line]
    tiles = {(row[0], int(row[1][1:])): row[4] for row in rows if row[0].startswith("imdn")
             and not row[1].startswith("(")}  # fmt: skip
    for scale in (2, 4):
        found = tiled_quality("imdn", scale)
        assert found is not None
        assert tiles["imdn", scale] == f"{found.psnr_db:.1f}"
    assert tiles["imdn", 3] == tiles["imdn-as", 1] == "-"
    assert tiles["imdn-plus", 4] == "exact"
    models = {(m["name"], m["scale"]): m for m in json.loads(run("--json"))["models"]}
    assert models["imdn", 2]["tiled"]["set_name"] == "Set5"
    assert models["imdn-rtc", 2]["tiled"] is None


def test_the_record_of_tiles_is_of_published_weights_and_sound() -> None:
    for spec in all_specs():
        found = tiled_quality(spec.name, spec.scale)
        assert (found is not None) == (spec.whole_image and spec.published is not None)
        if found is not None:
            assert 20 < found.lowest_db <= found.psnr_db < 100
            assert found.images > 1


def test_json_holds_everything_a_script_needs() -> None:
    models = json.loads(run("--json"))["models"]
    assert [model["name"] for model in models] == [spec.name for spec in all_specs()]
    rtc = next(model for model in models if model["name"] == "imdn-rtc")
    assert (rtc["aliases"], rtc["scale"], rtc["parameters"]) == (["rtc"], 2, 20_190)
    assert (rtc["receptive_field"], rtc["value_range"]) == (45, 1.0)
    assert rtc["published"][0]["url"].endswith("/checkpoints/model_RTC.pth")
    assert len(rtc["published"][0]["sha256"]) == 64


def test_runs_within_half_a_second_and_without_torch() -> None:
    code = (
        "import sys; from edgesr.cli.app import cli\n"
        "cli.main(['models'], standalone_mode=False)\n"
        "print('torch' in sys.modules, 'tensorflow' in sys.modules, 'numpy' in sys.modules)"
    )
    durations_s: list[float] = []
    for _ in range(3):
        before_s = processor_s()
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        durations_s.append(processor_s() - before_s)
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1] == "False False False"
    assert min(durations_s) < 0.5
