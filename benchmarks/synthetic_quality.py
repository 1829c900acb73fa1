r"""PSNR of weights on synthetic images: lines, shapes, writing, waves and one-pixel blocks.

    python benchmarks/synthetic_quality.py --json benchmarks/results/synthetic_quality.json \
        "RTC, ours=edgesr/weights/imdn-rtc_x2.safetensors" "RTC, its authors'=model_RTC.pth"

The images are from `edgesr.training.synthetic_images` with a seed that no training used, LR by
MATLAB's bicubic. The figure of a kind is the PSNR of the mean squared error over its images: some
plain images are upscaled without any error, and the mean of their PSNR would be infinite.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from edgesr.common.files import atomic_outputs
from edgesr.common.machine import commit
from edgesr.evaluation.benchmark_sets import Upscale, by_bicubic, by_network
from edgesr.images.imresize import imresize
from edgesr.images.metrics import psnr_of_mse, psnr_y
from edgesr.networks.reparam import fold
from edgesr.training.synthetic_images import KINDS, draw_image
from edgesr.weights.checkpoints import load, weights_sha256

SEED, SIDE = 1, 320


def main() -> None:
    """Measure, print, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights", nargs="+", metavar="NAME=FILE")
    parser.add_argument("--images", type=int, default=50)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rows: list[dict[str, object]] = []
    for name, path in (entry.rsplit("=", 1) for entry in args.weights):
        checkpoint = load(Path(path))
        scale = checkpoint.spec.scale
        digest = weights_sha256(checkpoint.net)
        network = by_network(fold(checkpoint.net), checkpoint.spec.value_range)
        for label, sha256, upscale in (
            (f"x{scale}, bicubic", None, by_bicubic(scale)),
            (name, digest, network),
        ):
            if label not in [row["name"] for row in rows]:
                kinds = measured(upscale, scale, args.images, label)
                rows.append({"name": label, "weights_sha256": sha256, "psnr_db": kinds})
    show(rows)
    if args.json:
        conditions = {"seed": SEED, "side": SIDE, "images": args.images, "commit": commit()}
        with atomic_outputs([args.json], overwrite=True) as (temporary,):
            record = {"conditions": conditions, "rows": rows}
            temporary.write_text(json.dumps(record, indent=2) + "\n")


def measured(upscale: Upscale, scale: int, images: int, name: str) -> dict[str, float]:
    """PSNR of each kind of image, in dB."""
    errors: dict[str, list[float]] = {kind: [] for kind in KINDS}
    side = SIDE // scale * scale
    for index in track(range(images), description=name, console=Console(stderr=True)):
        hr_hwc_u8 = draw_image(index, side, SEED)
        lr_hwc_u8 = imresize(hr_hwc_u8, 1 / scale)
        psnr_db = psnr_y(upscale(lr_hwc_u8), hr_hwc_u8, shave=scale)
        errors[tuple(KINDS)[index % len(KINDS)]].append(10 ** (-psnr_db / 10))
    return {kind: round(psnr_of_mse(float(np.mean(error))), 2) for kind, error in errors.items()}


def show(rows: Sequence[dict[str, object]]) -> None:
    """Print the table."""
    table = Table("weights", *KINDS)
    for row in rows:
        psnr_db = row["psnr_db"]
        assert isinstance(psnr_db, dict)
        table.add_row(str(row["name"]), *(f"{psnr_db[kind]:.2f}" for kind in KINDS))
    Console().print(table)


if __name__ == "__main__":
    main()
