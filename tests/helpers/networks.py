"""What the tests of networks share: their list, random weights, comparison, reach, real PSNR."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from edgesr.images.metrics import psnr_y
from edgesr.networks.spec import all_specs

#: Every network, for `parametrize`.
SPECS = [pytest.param(spec, id=f"{spec.name}-x{spec.scale}") for spec in all_specs()]
#: Every network and whether it is in training form.
FORMS = [
    pytest.param(spec, form, id=f"{spec.name}-x{spec.scale}-{'training' if form else 'plain'}")
    for spec in all_specs()
    for form in ((False, True) if spec.has_training_form else (False,))
]


def randomise(module: nn.Module, seed: int, *, smallest_variance: float = 0.05) -> nn.Module:
    """Random weights, biases and batch-norm statistics, in eval mode.

    Half of the batch norms' factors are negative. Their variances lie between `smallest_variance`
    and 4, in equal shares per decade.
    """
    draw = torch.Generator().manual_seed(seed)

    def normal(like: Tensor, deviation: float) -> Tensor:
        return deviation * torch.randn(like.shape, generator=draw, dtype=torch.float64)

    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, nn.Conv2d):
                fan_in = part.weight[0].numel()
                part.weight.copy_(normal(part.weight, fan_in**-0.5))
                if part.bias is not None:
                    part.bias.copy_(normal(part.bias, 0.5))
            if isinstance(part, nn.BatchNorm2d):
                for tensor in (part.running_mean, part.weight, part.bias):
                    if tensor is not None:
                        tensor.copy_(normal(tensor, 0.5))
                if part.running_var is not None:
                    share = torch.rand(part.num_features, generator=draw, dtype=torch.float64)
                    part.running_var.copy_(smallest_variance ** (1 - share) * 4**share)
    return module.eval()


def random_image(seed: int, *shape: int, dtype: torch.dtype) -> Tensor:
    """Uniform noise in [0, 1]."""
    draw = torch.Generator().manual_seed(seed)
    return torch.rand(shape, generator=draw, dtype=torch.float64).to(dtype)


def assert_same(expected: Tensor, got: Tensor, limit: float) -> None:
    """Fail, saying where, if any value differs by more than `limit` of the expected range."""
    expected, got = expected.detach(), got.detach()
    assert got.shape == expected.shape
    assert got.dtype == expected.dtype
    span = float(expected.max() - expected.min())
    assert np.isfinite(span)
    assert span > 0, "a constant output compares nothing"
    difference = (got - expected).abs() / span
    worst = float(difference.max())
    where = np.unravel_index(int(difference.argmax()), tuple(difference.shape))
    assert worst <= limit, (
        f"max abs difference {worst:.3g} of the output's range {span:.3g}, allowed {limit:.0e}; "
        f"at (n, c, y, x) = {tuple(int(i) for i in where)} of {tuple(difference.shape)}"
    )


def reach(net: nn.Module, scale: int, radius: int, size_multiple: int = 1) -> int:
    """The farthest LR pixel, in rows or columns, that changes the HR pixels of one in the middle.

    Measured by the gradient in float64, on an image that leaves room for two pixels more than
    `radius` on each side. Where the head lowers the resolution, pixels see differently far; then
    each place in its grid is tried.
    """
    net = net.double().eval()
    start = radius + 2 + (-(radius + 2)) % size_multiple
    side = 2 * start + size_multiple
    side += -side % size_multiple
    lr_nchw = random_image(0, 1, 3, side, side, dtype=torch.float64)
    lr_nchw.requires_grad_(True)
    hr_nchw = net(lr_nchw)
    farthest = 0
    for middle in range(start, start + size_multiple):
        own = slice(middle * scale, (middle + 1) * scale)
        (gradient,) = torch.autograd.grad(
            hr_nchw[:, :, own, own].square().sum(), lr_nchw, retain_graph=True
        )
        touched = torch.nonzero(gradient.abs().sum((0, 1)))
        farthest = max(farthest, int((touched - middle).abs().max()))
    return farthest


def set5_psnr(
    net: nn.Module, shared: Path, scale: int, value_range: float, names: Sequence[str] = ()
) -> dict[str, float]:
    """PSNR on Y of each image of Set5 (or of those named), in dB; LR by MATLAB's bicubic."""
    folder = shared / "data" / "Set5" / f"x{scale}"
    files = sorted((folder / "LR").glob("*.png"))
    return {
        file.stem: psnr_y(_upscale(net, _rgb(file), value_range), _rgb(folder / "HR" / file.name),
                          shave=scale)
        for file in files
        if not names or file.stem in names
    }  # fmt: skip


def _rgb(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def _upscale(net: nn.Module, lr_hwc_u8: np.ndarray, value_range: float) -> np.ndarray:
    factor = value_range / 255
    lr_nchw = torch.from_numpy(lr_hwc_u8.astype(np.float32) * factor).permute(2, 0, 1)[None]
    with torch.no_grad():
        hr_nchw = net(lr_nchw) / factor
    return hr_nchw[0].permute(1, 2, 0).round().clamp(0, 255).to(torch.uint8).numpy()
