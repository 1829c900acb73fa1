"""Networks of convolutions with attention, gates and norms."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from helpers.network_kinds.blocks import (
    ChannelAttention,
    ChannelNorm,
    LastNorm,
    LongSkip,
    Residual,
    channel_shuffle,
    conv,
    depthwise,
    upsampler,
)


class _SPAB(nn.Module):
    """SPAN's block: attention without parameters, `sigmoid(x) - 0.5`."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.steps = nn.ModuleList(conv(width, width) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        out = self.steps[2](F.silu(self.steps[1](F.silu(self.steps[0](x)))))
        return (out + x) * (torch.sigmoid(out) - 0.5)


class SPAN(nn.Module):
    """Wan et al. 2024, merged: blocks, and four of their results joined."""

    def __init__(self, blocks: int = 3, width: int = 12, scale: int = 4) -> None:
        super().__init__()
        self.head = conv(3, width)
        self.blocks = nn.ModuleList(_SPAB(width) for _ in range(blocks))
        self.last, self.join = conv(width, width), conv(4 * width, width, 1)
        self.tail = upsampler(width, scale)

    def forward(self, lr_nchw: Tensor) -> Tensor:
        first = self.head(lr_nchw)
        results = [first]
        for block in self.blocks:
            results.append(block(results[-1]))
        joined = torch.cat([first, self.last(results[-1]), results[1], results[-2]], 1)
        return self.tail(self.join(joined))


