"""IMDN_RTC: structure, the published weights, how far it sees."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from edgesr.networks.architectures.imdn_rtc import IMDNRTC, DistillationBlock, imdn_rtc
from edgesr.networks.reparam import fold, is_plain
from edgesr.networks.spec import find_spec
from helpers.networks import random_image, reach, set5_psnr

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def test_parameters_to_the_digit() -> None:
    assert sum(p.numel() for p in imdn_rtc().parameters()) == 20_190


def test_is_plain_and_folds_to_an_equal_copy() -> None:
    net = imdn_rtc()
    lr_nchw = random_image(0, 1, 3, 9, 7, dtype=torch.float32)
    copied = fold(net)
    assert is_plain(net)
    assert copied is not net
    assert torch.equal(net(lr_nchw), copied(lr_nchw))


@pytest.mark.parametrize("scale", [2, 3])
def test_output_is_scale_times_as_high_and_wide(scale: int) -> None:
    assert IMDNRTC(8, 2, scale)(torch.rand(2, 3, 5, 7)).shape == (2, 3, 5 * scale, 7 * scale)


def test_block_keeps_the_first_quarter_of_each_convolution() -> None:
    block = DistillationBlock(12)
    x = random_image(0, 1, 12, 5, 6, dtype=torch.float32)
    first = F.leaky_relu(block.c1(x), 0.05)
    second = F.leaky_relu(block.c2(first[:, 3:]), 0.05)
    third = F.leaky_relu(block.c3(second[:, 3:]), 0.05)
    kept = torch.cat([first[:, :3], second[:, :3], third[:, :3], block.c4(third[:, 3:])], dim=1)
    torch.testing.assert_close(block(x), block.c5(kept) + x)


def test_reach_is_the_registered_receptive_radius() -> None:
    spec = find_spec("imdn-rtc")
    assert reach(imdn_rtc(), spec.scale, spec.receptive_radius) == spec.receptive_radius == 22


def test_published_weights_load_strictly_and_reach_their_psnr_on_set5(shared: Path) -> None:
    net = imdn_rtc().eval()
    path = shared / "reference" / "model_RTC.pth"
    net.load_state_dict(torch.load(path, map_location="cpu", weights_only=True), strict=True)
    figures = set5_psnr(net, shared, scale=2, value_range=1)
    assert len(figures) == 5
    assert np.mean(list(figures.values())) == pytest.approx(37.24, abs=0.01), figures
