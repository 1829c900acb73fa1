"""Error of tiling for networks with a global receptive field.

Tiles of such a network are not exact: its attention uses the tile's statistics instead of the
image's. The difference is measured with the published weights in PyTorch, for every scale on the
same inputs: a benchmark set's images at half their size. The tiles are smaller than a file's
720x480, since these images are. Both results are rounded to 8 bits; the PSNR is on Y, shaved by
the scale.

    python benchmarks/tiles_against_whole.py

writes edgesr/weights/tiled.json, which `edgesr models` and `edgesr upscale` read. The
checkpoints and the images are those under EDGESR_SHARED.
"""

import argparse
import json
import os
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from torch import nn

from edgesr.common.files import atomic_outputs
from edgesr.common.machine import commit, processor
from edgesr.evaluation.benchmark_sets import benchmark_set, by_network
from edgesr.images.files import ImageData
from edgesr.images.metrics import Uint8Array, psnr_y
from edgesr.networks.spec import ArchSpec, all_specs
from edgesr.runtime.session import Float32Array
from edgesr.tflite.facts import Reach
from edgesr.tflite.shape import ModelShape
from edgesr.upscaling.tiling import choose_overlap
from edgesr.upscaling.upscaler import Upscaler
from edgesr.weights.bundled import TILED_QUALITY, WEIGHTS_FOLDER, stem
from edgesr.weights.checkpoints import load, weights_sha256


def main() -> None:
    """Measure every such network with published weights."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--set", default="Set5", help="benchmark set, of which x2/LR is used")
    parser.add_argument("--tile", default="128x96", help="HxW")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    height, width = map(int, args.tile.split("x"))
    found = {
        stem(spec): _measure(spec, args.set, height, width)
        for spec in all_specs()
        if spec.whole_image and spec.published
    }
    conditions = {"torch": version("torch"), "processor": processor(), "commit": commit()}
    with atomic_outputs([WEIGHTS_FOLDER / TILED_QUALITY], overwrite=True) as (path,):
        path.write_text(json.dumps({**found, "conditions": conditions}, indent=2) + "\n")


def _measure(spec: ArchSpec, name: str, height: int, width: int) -> dict[str, object]:
    """Compare the tiled and the untiled results of one network."""
    assert spec.published is not None
    path = Path(os.environ["EDGESR_SHARED"], "reference", spec.published.filename)
    checkpoint = load(path)
    assert checkpoint.sha256 == spec.published.sha256, f"{path} is not the published file"
    runner = _TorchRunner(checkpoint.net, spec.value_range, ModelShape(height, width, spec.scale))
    reach = Reach(spec.receptive_radius, spec.size_multiple, spec.whole_image)
    tiled = Upscaler(runner, choose_overlap(reach, None, runner.shape)[0])
    whole = by_network(checkpoint.net, spec.value_range)
    images: list[dict[str, object]] = []
    for pair in benchmark_set(Path(os.environ["EDGESR_SHARED"], "data"), name, 2):
        pixels: Uint8Array = pair.lr_hwc_u8
        upscaled = tiled.upscale(ImageData(pixels)).pixels_hwc
        psnr_db = psnr_y(np.asarray(upscaled, np.uint8), whole(pixels), spec.scale)
        images.append({"size": list(pixels.shape[:2]), "psnr_db": psnr_db})
        print(spec.name, spec.scale, images[-1], flush=True)
    values = [float(str(entry["psnr_db"])) for entry in images]
    return {
        "weights": spec.published.filename,
        "weights_sha256": weights_sha256(checkpoint.net),
        "set": name,
        "tile": {"height": height, "width": width},
        "psnr_db": float(np.mean(values)),
        "lowest_db": min(values),
        "images": images,
    }


class _TorchRunner:
    """A network in PyTorch as a runner of one fixed size."""

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
        """Do nothing: there is nothing to release."""


if __name__ == "__main__":
    main()
