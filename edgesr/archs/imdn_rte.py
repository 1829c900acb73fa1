"""IMDN_RTE: the family's member for real-time enhancement, at half the picture's resolution.

Parameter names are those of the published checkpoint without DataParallel's prefix. RGB in [0, 1].
"""

from torch import Tensor, nn

from edgesr.archs.distillation import ProgressiveBlock

_BLOCKS = 6
#: Channels that each convolution of a block gives; five of them are kept.
_WIDTHS, _STEP = (20, 20, 20, 15, 10, 5), 5


def _conv3x3(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)


class IMDNRTE(nn.Module):
    """IMDN_RTE. RGB in [0, 1], N x 3 x H x W, to N x 3 x (scale H) x (scale W).

    Args:
        num_feat: Channels of the trunk.
        scale: Upscaling factor; H and W are even.
    """

    def __init__(self, num_feat: int = 20, scale: int = 2) -> None:
        super().__init__()
        self.fea_conv = nn.Sequential(
            nn.Conv2d(3, num_feat, 3, padding=1), nn.ReLU(), _conv3x3(num_feat, num_feat, stride=2)
        )
        for index in range(1, _BLOCKS + 1):
            block = ProgressiveBlock(_WIDTHS, _STEP, nn.ReLU(), _conv3x3, join_bias=False)
            setattr(self, f"block{index}", block)
        self.LR_conv = nn.Conv2d(num_feat, num_feat, 1, bias=False)
        # The head has taken half of the resolution, which comes back here.
        shuffle = 2 * scale
        self.upsampler = nn.Sequential(
            nn.Conv2d(num_feat, 3 * shuffle * shuffle, 3, padding=1), nn.PixelShuffle(shuffle)
        )

    def forward(self, lr_nchw: Tensor) -> Tensor:
        """Upscale: N x 3 x H x W in [0, 1] to N x 3 x (scale H) x (scale W), not clipped."""
        shallow = self.fea_conv(lr_nchw)
        features = shallow
        for index in range(1, _BLOCKS + 1):
            features = self.get_submodule(f"block{index}")(features)
        return self.upsampler(self.LR_conv(features) + shallow)


def imdn_rte(*, scale: int = 2) -> IMDNRTE:
    """Build the published IMDN_RTE: 20 channels, six blocks."""
    return IMDNRTE(scale=scale)
