"""FMEN: few, plain 3x3 convolutions and attention in branches, re-parameterised.

Source: Du et al., "Fast and Memory-Efficient Network Towards Efficient Image Super-Resolution",
CVPRW 2022. Parameter names are those of the published checkpoints. The network trains with wider
blocks and batch norm (training form) and runs with single convolutions (plain form);
`edgesr.networks.reparam.fold` turns the one into the other. RGB in [0, 255].
"""

import re
from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgesr.errors import ArchitectureError
from edgesr.networks.architectures.collapsible import Collapsible
from edgesr.networks.hyperparameters import (
    Shapes,
    Sizes,
    counted,
    output_channels,
    sensible,
    shuffle_factor,
)
from edgesr.networks.reparam import (
    ChannelAffine,
    Kernel,
    as_conv,
    collapse,
    norm_after,
    norm_before,
    pad_with,
)

_SLOPE = 0.1


def _conv3x3(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1)


class RRRB(Collapsible):
    """Residual in residual block in training form: what one 3x3 convolution becomes to train.

    With e = expand(x): reduce(fea(e) + e) + x.

    Args:
        num_feat: Channels in and out.
        ratio: Channels of e per channel of x.
    """

    def __init__(self, num_feat: int, ratio: int) -> None:
        super().__init__()
        self.expand_conv = nn.Conv2d(num_feat, ratio * num_feat, 1)
        self.fea_conv = nn.Conv2d(ratio * num_feat, ratio * num_feat, 3)
        self.reduce_conv = nn.Conv2d(ratio * num_feat, num_feat, 1)

    def expanded(self, x: Tensor) -> Tensor:
        """Layer by layer: N x C x H x W to the same."""
        # To expand a zero is to get the bias: padding first is padding e with the bias, which is
        # what makes the fold exact in the border too.
        padded = self.expand_conv(F.pad(x, (1, 1, 1, 1)))
        return self.reduce_conv(self.fea_conv(padded) + padded[:, :, 1:-1, 1:-1]) + x

    def kernel(self, dtype: torch.dtype) -> Kernel:
        """The one 3x3 kernel, computed in `dtype`."""
        layers = (Kernel.of(conv) for conv in (self.expand_conv, self.fea_conv, self.reduce_conv))
        return collapse(*layers, inner_residual=True, outer_residual=True, dtype=dtype)

    def folded(self) -> "RepConv":
        """The one 3x3 convolution that computes the same."""
        return RepConv(as_conv(self.kernel(torch.float64), like=self.fea_conv))


class RepConv(nn.Module):
    """The plain form of `RRRB`: one convolution, under the name of the published checkpoints."""

    def __init__(self, rep_conv: nn.Conv2d) -> None:
        super().__init__()
        self.rep_conv = rep_conv

    def forward(self, x: Tensor) -> Tensor:
        """N x C x H x W to the same."""
        return self.rep_conv(x)


class ERB(nn.Module):
    """Two convolutions with an activation between them; either form, by what it is given.

    Args:
        conv1: An `RRRB` or a `RepConv`.
        conv2: Likewise.
    """

    def __init__(self, conv1: nn.Module, conv2: nn.Module) -> None:
        super().__init__()
        self.conv1 = conv1
        self.conv2 = conv2
        self.act = nn.LeakyReLU(_SLOPE)

    def forward(self, x: Tensor) -> Tensor:
        """N x C x H x W to the same."""
        return self.conv2(self.act(self.conv1(x)))


class HFAB(nn.Module):
    """High-frequency attention block, plain: x times the sigmoid of a narrow branch of x.

    Args:
        squeeze: 3x3 convolution into the branch's width.
        convs: The branch's `ERB`s.
        excitate: 3x3 convolution back.
    """

    def __init__(self, squeeze: nn.Conv2d, convs: nn.Sequential, excitate: nn.Conv2d) -> None:
        super().__init__()
        self.squeeze = squeeze
        self.convs = convs
        self.excitate = excitate
        self.act = nn.LeakyReLU(_SLOPE)

    def forward(self, x: Tensor) -> Tensor:
        """N x C x H x W to the same."""
        branch = self.act(self.convs(self.act(self.squeeze(x))))
        return self.excitate(branch).sigmoid() * x


