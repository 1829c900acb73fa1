"""What FMEN's attention does to frequencies: spectra before and after each attention block.

The blocks are called high-frequency attention (Du et al., "Fast and Memory-Efficient Network
Towards Efficient Image Super-Resolution", CVPRW 2022, section 3.3): here that is a number.
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
from edgesr.metrics import Uint8Array

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Frequencies of one tensor.

    Attributes:
        power_hw: Of the mean over its channels, the zero frequency in the middle.
        profile: The same over rings of equal frequency.
        high_share: Share of that power above half of Nyquist's frequency.
        channels_high_share: The same of the channels' power, added up channel by channel: what
            cancels in the mean counts here.
    """

    power_hw: Float64Array
    profile: RadialProfile
    high_share: float
    channels_high_share: float


@dataclass(frozen=True, eq=False)
class AttentionSpectra:
    """One attention block.

    Attributes:
        block: Its name in the network.
        before: What it reads.
        after: What it makes.
    """

    block: str
    before: Spectrum
    after: Spectrum


def attention_blocks(net: "nn.Module") -> list[str]:
    """Names of a plain network's high-frequency attention blocks; none in other networks."""
    from edgesr.archs.fmen import HFAB

    return [name for name, part in net.named_modules() if isinstance(part, HFAB)]


def attention_spectra(
    net: "nn.Module", lr_hwc_u8: Uint8Array, value_range: float
) -> list[AttentionSpectra]:
    """Spectra before and after each attention block; empty for a network without.

    Args:
        net: Plain, in eval mode, on the CPU; it takes RGB in [0, value_range].
        lr_hwc_u8: RGB, height x width x 3.
        value_range: Upper end of the network's own range.
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
    """Frequencies of the first picture's features; edges fade out, the mean is taken away."""
    channels = features_nchw[0].double().numpy()
    power = power_spectrum(windowed(channels.mean(0)))
    summed = np.sum([power_spectrum(windowed(channel)) for channel in channels], axis=0)
    return Spectrum(power, radial_profile(power), high_share(power), high_share(summed))
