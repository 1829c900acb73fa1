"""PSNR and SSIM on the benchmark sets, as the literature measures them.

The images are not part of the project: `<folder>/<set>/x<scale>/{HR,LR}`, LR by MATLAB's bicubic.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgesr.images.datasets import Pair, validation_pairs
from edgesr.images.files import ImageData
from edgesr.images.imresize import imresize
from edgesr.images.metrics import Uint8Array, psnr_y, ssim_y
from edgesr.runtime.session import open_model
from edgesr.tflite.facts import read_reach
from edgesr.upscaling.tiling import choose_overlap
from edgesr.upscaling.upscaler import ImageUpscaler, Upscaler

if TYPE_CHECKING:
    import torch
    from torch import nn

#: Name of a set in the literature -> its folder.
SETS = {"Set5": "Set5", "Set14": "Set14", "B100": "BSD100"}

#: RGB uint8, height x width x 3 -> the same, a whole number of times as high and wide.
Upscale = Callable[[Uint8Array], Uint8Array]

#: Upscaled image, HR image, pixels to shave off each edge -> value.
Metric = Callable[[Uint8Array, Uint8Array, int], float]


@dataclass(frozen=True)
class Quality:
    """Means over one set.

    Attributes:
        name: The set.
        images: Number of images.
        psnr_db: On Y, 8 bits, `scale` pixels shaved.
        ssim: Likewise.
    """

    name: str
    images: int
    psnr_db: float
    ssim: float


def benchmark_set(folder: Path, name: str, scale: int) -> list[Pair]:
    """Read the images of one set.

    Args:
        folder: Holds one folder per set.
        name: One of SETS.
        scale: How many times as large HR is as LR.

    Raises:
        ImageError: The set is missing, or an image is unreadable.
    """
    return validation_pairs(folder / SETS[name] / f"x{scale}", scale)


def measure(upscale: Upscale, name: str, pairs: Sequence[Pair], scale: int) -> Quality:
    """Upscale every image and compare it with the HR image."""
    psnr_db, ssim = _means((psnr_y, ssim_y), upscale, pairs, scale)
    return Quality(name, len(pairs), psnr_db, ssim)


def mean_psnr(upscale: Upscale, pairs: Sequence[Pair], scale: int) -> float:
    """Mean PSNR over images, in dB, without the slower SSIM."""
    (psnr_db,) = _means((psnr_y,), upscale, pairs, scale)
    return psnr_db


def _means(
    metrics: Sequence[Metric], upscale: Upscale, pairs: Sequence[Pair], scale: int
) -> list[float]:
    """Mean of each metric over all images, `scale` pixels shaved off each edge."""
    values = [
        [metric(made, pair.hr_hwc_u8, scale) for metric in metrics]
        for pair in pairs
        for made in [upscale(pair.lr_hwc_u8)]
    ]
    return [float(np.mean(column)) for column in zip(*values, strict=True)]


def by_bicubic(scale: int) -> Upscale:
    """MATLAB's bicubic, the baseline without a network."""
    return lambda lr_hwc_u8: imresize(lr_hwc_u8, scale)


def by_network(
    net: "nn.Module", value_range: float, device: "torch.device | None" = None
) -> Upscale:
    """A PyTorch network, untiled, rounded to 8 bits.

    Args:
        net: In eval mode, on `device`; its input and output are RGB in [0, value_range].
        value_range: Upper end of the network's value range.
        device: Of the network, which runs in float32; by default the CPU.
    """
    import torch

    @torch.no_grad()
    def upscale(lr_hwc_u8: Uint8Array) -> Uint8Array:
        # A copy: the images of a store are read-only, which torch does not support.
        lr_nchw = torch.from_numpy(lr_hwc_u8.copy()).to(device).permute(2, 0, 1)[None].float()
        lr_nchw = lr_nchw.contiguous(memory_format=torch.channels_last) * (value_range / 255)
        hr_nchw = net(lr_nchw) * (255 / value_range)
        return hr_nchw[0].permute(1, 2, 0).round().clamp(0, 255).to(torch.uint8).cpu().numpy()

    return upscale


def by_file(path: Path, threads: int | None = None) -> Upscale:
    """A `.tflite` on the CPU as `edgesr upscale` runs it: tiled, rounded to 8 bits.

    Raises:
        ModelFileError: The file is unreadable, or not a super-resolution model.
    """
    runner = open_model(path, threads=threads)
    overlap, _ = choose_overlap(read_reach(path), None, runner.shape)
    return by_upscaler(Upscaler(runner, overlap))


def by_upscaler(upscaler: ImageUpscaler) -> Upscale:
    """An upscaler on images of any size, rounded to 8 bits."""

    def upscale(lr_hwc_u8: Uint8Array) -> Uint8Array:
        return np.asarray(upscaler.upscale(ImageData(lr_hwc_u8)).pixels_hwc, np.uint8)

    return upscale
