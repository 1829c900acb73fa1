"""IMDN_RTC: the real-time member of the information multi-distillation family, scale 2.

Source: Hui et al., "Lightweight Image Super-Resolution with Information Multi-distillation
Network", ACM MM 2019, and the authors' later mobile variant; parameter names are those of the
published checkpoint (`model.0`, `model.1.sub.{0-4}.c1..c5`, `model.1.sub.5`, `model.2`).

The published network trains as it runs. The training form is ours: each 3x3 convolution of the
blocks, the head and the tail is a collapsible block that `edgesr.networks.reparam.fold` turns
into the one.
"""

from torch import Tensor, nn

from edgesr.networks.architectures.collapsible import PLAIN, BlockKind, Form
from edgesr.networks.architectures.distillation import DistillationBlock, Shortcut
from edgesr.networks.hyperparameters import (
    Shapes,
    Sizes,
    count,
    output_channels,
    shuffle_factor,
    trunk_sizes,
)

#: What `imdn_rtc(training_form=True)` is built of, and detection knows a checkpoint by.
TRAINING_KIND = BlockKind(Form.PARALLEL)


class IMDNRTC(nn.Module):
    """IMDN_RTC. RGB in [0, 1], N x 3 x H x W, to N x 3 x (scale H) x (scale W).

    Args:
        num_feat: Channels of the trunk; 4 or more.
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
        trunk = Shortcut(*blocks, nn.Conv2d(num_feat, num_feat, 1))
        # Its outputs are pixels, not the features that come in: nothing to skip to.
        tail = kind.conv3x3(num_feat, 3 * scale * scale, residual=False)
        self.model = nn.Sequential(head, trunk, tail, nn.PixelShuffle(scale))

    def forward(self, lr_nchw: Tensor) -> Tensor:
        """Upscale: N x 3 x H x W in [0, 1] to N x 3 x (scale H) x (scale W), not clipped."""
        return self.model(lr_nchw)


def imdn_rtc(
    *, scale: int = 2, training_form: bool = False, num_feat: int = 12, num_blocks: int = 5
) -> IMDNRTC:
    """Build IMDN_RTC; the published one has 12 channels and five blocks. RGB in [0, 1]."""
    return IMDNRTC(num_feat, num_blocks, scale, TRAINING_KIND if training_form else PLAIN)


def read_sizes(shapes: Shapes) -> Sizes | None:
    """The sizes of what `imdn_rtc` builds: a 3x3 reaches one pixel, and four lie in every block."""
    blocks = count(shapes, r"model\.1\.sub\.\d+\.c5\.weight")
    return trunk_sizes(
        output_channels(shapes, r"model\.0\.(wide\.)?weight"),
        blocks,
        shuffle_factor(shapes, r"model\.2\.(wide\.)?weight"),
        receptive_radius=4 * blocks + 2,
    )
