"""Saying whether a training form and its folded form are the same function."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgesr.errors import ConversionError
from edgesr.networks.architectures.collapsible import BlockKind, Form, ParallelConv
from edgesr.networks.architectures.fmen import FMEN, RRRB
from edgesr.networks.architectures.imdn_rtc import IMDNRTC, imdn_rtc
from edgesr.networks.reparam import FLOAT32_LIMIT, FLOAT64_LIMIT, FoldEquality, fold, fold_equality
from helpers.networks import random_image, randomise

pytestmark = pytest.mark.usefixtures("one_torch_thread")

NETS: dict[str, Callable[[], nn.Module]] = {
    "rtc": lambda: imdn_rtc(training_form=True),
    "rtc-parallel": lambda: IMDNRTC(8, 2, 2, BlockKind(Form.PARALLEL)),
    "fmen": lambda: FMEN(8, 6, 1, (2, 1), 2, training_form=True, ratio=3),
}


class ZeroPaddedRRRB(RRRB):
    """Pads the widened image with zeros instead of the bias: no single convolution does that."""

    def expanded(self, x: Tensor) -> Tensor:
        wide = self.expand_conv(x)
        return self.reduce_conv(self.fea_conv(F.pad(wide, (1, 1, 1, 1))) + wide) + x


class TestFoldEquality:
    @pytest.mark.parametrize("make", NETS.values(), ids=NETS)
    def test_holds_for_every_training_form(self, make: Callable[[], nn.Module]) -> None:
        net = randomise(make(), 0).train()
        found = fold_equality(net, random_image(0, 1, 3, 12, 10, dtype=torch.float32))
        assert found.holds, found
        # Zero would mean that both runs were of one form.
        assert 0 < found.max_abs_float64 < 1e-10
        assert found.max_abs_float64 < found.max_abs_float32

    def test_says_the_largest_difference_and_the_range(self) -> None:
        block = randomise(ParallelConv(3, 3, residual=False).double(), 0)
        x = random_image(0, 1, 3, 6, 6, dtype=torch.float64)
        with torch.no_grad():
            expected, got = block(x), fold(block)(x)
        found = fold_equality(block, x)
        assert found.max_abs_float64 == float((expected - got).abs().max())
        assert found.output_range == float(expected.max() - expected.min())

    def test_a_plain_network_is_equal_to_the_bit(self) -> None:
        found = fold_equality(imdn_rtc(), random_image(0, 1, 3, 8, 8, dtype=torch.float32))
        assert (found.max_abs_float64, found.max_abs_float32) == (0, 0)
        assert found.holds

    def test_a_wrong_border_does_not_hold(self) -> None:
        net = randomise(FMEN(8, 6, 1, (1, 1), 2, training_form=True), 0)
        for block in net.modules():
            if type(block) is RRRB:
                block.__class__ = ZeroPaddedRRRB
        assert not fold_equality(net, random_image(0, 1, 3, 8, 8, dtype=torch.float32)).holds

    @pytest.mark.parametrize(
        ("wide", "narrow", "expected"),
        [
            pytest.param(2 * FLOAT64_LIMIT, 2 * FLOAT32_LIMIT, True, id="at-the-limits"),
            pytest.param(2.1 * FLOAT64_LIMIT, 0.0, False, id="float64-over"),
            pytest.param(0.0, 2.1 * FLOAT32_LIMIT, False, id="float32-over"),
            pytest.param(float("nan"), 0.0, False, id="float64-not-a-number"),
            pytest.param(0.0, float("nan"), False, id="float32-not-a-number"),
        ],
    )
    def test_limits_are_shares_of_the_outputs_range(
        self, wide: float, narrow: float, expected: bool
    ) -> None:
        assert FoldEquality(wide, narrow, output_range=2.0).holds is expected

    def test_leaves_the_network_as_it_was(self) -> None:
        net = FMEN(8, 6, 1, (1, 1), 2, training_form=True).train()
        before = copy.deepcopy(net.state_dict())
        fold_equality(net, random_image(0, 1, 3, 8, 8, dtype=torch.float32))
        assert net.training
        for name, tensor in net.state_dict().items():
            assert torch.equal(tensor, before[name]), f"{name} changed"

    def test_what_nobody_folds_is_refused(self) -> None:
        net = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3))
        with pytest.raises(ConversionError, match="cannot fold Sequential"):
            fold_equality(net, torch.rand(1, 3, 4, 4))
