"""IMDN: the information multi-distillation network, and its members for any image size.

Source: Hui et al., "Lightweight Image Super-Resolution with Information Multi-distillation
Network", ACM MM 2019; parameter names are those of the published checkpoints without DataParallel's
prefix. RGB in [0, 1].
"""

import torch
from torch import Tensor, nn

from edgesr.errors import ArchitectureError
from edgesr.networks.architectures.distillation import SLOPE, ContrastAttention, DistillationBlock
from edgesr.networks.hyperparameters import (
    Shapes,
    Sizes,
    count,
    output_channels,
    shuffle_factor,
    trunk_sizes,
)


class AttentiveBlock(DistillationBlock):
    """`DistillationBlock` with attention on the kept parts. N x C x H x W to the same.

    Raises:
        ArchitectureError: The attention cannot be had at this width.
    """

    def __init__(self, num_feat: int) -> None:
        if num_feat % 4 or num_feat < 16:
            raise ArchitectureError(
                f"IMDN: got num_feat {num_feat}, allowed multiples of 4 from 16: the attention is "
                "16 times narrower, on four parts of equal width"
            )
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
        num_feat: Channels of the trunk; a multiple of 4 from 16.
        num_blocks: Distillation blocks.
    """

    def __init__(
        self, head: nn.Module, shuffle: int, num_feat: int = 64, num_blocks: int = 6
    ) -> None:
        super().__init__()
        self.num_blocks = num_blocks
        self.fea_conv = head
        for index in range(1, num_blocks + 1):
            setattr(self, f"IMDB{index}", AttentiveBlock(num_feat))
        self.c = nn.Sequential(nn.Conv2d(num_blocks * num_feat, num_feat, 1), nn.LeakyReLU(SLOPE))
        self.LR_conv = _conv3x3(num_feat, num_feat)
        self.upsampler = nn.Sequential(
            _conv3x3(num_feat, 3 * shuffle * shuffle), nn.PixelShuffle(shuffle)
        )

    def forward(self, lr_nchw: Tensor) -> Tensor:
        """Upscale: N x 3 x H x W in [0, 1] to N x 3 x (scale H) x (scale W), not clipped."""
        shallow = self.fea_conv(lr_nchw)
        outputs = [shallow]
        for index in range(1, self.num_blocks + 1):
            outputs.append(self.get_submodule(f"IMDB{index}")(outputs[-1]))
        return self.upsampler(self.LR_conv(self.c(torch.cat(outputs[1:], dim=1))) + shallow)


def _conv3x3(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1)


def imdn(*, scale: int, num_feat: int = 64, num_blocks: int = 6) -> IMDN:
    """Build IMDN; the published one has 64 channels and six blocks."""
    return IMDN(_conv3x3(3, num_feat), scale, num_feat, num_blocks)


def imdn_as(*, scale: int = 1, num_feat: int = 64, num_blocks: int = 6) -> IMDN:
    """Build IMDN_AS, which takes an image at its final size: a multiple of 4 in both directions.

    Any factor is reached by resizing first (section 3.4 of the paper, where the adaptive cropping
    strategy makes four overlapping crops of such a size).
    """
    head = nn.Sequential(
        _conv3x3(3, num_feat, stride=2),
        nn.LeakyReLU(SLOPE),
        _conv3x3(num_feat, num_feat, stride=2),
    )
    return IMDN(head, 4 * scale, num_feat, num_blocks)


def read_sizes(shapes: Shapes) -> Sizes | None:
    """The sizes of what `imdn` builds: a 3x3 reaches one pixel, and four lie in every block."""
    blocks = _blocks(shapes)
    return trunk_sizes(
        output_channels(shapes, r"fea_conv\.weight"),
        blocks,
        shuffle_factor(shapes, r"upsampler\.0\.weight"),
        receptive_radius=4 * blocks + 3,
    )


def read_as_sizes(shapes: Shapes) -> Sizes | None:
    """The sizes of what `imdn_as` builds, which does its work at a quarter of the resolution.

    There a 3x3 reaches four pixels of the image, and the head reaches six from the last of them.
    """
    blocks, shuffle = _blocks(shapes), shuffle_factor(shapes, r"upsampler\.0\.weight")
    return trunk_sizes(
        output_channels(shapes, r"fea_conv\.0\.weight"),
        blocks,
        0 if shuffle % 4 else shuffle // 4,
        receptive_radius=4 * (4 * blocks + 2) + 6,
    )


def _blocks(shapes: Shapes) -> int:
    return count(shapes, r"IMDB\d+\.c5\.weight")
