"""IMDN_RTC: the real-time member of the information multi-distillation family, scale 2.

Source: Hui et al., "Lightweight Image Super-Resolution with Information Multi-distillation
Network", ACM MM 2019, and the authors' later mobile variant; parameter names are those of the
published checkpoint (`model.0`, `model.1.sub.{0-4}.c1..c5`, `model.1.sub.5`, `model.2`).
"""

import torch
from torch import Tensor, nn

from edgesr.errors import ArchitectureError

_SLOPE = 0.05


class DistillationBlock(nn.Module):
    """Three times: convolve, keep a quarter of the channels aside, go on with the rest.

    The four kept parts are joined by a 1x1 convolution and added to the block's input.
    Shapes are N x C x H x W in and out.
    """

    def __init__(self, num_feat: int) -> None:
        super().__init__()
        self.num_distilled = num_feat // 4
        self.num_remaining = num_feat - self.num_distilled
        self.c1 = nn.Conv2d(num_feat, num_feat, 3, padding=1)
        self.c2 = nn.Conv2d(self.num_remaining, num_feat, 3, padding=1)
        self.c3 = nn.Conv2d(self.num_remaining, num_feat, 3, padding=1)
        self.c4 = nn.Conv2d(self.num_remaining, self.num_distilled, 3, padding=1)
        self.c5 = nn.Conv2d(4 * self.num_distilled, num_feat, 1)
        self.act = nn.LeakyReLU(_SLOPE)

    def forward(self, x: Tensor) -> Tensor:
        """Distil: N x C x H x W to the same."""
        sizes = [self.num_distilled, self.num_remaining]
        kept1, rest = torch.split(self.act(self.c1(x)), sizes, dim=1)
        kept2, rest = torch.split(self.act(self.c2(rest)), sizes, dim=1)
        kept3, rest = torch.split(self.act(self.c3(rest)), sizes, dim=1)
        return self.c5(torch.cat([kept1, kept2, kept3, self.c4(rest)], dim=1)) + x


class _Shortcut(nn.Module):
    """The blocks and the 1x1 convolution behind them, with the head's output added at the end."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.sub = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """N x C x H x W to the same."""
        return x + self.sub(x)


class IMDNRTC(nn.Module):
    """IMDN_RTC. RGB in [0, 1], N x 3 x H x W, to N x 3 x (scale H) x (scale W).

    Args:
        num_feat: Channels of the trunk; a multiple of 4.
        num_blocks: Distillation blocks.
        scale: Upscaling factor.
    """

    def __init__(self, num_feat: int = 12, num_blocks: int = 5, scale: int = 2) -> None:
        super().__init__()
        head = nn.Conv2d(3, num_feat, 3, padding=1)
        blocks = [DistillationBlock(num_feat) for _ in range(num_blocks)]
        trunk = _Shortcut(*blocks, nn.Conv2d(num_feat, num_feat, 1))
        tail = nn.Conv2d(num_feat, 3 * scale * scale, 3, padding=1)
        self.model = nn.Sequential(head, trunk, tail, nn.PixelShuffle(scale))

    def forward(self, lr_nchw: Tensor) -> Tensor:
        """Upscale: N x 3 x H x W in [0, 1] to N x 3 x (scale H) x (scale W), not clipped."""
        return self.model(lr_nchw)


def imdn_rtc(*, training_form: bool = False) -> IMDNRTC:
    """Build the published IMDN_RTC: 12 channels, five blocks, scale 2; RGB in [0, 1].

    Raises:
        ArchitectureError: `training_form` is asked for; the network is trained as it runs.
    """
    if training_form:
        raise ArchitectureError("imdn-rtc has no training form: it trains as it runs; use it plain")
    return IMDNRTC()
