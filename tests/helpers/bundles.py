"""A bundle of a test's own in place of the one that comes with edgesr."""

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from edgesr.networks.architectures.imdn_rtc import imdn_rtc
from edgesr.training.export import write_weights
from edgesr.weights import bundled
from edgesr.weights.checkpoints import weights_sha256

LICENCE = "a licence"


@dataclass(frozen=True)
class Bundle:
    """Folders that edgesr takes for its own.

    Attributes:
        weights: Weights and records; empty at first.
        files: `.tflite` files; empty at first.
    """

    weights: Path
    files: Path

    def add_rtc(self) -> Path:
        """Bundle RTC with random weights."""
        path = self.weights / "imdn-rtc_x2.safetensors"
        torch.manual_seed(3)
        net = imdn_rtc(training_form=False)
        write_weights([(path, net)], {}, overwrite=False)
        record = {
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "weights_sha256": weights_sha256(net),
            "licence": LICENCE,
            "quality": {"pytorch": [{"name": "Set5", "psnr_db": 12.344}]},
        }
        path.with_suffix(".json").write_text(json.dumps(record))
        return path

    def add_file(self, source: Path, name: str = "imdn-rtc_x2_720x480_fp16.tflite") -> Path:
        """Ship a copy of a `.tflite`."""
        return Path(shutil.copy(source, self.files / name))


def replace_bundle(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Bundle:
    """Let edgesr find an empty bundle in this process."""
    made = Bundle(folder / "weights", folder / "files")
    for part in (made.weights, made.files):
        part.mkdir(parents=True)
    monkeypatch.setattr(bundled, "WEIGHTS_FOLDER", made.weights)
    monkeypatch.setattr(bundled, "shipped_folder", lambda: made.files)
    return made
