"""Images in a device's memory give the batches that the loader gives, to the bit."""

from pathlib import Path

import pytest
import torch

from edgesr.training.data.batches import ResidentPatches, batches, resident
from edgesr.training.data.patches import PatchSampler
from edgesr.training.data.store import prepare
from helpers.training import draw_images

CPU = torch.device("cpu")


@pytest.mark.parametrize("scale", [2, 4])
@pytest.mark.parametrize("value_range", [1.0, 255.0])
def test_batches_are_those_of_the_loader(tmp_path: Path, scale: int, value_range: float) -> None:
    store = prepare([draw_images(tmp_path / "images")], scale, tmp_path, reductions=(0.8,))
    sampler = PatchSampler(store, lr_patch=9, batch=40, seed=3, skip_small=True)
    on_device = ResidentPatches(store, CPU)
    rows = slice(3, 37)
    loaded = batches(sampler, range(4), rows, value_range, "cpu")
    gathered = batches(sampler, range(4), rows, value_range, "cpu", on_device)
    for (lr_nchw, hr_nchw), own in zip(loaded, gathered, strict=True):
        assert torch.equal(own[0], lr_nchw)
        assert torch.equal(own[1], hr_nchw)
        assert own[0].is_contiguous(memory_format=torch.channels_last)
        assert own[1].is_contiguous(memory_format=torch.channels_last)


def test_on_a_cpu_images_stay_on_disk(tmp_path: Path) -> None:
    store = prepare([draw_images(tmp_path / "images", 2)], 2, tmp_path)
    assert resident(store, CPU) is None
