"""The folding algebra: each rule against the layers it replaces."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from edgesr.errors import ConversionError
from edgesr.networks.reparam import (
    ChannelAffine,
    Kernel,
    as_conv,
    collapse,
    identity,
    norm_after,
    norm_before,
    pad_with,
    parallel,
    pointwise_first,
    pointwise_last,
)
from helpers.networks import assert_same, random_image, randomise

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
    def test_border_holds_each_channels_value_and_inside_the_image(
        self, seed: int, channels: int, height: int, width: int
    ) -> None:
        x = random_image(seed, 2, channels, height, width, dtype=torch.float32)
        values = random_image(seed + 1, channels, dtype=torch.float32)
        padded = pad_with(x, values)
        assert padded.shape == (2, channels, height + 2, width + 2)
        assert torch.equal(padded[:, :, 1:-1, 1:-1], x)
        ring = torch.ones(height + 2, width + 2, dtype=torch.bool)
        ring[1:-1, 1:-1] = False
        assert torch.equal(padded[:, :, ring], values[None, :, None].expand(2, -1, int(ring.sum())))

    def test_zeros_are_torchs_own_padding(self) -> None:
        x = random_image(0, 1, 3, 4, 5, dtype=torch.float32)
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
        x = random_image(seed, 2, inputs, height, width, dtype=dtype)
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
        x = random_image(seed, 2, inputs, height, width, dtype=dtype)
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
        x = random_image(seed, 2, inputs, height, width, dtype=dtype)
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
        x = random_image(seed, 2, channels, height, width, dtype=dtype)
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
        x = random_image(seed, 2, inputs, height, width, dtype=dtype)
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
        x = random_image(seed, 2, inputs, height, width, dtype=dtype)
        folded = norm_after(Kernel.of(conv), ChannelAffine.of(norm))
        assert_same(norm(conv(x)), run(folded, x), LIMITS[dtype])

    def test_shift_is_what_the_norm_makes_of_zero(self) -> None:
        norm = a_norm(5, torch.float64, 0)
        at_zero = norm(torch.zeros(1, 5, 1, 1, dtype=torch.float64)).flatten()
        torch.testing.assert_close(ChannelAffine.of(norm).shift, at_zero, rtol=1e-12, atol=1e-12)

    def test_norm_without_affine_parameters(self) -> None:
        norm = randomise(nn.BatchNorm2d(4, affine=False), 0)
        conv = a_conv(3, 4, 3, torch.float32, 1)
        x = random_image(0, 2, 3, 5, 6, dtype=torch.float32)
        assert isinstance(norm, nn.BatchNorm2d)
        folded = norm_after(Kernel.of(conv), ChannelAffine.of(norm))
        assert_same(norm(conv(x)), run(folded, x), 1e-6)

    def test_convolution_without_bias_counts_as_bias_zero(self) -> None:
        conv = nn.Conv2d(3, 4, 3, padding=1, bias=False)
        x = random_image(0, 2, 3, 5, 6, dtype=torch.float32)
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
        x = random_image(0, 2, 3, 5, 6, dtype=torch.float64)
        weighting = random_image(1, 2, 3, 5, 6, dtype=torch.float64)
        layers = reduce(unpadded(middle, pad_with(expand(x), bias_of(expand))) + expand(x)) + x
        folded = collapse(*map(Kernel.of, convs), inner_residual=True, outer_residual=True)
        expected = torch.autograd.grad((layers * weighting).sum(), parameters)
        got = torch.autograd.grad((run(folded, x) * weighting).sum(), parameters)
        for one, other in zip(expected, got, strict=True):
            assert_same(one, other, 1e-10)


class TestAsConv:
    def test_computes_the_kernel_in_the_precision_of_its_like(self) -> None:
        like = a_conv(3, 4, 3, torch.float32, 0)
        conv = as_conv(Kernel.of(like).double(), like=like)
        x = random_image(0, 1, 3, 5, 6, dtype=torch.float32)
        assert torch.equal(conv(x), like(x))

    def test_shares_no_memory_with_the_kernel(self) -> None:
        like = a_conv(3, 4, 3, torch.float32, 0)
        conv = as_conv(Kernel.of(like), like=like)
        assert conv.weight.data_ptr() != like.weight.data_ptr()
        assert bias_of(conv).data_ptr() != bias_of(like).data_ptr()


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


@example(0, torch.float64)
@given(seeds, dtypes)
def test_zero_padding_where_the_bias_belongs_fails_in_the_border_only(
    seed: int, dtype: torch.dtype
) -> None:
    """The check can fail: the same net but for the border's value is told apart."""
    expand, middle = a_conv(3, 6, 1, dtype, seed), a_conv(6, 3, 3, dtype, seed + 1)
    x = random_image(seed, 1, 3, 7, 7, dtype=dtype)
    got = run(pointwise_first(Kernel.of(expand), Kernel.of(middle)), x)
    zero_padded = middle(expand(x))
    with pytest.raises(AssertionError, match="max abs difference"):
        assert_same(zero_padded, got, LIMITS[dtype])
    inside = (..., slice(1, -1), slice(1, -1))
    assert_same(zero_padded[inside], got[inside], LIMITS[dtype])
