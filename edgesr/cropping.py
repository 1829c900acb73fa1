"""The adaptive cropping strategy: any picture through a network that takes multiples only.

IMDN_AS lowers the resolution by 4 in its head, so that height and width of what it is fed are
multiples of 4. A picture of another size is not padded, but run in four parts: one crop from each
corner, with sides that are such multiples and somewhat longer than half of the picture's. Of each
result the quarter in that corner is kept; what the crop shows beyond it keeps its inner borders
away from what is kept.

Source: Hui et al., "Lightweight Image Super-Resolution with Information Multi-distillation
Network", ACM MM 2019, section 3.4. This is its form in PyTorch; a `.tflite` of one fixed size goes
by tiles instead (edgesr/tiling.py), or at the picture's own size (edgesr/whole.py).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgesr.errors import SizeError
from edgesr.tiling import next_multiple, reflect_indices

if TYPE_CHECKING:
    from torch import Tensor

#: How far the crops reach over the picture's middle, in pixels, where it is large enough.
OVERLAP = 32


def run_in_crops(
    net: "Callable[[Tensor], Tensor]",
    lr_nchw: "Tensor",
    multiple: int,
    *,
    overlap: int = OVERLAP,
) -> "Tensor":
    """Run a network on a picture of any size, by four crops where it does not take that size.

    A picture shorter than one multiple is continued by reflection, and the result cropped.

    Args:
        net: Takes N x C x H x W of such multiples, and gives a whole number of times the size.
        lr_nchw: The picture, N x C x H x W.
        multiple: What height and width must be multiples of.
        overlap: Pixels that a crop reaches over the middle, rounded up to a multiple, or less where
            the picture ends.

    Returns:
        The network's result, N x channels x (scale H) x (scale W).

    Raises:
        SizeError: The picture is empty.
    """
    import torch

    height, width = lr_nchw.shape[-2:]
    if min(height, width) < 1:
        raise SizeError(f"got a picture of {height}x{width} pixels, allowed 1x1 and more")
    fed_nchw = _at_least(lr_nchw, multiple)
    fed_height, fed_width = fed_nchw.shape[-2:]
    if fed_height % multiple == 0 and fed_width % multiple == 0:
        hr_nchw = net(fed_nchw)
    else:
        crops_across = _halves(fed_width, multiple, overlap)
        hr_nchw = torch.cat(
            [
                torch.cat([_quarter(net, fed_nchw, down, across) for across in crops_across], -1)
                for down in _halves(fed_height, multiple, overlap)
            ],
            dim=-2,
        )
    scale = hr_nchw.shape[-1] // fed_width
    return hr_nchw[..., : scale * height, : scale * width]


def _quarter(
    net: "Callable[[Tensor], Tensor]", lr_nchw: "Tensor", down: "_Half", across: "_Half"
) -> "Tensor":
    """One crop through the network, and what is kept of it."""
    hr_nchw = net(lr_nchw[..., down.crop, across.crop])
    scale = hr_nchw.shape[-1] // (across.crop.stop - across.crop.start)
    return hr_nchw[..., down.kept(scale), across.kept(scale)]


def _at_least(lr_nchw: "Tensor", side: int) -> "Tensor":
    """The picture, continued by reflection where a side is shorter."""
    height, width = lr_nchw.shape[-2:]
    if height < side:
        lr_nchw = lr_nchw[..., reflect_indices(height, 0, side).tolist(), :]
    if width < side:
        lr_nchw = lr_nchw[..., reflect_indices(width, 0, side).tolist()]
    return lr_nchw


@dataclass(frozen=True)
class _Half:
    """One half of an axis.

    Attributes:
        crop: The pixels that are fed.
        start: First pixel whose result is kept.
        stop: One past the last.
    """

    crop: slice
    start: int
    stop: int

    def kept(self, scale: int) -> slice:
        """What is kept of the crop's result."""
        return slice(scale * (self.start - self.crop.start), scale * (self.stop - self.crop.start))


def _halves(length: int, multiple: int, overlap: int) -> tuple[_Half, _Half]:
    """The two crops along an axis of at least one multiple."""
    middle = length // 2
    longest = length - length % multiple
    side = min(next_multiple(length - middle + overlap, multiple), longest)
    first, second = slice(0, side), slice(length - side, length)
    return _Half(first, 0, middle), _Half(second, middle, length)
