"""Training-time branches folded into single convolutions, exactly.

Two layers: pure functions on kernels (`collapse`, `parallel`, `norm_before`, ...), and `fold`,
which replaces every block of a network that says how it folds. The functions are linear algebra
on weights; they compute in float64 or in the `dtype` they are given, return the dtype of the
weights and are differentiable: training convolves once with the folded kernel instead of running
all the branches (`edgesr.networks.architectures.collapsible`).

Sources: Ding et al., "RepVGG: Making VGG-style ConvNets Great Again", CVPR 2021 (parallel branches,
batch norm); Zhang et al., "Edge-oriented Convolution Block for Real-time Super Resolution on Mobile
Devices", ACM MM 2021 (bias padding); Du et al., "Fast and Memory-Efficient Network Towards
Efficient Image Super-Resolution", CVPRW 2022 (the two residuals).
"""

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from edgesr.errors import ConversionError

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

#: The modules that may hold parameters in a plain net. Exact types: a subclass, or a module that
#: torch's parametrizations have replaced, computes something else with the same parameters.
_PLAIN_TYPES = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear, nn.PReLU)
_NAMES_SHOWN = 3


class Kernel(NamedTuple):
    """A convolution of stride 1 that keeps height and width: its odd K is padded by K // 2.

    Attributes:
        weight: Out x in x K x K.
        bias: Out.
    """

    weight: Tensor
    bias: Tensor

    @property
    def size(self) -> int:
        """K: rows and columns of the kernel."""
        return self.weight.shape[-1]

    @classmethod
    def of(cls, conv: nn.Conv2d) -> "Kernel":
        """The kernel of a convolution, whatever pads its input; not a copy.

        Raises:
            ConversionError: It has a stride, a dilation, groups, an even or oblong kernel, or pads
                with anything but zeros.
        """
        rows, columns = conv.kernel_size
        simple = conv.stride == conv.dilation == (1, 1) and conv.groups == 1
        if not simple or conv.padding_mode != "zeros" or rows != columns or rows % 2 == 0:
            raise ConversionError(
                f"cannot fold {conv}: allowed stride 1, dilation 1, groups 1, zero padding and a "
                "square kernel of odd size; leave it out of the block that folds"
            )
        return cls(conv.weight, _zeros(conv.weight) if conv.bias is None else conv.bias)

    def to(self, dtype: torch.dtype) -> "Kernel":
        """The same in another precision; float64 between two steps saves a rounding."""
        return Kernel(self.weight.to(dtype), self.bias.to(dtype))

    def double(self) -> "Kernel":
        """The same in float64."""
        return self.to(torch.float64)


class ChannelAffine(NamedTuple):
    """Batch norm in eval mode: y = scale x + shift, channel by channel.

    Attributes:
        scale: One factor per channel.
        shift: One summand per channel; also what the batch norm makes of a zero.
    """

    scale: Tensor
    shift: Tensor

    @classmethod
    def of(cls, norm: nn.BatchNorm2d) -> "ChannelAffine":
        """From the running statistics, in the dtype of these.

        Raises:
            ConversionError: The batch norm keeps no running statistics.
        """
        mean, variance = norm.running_mean, norm.running_var
        if mean is None or variance is None:
            raise ConversionError(
                f"cannot fold {norm}: it keeps no running statistics, so it is no fixed function; "
                "train it with track_running_stats=True"
            )
        scale = torch.rsqrt(variance.double() + norm.eps)
        # torch types them as Tensors, but without affine parameters they are None.
        if norm.affine:
            scale = scale * norm.weight.double()
        shift = -mean.double() * scale
        if norm.affine:
            shift = shift + norm.bias.double()
        return cls(scale.to(mean.dtype), shift.to(mean.dtype))

    def double(self) -> "ChannelAffine":
        """The same in float64."""
        return ChannelAffine(self.scale.double(), self.shift.double())


def pad_with(x_nchw: Tensor, value_per_channel: Tensor) -> Tensor:
    """Pad by one pixel on each side with a value of each channel's own.

    A zero-padded image that has gone through a 1x1 convolution has the convolution's bias in
    the border, not zero; after a batch norm it has the norm's shift. Only a training form that
    pads so is one zero-padded convolution after folding, up to the last pixel.

    Args:
        x_nchw: N x C x H x W.
        value_per_channel: C.

    Returns:
        N x C x (H + 2) x (W + 2).
    """
    count, channels, height, width = x_nchw.shape
    border = value_per_channel.reshape(1, channels, 1, 1)
    padded = border.expand(count, channels, height + 2, width + 2).clone()
    padded[:, :, 1:-1, 1:-1] = x_nchw
    return padded


