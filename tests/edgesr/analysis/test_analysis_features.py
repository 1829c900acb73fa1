"""What the blocks of a network make: average maps and spectra, held against direct computation."""

import numpy as np
import pytest
import torch
from torch import nn

from edgesr.analysis.features import blocks, feature_maps, run_watched
from edgesr.analysis.frequency import attention_blocks, attention_spectra, spectrum_of
from edgesr.analysis.spectrum import high_share, power_spectrum, windowed
from edgesr.networks.architectures.fmen import FMEN
from edgesr.networks.architectures.imdn_rtc import IMDNRTC
from edgesr.networks.reparam import fold
from helpers.images import noise_image
from helpers.networks import randomise

pytestmark = pytest.mark.usefixtures("one_torch_thread")

IMAGE = noise_image(20, 28)


@pytest.fixture(scope="module")
def fmen() -> FMEN:
    """A narrow one with two pairs."""
    net = FMEN(num_feat=8, mid_feat=6, num_pairs=2, attention_blocks=(1, 1, 1), scale=2)
    made = randomise(net, 0)
    assert isinstance(made, FMEN)
    return made


def _input(value_range: float) -> torch.Tensor:
    image = torch.from_numpy(IMAGE.astype(np.float32) * (value_range / 255))
    return image.permute(2, 0, 1)[None]


@torch.no_grad()
def test_every_map_is_the_mean_of_what_the_block_makes(fmen: FMEN) -> None:
    expected: dict[str, torch.Tensor] = {}
    x = _input(255.0)
    expected["head"] = x = fmen.head(x)
    expected["warmup.0"] = x = fmen.warmup[0](x)
    expected["warmup.1"] = x = fmen.warmup[1](x)
    for index in range(2):
        expected[f"ERBs.{index}"] = x = fmen.ERBs[index](x)
        expected[f"HFABs.{index}"] = x = fmen.HFABs[index](x)
    expected["lr_conv"] = x = fmen.lr_conv(x)
    expected["tail.0"] = fmen.tail[0](x + expected["head"])
    found = feature_maps(fmen, IMAGE, 255.0)
    assert [one.block for one in found] == list(expected)
    for one in found:
        made = expected[one.block]
        assert one.channels == made.shape[1]
        direct = made[0].numpy().mean(0)
        error = np.abs(one.mean_hw - direct).max()
        assert error <= 1e-4 * np.abs(direct).max(), f"{one.block}: {error}"


def test_containers_are_opened_and_blocks_are_not() -> None:
    names = [name for name, _ in blocks(IMDNRTC())]
    inner = [f"model.1.sub.{index}" for index in range(6)]
    assert names == ["model.0", *inner, "model.2"]


def test_nothing_stays_hooked_to_the_network(fmen: FMEN) -> None:
    feature_maps(fmen, IMAGE, 255.0)
    assert not any(part._forward_hooks for part in fmen.modules())

    def broken(*_: object) -> None:
        raise KeyError

    with pytest.raises(KeyError):
        run_watched(fmen, IMAGE, 255.0, {"head": broken})
    assert not any(part._forward_hooks for part in fmen.modules())


@torch.no_grad()
def test_spectra_are_of_what_goes_in_and_what_comes_out(fmen: FMEN) -> None:
    found = attention_spectra(fmen, IMAGE, 255.0)
    assert [one.block for one in found] == ["warmup.1", "HFABs.0", "HFABs.1"]
    read = fmen.warmup[0](fmen.head(_input(255.0)))
    for side, tensor in ((found[0].before, read), (found[0].after, fmen.warmup[1](read))):
        mean = tensor[0].double().numpy().mean(0)
        expected = power_spectrum(windowed(mean))
        assert np.abs(side.power_hw - expected).max() <= 1e-5 * expected.max()
        assert side.high_share == pytest.approx(high_share(expected), abs=1e-5)


def test_what_cancels_in_the_mean_counts_in_the_channels() -> None:
    columns = torch.arange(32, dtype=torch.float32)
    fine, coarse = torch.cos(torch.pi * columns), torch.cos(2 * torch.pi * columns / 16)
    channels = torch.stack([coarse + fine, coarse - fine])[:, None, :].expand(2, 32, 32)
    found = spectrum_of(channels[None])
    assert found.high_share < 1e-3
    assert found.channels_high_share == pytest.approx(0.66, abs=0.1)


def test_a_network_without_attention_has_no_spectra() -> None:
    net = IMDNRTC().eval()
    assert attention_blocks(net) == []
    assert attention_spectra(net, IMAGE, 1.0) == []


def test_a_folded_training_form_has_the_same_attention_blocks() -> None:
    net = FMEN(
        num_feat=8, mid_feat=6, num_pairs=1, attention_blocks=(1, 1), scale=2, training_form=True
    )
    plain: nn.Module = fold(randomise(net, 1))
    assert attention_blocks(plain) == ["warmup.1", "HFABs.0"]
