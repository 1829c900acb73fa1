"""Any picture through IMDN_AS, by four crops."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from edgesr.cropping import run_in_crops
from edgesr.errors import SizeError
from edgesr.registry import build, find_spec
from helpers.networks import assert_same, random_picture, randomise

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def _watched(net: Callable[[Tensor], Tensor]) -> tuple[Callable[[Tensor], Tensor], list[Tensor]]:
    """The network, and what it was fed."""
    fed: list[Tensor] = []

    def run(lr_nchw: Tensor) -> Tensor:
        fed.append(lr_nchw)
        return net(lr_nchw)

    return run, fed


def _upscaling(scale: int) -> nn.Module:
    """Two 3x3 convolutions with zero padding: reaches two pixels and takes any size."""
    layers = nn.Conv2d(3, 5, 3, padding=1), nn.LeakyReLU(), nn.Conv2d(5, 3 * scale**2, 3, padding=1)
    return randomise(nn.Sequential(*layers, nn.PixelShuffle(scale)), 1)


@pytest.mark.parametrize("size", [(90, 71), (88, 71), (23, 200), (9, 10), (4, 5)], ids=str)
@pytest.mark.parametrize("scale", [1, 3])
@torch.no_grad()
def test_four_crops_give_what_the_whole_picture_gives(size: tuple[int, int], scale: int) -> None:
    """For a network that would take the picture too, and reaches no farther than the overlap."""
    net, fed = _watched(_upscaling(scale))
    lr_nchw = random_picture(0, 1, 3, *size, dtype=torch.float32)
    got = run_in_crops(net, lr_nchw, 4, overlap=2)
    assert len(fed) == 4
    assert {crop.shape for crop in fed} == {fed[0].shape}
    assert not [side for side in fed[0].shape[2:] if side % 4]
    # Where a crop cannot be so long that two pixels are left over the middle, its border shows.
    inside = min(size) > 5
    if inside:
        assert_same(_upscaling(scale)(lr_nchw), got, 1e-6)
    assert got.shape[2:] == (scale * size[0], scale * size[1])


@torch.no_grad()
def test_less_overlap_than_the_reach_shows() -> None:
    """Otherwise the test above could not fail."""
    lr_nchw = random_picture(0, 1, 3, 90, 70, dtype=torch.float32)
    net = _upscaling(2)
    got = run_in_crops(net, lr_nchw, 4, overlap=0)
    assert (got - net(lr_nchw)).abs().max() > 1e-3


@torch.no_grad()
def test_each_quarter_is_that_of_its_corners_crop() -> None:
    """IMDN_AS with random weights, at a size that is no multiple of 4."""
    net = randomise(build(find_spec("imdn-as")), 2)
    lr_nchw = random_picture(0, 1, 3, 46, 37, dtype=torch.float32)
    got = run_in_crops(net, lr_nchw, 4, overlap=8)
    rows, columns = {0: slice(0, 32), 1: slice(14, 46)}, {0: slice(0, 28), 1: slice(9, 37)}
    for (down, right), part in {
        (0, 0): got[..., :23, :18],
        (0, 1): got[..., :23, 18:],
        (1, 0): got[..., 23:, :18],
        (1, 1): got[..., 23:, 18:],
    }.items():
        alone = net(lr_nchw[..., rows[down], columns[right]])
        height, width = part.shape[2:]
        alone = alone[..., -height:, :] if down else alone[..., :height, :]
        alone = alone[..., -width:] if right else alone[..., :width]
        assert torch.equal(part, alone), (down, right)


@torch.no_grad()
def test_a_picture_of_multiples_is_run_whole() -> None:
    net, fed = _watched(randomise(build(find_spec("imdn-as")), 2))
    lr_nchw = random_picture(0, 1, 3, 24, 20, dtype=torch.float32)
    got = run_in_crops(net, lr_nchw, 4)
    assert len(fed) == 1
    assert torch.equal(got, net(lr_nchw))


@pytest.mark.parametrize("size", [(1, 1), (3, 9), (2, 8), (5, 7)], ids=str)
@torch.no_grad()
def test_tiny_pictures_keep_their_size(size: tuple[int, int]) -> None:
    net = randomise(build(find_spec("imdn-as")), 2)
    got = run_in_crops(net, random_picture(0, 1, 3, *size, dtype=torch.float32), 4)
    assert got.shape == (1, 3, *size)
    assert got.isfinite().all()


def test_an_empty_picture_is_refused() -> None:
    with pytest.raises(SizeError, match="got a picture of 0x5 pixels"):
        run_in_crops(nn.Identity(), torch.zeros(1, 3, 0, 5), 4)
