"""FMEN: its two forms, the published weights, the fold of the whole network."""

import copy
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from edgesr.errors import ArchitectureError
from edgesr.networks.architectures.fmen import ERB, FMEN, HFAB, RRRB, NormedHFAB, RepConv, fmen_s
from edgesr.networks.reparam import fold, is_plain
from edgesr.networks.spec import find_spec
from helpers.networks import assert_same, random_image, randomise, reach, set5_psnr

pytestmark = pytest.mark.usefixtures("one_torch_thread")

#: What the two precisions must reach, as a share of the output's range.
LIMITS = {torch.float32: 1e-4, torch.float64: 1e-10}
#: Below this, variances that fit no data multiply by hundreds layer by layer, and float32 itself
#: (the training form against the same in float64) is off by up to 1e-3 of the range.
SMALLEST_VARIANCE = {torch.float32: 0.05, torch.float64: 1e-4}
PUBLISHED = ["fmen_test_weights.pt", "team03_fmen.pth"]

dtypes = st.sampled_from(list(LIMITS))
seeds = st.integers(0, 2**32 - 1)


def parameters(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def published(shared: Path, filename: str) -> FMEN:
    """FMEN-S with published weights, whose blocks have one of two namings."""
    state = torch.load(shared / "reference" / filename, map_location="cpu", weights_only=True)
    names = (("basic_blocks.", "ERBs."), ("hfabs.", "HFABs."))
    for theirs, ours in names:
        state = {re.sub(f"^{theirs}", ours, name): tensor for name, tensor in state.items()}
    net = fmen_s().eval()
    net.load_state_dict(state, strict=True)
    return net


def settle_statistics(net: nn.Module, lr_nchw: Tensor) -> None:
    """Give every batch norm the statistics of what it sees, as training does.

    With arbitrary ones, [0, 255] reaches the sigmoids as thousands; there float32 itself is off by
    2e-3 of the output's range (measured: the training form in float32 against float64).
    """
    for norm in net.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.momentum = 1
    with torch.no_grad():
        net.train()(lr_nchw)
    net.eval()


@st.composite
def training_nets(draw: st.DrawFn) -> FMEN:
    """Small networks of random structure in training form, randomised, in eval mode."""
    pairs, dtype = draw(st.integers(0, 2)), draw(dtypes)
    net = FMEN(
        num_feat=draw(st.integers(1, 12)),
        mid_feat=draw(st.integers(5, 10)),
        num_pairs=pairs,
        attention_blocks=tuple(draw(st.integers(0, 2)) for _ in range(pairs + 1)),
        scale=draw(st.integers(1, 4)),
        training_form=True,
        ratio=draw(st.integers(1, 4)),
    ).to(dtype)
    randomise(net, draw(seeds), smallest_variance=SMALLEST_VARIANCE[dtype])
    return net


class TestStructure:
    def test_parameters_of_the_plain_form_to_the_digit(self) -> None:
        assert parameters(fmen_s()) == 341_066

    @pytest.mark.parametrize(
        ("scale", "count"),
        [(2, 748_656), (3, 757_311), (4, 769_428)],
        ids=["x2", "x3", "x4"],
    )
    def test_parameters_of_the_wide_member(self, scale: int, count: int) -> None:
        assert parameters(FMEN(64, 32, 4, (3, 2, 2, 2, 2), scale)) == count

    def test_training_form_holds_the_blocks_it_trains_with(self) -> None:
        net = fmen_s(training_form=True)
        names = [name for name, _ in net.named_parameters()]
        assert not [name for name in names if "rep_conv" in name]
        erb = [name.removeprefix("ERBs.0.") for name in names if name.startswith("ERBs.0.")]
        assert erb == [
            f"conv{i}.{layer}.{kind}"
            for i in (1, 2)
            for layer in ("expand_conv", "fea_conv", "reduce_conv")
            for kind in ("weight", "bias")
        ]
        attention = {name.split(".")[2] for name in names if name.startswith("HFABs.0.")}
        assert attention == {"bn1", "squeeze", "convs", "bn2", "excitate", "bn3"}
        assert net.get_submodule("ERBs.0.conv1.fea_conv").weight.shape == (100, 100, 3, 3)

    @pytest.mark.parametrize("scale", [2, 3, 4])
    @pytest.mark.parametrize("training_form", [False, True], ids=["plain", "training"])
    def test_output_is_scale_times_as_high_and_wide(self, scale: int, training_form: bool) -> None:
        net = FMEN(8, 6, 1, (1, 1), scale, training_form).eval()
        assert net(torch.rand(2, 3, 5, 7)).shape == (2, 3, scale * 5, scale * 7)

    def test_attention_blocks_must_fit_the_pairs(self) -> None:
        with pytest.raises(ArchitectureError, match="got 2 attention blocks for 4 pairs, allowed"):
            FMEN(attention_blocks=(2, 1))

    def test_mid_feat_must_leave_the_warm_up_a_channel(self) -> None:
        with pytest.raises(ArchitectureError, match="got mid_feat 4, allowed 5"):
            FMEN(mid_feat=4)

    def test_reach_is_the_registered_receptive_radius(self) -> None:
        spec = find_spec("fmen-s")
        assert reach(fmen_s(), spec.scale, spec.receptive_radius) == spec.receptive_radius == 34


class TestFold:
    @settings(max_examples=60)
    @given(training_nets(), seeds, st.integers(1, 3), st.integers(1, 12), st.integers(1, 12))
    def test_every_pixel_of_the_folded_net_is_that_of_the_training_form(
        self, net: FMEN, seed: int, count: int, height: int, width: int
    ) -> None:
        dtype = net.head.weight.dtype
        lr_nchw = random_image(seed, count, 3, height, width, dtype=dtype)
        with torch.no_grad():
            assert_same(net(lr_nchw), fold(net)(lr_nchw), LIMITS[dtype])

    @pytest.mark.parametrize("dtype", LIMITS, ids=str)
    def test_fmen_s_at_full_width_and_range(self, dtype: torch.dtype) -> None:
        net = randomise(fmen_s(training_form=True).to(dtype), 0)
        lr_nchw = 255 * random_image(0, 1, 3, 24, 20, dtype=dtype)
        settle_statistics(net, lr_nchw)
        with torch.no_grad():
            assert_same(net(lr_nchw), fold(net)(lr_nchw), LIMITS[dtype])

    def test_after_training_steps_the_statistics_of_training_are_folded(self) -> None:
        net = FMEN(8, 6, 1, (1, 1), 2, training_form=True).double().train()
        optimizer = torch.optim.SGD(net.parameters(), lr=1e-3)
        for step in range(3):
            optimizer.zero_grad()
            net(random_image(step, 2, 3, 9, 8, dtype=torch.float64)).square().mean().backward()
            optimizer.step()
        plain = fold(net)
        lr_nchw = random_image(9, 2, 3, 9, 8, dtype=torch.float64)
        assert_same(net.eval()(lr_nchw), plain(lr_nchw), 1e-10)

    def test_gives_the_plain_form_with_its_names_types_and_dtype(self) -> None:
        net = fmen_s(training_form=True).double()
        plain = fold(net)
        assert not is_plain(net)
        assert is_plain(plain)
        assert str(plain) == str(fmen_s())
        expected = {name: tensor.shape for name, tensor in fmen_s().state_dict().items()}
        assert {name: tensor.shape for name, tensor in plain.state_dict().items()} == expected
        assert {p.dtype for p in plain.parameters()} == {torch.float64}

    def test_changes_nothing_of_its_argument(self) -> None:
        net = FMEN(8, 6, 1, (1, 1), 2, training_form=True).train()
        before = copy.deepcopy(net.state_dict())
        plain = fold(net)
        plain(torch.rand(1, 3, 6, 6)).sum().backward()
        assert net.training
        assert not plain.training
        assert all(p.grad is None for p in net.parameters())
        assert before.keys() == net.state_dict().keys()
        for name, tensor in net.state_dict().items():
            assert torch.equal(tensor, before[name]), f"{name} changed"

    def test_a_plain_net_comes_back_as_an_equal_copy(self) -> None:
        net = fmen_s()
        copied = fold(net)
        lr_nchw = random_image(0, 1, 3, 8, 8, dtype=torch.float32)
        assert copied is not net
        assert torch.equal(net(lr_nchw), copied(lr_nchw))


class ZeroPaddedRRRB(RRRB):
    """The mistake that the bias padding prevents."""

    def forward(self, x: Tensor) -> Tensor:
        expanded = self.expand_conv(x)
        padded = F.pad(expanded, (1, 1, 1, 1))
        return self.reduce_conv(self.fea_conv(padded) + expanded) + x


class ZeroPaddedHFAB(NormedHFAB):
    """The same mistake around batch norm."""

    def forward(self, x: Tensor) -> Tensor:
        branch = self.act(self.squeeze(F.pad(self.bn1(x), (1, 1, 1, 1))))
        branch = self.bn2(self.act(self.convs(branch)))
        return self.bn3(self.excitate(F.pad(branch, (1, 1, 1, 1)))).sigmoid() * x


class TestWrongFoldIsSeen:
    """The comparison above can fail."""

    @pytest.mark.parametrize("dtype", LIMITS, ids=str)
    @pytest.mark.parametrize(
        ("right", "wrong"),
        [(RRRB, ZeroPaddedRRRB), (NormedHFAB, ZeroPaddedHFAB)],
        ids=["rrrb", "hfab"],
    )
    def test_zero_padding_instead_of_bias_padding(
        self, right: type[nn.Module], wrong: type[nn.Module], dtype: torch.dtype
    ) -> None:
        net = randomise(FMEN(8, 6, 1, (1, 1), 2, training_form=True).to(dtype), 0)
        for block in net.modules():
            if type(block) is right:
                block.__class__ = wrong
        lr_nchw = random_image(0, 1, 3, 40, 40, dtype=dtype)
        with torch.no_grad():
            expected, got = net(lr_nchw), fold(net)(lr_nchw)
        with pytest.raises(AssertionError, match="max abs difference"):
            assert_same(expected, got, LIMITS[dtype])
        # Only what the border reaches is wrong: the middle of the image is not.
        middle = (..., slice(38, 42), slice(38, 42))
        assert_same(expected[middle], got[middle], LIMITS[dtype])

    @pytest.mark.parametrize("dtype", LIMITS, ids=str)
    def test_a_forgotten_residual(self, dtype: torch.dtype) -> None:
        net = randomise(FMEN(8, 6, 1, (1, 1), 2, training_form=True).to(dtype), 0)
        plain = fold(net)
        with torch.no_grad():
            for block in plain.modules():
                if isinstance(block, RepConv):
                    channels = range(block.rep_conv.in_channels)
                    block.rep_conv.weight[channels, channels, 1, 1] -= 1
            lr_nchw = random_image(0, 1, 3, 9, 9, dtype=dtype)
            with pytest.raises(AssertionError, match="max abs difference"):
                assert_same(net(lr_nchw), plain(lr_nchw), LIMITS[dtype])


class TestTrainingMode:
    def test_inside_takes_the_batchs_statistics_and_the_border_the_running_ones(self) -> None:
        block = NormedHFAB(1, 1, nn.Sequential()).double().train()
        seen: list[Tensor] = []
        block.squeeze.register_forward_hook(lambda _m, inputs, _out: seen.append(inputs[0]))
        x = 5 + random_image(0, 2, 1, 4, 4, dtype=torch.float64)
        with torch.no_grad():
            block(x)
        (padded,) = seen
        inside = padded[:, :, 1:-1, 1:-1]
        assert float(inside.mean()) == pytest.approx(0, abs=1e-9)
        statistics = block.bn1
        assert statistics.running_mean is not None
        assert statistics.running_var is not None
        expected = -statistics.running_mean / torch.sqrt(statistics.running_var + statistics.eps)
        assert float(padded[0, 0, 0, 0]) == pytest.approx(float(expected), rel=1e-12)

    def test_every_parameter_gets_a_gradient(self) -> None:
        net = FMEN(8, 6, 1, (1, 1), 2, training_form=True).train()
        net(torch.rand(2, 3, 8, 8)).square().mean().backward()
        without = [name for name, p in net.named_parameters() if p.grad is None]
        assert not without


class TestBlocks:
    """The forms' forward passes against the formulas of the paper, written out."""

    def test_rrrb(self) -> None:
        block = RRRB(3, 2).double().eval()
        randomise(block, 0)
        x = random_image(0, 1, 3, 4, 5, dtype=torch.float64)
        expanded = block.expand_conv(x)
        bias = block.expand_conv.bias
        assert bias is not None
        padded = F.pad(expanded - bias[:, None, None], (1, 1, 1, 1)) + bias[:, None, None]
        expected = block.reduce_conv(block.fea_conv(padded) + expanded) + x
        assert_same(expected, block(x), 1e-12)

    def test_erb_activates_between_its_convolutions(self) -> None:
        erb = ERB(nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1))
        x = random_image(0, 1, 3, 4, 5, dtype=torch.float32) - 0.5
        assert torch.equal(erb(x), erb.conv2(F.leaky_relu(erb.conv1(x), 0.1)))

    def test_attention_is_a_factor_between_zero_and_one(self) -> None:
        convs = nn.Sequential(ERB(nn.Identity(), nn.Identity()))
        block = HFAB(nn.Conv2d(3, 2, 3, padding=1), convs, nn.Conv2d(2, 3, 3, padding=1))
        x = random_image(0, 1, 3, 4, 5, dtype=torch.float32)
        squeezed = F.leaky_relu(block.squeeze(x), 0.1)
        branch = F.leaky_relu(F.leaky_relu(squeezed, 0.1), 0.1)
        assert torch.equal(block(x), block.excitate(branch).sigmoid() * x)


class TestPublishedWeights:
    @pytest.mark.parametrize(
        ("filename", "mean_db"),
        [
            # Two trainings of one network; the figures are measured with this code.
            pytest.param("fmen_test_weights.pt", 32.10, id="authors"),
            pytest.param("team03_fmen.pth", 32.01, id="challenge"),
        ],
    )
    def test_loads_strictly_and_reaches_its_psnr_on_set5(
        self, shared: Path, filename: str, mean_db: float
    ) -> None:
        net = published(shared, filename)
        figures = set5_psnr(net, shared, scale=4, value_range=255)
        assert len(figures) == 5
        assert np.mean(list(figures.values())) == pytest.approx(mean_db, abs=0.02), figures

    def test_range_of_one_is_not_what_the_weights_expect(self, shared: Path) -> None:
        net = published(shared, PUBLISHED[0])
        (right,) = set5_psnr(net, shared, 4, 255, ["img_005"]).values()
        (wrong,) = set5_psnr(net, shared, 4, 1, ["img_005"]).values()
        assert wrong < right - 3
