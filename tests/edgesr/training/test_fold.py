"""`fold` over module trees: order, purity, refusals."""

import copy

import pytest
import torch
from torch import Tensor, nn

from edgesr.errors import ConversionError
from edgesr.networks.reparam import Kernel, as_conv, fold, identity, is_plain, parallel
from helpers.networks import assert_same, random_image, randomise

pytestmark = pytest.mark.usefixtures("one_torch_thread")

#: What the two precisions must reach, as a share of the output's range.
LIMITS = {torch.float32: 1e-4, torch.float64: 1e-10}


class TwoBranches(nn.Module):
    """A block as a later network may bring one: 3x3 beside 1x1 beside the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.wide = nn.Conv2d(channels, channels, 3, padding=1)
        self.narrow = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.wide(x) + self.narrow(x) + x

    def folded(self) -> nn.Module:
        kernels = Kernel.of(self.wide), Kernel.of(self.narrow)
        shortcut = identity(self.wide.in_channels, like=self.wide.weight)
        return as_conv(parallel(*kernels, shortcut), like=self.wide)


class Doubled(nn.Module):
    """A block around another one, which it expects to be folded first."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return 2 * self.inner(x)

    def folded(self) -> nn.Module:
        assert isinstance(self.inner, nn.Conv2d)
        kernel = Kernel.of(self.inner)
        return as_conv(Kernel(2 * kernel.weight, 2 * kernel.bias), like=self.inner)


def training_net() -> nn.Sequential:
    net = nn.Sequential(nn.Conv2d(3, 4, 1), TwoBranches(4), nn.LeakyReLU(0.1), TwoBranches(4))
    randomise(net, 0)
    return net


class TestFold:
    @pytest.mark.parametrize("dtype", LIMITS, ids=str)
    def test_replaces_blocks_anywhere_in_the_tree(self, dtype: torch.dtype) -> None:
        net = nn.Sequential(training_net(), nn.Conv2d(4, 3, 1), training_net()).to(dtype)
        plain = fold(net)
        x = random_image(0, 2, 3, 6, 5, dtype=dtype)
        assert is_plain(plain)
        assert_same(net(x), plain(x), LIMITS[dtype])

    def test_a_net_that_is_itself_a_block(self) -> None:
        block = randomise(TwoBranches(3), 0)
        plain = fold(block)
        assert type(plain) is nn.Conv2d
        x = random_image(0, 1, 3, 6, 5, dtype=torch.float32)
        assert_same(block(x), plain(x), 1e-6)

    def test_inner_blocks_are_folded_before_outer_ones(self) -> None:
        net = randomise(nn.Sequential(Doubled(TwoBranches(3))), 0)
        x = random_image(0, 1, 3, 6, 5, dtype=torch.float32)
        plain = fold(net)
        assert [type(module) for module in plain.children()] == [nn.Conv2d]
        assert_same(net(x), plain(x), 1e-6)

    def test_a_block_used_twice_stays_one_block(self) -> None:
        block = TwoBranches(3)
        plain = fold(nn.Sequential(block, nn.ReLU(), block))
        assert plain.get_submodule("0") is plain.get_submodule("2")
        assert type(plain.get_submodule("0")) is nn.Conv2d

    @pytest.mark.parametrize("mode", [True, False], ids=["training", "eval"])
    def test_leaves_its_argument_and_the_random_generator_alone(self, mode: bool) -> None:
        net = training_net().train(mode)
        before, state = copy.deepcopy(net.state_dict()), torch.get_rng_state()
        plain = fold(net)
        with torch.no_grad():
            for parameter in plain.parameters():
                parameter.zero_()
        assert torch.equal(torch.get_rng_state(), state)
        assert not is_plain(net)
        assert net.training is mode
        assert not any(module.training for module in plain.modules())
        assert before.keys() == net.state_dict().keys()
        for name, tensor in net.state_dict().items():
            assert torch.equal(tensor, before[name]), f"{name} changed"

    def test_a_plain_net_comes_back_as_an_equal_copy(self) -> None:
        net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.PReLU(4), nn.PixelShuffle(2)).train()
        copied = fold(net)
        assert copied is not net
        assert not copied.training
        assert net.training
        assert str(copied) == str(net)
        for name, tensor in net.state_dict().items():
            other = copied.state_dict()[name]
            assert torch.equal(tensor, other)
            assert tensor.data_ptr() != other.data_ptr(), f"{name} is shared"

    def test_keeps_half_precision(self) -> None:
        plain = fold(training_net().half())
        assert {p.dtype for p in plain.parameters()} == {torch.float16}

    @pytest.mark.parametrize(
        ("module", "name"),
        [
            pytest.param(nn.BatchNorm2d(4), "BatchNorm2d", id="batch-norm"),
            pytest.param(
                nn.BatchNorm2d(4, affine=False, track_running_stats=False),
                "BatchNorm2d",
                id="batch-norm-without-parameters",
            ),
            pytest.param(
                nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 4, 1)),
                "ParametrizedConv2d",
                id="weight-norm",
            ),
        ],
    )
    def test_a_training_time_module_that_nobody_folds_is_named(
        self, module: nn.Module, name: str
    ) -> None:
        net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Sequential(module))
        assert not is_plain(net)
        with pytest.raises(ConversionError, match=rf"cannot fold Sequential.*1\.0 \({name}\)"):
            fold(net)
