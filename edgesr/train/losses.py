"""Losses by name: how far an upscaled batch is from the original one."""

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional as F

from edgesr.train.recipe import LossName

#: Of upscaled and original, N x 3 x H x W in the network's value range: a scalar.
Loss = Callable[[Tensor, Tensor], Tensor]

# In units of the value range: a tenth of a grey level, and ten of them.
_CHARBONNIER_EPSILON = 1 / 2550
_HUBER_DELTA = 10 / 255
# Of red, green and blue in luma (BT.601), and how much the colours themselves still count.
_LUMA = (0.299, 0.587, 0.114)
_COLOUR_SHARE = 0.1
# Squared grey levels. Without them plain sky, which any network gets right, would outweigh all.
_PSNR_FLOOR = 16


def loss_function(name: LossName, value_range: float) -> Loss:
    """The loss of that name, its mean over all values, in the network's own value range.

    `charbonnier` is sqrt(d^2 + e^2) with e a tenth of a grey level, after Lai et al., "Deep
    Laplacian Pyramid Networks for Fast and Accurate Super-Resolution", CVPR 2017. `huber` is
    quadratic below ten grey levels and linear above, divided by ten grey levels so that its slope
    there is that of L1. `l2-luma` is the squared error of luma, by which PSNR on Y is measured, and
    a tenth of that of RGB, which holds the colours. `psnr-luma` is the same of every patch, plus 16
    squared grey levels, in decibels, mean over the patches. A mean of PSNR weighs a picture with
    little error as one with much; squared errors are mostly those of a few rough pictures.

    Args:
        name: As a recipe has it.
        value_range: The network's values lie in [0, value_range].
    """
    epsilon, delta = _CHARBONNIER_EPSILON * value_range, _HUBER_DELTA * value_range

    def charbonnier(upscaled_nchw: Tensor, hr_nchw: Tensor) -> Tensor:
        return ((upscaled_nchw - hr_nchw).square() + epsilon**2).sqrt().mean()

    def huber(upscaled_nchw: Tensor, hr_nchw: Tensor) -> Tensor:
        return F.huber_loss(upscaled_nchw, hr_nchw, delta=delta) / delta

    def l2_luma(upscaled_nchw: Tensor, hr_nchw: Tensor) -> Tensor:
        return _squared_luma(upscaled_nchw, hr_nchw).mean()

    def psnr_luma(upscaled_nchw: Tensor, hr_nchw: Tensor) -> Tensor:
        relative_n = _squared_luma(upscaled_nchw, hr_nchw) / value_range**2
        return 10 * (relative_n + _PSNR_FLOOR / 255**2).log10().mean()

    losses: dict[LossName, Loss] = {
        "l1": F.l1_loss,
        "l2": F.mse_loss,
        "l2-luma": l2_luma,
        "psnr-luma": psnr_luma,
        "charbonnier": charbonnier,
        "huber": huber,
    }
    return losses[name]


def _squared_luma(upscaled_nchw: Tensor, hr_nchw: Tensor) -> Tensor:
    """Of each of N pictures the squared error of luma and a share of that of RGB, N values."""
    difference_nchw = upscaled_nchw - hr_nchw
    luma_nhw = (difference_nchw * difference_nchw.new_tensor(_LUMA)[:, None, None]).sum(1)
    colours_n = difference_nchw.square().mean((1, 2, 3))
    return luma_nhw.square().mean((1, 2)) + _COLOUR_SHARE * colours_n
