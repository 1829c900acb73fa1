"""IMDN_RTC: the real-time member of the information multi-distillation family, scale 2.

Source: Hui et al., "Lightweight Image Super-Resolution with Information Multi-distillation
Network", ACM MM 2019, and the authors' later mobile variant; parameter names are those of the
published checkpoint (`model.0`, `model.1.sub.{0-4}.c1..c5`, `model.1.sub.5`, `model.2`).

The published network trains as it runs. The training form is ours: each 3x3 convolution of the
blocks, the head and the tail is a collapsible block that `edgesr.reparam.fold` turns into the one.
"""

import torch
from torch import Tensor, nn

from edgesr.archs.collapsible import PLAIN, BlockKind, Form

_SLOPE = 0.05
#: What `imdn_rtc(training_form=True)` is built of, and detection knows a checkpoint by.
TRAINING_KIND = BlockKind(Form.PARALLEL)


class DistillationBlock(nn.Module):
    """Three times: convolve, keep a quarter of the channels aside, go on with the rest.

    The four kept parts are joined by a 1x1 convolution and added to the block's input.
    Shapes are N x C x H x W in and out.

    Args:
        num_feat: C; a multiple of 4.
        kind: What the 3x3 convolutions are made of.
    """

    def __init__(self, num_feat: int, kind: BlockKind = PLAIN) -> None:
        super().__init__()
        self.num_distilled = num_feat // 4
        self.num_remaining = num_feat - self.num_distilled
        self.c1 = kind.conv3x3(num_feat, num_feat)
        self.c2 = kind.conv3x3(self.num_remaining, num_feat)
        self.c3 = kind.conv3x3(self.num_remaining, num_feat)
        self.c4 = kind.conv3x3(self.num_remaining, self.num_distilled)
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
        kind: What the 3x3 convolutions are made of; any but the plain kind is a training form.
    """

    def __init__(
        self, num_feat: int = 12, num_blocks: int = 5, scale: int = 2, kind: BlockKind = PLAIN
    ) -> None:
        super().__init__()
        head = kind.conv3x3(3, num_feat)
        blocks = [DistillationBlock(num_feat, kind) for _ in range(num_blocks)]
        trunk = _Shortcut(*blocks, nn.Conv2d(num_feat, num_feat, 1))
        # Its outputs are pixels, not the features that come in: nothing to skip to.
        tail = kind.conv3x3(num_feat, 3 * scale * scale, residual=False)
        self.model = nn.Sequential(head, trunk, tail, nn.PixelShuffle(scale))

    def forward(self, lr_nchw: Tensor) -> Tensor:
        """Upscale: N x 3 x H x W in [0, 1] to N x 3 x (scale H) x (scale W), not clipped."""
        return self.model(lr_nchw)


def imdn_rtc(*, training_form: bool = False) -> IMDNRTC:
    """Build the published IMDN_RTC: 12 channels, five blocks, scale 2; RGB in [0, 1]."""
    return IMDNRTC(kind=TRAINING_KIND if training_form else PLAIN)
