"""Frequency analysis of FMEN's attention: spectra before and after each block.

Its blocks are called high-frequency attention (Du et al., "Fast and Memory-Efficient Network
Towards Efficient Image Super-Resolution", CVPRW 2022, section 3.3); the analysis measures that.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgesr.analysis.features import Watcher, run_watched
from edgesr.analysis.spectrum import (
    Float64Array,
    RadialProfile,
    high_share,
    power_spectrum,
    radial_profile,
    windowed,
)
from edgesr.images.metrics import Uint8Array

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Power spectrum of one tensor.

    Attributes:
        power_hw: Of the mean over its channels, the zero frequency in the middle.
        profile: Its mean over rings of equal frequency.
        high_share: Share of that power above half of Nyquist's frequency.
        channels_high_share: The same share of the sum of the channels' power, in which
            channels do not cancel each other as they do in the mean.
    """

    power_hw: Float64Array
    profile: RadialProfile
    high_share: float
    channels_high_share: float


@dataclass(frozen=True, eq=False)
class AttentionSpectra:
    """Spectra of one attention block.

    Attributes:
        block: Its name in the network.
        before: Of its input.
        after: Of its output.
    """

    block: str
    before: Spectrum
    after: Spectrum


def attention_blocks(net: "nn.Module") -> list[str]:
    """Names of a plain network's high-frequency attention blocks; may be empty."""
    from edgesr.networks.architectures.fmen import HFAB

    return [name for name, part in net.named_modules() if isinstance(part, HFAB)]


def attention_spectra(
    net: "nn.Module", lr_hwc_u8: Uint8Array, value_range: float
) -> list[AttentionSpectra]:
    """Spectra before and after each attention block; empty without such blocks.

    Args:
        net: Plain, in eval mode, on the CPU; its input is RGB in [0, value_range].
        lr_hwc_u8: RGB, height x width x 3.
        value_range: Upper end of the network's value range.
    """
    found: list[AttentionSpectra] = []

    def watch(name: str) -> Watcher:
        def keep(read: "Tensor", made: "Tensor") -> None:
            found.append(AttentionSpectra(name, spectrum_of(read), spectrum_of(made)))

        return keep

    names = attention_blocks(net)
    if names:
        run_watched(net, lr_hwc_u8, value_range, {name: watch(name) for name in names})
    return found


def spectrum_of(features_nchw: "Tensor") -> Spectrum:
    """Spectrum of the first image's features, windowed and without their mean."""
    channels = features_nchw[0].double().numpy()
    power = power_spectrum(windowed(channels.mean(0)))
    summed = np.sum([power_spectrum(windowed(channel)) for channel in channels], axis=0)
    return Spectrum(power, radial_profile(power), high_share(power), high_share(summed))
