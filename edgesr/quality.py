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
from edgesr.overlap import choose_overlap, stated_radius
from edgesr.runtime import open_model
from edgesr.train.pictures import Pair, validation_pairs
from edgesr.upscale import Upscaler

if TYPE_CHECKING:
    from torch import nn

#: Name of a set in the literature -> its folder.
SETS = {"Set5": "Set5", "Set14": "Set14", "B100": "BSD100"}

#: Takes RGB height x width x 3 and gives it a whole number of times as high and wide.
Upscale = Callable[[Uint8Array], Uint8Array]


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
    made = [(upscale(pair.lr_hwc_u8), pair.hr_hwc_u8) for pair in pairs]
    return Quality(
        name,
        len(made),
        float(np.mean([psnr_y(ours, wanted, scale) for ours, wanted in made])),
        float(np.mean([ssim_y(ours, wanted, scale) for ours, wanted in made])),
    )


def by_bicubic(scale: int) -> Upscale:
    """MATLAB's bicubic: what is there without a network."""
    return lambda lr_hwc_u8: imresize(lr_hwc_u8, scale)


def by_network(net: "nn.Module", value_range: float) -> Upscale:
    """PyTorch on the CPU, the whole picture at once.

    Args:
        net: In eval mode; it takes and gives RGB in [0, value_range].
        value_range: Upper end of the network's own range.
    """
    import torch

    from edgesr.train.validate import upscaled

    return lambda lr_hwc_u8: upscaled(net, lr_hwc_u8, value_range, torch.device("cpu"))


def by_file(path: Path, threads: int | None = None) -> Upscale:
    """A `.tflite` on the CPU, as `edgesr upscale` runs it: by tiles, rounded to 8 bits.

    Raises:
        ModelFileError: The file is unreadable, or not a super-resolution model.
    """
    runner = open_model(path, threads=threads)
    overlap, _ = choose_overlap(stated_radius(path), None, runner.shape)
    upscaler = Upscaler(runner, overlap)

    def upscale(lr_hwc_u8: Uint8Array) -> Uint8Array:
        return np.asarray(upscaler.upscale(Picture(lr_hwc_u8)).pixels_hwc, np.uint8)

    return upscale
