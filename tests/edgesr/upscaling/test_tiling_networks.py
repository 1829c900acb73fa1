"""The real strided networks by tiles: equal to PyTorch on the image completed by reflection."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgesr.networks.architectures.imdn import AttentiveBlock
from edgesr.networks.spec import ArchSpec, build, find_spec
from edgesr.runtime.session import Float32Array
from edgesr.tflite.shape import ModelShape
from edgesr.upscaling.tiling import Overlap
from helpers.networks import randomise
from helpers.stitching import stitch

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def _without_attention(spec: ArchSpec) -> nn.Module:
    """The network with random weights; what looks at the whole image is left out.

    In float64: random weights make the rounding of float32 grow from block to block.
    """
    net = randomise(build(spec), 3).double()
    for part in net.modules():
        if isinstance(part, AttentiveBlock):
            part.cca = nn.Identity()
    return net


@torch.no_grad()
def _apply(net: nn.Module, lr_hwc: Float32Array) -> Float32Array:
    return net(_nchw(lr_hwc))[0].permute(1, 2, 0).numpy().astype(np.float32)


def _nchw(lr_hwc: Float32Array) -> Tensor:
    return torch.from_numpy(lr_hwc.transpose(2, 0, 1).astype(np.float64))[None]


@torch.no_grad()
def _completed(net: nn.Module, lr_hwc: Float32Array, multiple: int, scale: int) -> Float32Array:
    """PyTorch's result on the image that is continued by reflection to the next multiple."""
    height, width = lr_hwc.shape[:2]
    more = (0, -width % multiple, 0, -height % multiple)
    hr_nchw = net(F.pad(_nchw(lr_hwc), more, mode="reflect"))
    return hr_nchw[0].permute(1, 2, 0).numpy()[: scale * height, : scale * width]


@pytest.mark.parametrize(
    ("name", "tile", "size"),
    [
        ("imdn-rte", (166, 166), (175, 166)),
        ("imdn-rte", (160, 166), (159, 171)),
        ("imdn-as", (232, 92), (235, 90)),
    ],
    ids=["rte, more than a tile", "rte, less and more", "as"],
)
def test_tiles_are_what_pytorch_gives_on_the_completed_image(
    name: str, tile: tuple[int, int], size: tuple[int, int]
) -> None:
    spec = find_spec(name)
    net = _without_attention(spec)
    image = np.random.RandomState(5).rand(*size, 3).astype(np.float32)
    overlap = Overlap(spec.receptive_radius, spec.size_multiple)
    shape = ModelShape(*tile, spec.scale)
    got = stitch(image, lambda cut: _apply(net, cut), shape, overlap)
    expected = _completed(net, image, spec.size_multiple, spec.scale)
    difference = np.abs(got - expected)
    limit = 1e-5 * float(np.ptp(expected))
    where = np.unravel_index(difference.argmax(), difference.shape)
    assert difference.max() <= limit, (
        f"off by {difference.max():.3g} at {where}, {limit:.3g} allowed"
    )


def test_tiles_that_begin_between_multiples_are_not() -> None:
    """Otherwise the test above could not fail."""
    net = _without_attention(find_spec("imdn-rte"))
    image = np.random.RandomState(5).rand(171, 60, 3).astype(np.float32)
    shape = ModelShape(166, 60, 2)
    got = stitch(image, lambda cut: _apply(net, cut), shape, Overlap(79, 1))
    expected = _completed(net, image, 2, 2)
    assert np.abs(got - expected).max() > 1e-3 * float(np.ptp(expected))
