"""What a network makes of the benchmark pictures: PSNR and SSIM, as the literature measures them.

The pictures are no part of the project: `<folder>/<set>/x<scale>/{HR,LR}`, LR by MATLAB's bicubic.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgesr.images import Picture
from edgesr.imresize import imresize
from edgesr.metrics import Uint8Array, psnr_y, ssim_y
from edgesr.overlap import choose_overlap, stated_facts
from edgesr.runtime import open_model
from edgesr.train.pictures import Pair, validation_pairs
from edgesr.upscale import Upscaler
from edgesr.whole import WholeUpscaler

if TYPE_CHECKING:
    import torch
    from torch import nn

#: Name of a set in the literature -> its folder.
SETS = {"Set5": "Set5", "Set14": "Set14", "B100": "BSD100"}

#: Takes RGB height x width x 3 and gives it a whole number of times as high and wide.
Upscale = Callable[[Uint8Array], Uint8Array]

#: Takes an upscaled picture, the large one and how many pixels to shave off each edge.
Metric = Callable[[Uint8Array, Uint8Array, int], float]


@dataclass(frozen=True)
class Quality:
    """Means over one set.

    Attributes:
        name: The set.
        pictures: How many it holds.
        psnr_db: On Y, 8 bits, `scale` pixels shaved.
        ssim: Likewise.
    """

    name: str
    pictures: int
    psnr_db: float
    ssim: float


def benchmark_set(folder: Path, name: str, scale: int) -> list[Pair]:
    """The pictures of one set.

    Args:
        folder: Where the sets lie.
        name: One of SETS.
        scale: How many times as large HR is as LR.

    Raises:
        PictureError: The set is not there, or a picture is unreadable.
    """
    return validation_pairs(folder / SETS[name] / f"x{scale}", scale)


def measure(upscale: Upscale, name: str, pairs: Sequence[Pair], scale: int) -> Quality:
    """Upscale every picture and compare it with the large one."""
    psnr_db, ssim = _means((psnr_y, ssim_y), upscale, pairs, scale)
    return Quality(name, len(pairs), psnr_db, ssim)


def mean_psnr(upscale: Upscale, pairs: Sequence[Pair], scale: int) -> float:
    """The PSNR alone, as a training measures it again and again: a mean over pictures, in dB."""
    (psnr_db,) = _means((psnr_y,), upscale, pairs, scale)
    return psnr_db


def _means(
    metrics: Sequence[Metric], upscale: Upscale, pairs: Sequence[Pair], scale: int
) -> list[float]:
    """Each metric's mean over all pictures, so many pixels shaved off each edge as the scale."""
    values = [
        [metric(made, pair.hr_hwc_u8, scale) for metric in metrics]
        for pair in pairs
        for made in [upscale(pair.lr_hwc_u8)]
    ]
    return [float(np.mean(column)) for column in zip(*values, strict=True)]


def by_bicubic(scale: int) -> Upscale:
    """MATLAB's bicubic: what is there without a network."""
    return lambda lr_hwc_u8: imresize(lr_hwc_u8, scale)


def by_network(
    net: "nn.Module", value_range: float, device: "torch.device | None" = None
) -> Upscale:
    """PyTorch, the whole picture at once, rounded to 8 bits.

    Args:
        net: In eval mode, on `device`; it takes and gives RGB in [0, value_range].
        value_range: Upper end of the network's own range.
        device: Where it computes, in float32; by default the CPU.
    """
    import torch

    @torch.no_grad()
    def upscale(lr_hwc_u8: Uint8Array) -> Uint8Array:
        # A copy: the pictures of a store are read-only, which torch does not know.
        lr_nchw = torch.from_numpy(lr_hwc_u8.copy()).to(device).permute(2, 0, 1)[None].float()
        lr_nchw = lr_nchw.contiguous(memory_format=torch.channels_last) * (value_range / 255)
        hr_nchw = net(lr_nchw) * (255 / value_range)
        return hr_nchw[0].permute(1, 2, 0).round().clamp(0, 255).to(torch.uint8).cpu().numpy()

    return upscale


def by_file(path: Path, threads: int | None = None) -> Upscale:
    """A `.tflite` on the CPU, as `edgesr upscale` runs it: by tiles, rounded to 8 bits.

    Raises:
        ModelFileError: The file is unreadable, or not a super-resolution model.
    """
    runner = open_model(path, threads=threads)
    overlap, _ = choose_overlap(stated_facts(path), None, runner.shape)
    return by_upscaler(Upscaler(runner, overlap))


def by_upscaler(upscaler: Upscaler | WholeUpscaler) -> Upscale:
    """A network in LiteRT on pictures of any size, rounded to 8 bits."""

    def upscale(lr_hwc_u8: Uint8Array) -> Uint8Array:
        return np.asarray(upscaler.upscale(Picture(lr_hwc_u8)).pixels_hwc, np.uint8)

    return upscale
