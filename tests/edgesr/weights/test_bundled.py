"""Weights and files that come with edgesr: found by a network's name, sound, and known as such."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from edgesr.errors import CheckpointError, ModelFileError
from edgesr.networks.spec import all_specs, find_spec
from edgesr.weights import bundled
from edgesr.weights.bundled import (
    bundled_checkpoint,
    bundled_weights,
    model_file,
    published_psnr,
    shipped_file,
)
from edgesr.weights.checkpoints import load, weights_sha256
from helpers.bundles import LICENCE, Bundle, replace_bundle

pytestmark = pytest.mark.usefixtures("one_torch_thread")

_RTC = find_spec("rtc")


@pytest.fixture
def bundle(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Bundle:
    return replace_bundle(monkeypatch, tmp_path / "bundle")


class TestWeights:
    def test_a_network_without_a_record_has_none(self, bundle: Bundle) -> None:
        assert bundled_weights(_RTC) is None
        with pytest.raises(
            CheckpointError, match="imdn-rtc has no bundled weights; pass --weights"
        ):
            bundled_checkpoint(_RTC)

    def test_those_of_a_record_are_found_and_known_by_their_digest(self, bundle: Bundle) -> None:
        path = bundle.add_rtc()
        found = bundled_weights(_RTC)
        assert found is not None
        assert bundled_checkpoint(_RTC) == found.path == path
        assert found.psnr_db == {"Set5": 12.344}
        loaded = load(path)
        assert loaded.licence == LICENCE
        assert loaded.source.endswith("part of edgesr: edgesr/weights/imdn-rtc_x2.safetensors")
        assert weights_sha256(loaded.net) == found.weights_sha256

    def test_a_copy_elsewhere_is_known_too_and_a_changed_one_is_not(
        self, bundle: Bundle, tmp_path: Path
    ) -> None:
        copy = tmp_path / "mine.safetensors"
        content = bundle.add_rtc().read_bytes()
        copy.write_bytes(content)
        assert load(copy).licence == LICENCE
        copy.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        assert load(copy).licence == "unknown"

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (lambda path: path.unlink(), "cannot be read; install edgesr again"),
            (lambda path: path.write_bytes(b"x"), "has sha256 .* recorded is .*; install"),
        ],
        ids=["missing", "another file"],
    )
    def test_a_file_that_is_not_the_recorded_one_is_refused(
        self, bundle: Bundle, change: object, words: str
    ) -> None:
        change(bundle.add_rtc())  # type: ignore[operator]
        with pytest.raises(CheckpointError, match=words):
            bundled_checkpoint(_RTC)

    @pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"sha256": 1, "quality": 2}'])
    def test_a_damaged_record_is_one_line(self, bundle: Bundle, text: str) -> None:
        bundle.add_rtc().with_suffix(".json").write_text(text)
        with pytest.raises(CheckpointError, match=r"imdn-rtc_x2.json is damaged .* install"):
            bundled_weights(_RTC)

    @pytest.mark.parametrize(
        "spec", [s for s in all_specs() if bundled_weights(s)], ids=lambda s: s.name
    )
    def test_what_comes_with_edgesr_is_what_its_record_says(self, spec) -> None:  # noqa: ANN001
        found = bundled_weights(spec)
        loaded = load(bundled_checkpoint(spec), spec.name)
        assert not loaded.training_form
        assert loaded.licence == found.licence != "unknown"
        assert weights_sha256(loaded.net) == found.weights_sha256
        assert set(found.psnr_db) == {"Set5", "Set14", "B100"}


class TestFiles:
    def test_names_and_aliases_mean_the_fp16_file(self, bundle: Bundle, tmp_path: Path) -> None:
        source = tmp_path / "any"
        source.write_bytes(b"any")
        bundle.add_file(source, "imdn-rtc_x2_720x480_fp32.tflite")
        assert shipped_file(_RTC) is None
        expected = bundle.add_file(source)
        bundle.add_file(source, "fmen-s_x4_720x480_fp16.tflite")
        assert [model_file(text) for text in (None, "rtc", "imdn-rtc")] == [expected] * 3
        assert model_file("fmen-s").name == "fmen-s_x4_720x480_fp16.tflite"

    def test_a_file_called_like_a_network_goes_first_and_a_folder_does_not(
        self, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "rtc").write_bytes(b"any")
        expected = bundle.add_file(tmp_path / "rtc")
        assert model_file("rtc") == Path("rtc")
        (tmp_path / "rtc").unlink()
        (tmp_path / "rtc").mkdir()
        assert model_file("rtc") == expected

    @pytest.mark.parametrize("text", ["a.tflite", "there/rtc", "/rtc"])
    def test_a_path_stays_a_path_even_where_nothing_is(self, bundle: Bundle, text: str) -> None:
        assert model_file(text) == Path(text)

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            (None, "no .tflite of imdn-rtc .*there are: fmen-s.*edgesr convert --model imdn-rtc"),
            ("rtc", "no .tflite of imdn-rtc .*there are: fmen-s"),
            ("rtx", "got -m rtx, .* allowed a .tflite or: fmen-s$"),
        ],
        ids=["default", "network without a file", "unknown"],
    )
    def test_what_does_not_come_with_edgesr_is_one_line(
        self, bundle: Bundle, tmp_path: Path, text: str | None, words: str
    ) -> None:
        source = tmp_path / "any"
        source.write_bytes(b"any")
        bundle.add_file(source, "fmen-s_x4_720x480_fp16.tflite")
        with pytest.raises(ModelFileError, match=words):
            model_file(text)


def test_the_quality_of_every_published_checkpoint_is_on_record() -> None:
    found = {w.filename: published_psnr(w.sha256) for s in all_specs() for w in s.all_published}
    assert all(set(psnr) == {"Set5", "Set14", "B100"} for psnr in found.values()), found
    assert f"{found['model_RTC.pth']['Set5']:.2f}" == "37.24"
    assert f"{found['fmen_test_weights.pt']['Set14']:.2f}" == "28.56"
    assert published_psnr("0" * 64) == {}


def test_records_hold_no_path_of_a_machine() -> None:
    for record in bundled.WEIGHTS_FOLDER.glob("*.json"):
        texts = [text for text in _texts(json.loads(record.read_bytes())) if text.startswith("/")]
        assert texts == [], record


def _texts(value: object) -> list[str]:
    if isinstance(value, dict):
        return [text for part in value.values() for text in _texts(part)]
    if isinstance(value, list):
        return [text for part in value for text in _texts(part)]
    return [value] if isinstance(value, str) else []


def test_needs_neither_torch_nor_numpy() -> None:
    code = (
        "import sys; from edgesr.weights.bundled import *\n"
        "from edgesr.networks.spec import all_specs\n"
        "[(bundled_weights(s), shipped_file(s)) for s in all_specs()]\n"
        "print(sorted({'torch', 'numpy', 'safetensors', 'pydantic'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_digest_of_a_record_is_that_of_the_file() -> None:
    for record in bundled.WEIGHTS_FOLDER.glob("*_x?.json"):
        content = record.with_suffix(".safetensors").read_bytes()
        assert json.loads(record.read_bytes())["sha256"] == hashlib.sha256(content).hexdigest()
