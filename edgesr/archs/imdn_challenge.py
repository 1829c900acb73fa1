"""The challenge's IMDN members: no attention, one residual over all blocks.

Source: Li et al., "NTIRE 2022 Challenge on Efficient Super-Resolution: Methods and Results", CVPRW
2022: its baseline, the collapsible linear blocks of team 26 and IMDN+ of team 39. RGB in [0, 1].
"""

from torch import Tensor, nn

from edgesr.archs.collapsible import PLAIN, BlockKind, Form
from edgesr.archs.distillation import DistillationBlock, ProgressiveBlock, Shortcut

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
        num_feat: Channels of the trunk; a multiple of 4.
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
    """

    def __init__(
        self, num_blocks: int = 8, scale: int = 4, num_feat: int = 36, kind: BlockKind = PLAIN
    ) -> None:
        super().__init__()
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


def imdn_baseline(*, scale: int = 4) -> SimplifiedIMDN:
    """Build the challenge's baseline: eight blocks."""
    return SimplifiedIMDN(num_blocks=8, scale=scale)


def imdn_clb(*, scale: int = 4, training_form: bool = False) -> SimplifiedIMDN:
    """Build team 26's network: seven blocks, which train with a 1x1 beside each 3x3."""
    return SimplifiedIMDN(num_blocks=7, scale=scale, kind=CLB_KIND if training_form else PLAIN)


def imdn_plus(*, scale: int = 4, training_form: bool = False) -> IMDNPlus:
    """Build IMDN+: eight blocks of 36 channels, each 3x3 trains with two wider branches."""
    return IMDNPlus(scale=scale, kind=PLUS_KIND if training_form else PLAIN)
