"""That a training form and what `reparam.fold` makes of it are the same function, on an input."""

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

#: The most that the two may differ by, as a share of the output's range. float64 shows that the
#: algebra is exact; in float32 the layers of the training form round by themselves.
FLOAT64_LIMIT = 1e-10
FLOAT32_LIMIT = 1e-4


@dataclass(frozen=True)
class FoldEquality:
    """How far the training form and the folded form are apart.

    Attributes:
        max_abs_float64: Largest absolute difference, both forms in float64.
        max_abs_float32: The same in float32, folded weights rounded to float32 as they are saved.
        output_range: Largest less smallest value of the training form's output in float64, in
            the units of the checkpoint (RGB in [0, 1] or [0, 255]).
    """

    max_abs_float64: float
    max_abs_float32: float
    output_range: float

    @property
    def holds(self) -> bool:
        """Whether both differences keep the limits; never where one of them is no number."""
        return (
            self.max_abs_float64 <= FLOAT64_LIMIT * self.output_range
            and self.max_abs_float32 <= FLOAT32_LIMIT * self.output_range
        )


def fold_equality(net: "nn.Module", lr_nchw: "Tensor") -> FoldEquality:
    """Run a network in its training form and folded, in two precisions, and compare every pixel.

    Args:
        net: The network, in either form and mode; it is not changed. The training form runs layer
            by layer with batch norm's running statistics, as in eval mode.
        lr_nchw: N x 3 x H x W, in the checkpoint's value range. It should hold details, and be
            larger than the receptive field if the middle of the picture is to be compared too.

    Raises:
        ConversionError: The network holds a training-time module that no block knows to fold.
    """
    import torch

    wide, folded_wide = _outputs(net, lr_nchw, torch.float64)
    narrow, folded_narrow = _outputs(net, lr_nchw, torch.float32)
    return FoldEquality(
        max_abs_float64=float((wide - folded_wide).abs().max()),
        max_abs_float32=float((narrow - folded_narrow).abs().max()),
        output_range=float(wide.max() - wide.min()),
    )


def _outputs(net: "nn.Module", lr_nchw: "Tensor", dtype: "torch.dtype") -> "tuple[Tensor, Tensor]":
    """What the training form and the folded form make of the input, both in `dtype`."""
    import torch

    from edgesr.reparam import fold

    net = copy.deepcopy(net).to(dtype).eval()
    device = next((p.device for p in net.parameters()), lr_nchw.device)
    lr_nchw = lr_nchw.to(device, dtype)
    with torch.no_grad():
        return net(lr_nchw), fold(net)(lr_nchw)
