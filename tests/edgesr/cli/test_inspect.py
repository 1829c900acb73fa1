"""`edgesr inspect`, as a user runs it."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from converters.manifest import GpuRecord, Manifest, manifest_path
from edgesr.cli.app import cli
from edgesr.tflite.facts import FACTS_ENTRY, UNSEALED, Facts, seal
from helpers.tflite_builder import TfliteBuilder, sr_model

FACTS = Facts(
    model="imdn-rtc",
    scale=2,
    height=4,
    width=6,
    precision="fp16",
    receptive_radius=22,
    weights_sha256="ab" * 32,
    weights_source="a test",
    weights_licence="none stated",
    passes=("split_free", "depth_to_space"),
    tool_versions={"onnx2tf": "1.28.8"},
)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["inspect", *map(str, arguments)])


def as_program(*arguments: object) -> subprocess.CompletedProcess[str]:
    """In a process of its own: what main() makes of errors, and what is imported."""
    code = (
        "import sys; from edgesr.cli import main\n"
        "try: main()\n"
        "finally: print('imported:', *sorted({'torch', 'tensorflow', 'onnx', 'onnx2tf', 'scipy'}"
        " & set(sys.modules)), file=sys.stderr)"
    )
    argv = [sys.executable, "-c", code, "inspect", *map(str, arguments)]
    return subprocess.run(argv, capture_output=True, text=True)


@pytest.fixture
def clean(tmp_path: Path) -> Path:
    """A super-resolution file that the GPU delegate accepts."""
    path = tmp_path / "clean.tflite"
    path.write_bytes(sr_model())
    return path


def relu_file(path: Path, entries: dict[str, bytes], *, flex: bool = False) -> Path:
    made = TfliteBuilder()
    lr, hr = made.tensor([1, 4, 6, 3], name="lr"), made.tensor([1, 4, 6, 3], name="hr")
    made.operator("CUSTOM" if flex else "RELU", [lr], [hr], custom="FlexErf" if flex else None)
    for name, data in entries.items():
        made.metadata(name, data)
    path.write_bytes(made.finish([lr], [hr]))
    return path


@pytest.fixture
def dirty(tmp_path: Path) -> Path:
    """A file with one operator that the GPU refuses."""
    return relu_file(tmp_path / "dirty.tflite", {}, flex=True)


@pytest.fixture
def made_by_edgesr(tmp_path: Path) -> Path:
    """A file with facts inside and its manifest beside it."""
    facts = FACTS.model_copy(update={"content_sha256": UNSEALED}).model_dump_json().encode()
    path = relu_file(tmp_path / "ours.tflite", {FACTS_ENTRY: facts, "note": b"hello"})
    path.write_bytes(seal(path.read_bytes()))
    content = path.read_bytes()
    manifest = Manifest(
        file=path.name,
        sha256=hashlib.sha256(content).hexdigest(),
        size_bytes=len(content),
        facts=FACTS,
        operators={"RELU": 1},
        peak_activation_bytes=576,
        fp16_range=None,
        parity=(),
        gpu=GpuRecord(rules_passed=True, violations=()),
    )
    manifest_path(path).write_text(manifest.to_json())
    return path


def test_a_clean_file_is_shown_whole(clean: Path) -> None:
    done = run(clean)
    assert done.exit_code == 0, done.output
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    for line in (
        f"file clean.tflite {clean.stat().st_size / 1024:.1f} KiB",
        "input lr [1, 6, 8, 3] float32",
        "output hr [1, 12, 16, 3] float32",
        "scale x2",
        "signature serving_default: lr -> hr",
        "weights 1,684 parameters; constants: float16 3.3 KiB",
        "memory peak activations 4.5 KiB, 2.2 KiB in FP16",
        "CONV_2D 3 1x6x8x8 (2), 1x6x8x12",
        "DEPTH_TO_SPACE 1 1x12x16x3",
        "min_runtime_version: 1.13.0",
        "manifest no manifest clean.json beside clean.tflite",
        "accepted CONV_2D: all 3",
    ):
        assert line in lines
    assert lines[-2:] == [
        "caution not made by edgesr and not run here: the runtime may refuse it",
        "GPU delegate: accepts all 12 operators",
    ]


def test_a_refused_operator_is_named_with_its_remedy(dirty: Path) -> None:
    done = run(dirty)
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert "refused  FlexErf: 1 of 1" in lines
    (violation,) = [line for line in lines if "gpu-flex" in line]
    assert "operator 0 FlexErf, tensor hr [1, 4, 6, 3]" in violation
    assert "`edgesr convert`" in violation
    assert lines[-1] == "GPU delegate: refuses 1 of 1 operators"


@pytest.mark.parametrize("form", [(), ("--json",)], ids=["table", "json"])
def test_require_gpu_turns_the_verdict_into_the_exit_status(
    form: tuple[str, ...], clean: Path, dirty: Path
) -> None:
    assert run(clean, "--require-gpu", *form).exit_code == 0
    refused = run(dirty, "--require-gpu", *form)
    assert refused.exit_code == 1
    # What was found is still shown.
    assert "gpu-flex" in refused.stdout


def test_require_gpu_sets_the_status_of_the_program(dirty: Path) -> None:
    assert as_program(dirty, "--require-gpu").returncode == 1


def test_a_caution_is_shown_and_does_not_refuse(tmp_path: Path) -> None:
    made = TfliteBuilder()
    lr, narrow = made.tensor([1, 4, 6, 3]), made.tensor([1, 4, 6, 3], "int8")
    made.operator("QUANTIZE", [lr], [narrow])
    path = tmp_path / "m.tflite"
    path.write_bytes(made.finish([lr], [narrow]))
    done = run(path, "--require-gpu")
    assert done.exit_code == 0
    assert "caution  operator 0 QUANTIZE" in done.stdout
    assert "not a super-resolution model: float32 in and int8 out" in done.stdout


def test_json_is_all_of_stdout(made_by_edgesr: Path) -> None:
    found: dict[str, Any] = json.loads(run(made_by_edgesr, "--json").stdout)
    assert found["inputs"] == [{"name": "lr", "shape": [1, 4, 6, 3], "dtype": "float32"}]
    assert found["operators"][0]["name"] == "RELU"
    assert found["facts"]["model"] == "imdn-rtc"
    assert (found["gpu_clean"], found["findings"]) == (True, [])
    assert found["caveat"] is None
    assert found["manifest"]["matches"] is True
    assert found["manifest"]["content"]["operators"] == {"RELU": 1}


def test_facts_and_manifest_are_shown(made_by_edgesr: Path) -> None:
    lines = [" ".join(line.split()) for line in run(made_by_edgesr).stdout.splitlines()]
    for line in (
        "EDGESR_FACTS:",
        "model imdn-rtc",
        "receptive_radius 22",
        "passes split_free, depth_to_space",
        "tool_versions onnx2tf 1.28.8",
        "note: hello",
        "manifest ours.json is the record of this file (sha256 matches)",
    ):
        assert line in lines


def test_the_whole_manifest_is_shown_on_demand(made_by_edgesr: Path) -> None:
    assert '"peak_activation_bytes": 576' not in run(made_by_edgesr).stdout
    assert '"peak_activation_bytes": 576' in run(made_by_edgesr, "--manifest").stdout


def test_a_manifest_of_another_file_is_reported(made_by_edgesr: Path) -> None:
    made_by_edgesr.write_bytes(made_by_edgesr.read_bytes() + b"\0\0\0\0")
    done = run(made_by_edgesr)
    assert done.exit_code == 0
    assert "manifest    ours.json belongs to a different file" in done.stdout
    assert json.loads(run(made_by_edgesr, "--json").stdout)["manifest"]["matches"] is False


def test_a_json_file_that_is_no_manifest_does_not_hide_the_audit(clean: Path) -> None:
    clean.with_suffix(".json").write_text('{"labels": []}')
    done = run(clean)
    assert done.exit_code == 0
    assert "clean.json is no edgesr manifest" in done.stdout
    assert done.stdout.splitlines()[-1] == "GPU delegate: accepts all 12 operators"


def test_control_characters_in_a_file_do_not_reach_the_terminal(tmp_path: Path) -> None:
    hostile = json.dumps({"model": "\x1b]0;owned\x07"}).encode()
    path = relu_file(tmp_path / "m.tflite", {FACTS_ENTRY: hostile, "a\x1b[2J": b"x"})
    done = run(path)
    assert done.exit_code == 0
    assert "\x1b" not in done.stdout
    assert "owned" in done.stdout


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    """The error of a program that failed as it should: one line, status 1, nothing on stdout."""
    assert done.returncode == 1
    assert done.stdout == ""
    error, *rest = done.stderr.splitlines()
    assert rest == ["imported:"], "a traceback, or a heavy import"
    assert error.startswith("edgesr: error: ")
    return error


def test_a_truncated_file_is_one_line_and_status_1(clean: Path) -> None:
    clean.write_bytes(clean.read_bytes()[:1000])
    assert "is truncated or damaged" in one_line(as_program(clean))


def test_a_missing_file_is_one_line_and_status_1(tmp_path: Path) -> None:
    assert "No such file" in one_line(as_program(tmp_path / "m.tflite"))


def test_a_missing_manifest_is_an_error_only_if_asked_for(clean: Path) -> None:
    assert "no manifest clean.json" in one_line(as_program(clean, "--manifest"))


def test_nothing_heavy_is_imported(clean: Path) -> None:
    done = as_program(clean)
    assert done.returncode == 0
    assert done.stderr.splitlines()[-1] == "imported:"


def test_the_published_file_is_accepted_whole(shared: Path) -> None:
    done = run(shared / "reference" / "imdn_rtc_time.tflite", "--require-gpu")
    assert done.exit_code == 0
    assert "refused" not in done.stdout
    assert done.stdout.splitlines()[-1] == "GPU delegate: accepts all 70 operators"


def _json_of(path: Path) -> dict[str, Any]:
    return json.loads(run(path, "--json").stdout)


def test_an_open_size_is_named_and_no_figure_is_taken_for_the_networks(tmp_path: Path) -> None:
    made = TfliteBuilder()
    lr = made.tensor([1, 1, 1, 3], name="lr", signature=[1, -1, -1, 3])
    hr = made.tensor([1, 1, 1, 3], name="hr", signature=[1, -1, -1, 3])
    made.operator("RELU", [lr], [hr])
    path = tmp_path / "open.tflite"
    path.write_bytes(made.finish([lr], [hr]))
    lines = [" ".join(line.split()) for line in run(path).stdout.splitlines()]
    assert "input lr [1, -1, -1, 3] float32" in lines
    assert "scale not known: the size of the input is open (-1)" in lines
    assert sum("at the stand-in size" in line for line in lines) == 2
    found = _json_of(path)
    assert (found["scale"], found["gpu_clean"]) == (None, False)
    assert found["not_sr"].startswith("leaves the size of its input open: got [1, -1, -1, 3]")


def test_a_file_that_was_changed_after_edgesr_made_it_is_not_clean(made_by_edgesr: Path) -> None:
    content = made_by_edgesr.read_bytes()
    made_by_edgesr.write_bytes(content.replace(b"hello", b"jello"))
    found = _json_of(made_by_edgesr)
    assert found["gpu_clean"] is False
    assert "was changed or damaged after edgesr wrote it" in found["caveat"]


def test_a_file_whose_structure_cannot_be_run_is_not_clean(tmp_path: Path) -> None:
    made = TfliteBuilder()
    lr, hr = made.tensor([1, 4, 6, 3]), made.tensor([1, 4, 6, 3])
    made.operator("RELU", [lr], [hr])
    made.operator("RELU", [lr], [hr])  # written twice
    path = tmp_path / "twice.tflite"
    path.write_bytes(made.finish([lr], [hr]))
    found = _json_of(path)
    assert found["gpu_clean"] is False
    assert "cannot be run: tensor" in found["caveat"]


def test_facts_that_no_terminal_can_show_are_escaped(tmp_path: Path) -> None:
    path = relu_file(tmp_path / "odd.tflite", {FACTS_ENTRY: b'{"model": "\\ud800\\u001b[31m"}'})
    done = run(path)
    assert (done.exit_code, done.exception) == (0, None)
    assert r"\ud800\x1b[31m" in done.output


def test_facts_nested_deeply_do_not_end_the_command(tmp_path: Path) -> None:
    path = relu_file(tmp_path / "deep.tflite", {FACTS_ENTRY: 200_000 * b"["})
    for form in ((), ("--json",)):
        done = run(path, *form)
        assert (done.exit_code, done.exception) == (0, None)
    assert "are damaged or of a newer edgesr" in _json_of(path)["caveat"]
