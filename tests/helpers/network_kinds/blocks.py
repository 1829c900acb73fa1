"""What several of the networks are built of."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def conv(channels_in: int, channels_out: int, size: int = 3, groups: int = 1) -> nn.Conv2d:
    """A convolution that keeps the size."""
    return nn.Conv2d(channels_in, channels_out, size, padding=size // 2, groups=groups)


def depthwise(width: int, size: int = 3, dilation: int = 1) -> nn.Conv2d:
    """A depthwise convolution that keeps the size."""
    around = size // 2 * dilation
    return nn.Conv2d(width, width, size, padding=around, groups=width, dilation=dilation)


def upsampler(width: int, scale: int) -> nn.Sequential:
    """A convolution and the shuffle to RGB."""
    return nn.Sequential(conv(width, 3 * scale**2), nn.PixelShuffle(scale))


class BSConv(nn.Sequential):
    """A blueprint-separable convolution: 1x1, then depthwise."""

    def __init__(self, channels_in: int, channels_out: int, size: int = 3) -> None:
        super().__init__(conv(channels_in, channels_out, 1), depthwise(channels_out, size))


class ESA(nn.Module):
    """Enhanced spatial attention: a mask from strided features, brought back to size bilinearly."""

    def __init__(self, width: int, inner: int = 4, depth: int = 1) -> None:
        super().__init__()
        self.narrow, self.side = conv(width, inner, 1), conv(inner, inner, 1)
        self.strided = nn.Conv2d(inner, inner, 3, stride=2)
        layers = [m for _ in range(depth - 1) for m in (conv(inner, inner), nn.ReLU())]
        self.deep = nn.Sequential(*layers, conv(inner, inner))
        self.widen = conv(inner, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        narrow = self.narrow(x)
        pooled = F.max_pool2d(self.strided(narrow), kernel_size=7, stride=3)
        mask = F.interpolate(self.deep(pooled), x.shape[2:], mode="bilinear", align_corners=False)
        return x * torch.sigmoid(self.widen(mask + self.side(narrow)))


class ChannelAttention(nn.Module):
    """A factor per channel from the channel's mean (squeeze and excitation)."""

    def __init__(self, width: int, gate: nn.Module | None = None) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), conv(width, width // 4, 1), nn.ReLU(),
            conv(width // 4, width, 1), gate or nn.Sigmoid(),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return x * self.body(x)


class ContrastAttention(nn.Module):
    """A factor per channel from the channel's mean and standard deviation."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv(width, width // 4, 1), nn.ReLU(), conv(width // 4, width, 1), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean((2, 3), keepdim=True)
        deviation = ((x - mean) ** 2).mean((2, 3), keepdim=True).sqrt()
        return x * self.body(deviation + mean)


class ChannelNorm(nn.Module):
    """Layer norm over the channels of N x C x H x W, written out."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(1 + 0.1 * torch.randn(width))
        self.bias = nn.Parameter(0.1 * torch.randn(width))

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean(1, keepdim=True)
        variance = (x - mean).pow(2).mean(1, keepdim=True)
        normed = (x - mean) / torch.sqrt(variance + 1e-6)
        return self.weight[:, None, None] * normed + self.bias[:, None, None]


class LastNorm(nn.Module):
    """torch's own layer norm, for which the channels go last and come back."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def channel_shuffle(x: Tensor, groups: int) -> Tensor:
    """Mix the channels of groups: as ShuffleNet writes it, over five dimensions."""
    n, channels, height, width = x.shape
    x = x.reshape(n, groups, channels // groups, height, width).transpose(1, 2)
    return x.reshape(n, channels, height, width)


class Residual(nn.Module):
    """`x + factor * body(x)`."""

    def __init__(self, *layers: nn.Module, factor: float = 1.0) -> None:
        super().__init__()
        self.body, self.factor = nn.Sequential(*layers), factor

    def forward(self, x: Tensor) -> Tensor:
        return x + (self.body(x) if self.factor == 1 else self.factor * self.body(x))


class LongSkip(nn.Module):
    """Head, body with a skip over all of it, upsampler: the frame of most networks."""

    def __init__(self, width: int, *body: nn.Module, scale: int = 2) -> None:
        super().__init__()
        self.head, self.body = conv(3, width), nn.Sequential(*body)
        self.tail = upsampler(width, scale)

    def forward(self, lr_nchw: Tensor) -> Tensor:
        features = self.head(lr_nchw)
        return self.tail(features + self.body(features))
