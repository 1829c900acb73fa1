"""Training forms convolve once and learn as if they ran layer by layer."""

import copy
from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from edgesr.errors import ArchitectureError
from edgesr.networks.architectures.collapsible import (
    BlockKind,
    BranchedConv,
    Collapsible,
    Form,
    ParallelConv,
    WideConv,
    set_collapsed,
)
from edgesr.networks.architectures.fmen import ERB, FMEN, RRRB, NormedHFAB
from edgesr.networks.architectures.imdn_challenge import (
    CLB_KIND,
    PLUS_KIND,
    IMDNPlus,
    SimplifiedIMDN,
)
from edgesr.networks.architectures.imdn_rtc import IMDNRTC, TRAINING_KIND, imdn_rtc
from edgesr.networks.detection import detect
from edgesr.networks.reparam import Kernel, fold, is_plain
from edgesr.networks.spec import expected_shapes, find_spec
from helpers.networks import assert_same, random_image, randomise

pytestmark = pytest.mark.usefixtures("one_torch_thread")

#: What outputs and gradients must reach, as a share of each one's range.
LIMITS = {torch.float32: 1e-4, torch.float64: 1e-10}

BLOCKS: dict[str, Callable[[], Collapsible]] = {
    "wide": lambda: WideConv(5, 5, ratio=3, residual=True),
    "wide-without-residual": lambda: WideConv(5, 5, ratio=2, residual=False),
    "wide-narrowing": lambda: WideConv(6, 2, ratio=2, residual=False),
    "wide-growing": lambda: WideConv(2, 6, ratio=1, residual=False),
    "parallel": lambda: ParallelConv(5, 5, residual=True),
    "parallel-growing": lambda: ParallelConv(2, 6, residual=False),
    "branched": lambda: BranchedConv(5, 5),
    "branched-growing": lambda: BranchedConv(2, 6, (3,)),
    "rrrb": lambda: RRRB(5, 2),
}
NETS: dict[str, Callable[[], nn.Module]] = {
    "rtc": lambda: imdn_rtc(training_form=True),
    "rtc-parallel": lambda: IMDNRTC(8, 2, 2, BlockKind(Form.PARALLEL)),
    "rtc-wide-x3": lambda: IMDNRTC(8, 2, 3, BlockKind(Form.WIDE, ratio=2)),
    "imdn-clb": lambda: SimplifiedIMDN(2, 2, 8, CLB_KIND),
    "imdn-plus": lambda: IMDNPlus(2, 2, 12, PLUS_KIND),
    "fmen": lambda: FMEN(8, 6, 1, (2, 1), 2, training_form=True, ratio=3),
    "fmen-s": lambda: FMEN(training_form=True),
}
KINDS = [
    BlockKind(Form.WIDE, ratio=2),
    BlockKind(Form.WIDE, ratio=1),
    BlockKind(Form.PARALLEL),
    CLB_KIND,
    PLUS_KIND,
]


#: A gradient below this share of the network's steepest is compared with that share. What a bias
#: adds, a batch norm behind it takes away again: such gradients are sums that cancel, entirely
#: (excitate.bias) or nearly, and the layers' own in float32 are off by up to 8e-5 of themselves.
LEAST_SLOPE = 1e-2


class Learnt(NamedTuple):
    """What one step in training mode leaves.

    Attributes:
        output: Of the network.
        slopes: The gradient of every parameter and of the input, by name.
        statistics: Batch norm's running ones after this step, by name.
    """

    output: Tensor
    slopes: dict[str, Tensor]
    statistics: dict[str, Tensor]


def learnt(net: nn.Module, x: Tensor, *, collapsed: bool) -> Learnt:
    """One step of a copy of the network, without changing its weights."""
    net = copy.deepcopy(net).train()
    set_collapsed(net, collapsed)
    x = x.clone().requires_grad_(True)
    output = net(x)
    # Each output weighted by its own: an error that a plain sum would cancel is seen.
    weighting = random_image(1, *output.shape, dtype=x.dtype) - 0.5
    (output * weighting).sum().backward()
    slopes = {name: p.grad for name, p in net.named_parameters()} | {"the input": x.grad}
    assert not [name for name, slope in slopes.items() if slope is None]
    statistics = {name: b for name, b in net.named_buffers() if b.is_floating_point()}
    return Learnt(output, {n: s for n, s in slopes.items() if s is not None}, statistics)


