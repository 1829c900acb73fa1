"""IMDN_RTE: the family's member for real-time enhancement, at half the image's resolution.

Parameter names are those of the published checkpoint without DataParallel's prefix. RGB in [0,
255].
"""

from torch import Tensor, nn

from edgesr.errors import ArchitectureError
from edgesr.networks.architectures.distillation import ProgressiveBlock
from edgesr.networks.hyperparameters import (
    Shapes,
    Sizes,
    count,
    output_channels,
    shuffle_factor,
    trunk_sizes,
)

#: Channels that each convolution of a block gives, in quarters of its width; one is kept.
_QUARTERS = (4, 4, 4, 3, 2, 1)


def _conv3x3(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)


class IMDNRTE(nn.Module):
    """IMDN_RTE. RGB in [0, 255], N x 3 x H x W, to N x 3 x (scale H) x (scale W).

    Args:
        num_feat: Channels of the trunk; a multiple of 4.
        scale: Upscaling factor; H and W are even.
        num_blocks: Distillation blocks.

    Raises:
        ArchitectureError: The width has no quarters.
    """

    def __init__(self, num_feat: int = 20, scale: int = 2, num_blocks: int = 6) -> None:
        super().__init__()
        if num_feat % 4:
            raise ArchitectureError(f"IMDN_RTE: got num_feat {num_feat}, allowed multiples of 4")
        step = num_feat // 4
        widths = tuple(quarters * step for quarters in _QUARTERS)
        self.num_blocks = num_blocks
        self.fea_conv = nn.Sequential(
            nn.Conv2d(3, num_feat, 3, padding=1), nn.ReLU(), _conv3x3(num_feat, num_feat, stride=2)
        )
        for index in range(1, num_blocks + 1):
            block = ProgressiveBlock(widths, step, nn.ReLU(), _conv3x3, join_bias=False)
            setattr(self, f"block{index}", block)
        self.LR_conv = nn.Conv2d(num_feat, num_feat, 1, bias=False)
        # The head has taken half of the resolution, which comes back here.
        shuffle = 2 * scale
        self.upsampler = nn.Sequential(
            nn.Conv2d(num_feat, 3 * shuffle * shuffle, 3, padding=1), nn.PixelShuffle(shuffle)
        )

    def forward(self, lr_nchw: Tensor) -> Tensor:
        """Upscale: N x 3 x H x W in [0, 255] to N x 3 x (scale H) x (scale W), not clipped."""
        shallow = self.fea_conv(lr_nchw)
        features = shallow
        for index in range(1, self.num_blocks + 1):
            features = self.get_submodule(f"block{index}")(features)
        return self.upsampler(self.LR_conv(features) + shallow)


def imdn_rte(*, scale: int = 2, num_feat: int = 20, num_blocks: int = 6) -> IMDNRTE:
    """Build IMDN_RTE; the published one has 20 channels and six blocks."""
    return IMDNRTE(num_feat, scale, num_blocks)


def read_sizes(shapes: Shapes) -> Sizes | None:
    """The sizes of what `imdn_rte` builds, which does its work at half of the resolution.

    There a 3x3 reaches two pixels of the image, and the head reaches three from the second of
    them.
    """
    blocks = count(shapes, r"block\d+\.c7\.weight")
    shuffle = shuffle_factor(shapes, r"upsampler\.0\.weight")
    return trunk_sizes(
        output_channels(shapes, r"fea_conv\.0\.weight"),
        blocks,
        0 if shuffle % 2 else shuffle // 2,
        receptive_radius=2 * (6 * blocks + 1) + 3,
    )
