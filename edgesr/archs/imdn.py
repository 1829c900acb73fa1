"""IMDN: the information multi-distillation network, and its members for any picture size.

Source: Hui et al., "Lightweight Image Super-Resolution with Information Multi-distillation
Network", ACM MM 2019; parameter names are those of the published checkpoints without DataParallel's
prefix. RGB in [0, 1].
"""

import torch
from torch import Tensor, nn

from edgesr.archs.distillation import SLOPE, ContrastAttention, DistillationBlock

_BLOCKS = 6


class AttentiveBlock(DistillationBlock):
    """`DistillationBlock` with attention on the kept parts. N x C x H x W to the same."""

    def __init__(self, num_feat: int) -> None:
        super().__init__(num_feat)
        self.cca = ContrastAttention(num_feat)

    def forward(self, x: Tensor) -> Tensor:
        """Distil: N x C x H x W to the same."""
        return self.c5(self.cca(self.distilled(x))) + x


class IMDN(nn.Module):
    """IMDN. RGB in [0, 1], N x 3 x H x W, to N x 3 x (scale H) x (scale W).

    Args:
        head: From 3 channels to `num_feat`; it may lower the resolution.
        shuffle: Factor of the pixel shuffle at the end: the scale times what the head takes away.
        num_feat: Channels of the trunk; a multiple of 16.
    """

    def __init__(self, head: nn.Module, shuffle: int, num_feat: int = 64) -> None:
        super().__init__()
        self.fea_conv = head
        for index in range(1, _BLOCKS + 1):
            setattr(self, f"IMDB{index}", AttentiveBlock(num_feat))
        self.c = nn.Sequential(nn.Conv2d(_BLOCKS * num_feat, num_feat, 1), nn.LeakyReLU(SLOPE))
        self.LR_conv = _conv3x3(num_feat, num_feat)
        self.upsampler = nn.Sequential(
            _conv3x3(num_feat, 3 * shuffle * shuffle), nn.PixelShuffle(shuffle)
        )

    def forward(self, lr_nchw: Tensor) -> Tensor:
        """Upscale: N x 3 x H x W in [0, 1] to N x 3 x (scale H) x (scale W), not clipped."""
        shallow = self.fea_conv(lr_nchw)
        outputs = [shallow]
        for index in range(1, _BLOCKS + 1):
            outputs.append(self.get_submodule(f"IMDB{index}")(outputs[-1]))
        return self.upsampler(self.LR_conv(self.c(torch.cat(outputs[1:], dim=1))) + shallow)


def _conv3x3(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1)


def imdn(*, scale: int) -> IMDN:
    """Build the published IMDN: 64 channels, six blocks."""
    return IMDN(_conv3x3(3, 64), scale)


def imdn_as(*, scale: int = 1) -> IMDN:
    """Build IMDN_AS, which takes a picture at its final size: a multiple of 4 in both directions.

    Any factor is reached by resizing first (section 3.4 of the paper, where the adaptive cropping
    strategy makes four overlapping crops of such a size).
    """
    head = nn.Sequential(_conv3x3(3, 64, stride=2), nn.LeakyReLU(SLOPE), _conv3x3(64, 64, stride=2))
    return IMDN(head, shuffle=4 * scale)
