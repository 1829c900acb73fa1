"""Tiles of third-party networks equal the whole image, whatever their borders and their end."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from converters.onnx_graph.third_party import read_onnx
from converters.pipeline import convert
from converters.spec import ConversionSpec, Precision
from converters.third_party_source import onnx_source
from edgesr.images.files import ImageData
from edgesr.runtime.session import open_model
from edgesr.tflite.facts import read_facts
from edgesr.upscaling.tiling import choose_overlap
from edgesr.upscaling.upscaler import Upscaler
from helpers.third_party_nets import exported

pytestmark = pytest.mark.slow


def _fsrcnn() -> nn.Module:
    """Dong et al. 2016: a transposed convolution at the end."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 5, 1, 2), nn.PReLU(16), nn.Conv2d(16, 8, 1), nn.PReLU(8),
        nn.Conv2d(8, 8, 3, 1, 1), nn.PReLU(8), nn.Conv2d(8, 16, 1), nn.PReLU(16),
        nn.ConvTranspose2d(16, 3, 9, 2, 4, output_padding=1),
    )  # fmt: skip


def _mirrored() -> nn.Module:
    """Convolutions that mirror the image at its border."""
    return nn.Sequential(
        nn.Conv2d(3, 12, 3, 1, 1, padding_mode="reflect"), nn.ReLU(),
        nn.Conv2d(12, 3, 3, 1, 1, padding_mode="reflect"),
        nn.Upsample(scale_factor=2),
    )  # fmt: skip


@pytest.mark.parametrize(("make", "radius"), [(_fsrcnn, 5), (_mirrored, 2)])
def test_tiles_equal_the_whole_image(
    tmp_path: Path, make: Callable[[], nn.Module], radius: int
) -> None:
    torch.manual_seed(0)
    net = make().eval()
    *_, last = (m for m in net.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d))
    assert last.bias is not None
    nn.init.constant_(last.bias, 0.5)  # as bright as the image
    onnx.save(exported(net), tmp_path / "net.onnx")
    file, path = read_onnx(tmp_path / "net.onnx"), tmp_path / "net.tflite"
    convert(
        onnx_source(file, 40, 32), ConversionSpec(40, 32, (Precision.FP32,)),
        {Precision.FP32: path}, threads=1,
    )  # fmt: skip
    facts = read_facts(path)
    assert facts is not None
    assert (facts.receptive_radius, facts.whole_image) == (radius, False)
    image = np.random.default_rng(0).integers(0, 256, (91, 77, 3), dtype=np.uint8)
    runner = open_model(path, threads=1)
    overlap, warning = choose_overlap(facts.reach, None, runner.shape)
    tiled = Upscaler(runner, overlap).upscale(ImageData(image)).pixels_hwc
    whole = file.reference(1.0)(image[None].astype(np.float32) / np.float32(255))[0]
    assert warning is None
    assert np.abs(tiled - (255 * whole).clip(0, 255)).max() < 0.51
