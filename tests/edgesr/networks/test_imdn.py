"""The IMDN family: structure, names, and the published weights' figures."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from edgesr.networks.architectures.distillation import ContrastAttention, ProgressiveBlock
from edgesr.networks.architectures.imdn import AttentiveBlock
from edgesr.networks.architectures.imdn_challenge import imdn_plus
from edgesr.networks.spec import build, expected_shapes, find_spec
from edgesr.weights.checkpoints import load
from helpers.networks import random_image, set5_psnr

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def test_attention_weighs_channels_by_deviation_plus_mean_over_all_pixels() -> None:
    attention = ContrastAttention(32)
    x = random_image(0, 1, 32, 5, 6, dtype=torch.float32)
    deviation_plus_mean = x.std((2, 3), correction=0, keepdim=True) + x.mean((2, 3), keepdim=True)
    factors = attention.conv_du(deviation_plus_mean)
    assert factors.shape == (1, 32, 1, 1)
    torch.testing.assert_close(attention(x), x * factors)


def test_attention_is_on_the_kept_parts_before_they_are_joined() -> None:
    block = AttentiveBlock(16)
    x = random_image(0, 1, 16, 5, 6, dtype=torch.float32)
    torch.testing.assert_close(block(x), block.c5(block.cca(block.distilled(x))) + x)


def test_progressive_block_keeps_the_first_channels_behind_the_activation() -> None:
    block = ProgressiveBlock((6, 4, 2), 2, torch.nn.SiLU(), lambda i, o: torch.nn.Conv2d(i, o, 1))
    layers = dict(block.named_children())
    x = random_image(0, 1, 6, 3, 4, dtype=torch.float32)
    first = F.silu(layers["c1"](x))
    second = F.silu(layers["c2"](first[:, 2:]))
    third = F.silu(layers["c3"](second[:, 2:]))
    kept = torch.cat([first[:, :2], second[:, :2], third], dim=1)
    torch.testing.assert_close(block(x), layers["c4"](kept) + x)


@pytest.mark.parametrize(
    ("name", "scale", "key", "shape"),
    [
        ("imdn", 3, "IMDB6.cca.conv_du.2.weight", (64, 4, 1, 1)),
        ("imdn", 3, "upsampler.0.weight", (27, 64, 3, 3)),
        ("imdn-as", 1, "fea_conv.2.weight", (64, 64, 3, 3)),
        ("imdn-as", 1, "upsampler.0.weight", (48, 64, 3, 3)),
        ("imdn-rte", 2, "block6.c7.weight", (20, 30, 1, 1)),
        ("imdn-rte", 2, "LR_conv.weight", (20, 20, 1, 1)),
        ("imdn-rte", 2, "upsampler.0.bias", (48,)),
    ],
)
def test_names_and_shapes_of_checkpoints_that_are_not_at_hand(
    name: str, scale: int, key: str, shape: tuple[int, ...]
) -> None:
    assert expected_shapes(find_spec(name, scale), training_form=False)[key] == shape


@pytest.mark.parametrize(
    ("name", "scale"), [("imdn", 3), ("imdn-rte", 2), ("imdn-as", 1), ("fmen", 3)]
)
def test_a_checkpoint_as_published_loads_by_its_keys_alone(
    tmp_path: Path, name: str, scale: int
) -> None:
    spec = find_spec(name, scale)
    net = build(spec)
    torch.save({f"module.{k}": v for k, v in net.state_dict().items()}, tmp_path / "net.pth")
    loaded = load(tmp_path / "net.pth")
    assert (loaded.spec, loaded.training_form) == (spec, False)
    for key, value in loaded.net.state_dict().items():
        assert torch.equal(value, net.state_dict()[key]), key


def test_without_bias_except_at_the_ends_of_rte() -> None:
    biases = [k for k in expected_shapes(find_spec("rte"), False) if k.endswith("bias")]
    assert biases == ["fea_conv.0.bias", "upsampler.0.bias"]


def test_imdn_plus_trains_every_3x3_with_two_wider_branches() -> None:
    shapes = {k: tuple(v.shape) for k, v in imdn_plus(training_form=True).state_dict().items()}
    for name, inputs, outputs in (
        ("FEM.0", 3, 36),
        ("FEM.1.sub.0.c3", 24, 24),
        ("FEM.1.sub.8", 36, 36),
        ("RM.0", 36, 48),
    ):
        assert shapes[f"{name}.direct.weight"] == (outputs, inputs, 3, 3)
        for branch, ratio in enumerate((2, 4)):
            assert shapes[f"{name}.expands.{branch}.weight"] == (ratio * inputs, inputs, 1, 1)
            assert shapes[f"{name}.convs.{branch}.weight"] == (outputs, ratio * inputs, 3, 3)
    assert shapes["FEM.1.sub.0.c7.weight"] == (36, 36, 1, 1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("filename", "psnr_db"),
    [
        ("IMDN_x2.pth", 37.91),
        ("IMDN_x4.pth", 32.19),
        ("imdn_baseline.pth", 32.23),
        ("team26_imdn_nb7.pth", 32.19),
        ("team39_imdn_plus.pth", 32.11),
    ],
)
def test_published_weights_reach_their_psnr_on_set5(
    shared: Path, filename: str, psnr_db: float
) -> None:
    loaded = load(shared / "reference" / filename)
    figures = set5_psnr(loaded.net, shared, loaded.spec.scale, value_range=1)
    assert len(figures) == 5
    assert np.mean(list(figures.values())) == pytest.approx(psnr_db, abs=0.01), figures