class NormedHFAB(nn.Module):
    """`HFAB` in training form: batch norm around the branch's first and last convolution.

    Args:
        num_feat: Channels in and out.
        mid_feat: Channels of the branch.
        convs: The branch's `ERB`s.
    """

    def __init__(self, num_feat: int, mid_feat: int, convs: nn.Sequential) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(num_feat)
        self.squeeze = nn.Conv2d(num_feat, mid_feat, 3)
        self.convs = convs
        self.bn2 = nn.BatchNorm2d(mid_feat)
        self.excitate = nn.Conv2d(mid_feat, num_feat, 3)
        self.bn3 = nn.BatchNorm2d(num_feat)
        self.act = nn.LeakyReLU(_SLOPE)

    def forward(self, x: Tensor) -> Tensor:
        """N x C x H x W to the same."""
        branch = self.act(self.convs(self.act(_conv_normed(self.bn1, self.squeeze, x))))
        return self.bn3(_conv_normed(self.bn2, self.excitate, branch)).sigmoid() * x

    def folded(self) -> HFAB:
        """The same without batch norm."""
        squeeze = norm_before(ChannelAffine.of(self.bn1), Kernel.of(self.squeeze))
        # float64 between the two steps: one rounding instead of two.
        excitate = norm_before(ChannelAffine.of(self.bn2), Kernel.of(self.excitate).double())
        excitate = norm_after(excitate, ChannelAffine.of(self.bn3))
        return HFAB(
            as_conv(squeeze, like=self.squeeze),
            self.convs,
            as_conv(excitate, like=self.excitate),
        )


def _conv_normed(norm: nn.BatchNorm2d, conv: nn.Conv2d, x: Tensor) -> Tensor:
    """Normalise, pad with what the norm makes of zero, convolve.

    In training the inside is normalised by the batch's statistics but the border by the running
    ones, as published. The border is a constant, not a sample of the batch: at run time it will
    be the norm of zero under the running statistics, so that is the value to train against, and
    the statistics must not count the padding (norming a padded x would). The two differ only
    while the running statistics lag behind, in the first few dozen steps; gradients reach the
    norm's weight and bias through the border as well. In eval mode both are the same statistics,
    and there the fold is exact.
    """
    normed = norm(x)  # first: it updates the running statistics, which the border shall have
    return conv(pad_with(normed, ChannelAffine.of(norm).shift))


class FMEN(nn.Module):
    """FMEN. RGB in [0, 255], N x 3 x H x W, to N x 3 x (scale H) x (scale W).

    Args:
        num_feat: Channels of the trunk.
        mid_feat: Channels inside the attention blocks; the warm-up's has four fewer.
        num_pairs: Pairs of ERB and attention block behind the warm-up.
        attention_blocks: ERBs inside each attention block, the warm-up's first.
        scale: Upscaling factor.
        training_form: Whether to build the form that trains, which `reparam.fold` folds.
        ratio: Widening inside the training form's blocks.

    Raises:
        ArchitectureError: `attention_blocks` does not fit `num_pairs`, or a width is too small.
    """

    def __init__(
        self,
        num_feat: int = 50,
        mid_feat: int = 16,
        num_pairs: int = 4,
        attention_blocks: Sequence[int] = (2, 1, 1, 1, 1),
        scale: int = 4,
        training_form: bool = False,
        ratio: int = 2,
    ) -> None:
        super().__init__()
        _check_structure(mid_feat, num_pairs, attention_blocks)
        # Where a convolution trains as a wider block, and by how much; None: nowhere.
        widen = ratio if training_form else None
        warm, *rest = attention_blocks
        self.head = _conv3x3(3, num_feat)
        self.warmup = nn.Sequential(
            _conv3x3(num_feat, num_feat), _attention(num_feat, mid_feat - 4, warm, widen)
        )
        self.ERBs = nn.ModuleList(_erb(num_feat, widen) for _ in range(num_pairs))
        self.HFABs = nn.ModuleList(_attention(num_feat, mid_feat, n, widen) for n in rest)
        self.lr_conv = _conv3x3(num_feat, num_feat)
        self.tail = nn.Sequential(
            _conv3x3(num_feat, 3 * scale * scale), nn.PixelShuffle(upscale_factor=scale)
        )

    def forward(self, lr_nchw: Tensor) -> Tensor:
        """Upscale: N x 3 x H x W in [0, 255] to N x 3 x (scale H) x (scale W), not clipped."""
        shallow = self.head(lr_nchw)
        features = self.warmup(shallow)
        for erb, attention in zip(self.ERBs, self.HFABs, strict=True):
            features = attention(erb(features))
        return self.tail(self.lr_conv(features) + shallow)


