"""Losses by name: how far an upscaled batch is from the original one."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from edgesr.training.recipe import LossName

#: Of upscaled and original, N x 3 x H x W in the network's value range: a scalar.
Loss = Callable[[Tensor, Tensor], Tensor]

# In units of the value range: a tenth of a grey level, and ten of them.
_CHARBONNIER_EPSILON = 1 / 2550
_HUBER_DELTA = 10 / 255
# Of red, green and blue in luma (BT.601), and how much the colours themselves still count.
_LUMA = (0.299, 0.587, 0.114)
_COLOUR_SHARE = 0.1
# The window and the constants of SSIM, as `edgesr.images.metrics` has them; of values in [0, 1].
_SSIM_SIDE, _SSIM_DEVIATION = 11, 1.5
_SSIM_CONSTANTS = (0.01**2, 0.03**2)
# Squared grey levels. Without them plain sky, which any network gets right, would outweigh all.
_PSNR_FLOOR = 16


def loss_function(name: LossName, value_range: float) -> Loss:
    """The loss of that name, its mean over all values, in the network's own value range.

    `charbonnier` is sqrt(d^2 + e^2) with e a tenth of a grey level, after Lai et al., "Deep
    Laplacian Pyramid Networks for Fast and Accurate Super-Resolution", CVPR 2017. `huber` is
    quadratic below ten grey levels and linear above, divided by ten grey levels so that its slope
    there is that of L1. `l2-luma` is the squared error of luma, by which PSNR on Y is measured, and
    a tenth of that of RGB, which holds the colours. `psnr-luma` is the same of every patch, plus 16
    squared grey levels, in decibels, mean over the patches. A mean of PSNR weighs an image with
    little error as one with much; squared errors are mostly those of a few rough images.

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


def with_ssim(loss: Loss, weight: float, value_range: float) -> Loss:
    """That loss plus `weight` times what SSIM on luma lacks of 1.

    Args:
        loss: Any of `loss_function`.
        weight: In the loss's own unit; 0 gives the loss itself.
        value_range: The network's values lie in [0, value_range].
    """
    if not weight:
        return loss

    def both(upscaled_nchw: Tensor, hr_nchw: Tensor) -> Tensor:
        lacking = 1 - _ssim(upscaled_nchw / value_range, hr_nchw / value_range)
        return loss(upscaled_nchw, hr_nchw) + weight * lacking

    return both


def _ssim(a_nchw: Tensor, b_nchw: Tensor) -> Tensor:
    """SSIM on luma of images in [0, 1], mean over all whole windows."""
    luma = a_nchw.new_tensor(_LUMA)[:, None, None]
    a, b = ((part * luma).sum(1, keepdim=True) for part in (a_nchw, b_nchw))
    means = _windowed(torch.cat([a, b, a * a, b * b, a * b], dim=1))
    mean_a, mean_b, square_a, square_b, product = means.unbind(1)
    of_means, of_variances = _SSIM_CONSTANTS
    variances = square_a + square_b - mean_a**2 - mean_b**2
    alike = (2 * mean_a * mean_b + of_means) * (2 * (product - mean_a * mean_b) + of_variances)
    return (alike / ((mean_a**2 + mean_b**2 + of_means) * (variances + of_variances))).mean()


def _windowed(maps_nchw: Tensor) -> Tensor:
    """Gaussian means of every channel by itself, over whole windows alone."""
    side = torch.arange(_SSIM_SIDE, device=maps_nchw.device, dtype=maps_nchw.dtype)
    window = torch.exp(-((side - _SSIM_SIDE // 2) ** 2) / (2 * _SSIM_DEVIATION**2))
    rows = (window / window.sum())[:, None].repeat(maps_nchw.shape[1], 1, 1, 1)
    columns = rows.transpose(2, 3)
    groups = maps_nchw.shape[1]
    return F.conv2d(F.conv2d(maps_nchw, rows, groups=groups), columns, groups=groups)


def _squared_luma(upscaled_nchw: Tensor, hr_nchw: Tensor) -> Tensor:
    """Of each of N images the squared error of luma and a share of that of RGB, N values."""
    difference_nchw = upscaled_nchw - hr_nchw
    luma_nhw = (difference_nchw * difference_nchw.new_tensor(_LUMA)[:, None, None]).sum(1)
    colours_n = difference_nchw.square().mean((1, 2, 3))
    return luma_nhw.square().mean((1, 2)) + _COLOUR_SHARE * colours_n
