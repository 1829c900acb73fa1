"""A PyTorch module of the caller's: copied, tried and exported; never changed."""

import copy
import warnings
from typing import TYPE_CHECKING

from edgesr.errors import ConversionError, ModuleError, OnnxFileError

if TYPE_CHECKING:
    import onnx
    import torch
    from torch import nn

_ADVICE = (
    "export it with torch.onnx.export, e.g. with dynamo=True, and convert the file, if that works"
)
_REASON_LENGTH = 200
_TRIED = 64  # a side at which a network is tried


def copy_module(module: "nn.Module") -> "nn.Module":
    """Copy a module for conversion: eval mode, float32, on the CPU, without gradients.

    Wrappers for several devices and of torch.compile are left out.

    Args:
        module: In any mode, on any device.

    Raises:
        ModuleError: It cannot be copied.
    """
    from torch import nn

    while True:
        if isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
            inner = module.module
        else:
            inner = getattr(module, "_orig_mod", None)  # torch.compile's wrapper
        if not isinstance(inner, nn.Module):
            break
        module = inner
    try:
        return copy.deepcopy(module).cpu().float().eval().requires_grad_(False)
    except Exception as error:  # a module may hold anything, and refuse to be copied in any way
        raise ModuleError(
            f"module {type(module).__name__} cannot be copied to the CPU: {_first_line(error)}; "
            "keep nothing but parameters and buffers as tensors in it"
        ) from error


def with_colour(net: "nn.Module", height: int, width: int) -> "nn.Module":
    """Let a network of luma upscale RGB, as `converters.onnx_graph.ends.with_colour` does.

    Args:
        net: In eval mode, float32, on the CPU.
        height: Rows of its input.
        width: Columns of it.

    Returns:
        A module of RGB around a network that takes one channel alone; any other as it is.
    """
    import torch

    def run(channels: int, size: tuple[int, int]) -> "torch.Tensor | None":
        try:
            with torch.no_grad():
                hr: object = net(torch.full((1, channels, *size), 0.5))
        except Exception:  # a module may raise anything; the caller runs it again
            return None
        return hr if isinstance(hr, torch.Tensor) else None

    # At a small size first: at the final one a large network takes minutes.
    small = min(height, _TRIED), min(width, _TRIED)
    for size in dict.fromkeys((small, (height, width))):
        if run(3, size) is not None:
            return net
        if (hr_nchw := run(1, size)) is not None:
            scale = _scale(hr_nchw, *size, channels=1)
            return net if scale is None else _coloured(net, scale)
    return net


def _coloured(net: "nn.Module", scale: int) -> "nn.Module":
    import torch
    from torch import nn
    from torch.nn import functional as f

    from converters.onnx_graph.ends import LUMA

    class Coloured(nn.Module):
        """N x 3 x H x W to N x 3 x (scale H) x (scale W)."""

        def __init__(self) -> None:
            super().__init__()
            self.net = net
            parts = torch.tensor(LUMA)
            self.parts = nn.Buffer(parts.reshape(1, 3, 1, 1))
            self.others = nn.Buffer((torch.eye(3) - parts).reshape(3, 3, 1, 1))
            self.each = nn.Buffer(torch.ones(3, 1, 1, 1))

        def forward(self, lr_nchw: torch.Tensor) -> torch.Tensor:
            luma_hr = self.net(f.conv2d(lr_nchw, self.parts))
            rest = f.conv2d(lr_nchw, self.others)
            rest_hr = f.interpolate(rest, scale_factor=scale, mode="bicubic")
            return f.conv2d(luma_hr, self.each) + rest_hr

    return Coloured().eval()


def export_module(net: "nn.Module", label: str, height: int, width: int) -> "onnx.ModelProto":
    """Export a module at one size, as a graph without what the exporter leaves.

    Args:
        net: In eval mode, float32, on the CPU.
        label: Its name in messages.
        height: Rows of the input.
        width: Columns of the input.

    Returns:
        A model with one float32 input `lr`, 1 x 3 x height x width, and one output `hr`.

    Raises:
        ModuleError: The module cannot be run or exported at that size, or its output is no image
            that is a whole multiple of the input.
    """
    from converters.onnx_graph.export import INPUT_NAME, OUTPUT_NAME, export
    from converters.passes.clean import clean

    _check_output(net, label, height, width)
    try:
        with warnings.catch_warnings():
            # About what tracing makes a constant: the analysis finds what then fits one size only.
            warnings.simplefilter("ignore")
            exported = export(net, height, width)
    except Exception as error:  # the exporter raises a dozen types, those of the module too
        raise ModuleError(
            f"torch's ONNX exporter cannot export {label}: {_first_line(error)}; {_ADVICE}"
        ) from error
    try:
        return clean(exported, height, width, INPUT_NAME, OUTPUT_NAME)
    except (ConversionError, OnnxFileError) as error:
        raise ModuleError(f"{label} at {height}x{width}: {error}") from error


def _check_output(net: "nn.Module", label: str, height: int, width: int) -> None:
    """Run a module once, on a grey image, and refuse what is no upscaled image."""
    import torch

    lr_nchw = torch.full((1, 3, height, width), 0.5)
    try:
        with torch.no_grad():
            hr_nchw: object = net(lr_nchw)
    except Exception as error:  # a module may raise anything
        raise ModuleError(
            f"{label} does not run on 1 x 3 x {height} x {width}: {_first_line(error)}; give a "
            "module that maps N x 3 x H x W to N x 3 x sH x sW, or another size"
        ) from error
    if not isinstance(hr_nchw, torch.Tensor):
        raise ModuleError(
            f"{label} returns {type(hr_nchw).__name__}, allowed one tensor; wrap it in a module "
            "that returns the image alone"
        )
    scale = _scale(hr_nchw, height, width)
    if scale is None or not hr_nchw.is_floating_point():
        raise ModuleError(
            f"{label} makes {list(hr_nchw.shape)} ({hr_nchw.dtype}) of {list(lr_nchw.shape)}, "
            "allowed [1, 3, scale x height, scale x width] in float32"
        )


def _scale(hr_nchw: "torch.Tensor", height: int, width: int, channels: int = 3) -> int | None:
    """The upscaling factor; None if the output is no upscaled image of that many channels."""
    shape = tuple(hr_nchw.shape)
    scale = shape[2] // height if len(shape) == 4 else 0
    expected = (1, channels, scale * height, scale * width)
    return scale if scale >= 1 and shape == expected else None


def _first_line(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:_REASON_LENGTH]
