"""PSNR on validation pictures, as the literature measures it: Y channel, 8 bits, borders shaved."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from edgesr.imresize import imresize
from edgesr.metrics import Uint8Array, psnr_y
from edgesr.train.pictures import Pair


def mean_psnr(
    net: nn.Module, pairs: Sequence[Pair], scale: int, value_range: float, device: torch.device
) -> float:
    """The mean over all pictures of the PSNR of what a network makes of them, in dB.

    Args:
        net: In eval mode, on `device`.
        pairs: The pictures.
        scale: The upscaling factor; so many pixels are shaved off each edge.
        value_range: The network takes and gives RGB in [0, value_range].
        device: Where it computes, in float32.
    """
    return float(
        np.mean(
            [
                psnr_y(upscaled(net, pair.lr_hwc_u8, value_range, device), pair.hr_hwc_u8, scale)
                for pair in pairs
            ]
        )
    )


@torch.no_grad()
def upscaled(
    net: nn.Module, lr_hwc_u8: Uint8Array, value_range: float, device: torch.device
) -> Uint8Array:
    """One picture upscaled, rounded to 8 bits: height x width x 3 in and out."""
    # A copy: the pictures of a store are read-only, which torch does not know.
    lr_nchw = torch.from_numpy(lr_hwc_u8.copy()).to(device).permute(2, 0, 1)[None].float()
    lr_nchw = lr_nchw.contiguous(memory_format=torch.channels_last) * (value_range / 255)
    hr_nchw = net(lr_nchw) * (255 / value_range)
    return hr_nchw[0].permute(1, 2, 0).round().clamp(0, 255).to(torch.uint8).cpu().numpy()


def bicubic_psnr(pairs: Sequence[Pair], scale: int) -> float:
    """The same mean for MATLAB's bicubic, which any training must beat."""
    return float(
        np.mean(
            [psnr_y(imresize(p.lr_hwc_u8, scale), p.hr_hwc_u8, scale) for p in pairs],
        )
    )
