"""Convolutions that train as several layers, at the price of one.

A block in training form is linear, so it equals one 3x3 convolution whose kernel is a product and
sum of the block's own. In training mode its forward folds the kernels, which gradients pass
through, and convolves once; the layers themselves run in eval mode, or when `set_collapsed` says
so. Both give the same values and gradients, but for rounding.

Source: Bhardwaj et al., "Collapsible Linear Blocks for Super-Efficient Super Resolution", MLSys
2022, section 3 (what trains is the wide block, what is computed is the collapsed one).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgesr.common.compat import StrEnum
from edgesr.errors import ArchitectureError
from edgesr.networks.reparam import Kernel, as_conv, collapse, identity, parallel, pointwise_first


class Collapsible(nn.Module):
    """A block that equals one zero-padded convolution of stride 1: what its kinds share.

    A kind says what it computes layer by layer (`expanded`) and as one kernel (`kernel`).

    Attributes:
        collapsed: Whether to convolve once in training mode. Eval mode always runs the layers: it
            is what the folded network is held against.
    """

    def __init__(self) -> None:
        super().__init__()
        self.collapsed = True

    def expanded(self, x: Tensor) -> Tensor:
        """The block layer by layer: N x in x H x W to N x out x H x W."""
        raise NotImplementedError

    def kernel(self, dtype: torch.dtype) -> Kernel:
        """The one kernel, computed in `dtype`, in the dtype of the parameters."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """N x in x H x W to N x out x H x W."""
        if not (self.training and self.collapsed):
            return self.expanded(x)
        # Mixed precision may round the kernel once it is whole, not the factors it is made of:
        # beside the one of an identity, half precision drops what a small step adds.
        with torch.autocast(x.device.type, enabled=False):
            own = next(self.parameters()).dtype
            # float32 rounds no worse than the layers themselves would, without the casts to
            # float64 and back. What is folded for good is folded in float64.
            weight, bias = self.kernel(torch.promote_types(own, torch.float32))
        return F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2)


def set_collapsed(net: nn.Module, collapsed: bool) -> None:
    """Choose whether blocks convolve once in training mode or run layer by layer.

    A new network convolves once. Names and values of the parameters are the same either way.
    """
    for block in net.modules():
        if isinstance(block, Collapsible):
            block.collapsed = collapsed


class WideConv(Collapsible):
    """3x3 convolution that trains wider: 1x1 to more channels, 3x3, 1x1 back, plus the input.

    Only the last layer has a bias: biases before it would add nothing to what a linear block can
    be, and the zero padding of the middle layer stays that of the folded convolution.

    Args:
        inputs: Channels in.
        outputs: Channels out.
        ratio: Channels inside per channel in or out, whichever is more.
        residual: Whether the input is added; needs as many channels out as in.
    """

    def __init__(self, inputs: int, outputs: int, *, ratio: int, residual: bool) -> None:
        super().__init__()
        width = ratio * max(inputs, outputs)
        self.expand = nn.Conv2d(inputs, width, 1, bias=False)
        self.middle = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.reduce = nn.Conv2d(width, outputs, 1)
        self.residual = residual
        self._initialise()

    def _initialise(self) -> None:
        """Draw so that the folded kernel has the variance of torch's own 3x3, 1 / (3 fan-in).

        The variances of three independent factors multiply, times the two widths summed over.
        Each of the 1x1 layers keeps the variance of what it is given; the middle one takes the
        rest.
        """
        for conv, gain in ((self.expand, 1.0), (self.middle, 1 / 3), (self.reduce, 1.0)):
            bound = (
                3 * gain / conv.weight[0].numel()
            ) ** 0.5  # a uniform draw's variance is a third
            nn.init.uniform_(conv.weight, -bound, bound)
        assert self.reduce.bias is not None
        nn.init.zeros_(self.reduce.bias)

    def expanded(self, x: Tensor) -> Tensor:
        """Layer by layer: N x in x H x W to N x out x H x W."""
        filtered = self.reduce(self.middle(self.expand(x)))
        return filtered + x if self.residual else filtered

    def kernel(self, dtype: torch.dtype) -> Kernel:
        """The one 3x3 kernel, computed in `dtype`."""
        layers = (Kernel.of(conv) for conv in (self.expand, self.middle, self.reduce))
        return collapse(*layers, outer_residual=self.residual, dtype=dtype)

    def folded(self) -> nn.Conv2d:
        """The one 3x3 convolution that computes the same."""
        return as_conv(self.kernel(torch.float64), like=self.middle)


class ParallelConv(Collapsible):
    """3x3 convolution with a 1x1 beside it, and the input added where `residual` says so.

    Source: the collapsible block of IMDN's simplified member in Li et al., "NTIRE 2022 Challenge
    on Efficient Super-Resolution: Methods and Results", CVPRW 2022.

    Args:
        inputs: Channels in.
        outputs: Channels out.
        residual: Whether the input is added; needs as many channels out as in.
    """

    def __init__(self, inputs: int, outputs: int, *, residual: bool) -> None:
        super().__init__()
        self.wide = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.point = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.residual = residual

    def expanded(self, x: Tensor) -> Tensor:
        """Layer by layer: N x in x H x W to N x out x H x W."""
        filtered = self.wide(x) + self.point(x)
        return filtered + x if self.residual else filtered

    def kernel(self, dtype: torch.dtype) -> Kernel:
        """The one 3x3 kernel, computed in `dtype`."""
        branches = [Kernel.of(self.wide), Kernel.of(self.point)]
        if self.residual:
            branches.append(identity(self.wide.in_channels, like=self.wide.weight))
        return parallel(*branches, dtype=dtype)

    def folded(self) -> nn.Conv2d:
        """The one 3x3 convolution that computes the same."""
        return as_conv(self.kernel(torch.float64), like=self.wide)


class BranchedConv(Collapsible):
    """3x3 convolution with wider ones beside it, each a 1x1 convolution and a 3x3 behind that.

    Source: IMDN+ in Li et al., "NTIRE 2022 Challenge on Efficient Super-Resolution: Methods and
    Results", CVPRW 2022.

    Args:
        inputs: Channels in.
        outputs: Channels out.
        ratios: Channels between the two of a branch, per channel in; one branch for each.
    """

    def __init__(self, inputs: int, outputs: int, ratios: Sequence[int] = (2, 4)) -> None:
        super().__init__()
        self.direct = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.expands = nn.ModuleList(nn.Conv2d(inputs, ratio * inputs, 1) for ratio in ratios)
        self.convs = nn.ModuleList(nn.Conv2d(ratio * inputs, outputs, 3) for ratio in ratios)

    def expanded(self, x: Tensor) -> Tensor:
        """Layer by layer: N x in x H x W to N x out x H x W."""
        total = self.direct(x)
        # To expand a zero is to get the bias: padding first is padding with the bias behind, which
        # is what makes the fold exact in the border too.
        padded = F.pad(x, (1, 1, 1, 1))
        for expand, conv in zip(self.expands, self.convs, strict=True):
            total = total + conv(expand(padded))
        return total

    def kernel(self, dtype: torch.dtype) -> Kernel:
        """The one 3x3 kernel, computed in `dtype`."""
        branches = [
            pointwise_first(_kernel_of(expand), _kernel_of(conv), dtype=dtype)
            for expand, conv in zip(self.expands, self.convs, strict=True)
        ]
        return parallel(Kernel.of(self.direct), *branches, dtype=dtype)

    def folded(self) -> nn.Conv2d:
        """The one 3x3 convolution that computes the same."""
        return as_conv(self.kernel(torch.float64), like=self.direct)


def _kernel_of(conv: nn.Module) -> Kernel:
    assert isinstance(conv, nn.Conv2d)
    return Kernel.of(conv)


class Form(StrEnum):
    """Training form of a 3x3 convolution."""

    PLAIN = "plain"
    WIDE = "wide"
    PARALLEL = "parallel"
    BRANCHED = "branched"


@dataclass(frozen=True)
class BlockKind:
    """A kind of 3x3 convolution, to build a network of.

    Attributes:
        form: What it is made of.
        ratio: Widening of `Form.WIDE`; the other forms take none.
        skip: Whether a form that has a skip connection uses it.

    Raises:
        ArchitectureError: The ratio is less than 1.
    """

    form: Form = Form.PLAIN
    ratio: int = 4
    skip: bool = True

    def __post_init__(self) -> None:
        if self.ratio < 1:
            raise ArchitectureError(f"block kind: got ratio {self.ratio}, allowed 1 or more")

    def conv3x3(self, inputs: int, outputs: int, *, residual: bool = True) -> nn.Module:
        """One such convolution: N x inputs x H x W to N x outputs x H x W.

        Args:
            inputs: Channels in.
            outputs: Channels out.
            residual: Whether a form that has a skip connection may use it; it does so where
                channels in and out are equal.
        """
        skip = self.skip and residual and inputs == outputs
        match self.form:
            case Form.PLAIN:
                return nn.Conv2d(inputs, outputs, 3, padding=1)
            case Form.WIDE:
                return WideConv(inputs, outputs, ratio=self.ratio, residual=skip)
            case Form.PARALLEL:
                return ParallelConv(inputs, outputs, residual=skip)
            case Form.BRANCHED:
                return BranchedConv(inputs, outputs)


#: What every network is built of unless it is to train.
PLAIN = BlockKind()
