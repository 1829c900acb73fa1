"""Rewrites of third-party networks up to the file, on the CPU and the GPU accelerator."""

from pathlib import Path

import onnx
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from converters import pipeline
from converters.manifest import Manifest
from converters.onnx_graph.third_party import read_onnx
from converters.spec import ConversionSpec
from converters.third_party_source import onnx_source
from edgesr.runtime.vulkan import Driver
from edgesr.tflite.resize import fits_any_size
from helpers.network_kinds.blocks import channel_shuffle
from helpers.third_party_nets import Exporter, conv, exported

pytestmark = [pytest.mark.usefixtures("one_torch_thread"), pytest.mark.slow]

_SIDE = 16


class _Everything(nn.Module):
    """PixelUnshuffle, layer norm and linear layers with the channels last, hard-swish, gates."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.gate, self.last = conv(12, 16), conv(16, 16), nn.Conv2d(16, 48, 3)
        self.norm = nn.LayerNorm(16)
        self.wide, self.narrow = nn.Linear(16, 24), nn.Linear(24, 16)

    def forward(self, lr_nchw: Tensor) -> Tensor:
        x = F.hardswish(self.first(F.pixel_unshuffle(lr_nchw, 2)))
        last = self.norm(x.permute(0, 2, 3, 1))
        x = x + self.narrow(F.gelu(self.wide(last))).permute(0, 3, 1, 2)
        x = x * F.hardsigmoid(self.gate(x))
        x = self.last(F.pad(x, (1, 1, 1, 1), mode="replicate"))
        return F.pixel_shuffle(0.5 + 0.2 * x, 4).clamp(0, 1)


@pytest.mark.parametrize("exporter", ["old", "new"])
def test_gelu_and_slopes_where_the_height_equals_the_channels(
    tmp_path: Path, exporter: Exporter, vulkan_driver: Driver
) -> None:
    torch.manual_seed(0)
    slopes = nn.PReLU(_SIDE)
    with torch.no_grad():
        slopes.weight.uniform_(-0.3, 0.7)
    net = nn.Sequential(
        conv(3, _SIDE), slopes, conv(_SIDE, _SIDE), nn.GELU(), conv(_SIDE, 12), nn.PixelShuffle(2)
    ).eval()
    manifest = _converted(net, exporter, tmp_path)
    assert {"PRELU", "GELU"} < set(manifest.operators)
    assert manifest.gpu.accelerator == "passed", vulkan_driver


class _Moving(nn.Module):
    """A channel shuffle behind a concat, channels assigned in place, a bicubic skip."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.inner = conv(3, 8), conv(3, 8), conv(4, 4)
        self.tail = nn.Sequential(conv(16, 12), nn.PixelShuffle(2))

    def forward(self, lr_nchw: Tensor) -> Tensor:
        joined = torch.cat([torch.relu(self.left(lr_nchw)), torch.tanh(self.right(lr_nchw))], 1)
        x = channel_shuffle(joined, 4) + joined
        x[:, :4] = torch.tanh(self.inner(x[:, :4]))
        large = F.interpolate(lr_nchw, scale_factor=2, mode="bicubic", align_corners=False)
        return large + 0.1 * self.tail(x)


def test_moved_channels_and_a_bicubic_skip(tmp_path: Path, vulkan_driver: Driver) -> None:
    torch.manual_seed(0)
    manifest = _converted(_Moving().eval(), "old", tmp_path)
    assert "CONCATENATION" in manifest.operators
    assert manifest.gpu.accelerator == "passed", vulkan_driver


@pytest.mark.parametrize("exporter", ["old", "new"])
def test_what_the_gpu_has_in_other_forms(
    tmp_path: Path, exporter: Exporter, vulkan_driver: Driver
) -> None:
    torch.manual_seed(0)
    manifest = _converted(_Everything().eval(), exporter, tmp_path)
    written = set(manifest.operators)
    assert {"SPACE_TO_DEPTH", "GELU", "HARD_SWISH", "RELU", "MINIMUM", "STRIDED_SLICE"} < written
    assert not written & {"TRANSPOSE", "RESHAPE", "RELU_0_TO_1", "MIRROR_PAD", "FULLY_CONNECTED"}
    assert manifest.gpu.accelerator == "passed", vulkan_driver
    assert fits_any_size((tmp_path / manifest.file).read_bytes())


def _converted(net: nn.Module, exporter: Exporter, folder: Path) -> Manifest:
    path = folder / "net.onnx"
    onnx.save(exported(net, exporter, height=_SIDE, width=24, dynamic=False), str(path))
    source, spec = onnx_source(read_onnx(path), _SIDE, 24), ConversionSpec(_SIDE, 24)
    outputs = pipeline.default_outputs(source, spec, folder)
    (manifest,) = pipeline.convert(source, spec, outputs, gpu_gate=True, threads=1)
    return manifest
