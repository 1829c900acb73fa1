"""Networks that keep part of their features at every step, and their descendants."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from helpers.network_kinds.blocks import (
    ESA,
    BSConv,
    ContrastAttention,
    LongSkip,
    Residual,
    conv,
    depthwise,
    upsampler,
)


class _IMDB(nn.Module):
    """Four steps; each keeps a quarter of its channels and hands on the rest."""

    def __init__(self, width: int, attention: nn.Module | None) -> None:
        super().__init__()
        self.kept = width // 4
        rest = width - self.kept
        sources = [width, rest, rest]
        self.steps = nn.ModuleList(conv(source, width) for source in sources)
        self.last, self.join = conv(rest, self.kept), conv(4 * self.kept, width, 1)
        self.attention = attention or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        rest, kept = x, list[Tensor]()
        for step in self.steps:
            both = F.leaky_relu(step(rest), 0.05)
            part, rest = torch.split(both, (self.kept, both.shape[1] - self.kept), 1)
            kept.append(part)
        joined = torch.cat([*kept, self.last(rest)], 1)
        return x + self.join(self.attention(joined))


class IMDN(nn.Module):
    """Hui et al. 2019: information multi-distillation, with contrast-aware attention."""

    def __init__(self, *, attention: bool = True) -> None:
        super().__init__()
        self.head = conv(3, 16)
        self.blocks = nn.ModuleList(
            _IMDB(16, ContrastAttention(16) if attention else None) for _ in range(2)
        )
        self.join = nn.Sequential(conv(32, 16, 1), nn.LeakyReLU(0.05), conv(16, 16))
        self.tail = upsampler(16, 2)

    def forward(self, lr_nchw: Tensor) -> Tensor:
        first = self.head(lr_nchw)
        x, results = first, list[Tensor]()
        for block in self.blocks:
            x = block(x)
            results.append(x)
        return self.tail(first + self.join(torch.cat(results, 1)))


class _RFDB(nn.Module):
    """Residual feature distillation: 1x1 beside 3x3 in place of a split."""

    def __init__(self, width: int, *, blueprint: bool = False) -> None:
        super().__init__()
        half = width // 2
        make = BSConv if blueprint else conv
        self.keep = nn.ModuleList(conv(width, half, 1) for _ in range(3))
        self.step = nn.ModuleList(make(width, width) for _ in range(3))
        self.last, self.join = make(width, half), conv(4 * half, width, 1)
        self.act = nn.GELU() if blueprint else nn.LeakyReLU(0.05)
        self.attention = ESA(width, depth=1 if blueprint else 3)
        self.contrast = ContrastAttention(width) if blueprint else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        rest, kept = x, list[Tensor]()
        for keep, step in zip(self.keep, self.step, strict=True):
            kept.append(self.act(keep(rest)))
            rest = self.act(step(rest) + rest)
        kept.append(self.act(self.last(rest)))
        return self.contrast(self.attention(self.join(torch.cat(kept, 1)))) + x


class RFDN(nn.Module):
    """Liu et al. 2020; `blueprint` is BSRN (Li et al. 2022), whose input is repeated four times."""

    def __init__(self, *, blueprint: bool = False) -> None:
        super().__init__()
        self.copies = 4 if blueprint else 1
        make = BSConv if blueprint else conv
        self.head = make(3 * self.copies, 12)
        self.blocks = nn.ModuleList(_RFDB(12, blueprint=blueprint) for _ in range(2))
        act = nn.GELU() if blueprint else nn.LeakyReLU(0.05)
        self.join = nn.Sequential(conv(24, 12, 1), act, make(12, 12))
        self.tail = upsampler(12, 2)

    def forward(self, lr_nchw: Tensor) -> Tensor:
        first = self.head(torch.cat([lr_nchw] * self.copies, 1))
        x, results = first, list[Tensor]()
        for block in self.blocks:
            x = block(x)
            results.append(x)
        return self.tail(first + self.join(torch.cat(results, 1)))


def efdn() -> nn.Module:
    """Wang 2022: blocks of merged edge-enhanced convolutions, split and joined, then ESA."""
    return LongSkip(12, *(Residual(_IMDB(12, ESA(12))) for _ in range(2)), conv(12, 12))


class _HighFrequency(nn.Module):
    """FMEN's attention: narrow, a block, wide, sigmoid, batch norm merged."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mask = nn.Sequential(
            conv(width, 8), nn.LeakyReLU(0.1), conv(8, 8), nn.LeakyReLU(0.1), conv(8, width),
            nn.Sigmoid(),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.mask(x) * x


