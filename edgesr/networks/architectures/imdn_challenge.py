"""The challenge's IMDN members: no attention, one residual over all blocks.

Source: Li et al., "NTIRE 2022 Challenge on Efficient Super-Resolution: Methods and Results", CVPRW
2022: its baseline, the collapsible linear blocks of team 26 and IMDN+ of team 39. RGB in [0, 1].
"""

from torch import Tensor, nn

from edgesr.errors import ArchitectureError
from edgesr.networks.architectures.collapsible import PLAIN, BlockKind, Form
from edgesr.networks.architectures.distillation import DistillationBlock, ProgressiveBlock, Shortcut
from edgesr.networks.hyperparameters import (
    Shapes,
    Sizes,
    count,
    output_channels,
    shuffle_factor,
    trunk_sizes,
)

#: What the 3x3 convolutions train as.
CLB_KIND = BlockKind(Form.PARALLEL, skip=False)
PLUS_KIND = BlockKind(Form.BRANCHED)


def _conv3x3(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1)


class SimplifiedIMDN(nn.Module):
    """IMDN without attention. RGB in [0, 1], N x 3 x H x W, to N x 3 x (scale H) x (scale W).

    Args:
        num_blocks: Distillation blocks.
        scale: Upscaling factor.
        num_feat: Channels of the trunk; 4 or more.
        kind: What the blocks' 3x3 convolutions are made of.
    """

    def __init__(
        self, num_blocks: int, scale: int, num_feat: int = 64, kind: BlockKind = PLAIN
    ) -> None:
        super().__init__()
        blocks = [DistillationBlock(num_feat, kind) for _ in range(num_blocks)]
        self.model = nn.Sequential(
            _conv3x3(3, num_feat),
            Shortcut(*blocks, _conv3x3(num_feat, num_feat)),
            _conv3x3(num_feat, 3 * scale * scale),
            nn.PixelShuffle(scale),
        )

    def forward(self, lr_nchw: Tensor) -> Tensor:
        """Upscale: N x 3 x H x W in [0, 1] to N x 3 x (scale H) x (scale W), not clipped."""
        return self.model(lr_nchw)


class IMDNPlus(nn.Module):
    """IMDN+. RGB in [0, 1], N x 3 x H x W, to N x 3 x (scale H) x (scale W).

    Args:
        num_blocks: Blocks of six 3x3 convolutions.
        scale: Upscaling factor.
        num_feat: Channels of the trunk; a multiple of 6.
        kind: What the 3x3 convolutions are made of.

    Raises:
        ArchitectureError: The width has no sixths.
    """

    def __init__(
        self, num_blocks: int = 8, scale: int = 4, num_feat: int = 36, kind: BlockKind = PLAIN
    ) -> None:
        super().__init__()
        if num_feat % 6:
            raise ArchitectureError(f"IMDN+: got num_feat {num_feat}, allowed multiples of 6")
        step = num_feat // 6
        widths = tuple(range(num_feat, 0, -step))
        blocks = [
            ProgressiveBlock(widths, step, nn.SiLU(), kind.conv3x3) for _ in range(num_blocks)
        ]
        trunk = Shortcut(*blocks, kind.conv3x3(num_feat, num_feat))
        self.FEM = nn.Sequential(kind.conv3x3(3, num_feat), trunk)
        tail = kind.conv3x3(num_feat, 3 * scale * scale, residual=False)
        self.RM = nn.Sequential(tail, nn.PixelShuffle(scale))

    def forward(self, lr_nchw: Tensor) -> Tensor:
        """Upscale: N x 3 x H x W in [0, 1] to N x 3 x (scale H) x (scale W), not clipped."""
        return self.RM(self.FEM(lr_nchw))


def imdn_baseline(*, scale: int = 4, num_feat: int = 64, num_blocks: int = 8) -> SimplifiedIMDN:
    """Build the challenge's baseline; its own has 64 channels and eight blocks."""
    return SimplifiedIMDN(num_blocks, scale, num_feat)


def imdn_clb(
    *, scale: int = 4, training_form: bool = False, num_feat: int = 64, num_blocks: int = 7
) -> SimplifiedIMDN:
    """Build team 26's network, which trains with a 1x1 beside each 3x3 of its seven blocks."""
    return SimplifiedIMDN(num_blocks, scale, num_feat, CLB_KIND if training_form else PLAIN)


def imdn_plus(
    *, scale: int = 4, training_form: bool = False, num_feat: int = 36, num_blocks: int = 8
) -> IMDNPlus:
    """Build IMDN+, of 36 channels and eight blocks; each 3x3 trains with two wider branches."""
    return IMDNPlus(num_blocks, scale, num_feat, PLUS_KIND if training_form else PLAIN)


def read_simplified_sizes(shapes: Shapes) -> Sizes | None:
    """The sizes of a `SimplifiedIMDN`: a 3x3 reaches one pixel, and four lie in every block."""
    blocks = count(shapes, r"model\.1\.sub\.\d+\.c5\.weight")
    return trunk_sizes(
        output_channels(shapes, r"model\.0\.weight"),
        blocks,
        shuffle_factor(shapes, r"model\.2\.weight"),
        receptive_radius=4 * blocks + 3,
    )


def read_plus_sizes(shapes: Shapes) -> Sizes | None:
    """The sizes of an `IMDNPlus`: a 3x3 reaches one pixel, and six lie in every block."""
    blocks = count(shapes, r"FEM\.1\.sub\.\d+\.c7\.weight")
    return trunk_sizes(
        output_channels(shapes, r"FEM\.0\.(direct\.)?weight"),
        blocks,
        shuffle_factor(shapes, r"RM\.0\.(direct\.)?weight"),
        receptive_radius=6 * blocks + 3,
    )