class _SAFM(nn.Module):
    """SAFMN's modulation: parts of the channels at several resolutions, GELU, product."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.levels = nn.ModuleList(depthwise(width // 4) for _ in range(4))
        self.join = conv(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        results = list[Tensor]()
        for level, (part, layer) in enumerate(zip(x.chunk(4, 1), self.levels, strict=True)):
            if level:
                small = F.adaptive_max_pool2d(part, (height // 2**level, width // 2**level))
                results.append(F.interpolate(layer(small), (height, width), mode="nearest"))
            else:
                results.append(layer(part))
        return F.gelu(self.join(torch.cat(results, 1))) * x


def safmn() -> nn.Module:
    """Sun et al. 2023: modulation and a convolutional mixer behind a norm over the channels."""
    blocks = [
        nn.Sequential(
            Residual(ChannelNorm(16), _SAFM(16)),
            Residual(ChannelNorm(16), conv(16, 32), nn.GELU(), conv(32, 16, 1)),
        )
        for _ in range(2)
    ]
    return LongSkip(16, *blocks)


class _SMFA(nn.Module):
    """SMFANet's aggregation: variance and pooled features modulate, a local branch is added."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.enter, self.leave = conv(width, 2 * width, 1), conv(width, width, 1)
        self.pooled, self.mix = depthwise(width), conv(width, width, 1)
        self.local = nn.Sequential(depthwise(width), conv(width, width, 1), nn.GELU())
        self.alpha = nn.Parameter(torch.ones(1, width, 1, 1))
        self.belt = nn.Parameter(0.1 * torch.ones(1, width, 1, 1))

    def forward(self, f: Tensor) -> Tensor:
        local, x = self.enter(f).chunk(2, 1)
        height, width = map(int, f.shape[2:])
        small = self.pooled(F.adaptive_max_pool2d(x, (height // 8, width // 8)))
        variance = torch.var(x, dim=(-2, -1), keepdim=True)
        mixed = F.gelu(self.mix(small * self.alpha + variance * self.belt))
        return self.leave(x * F.interpolate(mixed, (height, width)) + self.local(local))


class _PCFN(nn.Module):
    """Partial feed-forward: a convolution writes into the first channels in place."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.part = width // 2
        self.enter, self.leave = conv(width, 2 * width, 1), conv(2 * width, width, 1)
        self.inner = conv(self.part, self.part)

    def forward(self, x: Tensor) -> Tensor:
        x = F.gelu(self.enter(x))
        x[:, : self.part] = F.gelu(self.inner(x[:, : self.part]))
        return self.leave(x)


class _Unit(nn.Module):
    """Norm by length, aggregation; norm by length, feed-forward."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mix, self.feed = _SMFA(width), _PCFN(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.mix(F.normalize(x))
        return x + self.feed(F.normalize(x))


def smfan() -> nn.Module:
    """Zheng et al. 2024."""
    return LongSkip(16, _Unit(16), _Unit(16))


class R2Net(nn.Module):
    """SPAN's descendants: blocks whose gate is centred, joined by PReLU, and x + 0.1 tail."""

    def __init__(self) -> None:
        super().__init__()
        self.head = conv(3, 12)
        self.blocks = nn.ModuleList(_SPAB(12) for _ in range(2))
        self.join = nn.Sequential(conv(36, 12, 1), nn.PReLU(12), conv(12, 12))
        self.tail = upsampler(12, 4)

    def forward(self, lr_nchw: Tensor) -> Tensor:
        first = self.head(lr_nchw)
        results = [first]
        for block in self.blocks:
            results.append(block(results[-1]))
        return self.tail(first + 0.1 * self.join(torch.cat(results, 1)))


class _LargeKernel(nn.Module):
    """A depthwise and a dilated depthwise convolution as a mask."""

    def __init__(self, width: int, size: int = 5, dilation: int = 3) -> None:
        super().__init__()
        self.mask = nn.Sequential(
            conv(width, width, 1), depthwise(width, size), depthwise(width, size, dilation)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.mask(x) * x


class _VAB(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv(width, width, 1), nn.GELU(), _LargeKernel(width), conv(width, width, 1)
        )
        self.norm = LastNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x + self.body(x))


def vapsr() -> nn.Module:
    """Zhou et al. 2022: large-kernel attention and torch's layer norm."""
    return LongSkip(16, _VAB(16), _VAB(16), conv(16, 16))


class _SplitPoint(nn.Module):
    """ShuffleMixer's MLP over half of the channels, then a channel shuffle."""

    def __init__(self, width: int) -> None:
        super().__init__()
        half = width // 2
        self.norm = LastNorm(width)
        self.mlp = nn.Sequential(conv(half, width, 1), nn.SiLU(), conv(width, half, 1))

    def forward(self, x: Tensor) -> Tensor:
        first, second = torch.chunk(self.norm(x), 2, 1)
        return channel_shuffle(torch.cat([self.mlp(first), second], 1), 2) + x


def shufflemixer() -> nn.Module:
    """Sun et al. 2022: shuffled MLPs, depthwise 7x7, a fused block of 3x3 and 1x1."""
    mixer = [_SplitPoint(16), depthwise(16, 7), _SplitPoint(16)]
    return LongSkip(16, *mixer, Residual(conv(16, 32), nn.SiLU(), conv(32, 16, 1)))


class _GatedLarge(nn.Module):
    """MAN's multi-scale large-kernel attention: a gate per third of the channels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.enter = ChannelNorm(width), conv(width, 2 * width, 1)
        third = width // 3
        self.large = nn.ModuleList(_LargeKernel(third, s, d) for s, d in ((3, 2), (5, 3), (7, 4)))
        self.gates = nn.ModuleList(depthwise(third, size) for size in (3, 5, 7))
        self.leave = conv(width, width, 1)
        self.scale = nn.Parameter(torch.full((1, width, 1, 1), 0.3))

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.enter(self.norm(x)).chunk(2, 1)
        thirds = zip(a.chunk(3, 1), self.large, self.gates, strict=True)
        mask = torch.cat([large(part) * gate(part) for part, large, gate in thirds], 1)
        return x + self.scale * self.leave(b * mask)


def man() -> nn.Module:
    """Wang et al. 2024."""
    return LongSkip(12, _GatedLarge(12), _GatedLarge(12), conv(12, 12))


def cfsr() -> nn.Module:
    """Wu et al. 2024: a large depthwise kernel as mixer, edge convolutions merged, GELU."""
    mixer = [ChannelNorm(12), conv(12, 12, 1), depthwise(12, 9), nn.GELU(), conv(12, 12, 1)]
    feed = [ChannelNorm(12), conv(12, 24, 1), nn.GELU(), Residual(depthwise(24)), nn.GELU(),
            conv(24, 12, 1)]  # fmt: skip
    return LongSkip(12, Residual(*mixer), Residual(*feed), conv(12, 12))


class _SCPA(nn.Module):
    """PAN's block: one branch with pixel attention, one without."""

    def __init__(self, width: int) -> None:
        super().__init__()
        half = width // 2
        self.enter_a, self.enter_b = conv(width, half, 1), conv(width, half, 1)
        self.plain, self.mask = conv(half, half), conv(half, half, 1)
        self.masked, self.after = conv(half, half), conv(half, half)
        self.join = conv(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        a = F.leaky_relu(self.plain(F.leaky_relu(self.enter_a(x), 0.2)), 0.2)
        b = F.leaky_relu(self.enter_b(x), 0.2)
        b = F.leaky_relu(self.after(self.masked(b) * torch.sigmoid(self.mask(b))), 0.2)
        return x + self.join(torch.cat([a, b], 1))


class PAN(nn.Module):
    """Zhao et al. 2020: nearest upsampling with pixel attention, a bilinear skip."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.body = conv(3, 12), nn.Sequential(_SCPA(12), _SCPA(12), conv(12, 12))
        self.up, self.mask, self.after = conv(12, 8), conv(8, 8, 1), conv(8, 8)
        self.last = conv(8, 3)

    def forward(self, lr_nchw: Tensor) -> Tensor:
        first = self.head(lr_nchw)
        large = self.up(F.interpolate(first + self.body(first), scale_factor=2, mode="nearest"))
        large = F.leaky_relu(large * torch.sigmoid(self.mask(large)), 0.2)
        image = F.interpolate(lr_nchw, scale_factor=2, mode="bilinear", align_corners=False)
        return self.last(F.leaky_relu(self.after(large), 0.2)) + image


class A2F(nn.Module):
    """Wang et al. 2020: earlier features projected as a channel attention of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.head = conv(3, 12)
        self.bodies = nn.ModuleList(
            nn.Sequential(conv(12, 24), nn.ReLU(), conv(24, 12)) for _ in range(3)
        )
        self.projections = nn.ModuleList(conv(12 * (i + 1), 12, 1) for i in range(3))
        self.attentions = nn.ModuleList(ChannelAttention(12) for _ in range(3))
        self.scales = nn.ParameterList(torch.tensor([1.0]) for _ in range(3))
        self.tail, self.skip = upsampler(12, 2), nn.Sequential(conv(3, 12, 5), nn.PixelShuffle(2))

    def forward(self, lr_nchw: Tensor) -> Tensor:
        results = [self.head(lr_nchw)]
        for body, project, attention, scale in zip(
            self.bodies, self.projections, self.attentions, self.scales, strict=True
        ):
            auxiliary = attention(project(torch.cat(results, 1)))
            results.append(scale * body(results[-1]) + auxiliary)
        return self.tail(results[-1]) + self.skip(lr_nchw)


def rcan() -> nn.Module:
    """Zhang et al. 2018: residual blocks with channel attention, groups of them."""
    blocks = [Residual(conv(12, 12), nn.ReLU(), conv(12, 12), ChannelAttention(12)) for _ in "12"]
    return LongSkip(12, Residual(*blocks, conv(12, 12)), conv(12, 12))


def mobile() -> nn.Module:
    """MobileNetV3's inverted blocks: hard-swish, squeeze and excitation with hard-sigmoid."""
    block = [conv(12, 24, 1), nn.Hardswish(), depthwise(24, 5), nn.Hardswish(),
             ChannelAttention(24, nn.Hardsigmoid()), conv(24, 12, 1)]  # fmt: skip
    return LongSkip(12, Residual(*block), conv(12, 12))


class _SimpleGate(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        a, b = x.chunk(2, 1)
        return a * b


class _SimpleAttention(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.factor = nn.Sequential(nn.AdaptiveAvgPool2d(1), conv(width, width, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor(x)


def nafnet() -> nn.Module:
    """Chen et al. 2022: gates by products in place of activations (NAFSSR's blocks)."""
    mixer = [ChannelNorm(12), conv(12, 24, 1), depthwise(24), _SimpleGate(), _SimpleAttention(12)]
    feed = [ChannelNorm(12), conv(12, 24, 1), _SimpleGate(), conv(12, 12, 1)]
    return LongSkip(12, Residual(*mixer, conv(12, 12, 1)), Residual(*feed))


class RT4KSR(nn.Module):
    """Zamfir et al. 2023: packed pixels, fine detail apart, gates, one large shuffle."""

    def __init__(self) -> None:
        super().__init__()
        blur = torch.tensor([1.0, 2.0, 1.0])
        self.blur = nn.Parameter((blur[:, None] * blur / 16).expand(3, 1, 3, 3).clone())
        self.coarse, self.fine = conv(12, 16), conv(12, 16)
        block = [ChannelNorm(16), conv(16, 32), _SimpleGate(), conv(16, 16)]
        self.body = nn.Sequential(Residual(*block), conv(16, 16))
        self.tail = nn.Sequential(conv(32, 48), nn.PixelShuffle(4))

    def forward(self, lr_nchw: Tensor) -> Tensor:
        around = F.pad(lr_nchw, (1, 1, 1, 1), mode="reflect")
        detail = lr_nchw - F.conv2d(around, self.blur, groups=3)
        coarse = self.coarse(F.pixel_unshuffle(lr_nchw, 2))
        fine = self.fine(F.pixel_unshuffle(detail, 2))
        return self.tail(torch.cat([coarse + self.body(coarse), fine], 1))