def assert_learns_alike(net: nn.Module, x: Tensor) -> None:
    """Both ways of running give the same output and gradients, border pixels included."""
    expected, got = (learnt(net, x, collapsed=collapsed) for collapsed in (False, True))
    limit = LIMITS[x.dtype]
    assert_same(expected.output, got.output, limit)
    steepest = max(float(slope.abs().max()) for slope in expected.slopes.values())
    for name, slope in expected.slopes.items():
        scale = max(float(slope.abs().max()), LEAST_SLOPE * steepest)
        worst = float((got.slopes[name] - slope).abs().max())
        assert worst <= limit * scale, f"{name}: gradient off by {worst:.3g} of {scale:.3g}"
    for name, value in expected.statistics.items():
        torch.testing.assert_close(got.statistics[name], value, rtol=limit, atol=limit, msg=name)


def channels_in(block: Collapsible) -> int:
    return Kernel.of(next(m for m in block.modules() if isinstance(m, nn.Conv2d))).weight.shape[1]


class TestCollapsedIsExpanded:
    @pytest.mark.parametrize("make", BLOCKS.values(), ids=BLOCKS)
    @given(st.sampled_from(list(LIMITS)), st.integers(0, 2**32 - 1), st.integers(1, 7))
    def test_block_has_the_value_and_gradients_of_its_layers(
        self, make: Callable[[], Collapsible], dtype: torch.dtype, seed: int, side: int
    ) -> None:
        block = randomise(make().to(dtype), seed)
        assert isinstance(block, Collapsible)
        x = random_image(seed, 2, channels_in(block), side, 5, dtype=dtype)
        assert_learns_alike(block, x)

    @pytest.mark.parametrize("dtype", LIMITS, ids=str)
    @pytest.mark.parametrize("make", NETS.values(), ids=NETS)
    def test_network_has_the_value_and_gradients_of_its_layers(
        self, make: Callable[[], nn.Module], dtype: torch.dtype
    ) -> None:
        net = randomise(make().to(dtype), 0)
        assert_learns_alike(net, random_image(0, 2, 3, 9, 8, dtype=dtype))

    def test_a_zero_padded_layer_with_a_bias_before_it_would_be_seen(self) -> None:
        block = randomise(WideConv(5, 5, ratio=2, residual=True).double(), 0)
        assert isinstance(block, WideConv)
        block.expand.bias = nn.Parameter(torch.ones(10, dtype=torch.float64))
        with pytest.raises(AssertionError, match="max abs difference"):
            assert_learns_alike(block, random_image(0, 1, 5, 6, 6, dtype=torch.float64))

    @pytest.mark.parametrize("dtype", LIMITS, ids=str)
    def test_attention_block_keeps_batch_norm_and_its_padding(self, dtype: torch.dtype) -> None:
        block = randomise(NormedHFAB(4, 3, nn.Sequential(ERB(RRRB(3, 2), RRRB(3, 2)))).to(dtype), 0)
        assert_learns_alike(block, random_image(0, 2, 4, 6, 5, dtype=dtype))

    def test_mixed_precision_folds_in_float32(self) -> None:
        block = WideConv(4, 4, ratio=2, residual=True).train()
        x = random_image(0, 1, 4, 6, 6, dtype=torch.float32)
        kernel = block.kernel(torch.float32)
        seen: list[torch.dtype] = []

        def spy(dtype: torch.dtype) -> Kernel:
            found = WideConv.kernel(block, dtype)
            assert torch.equal(found.weight, kernel.weight)
            seen.append(found.weight.dtype)
            return found

        block.kernel = spy
        with torch.autocast("cpu", torch.bfloat16):
            assert block(x).dtype == torch.bfloat16
        assert seen == [torch.float32]