def fmen() -> nn.Module:
    """Du et al. 2022: pairs of convolutions, each followed by high-frequency attention."""
    pairs = [
        m for _ in range(2)
        for m in (conv(12, 12), nn.LeakyReLU(0.1), conv(12, 12), _HighFrequency(12))
    ]  # fmt: skip
    return LongSkip(12, conv(12, 12), _HighFrequency(12), *pairs, conv(12, 12))


def reprfn() -> nn.Module:
    """Deng et al. 2023: merged branches of several kernels, attention, x4."""
    blocks = [
        Residual(conv(12, 12, 5), nn.LeakyReLU(0.1), conv(12, 12), ESA(12, depth=2)) for _ in "12"
    ]
    return LongSkip(12, *blocks, conv(12, 12), scale=4)


class _LocalImportance(nn.Module):
    """PlainUSR's attention: soft pooling, a strided convolution, and a gate of one channel."""

    def __init__(self, width: int, inner: int = 8) -> None:
        super().__init__()
        self.narrow = conv(width, inner, 1)
        self.body = nn.Sequential(
            nn.Conv2d(inner, inner, 3, stride=2, padding=1), conv(inner, width), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        narrow = self.narrow(x)
        weight = torch.exp(narrow)
        pooled = F.avg_pool2d(weight * narrow, 7, 3) / F.avg_pool2d(weight, 7, 3)
        mask = F.interpolate(self.body(pooled), x.shape[2:], mode="bilinear", align_corners=False)
        return x * mask * torch.sigmoid(x[:, :1])


def plainusr() -> nn.Module:
    """Wang et al. 2024: merged wide convolutions with GELU and local importance attention."""
    block = [conv(16, 16), nn.GELU(), _LocalImportance(16)]
    again = [conv(16, 16), nn.GELU(), _LocalImportance(16)]
    return LongSkip(16, Residual(*block), Residual(*again), conv(16, 16))


class _RLFB(nn.Module):
    """RLFN's block: three convolutions, the block's input added, 1x1, attention."""

    def __init__(self, width: int) -> None:
        super().__init__()
        layers = (m for _ in range(3) for m in (conv(width, width), nn.LeakyReLU(0.05)))
        self.body = nn.Sequential(*layers)
        self.join, self.attention = conv(width, width, 1), ESA(width)

    def forward(self, x: Tensor) -> Tensor:
        return self.attention(self.join(x + self.body(x)))


def rlfn() -> nn.Module:
    """Kong et al. 2022; DIPNet (Yu et al. 2023) is deployed in the same form."""
    return LongSkip(12, _RLFB(12), _RLFB(12), conv(12, 12), scale=4)


class _SplitShift(nn.Module):
    """Partial convolution: the first channels are convolved, the rest stays (FasterNet's)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.part = width // 4
        self.inner = conv(self.part, self.part)
        self.mix = nn.Sequential(conv(width, 2 * width, 1), nn.GELU(), conv(2 * width, width, 1))

    def forward(self, x: Tensor) -> Tensor:
        mixed = x.clone()
        mixed[:, : self.part] = self.inner(x[:, : self.part])
        return x + self.mix(mixed)


def partial() -> nn.Module:
    """Networks of partial convolutions, which write into a range of channels in place."""
    return LongSkip(16, _SplitShift(16), _SplitShift(16), depthwise(16), conv(16, 16, 1))