def identity(channels: int, *, like: Tensor) -> Kernel:
    """The 1x1 kernel that gives back its input, in the dtype and on the device of `like`."""
    weight = torch.eye(channels, dtype=like.dtype, device=like.device)
    return Kernel(weight[:, :, None, None], weight.new_zeros(channels))


def parallel(first: Kernel, *others: Kernel, dtype: torch.dtype = torch.float64) -> Kernel:
    """The sum of convolutions of one input; a smaller kernel lies in the middle of the largest.

    Exact everywhere with zero padding: a smaller kernel reads none of the wider border.

    Raises:
        ConversionError: The kernels differ in channels.
    """
    kernels = [kernel.to(dtype) for kernel in (first, *others)]
    if len({kernel.weight.shape[:2] for kernel in kernels}) > 1:
        got = ", ".join(_sizes(kernel) for kernel in kernels)
        raise ConversionError(f"cannot add kernels {got}: allowed are equal channels out and in")
    size = max(kernel.size for kernel in kernels)
    weight = sum((_centred(k.weight, size) for k in kernels[1:]), _centred(kernels[0].weight, size))
    bias = sum((kernel.bias for kernel in kernels[1:]), kernels[0].bias)
    return Kernel(weight, bias).to(first.weight.dtype)


def pointwise_first(
    pointwise: Kernel, kernel: Kernel, *, dtype: torch.dtype = torch.float64
) -> Kernel:
    """A 1x1 convolution, then one of any size.

    Exact at the border if what lies between is padded with the 1x1's bias (or that is zero).

    Raises:
        ConversionError: The first is not 1x1, or their channels do not meet.
    """
    _check_chain(pointwise, kernel, pointwise=pointwise)
    first, then = pointwise.to(dtype), kernel.to(dtype)
    weight = torch.einsum("oayx,ai->oiyx", then.weight, first.weight[:, :, 0, 0])
    bias = then.bias + then.weight.sum((2, 3)) @ first.bias
    return Kernel(weight, bias).to(kernel.weight.dtype)


def pointwise_last(
    kernel: Kernel, pointwise: Kernel, *, dtype: torch.dtype = torch.float64
) -> Kernel:
    """A convolution of any size, then a 1x1 one: exact everywhere.

    Raises:
        ConversionError: The second is not 1x1, or their channels do not meet.
    """
    _check_chain(kernel, pointwise, pointwise=pointwise)
    first, then = kernel.to(dtype), pointwise.to(dtype)
    mix = then.weight[:, :, 0, 0]
    weight = (mix @ first.weight.flatten(1)).unflatten(1, first.weight.shape[1:])
    return Kernel(weight, then.bias + mix @ first.bias).to(kernel.weight.dtype)


def collapse(
    expand: Kernel,
    middle: Kernel,
    reduce: Kernel,
    *,
    inner_residual: bool = False,
    outer_residual: bool = False,
    dtype: torch.dtype = torch.float64,
) -> Kernel:
    """A 1x1 convolution, one of any size, and a 1x1 again.

    With e = expand(x): reduce(middle(e) + e) + x, where `inner_residual` is the e that is added
    and `outer_residual` the x. Exact at the border if e is padded with the bias of `expand`.

    Source: the residual in residual block of FMEN, CVPRW 2022.

    Raises:
        ConversionError: The outer two are not 1x1, channels do not meet, or a residual joins
            tensors of different widths.
    """
    # From the end, and with the inner residual as reduce(middle(e)) + reduce(e): so the steps work
    # on a few outputs by many inputs each, and no kernel of the full inner width is copied.
    last = reduce.to(dtype)
    kernel = pointwise_last(middle.to(dtype), last, dtype=dtype)
    if inner_residual:
        kernel = parallel(kernel, Kernel(last.weight, torch.zeros_like(last.bias)), dtype=dtype)
    kernel = pointwise_first(expand, kernel, dtype=dtype)
    if outer_residual:
        residual = identity(expand.weight.shape[1], like=kernel.weight)
        kernel = parallel(kernel, residual, dtype=dtype)
    return kernel.to(middle.weight.dtype)


def norm_before(norm: ChannelAffine, kernel: Kernel) -> Kernel:
    """A batch norm, then a convolution; exact at the border if padded with the norm's shift."""
    affine, wide = norm.double(), kernel.double()
    bias = wide.bias + wide.weight.sum((2, 3)) @ affine.shift
    return Kernel(wide.weight * affine.scale[:, None, None], bias).to(kernel.weight.dtype)


def norm_after(kernel: Kernel, norm: ChannelAffine) -> Kernel:
    """A convolution, then a batch norm: exact everywhere."""
    affine, wide = norm.double(), kernel.double()
    weight = wide.weight * affine.scale[:, None, None, None]
    return Kernel(weight, wide.bias * affine.scale + affine.shift).to(kernel.weight.dtype)