class TestWhichWayItRuns:
    @pytest.fixture
    def runs(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """The blocks' ways of running, in the order in which they happen."""
        ways: list[str] = []
        for way in ("expanded", "kernel"):
            method = getattr(WideConv, way)

            def noted(
                *args: object, way: str = way, method: Callable[..., object] = method
            ) -> object:
                ways.append(way)
                return method(*args)

            monkeypatch.setattr(WideConv, way, noted)
        return ways

    @pytest.mark.parametrize(
        ("training", "collapsed", "expected"),
        [
            pytest.param(True, None, "kernel", id="training-by-default"),
            pytest.param(True, True, "kernel", id="training-collapsed"),
            pytest.param(True, False, "expanded", id="training-expanded"),
            pytest.param(False, True, "expanded", id="eval-even-if-collapsed"),
        ],
    )
    def test_once_in_training_mode_and_layer_by_layer_otherwise(
        self, runs: list[str], training: bool, collapsed: bool | None, expected: str
    ) -> None:
        net = IMDNRTC(kind=KINDS[0]).train(training)
        if collapsed is not None:
            set_collapsed(net, collapsed)
        net(torch.rand(1, 3, 4, 4))
        blocks = sum(isinstance(module, Collapsible) for module in net.modules())
        assert blocks == 5 * 4 + 2
        assert runs == blocks * [expected]

    def test_the_way_is_no_part_of_the_state(self) -> None:
        net = imdn_rtc(training_form=True)
        before = list(net.state_dict())
        set_collapsed(net, False)
        assert list(net.state_dict()) == before


class TestFolded:
    @pytest.mark.parametrize("dtype", LIMITS, ids=str)
    @pytest.mark.parametrize("kind", KINDS, ids=str)
    def test_rtc_folds_to_the_published_names_and_the_same_function(
        self, kind: BlockKind, dtype: torch.dtype
    ) -> None:
        net = randomise(IMDNRTC(kind=kind).to(dtype), 0)
        plain = fold(net)
        assert not is_plain(net)
        assert is_plain(plain)
        assert str(plain) == str(imdn_rtc())
        names = {name: tensor.shape for name, tensor in imdn_rtc().state_dict().items()}
        assert {name: tensor.shape for name, tensor in plain.state_dict().items()} == names
        lr_nchw = random_image(0, 2, 3, 9, 8, dtype=dtype)
        with torch.no_grad():
            assert_same(net(lr_nchw), plain(lr_nchw), LIMITS[dtype])

    @pytest.mark.parametrize("ratio", [1, 4])
    @pytest.mark.parametrize(("inputs", "outputs"), [(3, 12), (9, 12), (9, 3), (12, 12)])
    def test_a_new_wide_block_folds_to_a_kernel_as_torch_draws_one(
        self, inputs: int, outputs: int, ratio: int
    ) -> None:
        torch.manual_seed(0)
        blocks = [WideConv(inputs, outputs, ratio=ratio, residual=False) for _ in range(30)]
        with torch.no_grad():
            folded = torch.stack([block.folded().weight for block in blocks])
            drawn = torch.stack([nn.Conv2d(inputs, outputs, 3).weight for _ in range(30)])
        assert float(folded.mean()) == pytest.approx(0, abs=0.1 * float(drawn.std()))
        assert float(folded.std()) == pytest.approx(float(drawn.std()), rel=0.15)

    def test_a_new_block_with_residual_starts_around_the_identity(self) -> None:
        torch.manual_seed(0)
        block = BlockKind(Form.WIDE).conv3x3(12, 12)
        assert isinstance(block, WideConv)
        with torch.no_grad():
            kernel = block.folded().weight.detach()
        assert float(kernel[range(12), range(12), 1, 1].mean()) == pytest.approx(1, abs=0.2)


class TestBuilding:
    def test_plain_is_the_default_and_has_the_published_parameters(self) -> None:
        assert str(IMDNRTC()) == str(imdn_rtc())
        assert is_plain(imdn_rtc())

    def test_training_form_is_of_the_chosen_kind(self) -> None:
        net = imdn_rtc(training_form=True)
        assert str(net) == str(IMDNRTC(kind=TRAINING_KIND))
        assert find_spec("imdn-rtc").has_training_form

    def test_tail_has_no_residual_though_its_channels_are_equal(self) -> None:
        net = IMDNRTC(kind=BlockKind(Form.WIDE))
        tail, block = net.get_submodule("model.2"), net.get_submodule("model.1.sub.0.c1")
        assert isinstance(tail, WideConv)
        assert isinstance(block, WideConv)
        assert (tail.residual, block.residual) == (False, True)

    def test_a_ratio_below_one_is_refused(self) -> None:
        with pytest.raises(ArchitectureError, match="got ratio 0, allowed 1 or more"):
            BlockKind(Form.WIDE, ratio=0)

    @pytest.mark.parametrize("prefix", ["", "module."])
    def test_training_form_checkpoint_of_rtc_is_known_by_its_names(self, prefix: str) -> None:
        spec = find_spec("imdn-rtc")
        state = imdn_rtc(training_form=True).state_dict()
        found = detect({prefix + name: tuple(tensor.shape) for name, tensor in state.items()})
        assert (found.spec, found.training_form) == (spec, True)
        assert set(found.renamed.values()) == set(expected_shapes(spec, True))
