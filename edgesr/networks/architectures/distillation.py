"""Blocks shared by the information multi-distillation networks.

Source: Hui et al., "Lightweight Image Super-Resolution with Information Multi-distillation
Network", ACM MM 2019, section 3.2.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from edgesr.errors import ArchitectureError
from edgesr.networks.architectures.collapsible import PLAIN, BlockKind

SLOPE = 0.05


class DistillationBlock(nn.Module):
    """Three times: convolve, keep a quarter of the channels aside, go on with the rest.

    The four kept parts are joined by a 1x1 convolution and added to the block's input.
    Shapes are N x C x H x W in and out.

    Args:
        num_feat: C; 4 or more. Of widths with no whole quarter the kept parts are rounded down.
        kind: What the 3x3 convolutions are made of.

    Raises:
        ArchitectureError: There is no channel to keep.
    """

    def __init__(self, num_feat: int, kind: BlockKind = PLAIN) -> None:
        super().__init__()
        if num_feat < 4:
            raise ArchitectureError(f"distillation: got num_feat {num_feat}, allowed 4 or more")
        self.num_distilled = num_feat // 4
        self.num_remaining = num_feat - self.num_distilled
        self.c1 = kind.conv3x3(num_feat, num_feat)
        self.c2 = kind.conv3x3(self.num_remaining, num_feat)
        self.c3 = kind.conv3x3(self.num_remaining, num_feat)
        self.c4 = kind.conv3x3(self.num_remaining, self.num_distilled)
        self.c5 = nn.Conv2d(4 * self.num_distilled, num_feat, 1)
        self.act = nn.LeakyReLU(SLOPE)

    def distilled(self, x: Tensor) -> Tensor:
        """The four kept parts, one behind the other: N x C x H x W."""
        sizes = [self.num_distilled, self.num_remaining]
        kept1, rest = torch.split(self.act(self.c1(x)), sizes, dim=1)
        kept2, rest = torch.split(self.act(self.c2(rest)), sizes, dim=1)
        kept3, rest = torch.split(self.act(self.c3(rest)), sizes, dim=1)
        return torch.cat([kept1, kept2, kept3, self.c4(rest)], dim=1)

    def forward(self, x: Tensor) -> Tensor:
        """Distil: N x C x H x W to the same."""
        return self.c5(self.distilled(x)) + x


class ContrastAttention(nn.Module):
    """Contrast-aware channel attention: each channel by a factor that the whole image decides.

    The factors are drawn from each channel's standard deviation and mean over all pixels, hence a
    tile of an image does not get the image's own.

    Source: the ACM MM 2019 paper, section 3.3.

    Args:
        num_feat: Channels in and out.
        reduction: How many times narrower the inside is.
    """

    def __init__(self, num_feat: int, reduction: int = 16) -> None:
        super().__init__()
        self.conv_du = nn.Sequential(
            nn.Conv2d(num_feat, num_feat // reduction, 1),
            nn.ReLU(),
            nn.Conv2d(num_feat // reduction, num_feat, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """N x C x H x W to the same."""
        mean = x.mean((2, 3), keepdim=True)
        deviation = (x - mean).square().mean((2, 3), keepdim=True).sqrt()
        return x * self.conv_du(deviation + mean)


class ProgressiveBlock(nn.Module):
    """Convolve, keep `step` channels aside, go on with the rest, until only `step` are left.

    All kept parts are joined by a 1x1 convolution, `c<n+1>`, and added to the block's input.
    Shapes are N x C x H x W in and out, where C is the first width.

    Args:
        widths: Channels that each 3x3 convolution gives; what is left of them after `step` are
            kept goes into the next.
        step: Channels kept aside of each.
        act: The activation behind each of the 3x3 convolutions.
        conv3x3: Makes one of these from its channels in and out.
        join_bias: Whether the 1x1 convolution has one.
    """

    def __init__(
        self,
        widths: tuple[int, ...],
        step: int,
        act: nn.Module,
        conv3x3: Callable[[int, int], nn.Module],
        *,
        join_bias: bool = True,
    ) -> None:
        super().__init__()
        inputs = [widths[0], *(width - step for width in widths[:-1])]
        for index, (into, out) in enumerate(zip(inputs, widths, strict=True), 1):
            setattr(self, f"c{index}", conv3x3(into, out))
        join = nn.Conv2d(step * len(widths), widths[0], 1, bias=join_bias)
        setattr(self, f"c{len(widths) + 1}", join)
        self.count = len(widths)
        self.step = step
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        """Distil: N x C x H x W to the same."""
        kept: list[Tensor] = []
        rest = x
        for index in range(1, self.count + 1):
            rest = self.act(self.get_submodule(f"c{index}")(rest))
            if index < self.count:
                part, rest = torch.split(rest, [self.step, rest.shape[1] - self.step], dim=1)
                kept.append(part)
        kept.append(rest)
        return self.get_submodule(f"c{self.count + 1}")(torch.cat(kept, dim=1)) + x


class Shortcut(nn.Module):
    """Layers one after the other, with their input added at the end."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.sub = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """N x C x H x W to the same."""
        return x + self.sub(x)
