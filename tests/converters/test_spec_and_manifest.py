"""Sizes as users type them, names of files, and manifests that are what they claim."""

import json
from pathlib import Path

import pytest

from converters.gpu.gate import GpuBackends
from converters.manifest import GpuRecord, Manifest, manifest_path, read_manifest
from converters.spec import ConversionSpec, Precision, check_multiple, file_name, parse_size
from edgesr.errors import ModelFileError, SizeError
from edgesr.networks.spec import find_spec
from edgesr.runtime.session import Backend
from edgesr.tflite.facts import Facts
from edgesr.weights.bundled import shipped_folder


@pytest.mark.parametrize(
    ("text", "size"),
    [("720x480", (720, 480)), ("16X16384", (16, 16384)), (" 64 x 48 ", (64, 48))],
    ids=["usual", "bounds", "spaces"],
)
def test_a_size_is_height_then_width(text: str, size: tuple[int, int]) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text",
    ["", "720", "720x", "x480", "720*480", "720x480x3", "a x b", "7e2x480", "720,480", "1" * 40],
    ids=repr,
)
def test_what_is_no_size_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(SizeError, match="allowed HEIGHTxWIDTH"):
        parse_size(text)


@pytest.mark.parametrize("text", ["0x480", "720x0", "-720x480", "720x-1", "15x64", "64x16385"])
def test_a_side_out_of_bounds_is_refused(text: str) -> None:
    with pytest.raises(SizeError, match="allowed 16 to 16384"):
        parse_size(text)


def test_a_spec_refuses_what_the_parser_refuses() -> None:
    with pytest.raises(SizeError):
        ConversionSpec(height=0)


@pytest.mark.parametrize(
    ("model", "size", "advice"),
    [
        ("imdn-rtc", (721, 483), None),
        ("imdn-rte", (722, 480), None),
        ("imdn-rte", (721, 480), "allowed multiples of 2; give --size 722x480"),
        ("imdn-as", (720, 478), "allowed multiples of 4; give --size 720x480"),
    ],
    ids=["any", "even", "odd", "half"],
)
def test_a_network_that_halves_takes_multiples(
    model: str, size: tuple[int, int], advice: str | None
) -> None:
    arch = find_spec(model)
    if advice is None:
        return check_multiple(*size, arch)
    with pytest.raises(SizeError, match=rf"got size {size[0]}x{size[1]} for {model}, {advice}$"):
        check_multiple(*size, arch)


def test_file_names_follow_the_grammar() -> None:
    name = file_name("imdn-rtc", 2, ConversionSpec(), Precision.FP16)
    assert name == "imdn-rtc_x2_720x480_fp16.tflite"


def _manifest() -> dict[str, object]:
    facts = {
        "model": "imdn-rtc",
        "scale": 2,
        "height": 720,
        "width": 480,
        "precision": "fp16",
        "receptive_radius": 22,
        "weights_sha256": "0" * 64,
        "weights_source": "a test",
        "weights_licence": "none stated",
        "passes": ["split_free"],
        "tool_versions": {"edgesr": "0"},
    }
    return {
        "file": "a.tflite",
        "sha256": "0" * 64,
        "size_bytes": 1,
        "facts": facts,
        "operators": {"CONV_2D": 1},
        "peak_activation_bytes": 1,
        "fp16_range": None,
        "parity": [],
        "gpu": {"rules_passed": True, "violations": []},
    }


def test_a_manifest_survives_the_way_to_disk_and_back(tmp_path: Path) -> None:
    manifest = Manifest.model_validate(_manifest())
    path = manifest_path(tmp_path / "a.tflite")
    path.write_text(manifest.to_json())
    assert path.name == "a.json"
    assert read_manifest(path) == manifest


def test_facts_that_only_some_networks_need_are_not_written_for_others() -> None:
    facts = Manifest.model_validate(_manifest()).facts
    assert not {"size_multiple", "whole_image"} & json.loads(facts.model_dump_json()).keys()
    special = facts.model_copy(update={"size_multiple": 4, "whole_image": True})
    written = json.loads(special.model_dump_json())
    assert (written["size_multiple"], written["whole_image"]) == (4, True)
    assert Facts.model_validate(written) == special


def test_shipped_manifests_are_written_as_they_lie_there() -> None:
    folder = shipped_folder()
    assert folder is not None
    manifests = sorted(folder.glob("imdn-rtc*.json"))
    assert manifests
    for path in manifests:
        assert read_manifest(path).to_json() == path.read_text()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot read"),
        ("", "is no edgesr manifest"),
        ("no json", "is no edgesr manifest"),
        ("[]", "is no edgesr manifest"),
        (json.dumps(_manifest() | {"colour": "red"}), "colour"),
        (json.dumps({k: v for k, v in _manifest().items() if k != "sha256"}), "sha256"),
        (json.dumps(_manifest() | {"schema_version": 2}), "schema_version"),
    ],
    ids=["missing", "empty", "text", "list", "unknown-key", "missing-key", "newer-schema"],
)
def test_a_bad_manifest_is_one_line(tmp_path: Path, content: str | None, message: str) -> None:
    path = tmp_path / "a.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ModelFileError, match=message) as caught:
        read_manifest(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("violations", "gpu", "record"),
    [
        ((), GpuBackends((), "no GPU here"), (True, "not checked", "no GPU here")),
        ((), GpuBackends((Backend.GPU,), "no FP16 arithmetic"), (True, "passed", "")),
        (("RESHAPE",), GpuBackends((), "not asked"), (False, "not checked", "not asked")),
    ],
    ids=["no-device", "device", "rule-broken"],
)
def test_a_gpu_record_says_what_was_checked_and_why_not(
    violations: tuple[str, ...], gpu: GpuBackends, record: tuple[bool, str, str]
) -> None:
    made = GpuRecord.of(violations, gpu)
    assert made.violations == violations
    assert (made.rules_passed, made.accelerator, made.why_not_checked) == record
