"""Networks that mix pixels by products of tensors, or sample where they computed.

Most are beyond the GPU delegate, and their refusals are to be true and early.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from helpers.network_kinds.blocks import LastNorm, LongSkip, Residual, conv, depthwise, upsampler


class _WindowAttention(nn.Module):
    """Self-attention inside windows, as in Swin: rank 6, products of two computed tensors."""

    def __init__(self, width: int, window: int = 8, heads: int = 2) -> None:
        super().__init__()
        self.window, self.heads = window, heads
        self.norm, self.qkv = nn.LayerNorm(width), nn.Linear(width, 3 * width)
        self.leave = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        n, channels, height, width = x.shape
        w = self.window
        parts = x.view(n, channels, height // w, w, width // w, w).permute(0, 2, 4, 3, 5, 1)
        tokens = self.norm(parts.reshape(-1, w * w, channels))
        qkv = self.qkv(tokens).reshape(-1, w * w, 3, self.heads, channels // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        weights = (query @ key.transpose(-2, -1) / (channels // self.heads) ** 0.5).softmax(-1)
        mixed = self.leave((weights @ value).transpose(1, 2).reshape(-1, w * w, channels))
        grid = mixed.view(n, height // w, width // w, w, w, channels)
        return x + grid.permute(0, 5, 1, 3, 2, 4).reshape(n, channels, height, width)


def swin() -> nn.Module:
    """SwinIR (Liang et al. 2021) and HNCT (Fang et al. 2022): windows between convolutions."""
    return LongSkip(16, _WindowAttention(16), conv(16, 16))


class _TransposedAttention(nn.Module):
    """Restormer's attention: among channels, over all pixels."""

    def __init__(self, width: int, heads: int = 2) -> None:
        super().__init__()
        self.heads = heads
        self.norm = LastNorm(width)
        self.qkv = nn.Sequential(conv(width, 3 * width, 1), depthwise(3 * width))
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.leave = conv(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        n, channels, height, width = x.shape
        parts = self.qkv(self.norm(x)).chunk(3, 1)
        flat = [p.reshape(n, self.heads, channels // self.heads, height * width) for p in parts]
        query, key = F.normalize(flat[0], dim=-1), F.normalize(flat[1], dim=-1)
        weights = (query @ key.transpose(-2, -1) * self.temperature).softmax(-1)
        return x + self.leave((weights @ flat[2]).reshape(n, channels, height, width))


def restormer() -> nn.Module:
    """Zamir et al. 2022, as a super-resolution network."""
    return LongSkip(16, _TransposedAttention(16), conv(16, 16))


class HAN(nn.Module):
    """Niu et al. 2020: attention among the results of layers, and a 3-D convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.head = conv(3, 12)
        self.blocks = nn.ModuleList(
            Residual(conv(12, 12), nn.ReLU(), conv(12, 12)) for _ in range(2)
        )
        self.cube, self.join = nn.Conv3d(1, 1, 3, padding=1), conv(24, 12)
        self.tail = upsampler(12, 2)

    def forward(self, lr_nchw: Tensor) -> Tensor:
        first = self.head(lr_nchw)
        x, results = first, list[Tensor]()
        for block in self.blocks:
            x = block(x)
            results.append(x)
        stacked = torch.stack(results, 1)
        n, layers, channels, height, width = stacked.shape
        flat = stacked.reshape(n, layers, -1)
        weights = (flat @ flat.transpose(1, 2)).softmax(-1)
        among = (weights @ flat).reshape(n, layers * channels, height, width)
        mask = torch.sigmoid(self.cube(x.unsqueeze(1))).squeeze(1)
        return self.tail(first + self.join(among) + x * mask)


class DySample(nn.Module):
    """Liu et al. 2023: upsampling at computed positions."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(conv(3, 12), nn.ReLU(), conv(12, 12))
        self.offsets = nn.Sequential(conv(12, 8, 1), nn.PixelShuffle(2))
        self.last = conv(12, 3)

    def forward(self, lr_nchw: Tensor) -> Tensor:
        features = self.body(lr_nchw)
        offsets = 0.05 * self.offsets(features).permute(0, 2, 3, 1)
        height, width = offsets.shape[1:3]
        rows = torch.linspace(-1, 1, height)[:, None].expand(height, width)
        columns = torch.linspace(-1, 1, width)[None].expand(height, width)
        places = torch.stack([columns, rows], -1)[None] + offsets
        return self.last(F.grid_sample(features, places, align_corners=False))


class AsConv(nn.Module):
    """AsConvSR (Guo et al. 2023): kernels assembled from the image's own features."""

    def __init__(self) -> None:
        super().__init__()
        self.head = conv(3, 8)
        self.control = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3))
        self.kernels = nn.Parameter(0.1 * torch.randn(3, 8 * 8 * 9))
        self.tail = upsampler(8, 2)

    def forward(self, lr_nchw: Tensor) -> Tensor:
        x = self.head(lr_nchw)
        coefficients = torch.softmax(self.control(x), 1)
        kernel = (coefficients @ self.kernels).reshape(8, 8, 3, 3)
        return self.tail(F.conv2d(x, kernel, padding=1))


class _Spectral(nn.Module):
    """A convolution of the spectrum (fast Fourier convolution)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mix = conv(2 * width, 2 * width, 1)

    def forward(self, x: Tensor) -> Tensor:
        spectrum = torch.fft.rfft2(x, norm="ortho")
        real, imaginary = self.mix(torch.cat([spectrum.real, spectrum.imag], 1)).chunk(2, 1)
        return torch.fft.irfft2(torch.complex(real, imaginary), s=x.shape[2:], norm="ortho")


def fourier() -> nn.Module:
    """SwinFIR (Zhang et al. 2022) and other networks of Fourier units."""
    return LongSkip(12, Residual(_Spectral(12)), conv(12, 12))


class YOnly(nn.Sequential):
    """A network for luma alone, as the first papers have it."""

    def __init__(self) -> None:
        super().__init__(
            conv(1, 16, 5), nn.Tanh(), conv(16, 8), nn.Tanh(), conv(8, 4), nn.PixelShuffle(2)
        )
