"""The folding algebra, each rule against the layers it replaces, and `fold` over module trees."""

import copy
from collections.abc import Callable

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from edgesr.errors import ConversionError
from edgesr.reparam import (
    ChannelAffine,
    Kernel,
    as_conv,
    collapse,
    fold,
    identity,
    is_plain,
    norm_after,
    norm_before,
    pad_with,
    parallel,
    pointwise_first,
    pointwise_last,
)
from helpers.networks import assert_same, random_picture, randomise

pytestmark = pytest.mark.usefixtures("one_torch_thread")

#: What the two precisions must reach, as a share of the output's range.
LIMITS = {torch.float32: 1e-4, torch.float64: 1e-10}

dtypes = st.sampled_from(list(LIMITS))
seeds = st.integers(0, 2**32 - 1)
widths = st.integers(1, 9)
ratios = st.integers(1, 4)
sizes = st.sampled_from([1, 3, 5])
sides = st.integers(1, 7)


def a_conv(inputs: int, outputs: int, size: int, dtype: torch.dtype, seed: int) -> nn.Conv2d:
    """A zero-padded convolution with random weights and biases."""
    conv = nn.Conv2d(inputs, outputs, size, padding=size // 2, dtype=dtype)
    randomise(conv, seed)
    return conv


def bias_of(conv: nn.Conv2d) -> Tensor:
    assert conv.bias is not None
    return conv.bias


def a_norm(channels: int, dtype: torch.dtype, seed: int) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(channels, dtype=dtype)
    # Small enough for eps to matter.
    randomise(norm, seed, smallest_variance=1e-6)
    return norm


def run(kernel: Kernel, x: Tensor) -> Tensor:
    return F.conv2d(x, kernel.weight, kernel.bias, padding=kernel.size // 2)


def unpadded(conv: nn.Conv2d, x: Tensor) -> Tensor:
    return F.conv2d(x, conv.weight, conv.bias)


def pad_by(margin: int, x: Tensor, value_per_channel: Tensor) -> Tensor:
    for _ in range(margin):
        x = pad_with(x, value_per_channel)
    return x


class TestPadWith:
    @given(seeds, widths, sides, sides)
    def test_border_holds_each_channels_value_and_inside_the_picture(
        self, seed: int, channels: int, height: int, width: int
    ) -> None:
        x = random_picture(seed, 2, channels, height, width, dtype=torch.float32)
        values = random_picture(seed + 1, channels, dtype=torch.float32)
        padded = pad_with(x, values)
        assert padded.shape == (2, channels, height + 2, width + 2)
        assert torch.equal(padded[:, :, 1:-1, 1:-1], x)
        ring = torch.ones(height + 2, width + 2, dtype=torch.bool)
        ring[1:-1, 1:-1] = False
        assert torch.equal(padded[:, :, ring], values[None, :, None].expand(2, -1, int(ring.sum())))

    def test_zeros_are_torchs_own_padding(self) -> None:
        x = random_picture(0, 1, 3, 4, 5, dtype=torch.float32)
        assert torch.equal(pad_with(x, torch.zeros(3)), F.pad(x, (1, 1, 1, 1)))


class TestAlgebra:
    """Each rule against the layers it replaces: every pixel, the border too."""

    @given(dtypes, seeds, widths, widths, sizes, sizes, sides, sides)
    def test_parallel_branches_of_different_sizes_and_identity(
        self,
        dtype: torch.dtype,
        seed: int,
        inputs: int,
        outputs: int,
        size_a: int,
        size_b: int,
        height: int,
        width: int,
    ) -> None:
        a = a_conv(inputs, outputs, size_a, dtype, seed)
        b = a_conv(inputs, outputs, size_b, dtype, seed + 1)
        x = random_picture(seed, 2, inputs, height, width, dtype=dtype)
        expected, kernels = a(x) + b(x), [Kernel.of(a), Kernel.of(b)]
        if inputs == outputs:
            expected = expected + x
            kernels.append(identity(inputs, like=x))
        folded = parallel(*kernels)
        assert folded.size == max(size_a, size_b)
        assert_same(expected, run(folded, x), LIMITS[dtype])

    @given(dtypes, seeds, widths, widths, widths, sizes, sides, sides)
    def test_pointwise_first_with_its_bias_as_padding(
        self,
        dtype: torch.dtype,
        seed: int,
        inputs: int,
        between: int,
        outputs: int,
        size: int,
        height: int,
        width: int,
    ) -> None:
        first = a_conv(inputs, between, 1, dtype, seed)
        then = a_conv(between, outputs, size, dtype, seed + 1)
        x = random_picture(seed, 2, inputs, height, width, dtype=dtype)
        expected = unpadded(then, pad_by(size // 2, first(x), bias_of(first)))
        folded = pointwise_first(Kernel.of(first), Kernel.of(then))
        assert_same(expected, run(folded, x), LIMITS[dtype])

    @given(dtypes, seeds, widths, widths, widths, sizes, sides, sides)
    def test_pointwise_last(
        self,
        dtype: torch.dtype,
        seed: int,
        inputs: int,
        between: int,
        outputs: int,
        size: int,
        height: int,
        width: int,
    ) -> None:
        first = a_conv(inputs, between, size, dtype, seed)
        then = a_conv(between, outputs, 1, dtype, seed + 1)
        x = random_picture(seed, 2, inputs, height, width, dtype=dtype)
        folded = pointwise_last(Kernel.of(first), Kernel.of(then))
        assert_same(then(first(x)), run(folded, x), LIMITS[dtype])

    @pytest.mark.parametrize("inner", [False, True], ids=["plain-inside", "inner-residual"])
    @pytest.mark.parametrize("outer", [False, True], ids=["plain-outside", "outer-residual"])
    @given(dtype=dtypes, seed=seeds, channels=widths, ratio=ratios, height=sides, width=sides)
    def test_collapse_with_expand_bias_as_padding(
        self,
        inner: bool,
        outer: bool,
        dtype: torch.dtype,
        seed: int,
        channels: int,
        ratio: int,
        height: int,
        width: int,
    ) -> None:
        expand = a_conv(channels, ratio * channels, 1, dtype, seed)
        middle = a_conv(ratio * channels, ratio * channels, 3, dtype, seed + 1)
        reduce = a_conv(ratio * channels, channels, 1, dtype, seed + 2)
        x = random_picture(seed, 2, channels, height, width, dtype=dtype)
        expanded = expand(x)
        filtered = unpadded(middle, pad_with(expanded, bias_of(expand)))
        expected = reduce(filtered + expanded if inner else filtered) + (x if outer else 0)
        folded = collapse(
            *map(Kernel.of, (expand, middle, reduce)), inner_residual=inner, outer_residual=outer
        )
        assert_same(expected, run(folded, x), LIMITS[dtype])

    @given(dtypes, seeds, widths, widths, sizes, sides, sides)
    def test_norm_before_with_its_shift_as_padding(
        self,
        dtype: torch.dtype,
        seed: int,
        inputs: int,
        outputs: int,
        size: int,
        height: int,
        width: int,
    ) -> None:
        norm = a_norm(inputs, dtype, seed)
        conv = a_conv(inputs, outputs, size, dtype, seed + 1)
        x = random_picture(seed, 2, inputs, height, width, dtype=dtype)
        affine = ChannelAffine.of(norm)
        expected = unpadded(conv, pad_by(size // 2, norm(x), affine.shift))
        assert_same(expected, run(norm_before(affine, Kernel.of(conv)), x), LIMITS[dtype])

    @given(dtypes, seeds, widths, widths, sizes, sides, sides)
    def test_norm_after(
        self,
        dtype: torch.dtype,
        seed: int,
        inputs: int,
        outputs: int,
        size: int,
        height: int,
        width: int,
    ) -> None:
        norm = a_norm(outputs, dtype, seed)
        conv = a_conv(inputs, outputs, size, dtype, seed + 1)
        x = random_picture(seed, 2, inputs, height, width, dtype=dtype)
        folded = norm_after(Kernel.of(conv), ChannelAffine.of(norm))
        assert_same(norm(conv(x)), run(folded, x), LIMITS[dtype])

    def test_shift_is_what_the_norm_makes_of_zero(self) -> None:
        norm = a_norm(5, torch.float64, 0)
        at_zero = norm(torch.zeros(1, 5, 1, 1, dtype=torch.float64)).flatten()
        torch.testing.assert_close(ChannelAffine.of(norm).shift, at_zero, rtol=1e-12, atol=1e-12)

    def test_norm_without_affine_parameters(self) -> None:
        norm = randomise(nn.BatchNorm2d(4, affine=False), 0)
        conv = a_conv(3, 4, 3, torch.float32, 1)
        x = random_picture(0, 2, 3, 5, 6, dtype=torch.float32)
        assert isinstance(norm, nn.BatchNorm2d)
        folded = norm_after(Kernel.of(conv), ChannelAffine.of(norm))
        assert_same(norm(conv(x)), run(folded, x), 1e-6)

    def test_convolution_without_bias_counts_as_bias_zero(self) -> None:
        conv = nn.Conv2d(3, 4, 3, padding=1, bias=False)
        x = random_picture(0, 2, 3, 5, 6, dtype=torch.float32)
        assert_same(conv(x), run(Kernel.of(conv), x), 1e-6)

    def test_float32_is_rounded_once_from_float64(self) -> None:
        convs = [a_conv(4, 8, 1, torch.float32, 0), a_conv(8, 8, 3, torch.float32, 1)]
        convs.append(a_conv(8, 4, 1, torch.float32, 2))
        kernels = [Kernel.of(conv) for conv in convs]
        narrow = collapse(*kernels, inner_residual=True, outer_residual=True)
        wide = collapse(*(k.double() for k in kernels), inner_residual=True, outer_residual=True)
        assert narrow.weight.dtype == torch.float32
        assert torch.equal(narrow.weight, wide.weight.float())
        assert torch.equal(narrow.bias, wide.bias.float())

    def test_gradients_through_the_folded_kernel_are_those_through_the_layers(self) -> None:
        convs = [a_conv(3, 6, 1, torch.float64, 0), a_conv(6, 6, 3, torch.float64, 1)]
        convs.append(a_conv(6, 3, 1, torch.float64, 2))
        expand, middle, reduce = convs
        parameters = [p for conv in convs for p in conv.parameters()]
        x = random_picture(0, 2, 3, 5, 6, dtype=torch.float64)
        weighting = random_picture(1, 2, 3, 5, 6, dtype=torch.float64)
        layers = reduce(unpadded(middle, pad_with(expand(x), bias_of(expand))) + expand(x)) + x
        folded = collapse(*map(Kernel.of, convs), inner_residual=True, outer_residual=True)
        expected = torch.autograd.grad((layers * weighting).sum(), parameters)
        got = torch.autograd.grad((run(folded, x) * weighting).sum(), parameters)
        for one, other in zip(expected, got, strict=True):
            assert_same(one, other, 1e-10)


class TestRefusals:
    @pytest.mark.parametrize(
        "conv",
        [
            pytest.param(nn.Conv2d(2, 2, 3, stride=2), id="stride"),
            pytest.param(nn.Conv2d(2, 2, 3, dilation=2), id="dilation"),
            pytest.param(nn.Conv2d(2, 2, 3, groups=2), id="groups"),
            pytest.param(nn.Conv2d(2, 2, 4), id="even"),
            pytest.param(nn.Conv2d(2, 2, (1, 3)), id="oblong"),
            pytest.param(nn.Conv2d(2, 2, 3, padding=1, padding_mode="reflect"), id="reflect"),
        ],
    )
    def test_a_convolution_the_algebra_does_not_cover(self, conv: nn.Conv2d) -> None:
        with pytest.raises(ConversionError, match=r"cannot fold Conv2d.*allowed stride 1"):
            Kernel.of(conv)

    def test_a_norm_without_running_statistics(self) -> None:
        with pytest.raises(ConversionError, match="no running statistics"):
            ChannelAffine.of(nn.BatchNorm2d(2, track_running_stats=False))

    def test_branches_of_different_channels(self) -> None:
        a, b = (Kernel.of(nn.Conv2d(2, outputs, 1)) for outputs in (3, 4))
        with pytest.raises(ConversionError, match="cannot add kernels 3x2x1x1, 4x2x1x1"):
            parallel(a, b)

    @pytest.mark.parametrize("chain", [pointwise_first, pointwise_last])
    def test_a_chain_of_two_wide_kernels_or_of_channels_that_do_not_meet(
        self, chain: Callable[[Kernel, Kernel], Kernel]
    ) -> None:
        wide, narrow = (Kernel.of(nn.Conv2d(2, 2, size)) for size in (3, 1))
        other = Kernel.of(nn.Conv2d(3, 3, 1))
        with pytest.raises(ConversionError, match="cannot chain kernels 2x2x3x3 and 2x2x3x3"):
            chain(wide, wide)
        with pytest.raises(ConversionError, match="outputs as many as"):
            chain(narrow, other)


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
        x = random_picture(0, 2, 3, 6, 5, dtype=dtype)
        assert is_plain(plain)
        assert_same(net(x), plain(x), LIMITS[dtype])

    def test_a_net_that_is_itself_a_block(self) -> None:
        block = randomise(TwoBranches(3), 0)
        plain = fold(block)
        assert type(plain) is nn.Conv2d
        x = random_picture(0, 1, 3, 6, 5, dtype=torch.float32)
        assert_same(block(x), plain(x), 1e-6)

    def test_inner_blocks_are_folded_before_outer_ones(self) -> None:
        net = randomise(nn.Sequential(Doubled(TwoBranches(3))), 0)
        x = random_picture(0, 1, 3, 6, 5, dtype=torch.float32)
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


@example(0, torch.float64)
@given(seeds, dtypes)
def test_zero_padding_where_the_bias_belongs_fails_in_the_border_only(
    seed: int, dtype: torch.dtype
) -> None:
    """The check can fail: the same net but for the border's value is told apart."""
    expand, middle = a_conv(3, 6, 1, dtype, seed), a_conv(6, 3, 3, dtype, seed + 1)
    x = random_picture(seed, 1, 3, 7, 7, dtype=dtype)
    got = run(pointwise_first(Kernel.of(expand), Kernel.of(middle)), x)
    zero_padded = middle(expand(x))
    with pytest.raises(AssertionError, match="max abs difference"):
        assert_same(zero_padded, got, LIMITS[dtype])
    inside = (..., slice(1, -1), slice(1, -1))
    assert_same(zero_padded[inside], got[inside], LIMITS[dtype])