def as_conv(kernel: Kernel, *, like: nn.Conv2d) -> nn.Conv2d:
    """The zero-padded convolution with this kernel, in the dtype and on the device of `like`."""
    outputs, inputs = kernel.weight.shape[:2]
    # On the meta device nothing is drawn: folding must not move the global random generator.
    conv = nn.Conv2d(inputs, outputs, kernel.size, padding=kernel.size // 2, device="meta")
    for name, value in kernel._asdict().items():
        # A kernel may be the very tensors of a layer (`Kernel.of`): hence the copy.
        setattr(conv, name, nn.Parameter(value.detach().to(like.weight, copy=True)))
    return conv


@runtime_checkable
class Foldable(Protocol):
    """A block in training form. A new kind joins by having this method: no list names them."""

    def folded(self) -> nn.Module:
        """The plain block that computes what this one computes in eval mode.

        `fold` calls it on its own copy of the network, inner blocks before outer ones, so the
        result may share with the block whatever is plain already.
        """
        ...


def fold(net: nn.Module) -> nn.Module:
    """Turn a network from its training form into the plain one; a plain one is copied.

    The argument is not changed, nor is the random generator.

    Returns:
        A plain net in eval mode: the same function as `net` in eval mode, in the same dtype.

    Raises:
        ConversionError: The network holds a training-time module that no block knows to fold.
    """
    holder = nn.Sequential(copy.deepcopy(net))  # so that the net itself may be a block that folds
    with torch.no_grad():
        _fold_blocks(holder)
    if offenders := _not_plain(holder[0]):
        shown = ", ".join(offenders[:_NAMES_SHOWN]) + (", ..." if offenders[_NAMES_SHOWN:] else "")
        allowed = ", ".join(kind.__name__ for kind in _PLAIN_TYPES)
        raise ConversionError(
            f"cannot fold {type(net).__name__}: got training-time modules {shown}; allowed with "
            f"parameters: {allowed}; give the block that holds them a folded() method"
        )
    return holder[0].eval()


def _fold_blocks(holder: nn.Module) -> None:
    """Replace every foldable module below `holder`, inner ones before outer ones, in place."""
    successors: dict[nn.Module, nn.Module] = {}  # a block that is used twice stays one block
    # Parents come first in this list, hence from its end.
    for name, block in reversed(list(holder.named_modules(remove_duplicate=False))):
        if isinstance(block, Foldable) and isinstance(block, nn.Module):
            if block not in successors:
                successors[block] = block.folded()
            parent, _, attribute = name.rpartition(".")
            setattr(holder.get_submodule(parent), attribute, successors[block])


def is_plain(net: nn.Module) -> bool:
    """Whether a network is in the form that runs: nothing to fold, nothing that cannot be."""
    return not _not_plain(net)


def _not_plain(net: nn.Module) -> list[str]:
    """The modules that keep a network from being plain, each with its type."""
    return [
        f"{name or 'the net itself'} ({type(module).__name__})"
        for name, module in net.named_modules()
        if isinstance(module, (Foldable, nn.BatchNorm2d))
        or (type(module) not in _PLAIN_TYPES and any(True for _ in module.parameters(False)))
    ]


def _zeros(weight: Tensor) -> Tensor:
    return weight.new_zeros(weight.shape[0])


def _centred(weight: Tensor, size: int) -> Tensor:
    margin = (size - weight.shape[-1]) // 2
    if margin == 0:
        return weight
    return nn.functional.pad(weight, (margin, margin, margin, margin))


def _sizes(kernel: Kernel) -> str:
    return "x".join(str(size) for size in kernel.weight.shape)


def _check_chain(first: Kernel, then: Kernel, *, pointwise: Kernel) -> None:
    if pointwise.size != 1 or first.weight.shape[0] != then.weight.shape[1]:
        raise ConversionError(
            f"cannot chain kernels {_sizes(first)} and {_sizes(then)} (out x in x rows x columns): "
            "allowed a 1x1 beside any, the first's outputs as many as the second's inputs"
        )


#: The most that the two may differ by, as a share of the output's range. float64 shows that the
#: algebra is exact; in float32 the layers of the training form round by themselves.
FLOAT64_LIMIT = 1e-10
FLOAT32_LIMIT = 1e-4


@dataclass(frozen=True)
class FoldEquality:
    """Difference between the training form and the folded form.

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
            larger than the receptive field if the middle of the image is to be compared too.

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

    net = copy.deepcopy(net).to(dtype).eval()
    device = next((p.device for p in net.parameters()), lr_nchw.device)
    lr_nchw = lr_nchw.to(device, dtype)
    with torch.no_grad():
        return net(lr_nchw), fold(net)(lr_nchw)
