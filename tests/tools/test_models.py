"""The shipped files match their manifests, their cards and the code."""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from converters.manifest import manifest_path, read_manifest
from edgesr.evaluation.benchmark_sets import benchmark_set, by_file, measure
from edgesr.images.test_card import draw_test_card
from edgesr.networks.spec import ArchSpec, find_spec
from edgesr.weights.bundled import WEIGHTS_FOLDER, model_file
from helpers.commands import files_in, no_network, run_alone
from tools.release.models import FOLDER, MEASUREMENTS, cards, content, shipped_specs
from tools.release.records import Measurements, WeightsRecord
from tools.release.same_file import Sameness, compare_files
from tools.release.weights_card import weights_card

_FILES = sorted(FOLDER.glob("*.tflite"))
_SPECS = shipped_specs()

for_every_file = pytest.mark.parametrize("file", _FILES, ids=lambda file: file.stem)
for_every_network = pytest.mark.parametrize("spec", _SPECS, ids=lambda spec: spec.name)


def _measurements() -> Measurements:
    return Measurements.model_validate_json((FOLDER / MEASUREMENTS).read_bytes())


def test_every_bundled_network_has_both_files_and_no_other_has_any() -> None:
    expected = [
        f"{spec.name}_x{spec.scale}_720x480_{precision}.tflite"
        for spec in _SPECS
        for precision in ("fp16", "fp32")
    ]
    assert [file.name for file in _FILES] == sorted(expected)


@for_every_file
def test_a_file_is_the_one_of_its_manifest(file: Path) -> None:
    manifest = read_manifest(manifest_path(file))
    content = file.read_bytes()
    assert manifest.file == file.name
    assert manifest.sha256 == hashlib.sha256(content).hexdigest()
    assert manifest.size_bytes == len(content)


@for_every_file
def test_a_manifest_records_every_gate_passed_on_photographs_and_a_gpu(file: Path) -> None:
    manifest = read_manifest(manifest_path(file))
    assert [parity.failures for parity in manifest.parity] == [()] * len(manifest.parity)
    assert "gpu" in [parity.backend for parity in manifest.parity]
    assert manifest.gpu.accelerator == "passed"
    assert manifest.gpu.rules_passed
    synthetic = {"test card", "noise", "constant 0", "constant 1", "checkerboard", "impulse"}
    for parity in manifest.parity:
        photographs = {row.input for row in parity.inputs} - synthetic
        assert len(photographs) == (1 if parity.device else 2)


@for_every_file
def test_a_file_was_made_from_the_bundled_weights(file: Path) -> None:
    facts = read_manifest(manifest_path(file)).facts
    record = WEIGHTS_FOLDER / f"{facts.model}_x{facts.scale}.json"
    assert facts.weights_sha256 == json.loads(record.read_bytes())["weights_sha256"]


@pytest.mark.skipif(not _FILES, reason="no file comes with edgesr yet")
def test_the_texts_are_what_the_records_make() -> None:
    manifests = [
        read_manifest(manifest_path(FOLDER / entry.file)) for entry in _measurements().files
    ]
    texts = cards(manifests, _measurements())
    assert {name: (FOLDER / name).read_text() for name in texts} == texts
    others = {file.name for file in FOLDER.glob("*.md")} - texts.keys()
    assert others == set()
    for entry, manifest in zip(_measurements().files, manifests, strict=True):
        assert (entry.file, entry.sha256) == (manifest.file, manifest.sha256)


def test_the_first_file_of_the_table_is_the_default_of_upscale() -> None:
    assert _measurements().files[0].file == model_file(None).name


@for_every_network
def test_the_card_of_the_weights_is_what_their_record_makes(spec: ArchSpec) -> None:
    path = WEIGHTS_FOLDER / f"{spec.name}_x{spec.scale}.json"
    record = WeightsRecord.model_validate_json(path.read_bytes())
    assert path.with_suffix(".md").read_text() == weights_card(record)
    assert sum(part.images for part in record.data) == record.training["training_images"]
    assert "research use" in record.licence
    assert [entry.name for entry in record.quality.pytorch] == ["Set5", "Set14", "B100"]


@pytest.mark.slow
@for_every_network
def test_the_code_makes_these_files(
    spec: ArchSpec, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """To the bit; on another CPU up to the rounding of FP16 weights. Prints which it was."""
    for name, made in content(spec).items():
        path = tmp_path / name
        path.write_bytes(made)
        found = compare_files(FOLDER / name, path)
        with capsys.disabled():
            sys.stdout.write(f"\n{name}: {found}\n")
        assert found.sameness is not Sameness.DIFFERENT, str(found)


# FMEN-S's files take minutes each. What they hold is held to the bit above, their parity at this
# size by the manifests, and what the network gives by the FP16 file.
_RTC = [file for file in _FILES if file.stem.startswith("imdn-rtc")]
_LIGHT = [file for file in _FILES if file in _RTC or "fp16" in file.stem]
for_light_files = pytest.mark.parametrize("file", _LIGHT, ids=lambda file: file.stem)


@pytest.mark.slow
@pytest.mark.parametrize("file", _RTC, ids=lambda file: file.stem)
def test_verify_passes_without_network_and_finds_the_weights_itself(
    file: Path, shared: Path
) -> None:
    with no_network(EDGESR_SHARED=shared) as env:
        ran = run_alone("verify", file, "--json", env=env)
    assert (ran.status, ran.err) == (0, ""), ran.err
    backends = json.loads(ran.out)
    assert [backend["failures"] for backend in backends] == [[]] * len(backends)
    assert len(backends) == (2 if file.stem.endswith("fp16") else 1)


@pytest.mark.slow
@for_light_files
def test_a_file_has_the_quality_of_its_card(file: Path, shared: Path) -> None:
    (entry,) = [e for e in _measurements().files if e.file == file.name]
    facts = read_manifest(manifest_path(file)).facts
    pairs = benchmark_set(shared / "data", entry.quality.name, facts.scale)
    found = measure(by_file(file), entry.quality.name, pairs, facts.scale)
    assert abs(found.psnr_db - entry.quality.psnr_db) <= 0.005
    assert abs(found.ssim - entry.quality.ssim) <= 0.0001


@pytest.mark.slow
@for_every_network
def test_the_bundled_weights_convert_without_network(spec: ArchSpec, tmp_path: Path) -> None:
    with no_network(EDGESR_CACHE=tmp_path / "cache") as env:
        words = ("--model", spec.name, "--fp16", "--size", "48x32")
        ran = run_alone("convert", *words, env=env, cwd=tmp_path)
    assert (ran.status, ran.err) == (0, ""), ran.err
    stem = f"{spec.name}_x{spec.scale}_48x32_fp16"
    assert files_in(tmp_path) == [f"{stem}.json", f"{stem}.tflite"]


@pytest.mark.slow
@for_every_network
def test_upscale_by_name_needs_no_network(spec: ArchSpec, tmp_path: Path) -> None:
    Image.fromarray(draw_test_card(30, 40)).save(tmp_path / "photo.png")
    words = () if spec == find_spec("rtc") else ("-m", spec.name)
    with no_network(EDGESR_CACHE=tmp_path / "cache") as env:
        ran = run_alone("upscale", "photo.png", *words, env=env, cwd=tmp_path)
    assert (ran.status, ran.err) == (0, ""), ran.err
    with Image.open(tmp_path / f"photo_x{spec.scale}.png") as image:
        assert image.size == (spec.scale * 40, spec.scale * 30)
        assert np.asarray(image).std() > 10
