"""How near the tiles of networks that look at the whole picture come to the picture in one piece.

Tiles of such a network are not exact: its attention sees the tile's statistics and not the
picture's. What that changes is measured with the published weights in PyTorch, for every scale on
the same inputs: a benchmark set's pictures at half their size. The tiles are smaller than a file's
720x480, since these pictures are. Both results are rounded to 8 bits; the PSNR is on Y, shaved by
the scale.

    python benchmarks/tiles_against_whole.py

writes edgesr/weights/tiled.json, from which `edgesr models` and `edgesr upscale` take it. The
checkpoints and the pictures are those under EDGESR_SHARED.
"""

import argparse
import json
import os
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from torch import nn

from converters.bundle import benchmarks_folder
from edgesr.bundled import TILED_QUALITY, WEIGHTS_FOLDER, stem
from edgesr.checkpoints import load, weights_sha256
from edgesr.files import atomic_outputs
from edgesr.images import Picture
from edgesr.machine import commit, processor
from edgesr.metrics import Uint8Array, psnr_y
from edgesr.overlap import StatedFacts, choose_overlap
from edgesr.quality import benchmark_set, by_network
from edgesr.registry import ArchSpec, all_specs
from edgesr.runtime import Float32Array, ModelShape
from edgesr.upscale import Upscaler


def main() -> None:
    """Measure every such network whose published weights are there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--set", default="Set5", help="of benchmark pictures; those of x2/LR are taken"
    )
    parser.add_argument("--tile", default="128x96", help="HxW")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    height, width = map(int, args.tile.split("x"))
    found = {
        stem(spec): _measure(spec, args.set, height, width)
        for spec in all_specs()
        if spec.whole_picture and spec.published
    }
    conditions = {"torch": version("torch"), "processor": processor(), "commit": commit()}
    with atomic_outputs([WEIGHTS_FOLDER / TILED_QUALITY], overwrite=True) as (path,):
        path.write_text(json.dumps({**found, "conditions": conditions}, indent=2) + "\n")


def _measure(spec: ArchSpec, name: str, height: int, width: int) -> dict[str, object]:
    """One network, by tiles and in one piece."""
    assert spec.published is not None
    path = Path(os.environ["EDGESR_SHARED"], "reference", spec.published.filename)
    checkpoint = load(path)
    assert checkpoint.sha256 == spec.published.sha256, f"{path} is not the published file"
    runner = _TorchRunner(checkpoint.net, spec.value_range, ModelShape(height, width, spec.scale))
    facts = StatedFacts(
        spec.name, spec.scale, spec.receptive_radius, spec.size_multiple, spec.whole_picture
    )
    tiled = Upscaler(runner, choose_overlap(facts, None, runner.shape)[0])
    whole = by_network(checkpoint.net, spec.value_range)
    pictures: list[dict[str, object]] = []
    for pair in benchmark_set(benchmarks_folder(), name, 2):
        pixels: Uint8Array = pair.lr_hwc_u8
        made = tiled.upscale(Picture(pixels)).pixels_hwc
        psnr_db = psnr_y(np.asarray(made, np.uint8), whole(pixels), spec.scale)
        pictures.append({"size": list(pixels.shape[:2]), "psnr_db": psnr_db})
        print(spec.name, spec.scale, pictures[-1], flush=True)
    values = [float(str(entry["psnr_db"])) for entry in pictures]
    return {
        "weights": spec.published.filename,
        "weights_sha256": weights_sha256(checkpoint.net),
        "set": name,
        "tile": {"height": height, "width": width},
        "psnr_db": float(np.mean(values)),
        "lowest_db": min(values),
        "pictures": pictures,
    }


class _TorchRunner:
    """A network in PyTorch, run as a file of one fixed size would be."""

    device = None

    def __init__(self, net: nn.Module, value_range: float, shape: ModelShape) -> None:
        self.shape = shape
        self._net = net.to(memory_format=torch.channels_last)
        self._range = value_range

    @torch.no_grad()
    def run(self, lr_nhwc: Float32Array) -> Float32Array:
        """Upscale one tile."""
        lr_nchw = torch.from_numpy(lr_nhwc).permute(0, 3, 1, 2) * self._range
        return (self._net(lr_nchw) / self._range).permute(0, 2, 3, 1).numpy()

    def close(self) -> None:
        """Nothing is held."""


if __name__ == "__main__":
    main()