def _check_structure(mid_feat: int, num_pairs: int, attention_blocks: Sequence[int]) -> None:
    if len(attention_blocks) != num_pairs + 1:
        raise ArchitectureError(
            f"FMEN: got {len(attention_blocks)} attention blocks for {num_pairs} pairs, allowed "
            f"{num_pairs + 1}; the first is the warm-up's"
        )
    if mid_feat < 5:
        raise ArchitectureError(
            f"FMEN: got mid_feat {mid_feat}, allowed 5 or more; the warm-up takes four fewer"
        )


def _erb(num_feat: int, widen: int | None) -> ERB:
    def conv() -> nn.Module:
        if widen is None:
            return RepConv(_conv3x3(num_feat, num_feat))
        return RRRB(num_feat, widen)

    return ERB(conv(), conv())


def _attention(num_feat: int, mid_feat: int, num_erbs: int, widen: int | None) -> nn.Module:
    convs = nn.Sequential(*(_erb(mid_feat, widen) for _ in range(num_erbs)))
    if widen is None:
        return HFAB(_conv3x3(num_feat, mid_feat), convs, _conv3x3(mid_feat, num_feat))
    return NormedHFAB(num_feat, mid_feat, convs)


def fmen_s(
    *,
    scale: int = 4,
    training_form: bool = False,
    num_feat: int = 50,
    mid_feat: int = 16,
    num_pairs: int = 4,
    attention_blocks: Sequence[int] = (2, 1, 1, 1, 1),
) -> FMEN:
    """Build FMEN-S, the member that ran in the NTIRE 2022 challenge: RGB in [0, 255]."""
    return FMEN(num_feat, mid_feat, num_pairs, attention_blocks, scale, training_form)


def fmen(
    *,
    scale: int,
    training_form: bool = False,
    num_feat: int = 64,
    mid_feat: int = 32,
    num_pairs: int = 4,
    attention_blocks: Sequence[int] = (3, 2, 2, 2, 2),
) -> FMEN:
    """Build FMEN; the paper's network has 64 channels. RGB in [0, 255]."""
    return FMEN(num_feat, mid_feat, num_pairs, attention_blocks, scale, training_form)


# In either form, every ERB has one parameter of such a name.
_ERB = r"conv1\.(?:rep|expand)_conv\.weight"


def read_sizes(shapes: Shapes) -> Sizes | None:
    """The sizes of an `FMEN`: both widths, the pairs, and the ERBs in each attention block.

    A 3x3 reaches one pixel. Two lie in an ERB and two more in an attention block, besides the
    head, the warm-up's first, the one behind all pairs, and the tail.
    """
    num_feat = output_channels(shapes, r"head\.weight")
    mid_feat = output_channels(shapes, r"HFABs\.0\.squeeze\.weight")
    scale = shuffle_factor(shapes, r"tail\.0\.weight")
    trunk = re.compile(rf"ERBs\.\d+\.{_ERB}")
    inside = re.compile(rf"(warmup\.1|HFABs\.\d+)\.convs\.\d+\.{_ERB}")
    num_pairs = sum(trunk.fullmatch(name) is not None for name in shapes)
    if not sensible(num_feat, mid_feat, num_pairs, scale):
        return None
    found = Counter(match[1] for name in shapes if (match := inside.fullmatch(name)))
    attention_blocks = (found["warmup.1"], *(found[f"HFABs.{i}"] for i in range(num_pairs)))
    blocks = "-".join(map(str, attention_blocks))
    return Sizes(
        scale,
        (
            ("num_feat", num_feat),
            ("mid_feat", mid_feat),
            ("num_pairs", num_pairs),
            ("attention_blocks", attention_blocks),
        ),
        receptive_radius=6 + 4 * num_pairs + 2 * sum(attention_blocks),
        tag=f"c{num_feat}m{mid_feat}b{num_pairs}e{blocks}",
        words=f"{num_feat} channels, {mid_feat} in the attention, "
        f"{counted(num_pairs, 'pair')} of blocks, {blocks} ERBs in the attention blocks",
    )
