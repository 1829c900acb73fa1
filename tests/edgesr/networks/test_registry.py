"""The list of networks and what it says of each, held against the networks themselves."""

import dataclasses
import subprocess
import sys

import pytest
import torch

from edgesr.errors import ArchitectureError
from edgesr.networks.architectures.distillation import ContrastAttention
from edgesr.networks.spec import ArchSpec, all_specs, build, find_spec, ordered
from helpers.networks import FORMS, SPECS, reach

RTC = find_spec("imdn-rtc")
FMEN_S = find_spec("fmen-s")


def test_importing_the_list_imports_no_torch() -> None:
    code = "import sys, edgesr.networks.registry; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


class TestList:
    @pytest.mark.parametrize("name", ["imdn-rtc", "rtc"])
    def test_finds_a_network_by_name_and_by_alias(self, name: str) -> None:
        assert find_spec(name) is RTC

    @pytest.mark.parametrize(
        ("wrong", "closest"), [("rtcc", "rtc"), ("FMEN_S", "fmen-s"), ("imdnx", "imdn")]
    )
    def test_unknown_name_lists_all_names_and_the_closest(self, wrong: str, closest: str) -> None:
        with pytest.raises(ArchitectureError) as caught:
            find_spec(wrong)
        message = str(caught.value)
        assert message.endswith(f"did you mean {closest}?")
        for label in [repr(wrong), *(s.name for s in all_specs()), *RTC.aliases]:
            assert label in message

    def test_a_name_at_several_scales_is_told_apart_by_scale(self) -> None:
        family = ordered(RTC, dataclasses.replace(RTC, scale=4))
        assert find_spec("rtc", 4, specs=family).scale == 4

    @pytest.mark.parametrize("scale", [None, 3])
    def test_a_scale_that_decides_nothing_lists_the_allowed_ones(self, scale: int | None) -> None:
        family = ordered(RTC, dataclasses.replace(RTC, scale=4))
        with pytest.raises(ArchitectureError, match="allowed 2, 4"):
            find_spec("rtc", scale, specs=family)

    @pytest.mark.parametrize(
        "second",
        [
            pytest.param(RTC, id="same-name-and-scale"),
            pytest.param(dataclasses.replace(FMEN_S, aliases=("rtc",)), id="alias-of-another"),
            pytest.param(dataclasses.replace(FMEN_S, aliases=("imdn-rtc",)), id="name-of-another"),
            pytest.param(dataclasses.replace(FMEN_S, aliases=("fmen-s",)), id="alias-is-own-name"),
            pytest.param(dataclasses.replace(FMEN_S, aliases=("a", "a")), id="alias-twice"),
        ],
    )
    def test_a_name_used_twice_is_refused(self, second: ArchSpec) -> None:
        with pytest.raises(ValueError, match=r"twice|2 times"):
            ordered(RTC, second)

    @pytest.mark.parametrize("spec", SPECS)
    def test_published_weights_are_pinned(self, spec: ArchSpec) -> None:
        for weights in spec.all_published:
            assert len(bytes.fromhex(weights.sha256)) == 32
            assert weights.url.startswith("https://")
            assert weights.licence


class TestBuild:
    @pytest.mark.parametrize("spec", SPECS)
    def test_plain_form_has_the_listed_number_of_parameters(self, spec: ArchSpec) -> None:
        assert sum(p.numel() for p in build(spec).parameters()) == spec.parameters

    @pytest.mark.parametrize(("spec", "training_form"), FORMS)
    def test_upscales_by_the_listed_factor(self, spec: ArchSpec, training_form: bool) -> None:
        net = build(spec, training_form=training_form).eval()
        with torch.no_grad():
            height, width = 9 * spec.size_multiple, 7 * spec.size_multiple
            hr_nchw = net(torch.rand(1, 3, height, width) * spec.value_range)
        assert tuple(hr_nchw.shape) == (1, 3, height * spec.scale, width * spec.scale)

    @pytest.mark.parametrize("spec", SPECS)
    def test_output_pixel_depends_on_exactly_the_listed_radius(
        self, spec: ArchSpec, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Attention over the whole image reaches everywhere: with fixed factors the rest is seen.
        monkeypatch.setattr(ContrastAttention, "forward", lambda self, x: x / 2)
        torch.manual_seed(0)
        assert reach(build(spec), spec.scale, spec.receptive_radius, spec.size_multiple) == (
            spec.receptive_radius
        )

    @pytest.mark.parametrize("spec", SPECS)
    def test_every_pixel_counts_exactly_where_the_list_says_so(self, spec: ArchSpec) -> None:
        torch.manual_seed(0)
        side = 2 * spec.receptive_radius + 2 * spec.size_multiple
        side -= side % spec.size_multiple
        net = build(spec).eval()
        lr_nchw = torch.rand(1, 3, side, side) * spec.value_range
        changed = lr_nchw.clone()
        changed[:, :, -1, -1] = 0
        with torch.no_grad():
            first = [net(x)[0, :, 0, 0] for x in (lr_nchw, changed)]
        assert torch.equal(*first) is not spec.whole_image

    @pytest.mark.parametrize("spec", SPECS)
    def test_training_form_exists_exactly_where_the_list_says_so(self, spec: ArchSpec) -> None:
        if spec.has_training_form:
            trained = sum(p.numel() for p in build(spec, training_form=True).parameters())
            assert trained > spec.parameters
        else:
            with pytest.raises(ArchitectureError, match="no training form"):
                build(spec, training_form=True)
