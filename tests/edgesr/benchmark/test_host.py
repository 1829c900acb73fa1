"""benchmarks/host_bench.py: in parts, each measured once, an emulated GPU apart from the CPU."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.small_net import SmallNet

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "host_bench.py"


def run(*words: object) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, SCRIPT, *words]
    return subprocess.run(list(map(str, argv)), capture_output=True, text=True)


@pytest.mark.slow
def test_every_part_is_measured_once_and_shown_in_its_table(tmp_path: Path) -> None:
    files = [tmp_path / "first.tflite", tmp_path / "second.tflite"]
    for path, height in zip(files, (48, 96), strict=True):
        path.write_bytes(SmallNet().tflite(height, 64))
    target = tmp_path / "host.json"
    words = [*files, "--json", target, "--threads", 1, "--cpu-budget", 0.2]
    done = run(*words)
    assert done.returncode == 0, done.stderr
    record = json.loads(target.read_text())
    gpu = [f"gpu, {path.name}" for path in files]
    assert sorted([*record["parts"], *record["refused"]]) == sorted(["cpu", "cpu-fp16", *gpu])
    assert [case["file"] for case in record["parts"]["cpu"]["cases"]] == [p.name for p in files]
    cpu, _, emulated = done.stdout.partition("| GPU |")
    assert cpu.count("first.tflite") == cpu.count("second.tflite") == 2
    assert "software device" not in cpu
    assert emulated.count("first.tflite") == emulated.count("second.tflite") == 1

    content = target.read_bytes()
    again = run(*words)
    assert again.stderr.count("measured before") == 4
    assert (again.stdout, target.read_bytes()) == (done.stdout, content)
    assert run("--json", target, "--print").stdout == done.stdout
    other = run(files[1], files[0], *words[2:])
    assert (other.returncode, "is of other files" in other.stderr) == (2, True)


def test_what_is_named_by_default_and_missing_is_said(tmp_path: Path) -> None:
    environment = {"EDGESR_SHARED": str(tmp_path), "PATH": ""}
    argv = [sys.executable, str(SCRIPT), "--json", str(tmp_path / "a.json")]
    done = subprocess.run(argv, capture_output=True, text=True, env=environment)
    assert done.returncode == 2
    assert "imdn_rtc_time.tflite" in done.stderr
    assert "name FILES instead" in done.stderr
