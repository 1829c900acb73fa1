"""Networks of other sizes than the listed ones, known by the shapes of their parameters alone."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from edgesr.cli.convert import log_folding
from edgesr.errors import ArchitectureError, UnsupportedCheckpointError
from edgesr.networks.architectures.distillation import ContrastAttention
from edgesr.networks.architectures.imdn import imdn
from edgesr.networks.architectures.imdn_rte import imdn_rte
from edgesr.networks.detection import detect
from edgesr.networks.hyperparameters import BuilderSizes, Shapes, family_name
from edgesr.networks.spec import (
    COUNTER_SUFFIX,
    ArchSpec,
    all_specs,
    build,
    expected_shapes,
    find_spec,
    variant_of,
)
from edgesr.weights import checkpoints
from helpers.networks import SPECS, randomise, reach

pytestmark = pytest.mark.usefixtures("one_torch_thread")

#: Widths that each family is defined for, as multiples from a smallest one.
_WIDTHS = {
    "imdn-rtc": (4, 1),
    "imdn-rte": (4, 4),
    "imdn": (16, 4),
    "imdn-as": (16, 4),
    "imdn-baseline": (4, 1),
    "imdn-clb": (4, 1),
    "imdn-plus": (6, 6),
}


@dataclass(frozen=True)
class Wanted:
    """A network to build, and what detection must read back."""

    listed: ArchSpec
    scale: int
    training_form: bool
    sizes: BuilderSizes
    prefix: str

    @property
    def name(self) -> str:
        values = dict(self.sizes)
        if "mid_feat" not in values:
            return f"{self.listed.name}-c{values['num_feat']}b{values['num_blocks']}"
        blocks = "-".join(map(str, _tuple(values["attention_blocks"])))
        return f"fmen-c{values['num_feat']}m{values['mid_feat']}b{values['num_pairs']}e{blocks}"

    def shapes(self) -> dict[str, tuple[int, ...]]:
        spec = replace(self.listed, scale=self.scale, sizes=self.sizes)
        shapes = expected_shapes(spec, self.training_form)
        return {self.prefix + name: shape for name, shape in shapes.items()}


def _tuple(value: object) -> tuple[int, ...]:
    assert isinstance(value, tuple)
    return value


@st.composite
def _fmen_sizes(draw: st.DrawFn) -> BuilderSizes:
    pairs = draw(st.integers(1, 5))
    blocks = draw(st.lists(st.integers(0, 3), min_size=pairs + 1, max_size=pairs + 1))
    return (
        ("num_feat", draw(st.integers(1, 70))),
        ("mid_feat", draw(st.integers(5, 40))),
        ("num_pairs", pairs),
        ("attention_blocks", tuple(blocks)),
    )


@st.composite
def _wanted(draw: st.DrawFn) -> Wanted:
    listed = draw(st.sampled_from(all_specs()))
    if listed.name in _WIDTHS:
        smallest, step = _WIDTHS[listed.name]
        width = smallest + step * draw(st.integers(0, 20))
        sizes: BuilderSizes = (("num_feat", width), ("num_blocks", draw(st.integers(1, 9))))
    else:
        sizes = draw(_fmen_sizes())
    # In plain form the baseline's architecture is imdn-clb's too, and goes by the first of them.
    always = listed.name == "imdn-clb"
    return Wanted(
        listed,
        draw(st.integers(1, 8)),
        listed.has_training_form and (always or draw(st.booleans())),
        sizes,
        draw(st.sampled_from(["", "module.", "_orig_mod.module."])),
    )


def _is_listed(wanted: Wanted) -> bool:
    bare = {name.removeprefix(wanted.prefix): shape for name, shape in wanted.shapes().items()}
    return any(bare == expected_shapes(spec, wanted.training_form) for spec in all_specs()
               if spec.has_training_form or not wanted.training_form)  # fmt: skip


class TestReadBack:
    @given(_wanted())
    def test_what_was_built_is_read_from_its_shapes(self, wanted: Wanted) -> None:
        shapes = wanted.shapes()
        found = detect(shapes)
        assert (found.spec.scale, found.training_form) == (wanted.scale, wanted.training_form)
        assert found.spec.is_variant is not _is_listed(wanted)
        if found.spec.is_variant:
            assert found.spec.sizes == wanted.sizes
            assert found.spec.name == wanted.name
            assert family_name(found.spec.name) == found.spec.model
        bare = {name: name.removeprefix(wanted.prefix) for name in shapes}
        assert found.renamed == {
            name: ours for name, ours in bare.items() if not name.endswith(COUNTER_SUFFIX)
        }

    @settings(max_examples=10)
    @given(_wanted(), st.data())
    def test_one_parameter_less_or_more_or_of_another_shape_is_refused(
        self, wanted: Wanted, data: st.DataObject
    ) -> None:
        shapes = wanted.shapes()
        names = sorted(name for name in shapes if not name.endswith(COUNTER_SUFFIX))
        name = data.draw(st.sampled_from(names))
        spoilt = {
            "less": {n: s for n, s in shapes.items() if n != name},
            "more": {**shapes, f"{wanted.prefix}extra.weight": (1,)},
            "longer": {**shapes, name: (shapes[name][0] + 1, *shapes[name][1:])},
        }
        for what, those in spoilt.items():
            with pytest.raises(UnsupportedCheckpointError) as caught:
                pytest.fail(f"{what} ({name}): read as {detect(those).spec.name}")
            assert "nearest is" in str(caught.value)
            assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("spec", SPECS)
    def test_a_reader_reads_the_listed_networks_too(self, spec: ArchSpec) -> None:
        for form in (False, True) if spec.has_training_form else (False,):
            read = variant_of(spec, expected_shapes(spec, form))
            assert read is not None
            assert read.receptive_radius == spec.receptive_radius
            assert (read.scale, read.parameters) == (spec.scale, spec.parameters)
            assert expected_shapes(read, form) == expected_shapes(spec, form)

    def test_names_of_the_challenge_are_read_in_other_sizes_too(self) -> None:
        ours = Wanted(find_spec("imdn-baseline"), 3, False,
                      (("num_feat", 48), ("num_blocks", 6)), "").shapes()  # fmt: skip
        theirs = {
            name.replace(".c5.", ".conv1x1.").replace(".c4.", ".conv4."): shape
            for name, shape in ours.items()
        }
        assert theirs.keys() != ours.keys()
        found = detect(theirs)
        assert (found.spec.name, found.spec.scale) == ("imdn-baseline-c48b6", 3)
        assert set(found.renamed.values()) == set(ours)

    def test_fmen_takes_a_member_of_other_sizes_by_either_name(self) -> None:
        sizes: BuilderSizes = (
            ("num_feat", 50), ("mid_feat", 16), ("num_pairs", 4),
            ("attention_blocks", (2, 1, 1, 1, 1)),
        )  # fmt: skip
        shapes = Wanted(find_spec("fmen-s"), 2, False, sizes, "").shapes()
        for asked in (None, find_spec("fmen-s"), find_spec("fmen", 3)):
            found = detect(shapes, asked).spec
            assert (found.name, found.scale) == ("fmen-c50m16b4e2-1-1-1-1", 2)
            assert found.value_range == 255


def _small(name: str, scale: int, training_form: bool = False, **sizes: Any) -> nn.Module:
    spec = next(spec for spec in all_specs() if spec.name == name)
    spec = replace(spec, scale=scale, sizes=tuple(sizes.items()))
    return randomise(build(spec, training_form=training_form), 0)


_SMALL = {
    "rtc": lambda: _small("imdn-rtc", 3, num_feat=5, num_blocks=2),
    "rtc-deep": lambda: _small("imdn-rtc", 1, num_feat=4, num_blocks=7),
    "rte": lambda: _small("imdn-rte", 1, num_feat=8, num_blocks=2),
    "imdn": lambda: _small("imdn", 5, num_feat=16, num_blocks=3),
    "imdn-as": lambda: _small("imdn-as", 1, num_feat=16, num_blocks=1),
    "baseline": lambda: _small("imdn-baseline", 2, num_feat=6, num_blocks=2),
    "plus": lambda: _small("imdn-plus", 2, num_feat=6, num_blocks=2),
    "fmen": lambda: _small(
        "fmen", 2, num_feat=6, mid_feat=5, num_pairs=2, attention_blocks=(1, 0, 3)
    ),
}


class TestFacts:
    @pytest.mark.parametrize("case", list(_SMALL))
    def test_radius_and_parameters_are_those_of_the_network(
        self, case: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Attention over the whole image reaches everywhere: with fixed factors the rest is seen.
        monkeypatch.setattr(ContrastAttention, "forward", lambda self, x: x / 2)
        net = _SMALL[case]()
        spec = detect(_shapes(net)).spec
        assert spec.is_variant
        assert spec.parameters == sum(p.numel() for p in net.parameters())
        measured = reach(net, spec.scale, spec.receptive_radius, spec.size_multiple)
        assert measured == spec.receptive_radius

    def test_a_variant_has_no_weights_of_the_listed_network(self) -> None:
        spec = detect(_shapes(_SMALL["imdn"]())).spec
        assert spec.all_published == ()
        assert spec.aliases == ()
        assert spec.description == "imdn with 16 channels, 3 blocks"


def _shapes(net: nn.Module) -> Shapes:
    return {name: tuple(tensor.shape) for name, tensor in net.state_dict().items()}


class TestRefused:
    @pytest.mark.parametrize(
        "change",
        [
            pytest.param({"fea_conv.weight": (2**40, 3, 3, 3)}, id="absurd-width"),
            pytest.param({"fea_conv.weight": (0, 3, 3, 3)}, id="no-width"),
            pytest.param({"fea_conv.weight": ()}, id="scalar"),
            pytest.param({"fea_conv.weight": (30, 3, 3, 3)}, id="width-of-no-attention"),
            pytest.param({"upsampler.0.weight": (3 * 2000**2, 16, 3, 3)}, id="absurd-scale"),
            pytest.param({"upsampler.0.weight": (13, 16, 3, 3)}, id="no-scale"),
            pytest.param({"IMDB9.c5.weight": (16, 16, 1, 1)}, id="gap-in-the-blocks"),
        ],
    )
    def test_sizes_that_no_network_has_are_one_line(self, change: Shapes) -> None:
        shapes = {**_shapes(_SMALL["imdn"]()), **change}
        with pytest.raises(UnsupportedCheckpointError, match="fit no known network") as caught:
            detect(shapes)
        assert "\n" not in str(caught.value)

    def test_what_would_not_fit_into_memory_is_never_built(self) -> None:
        sizes: BuilderSizes = (("num_feat", 1000), ("num_blocks", 20))
        shapes = Wanted(find_spec("imdn-rtc"), 2, False, sizes, "").shapes()
        with pytest.raises(UnsupportedCheckpointError, match="fit no known network"):
            detect(shapes)

    def test_the_variant_is_named_where_one_parameter_keeps_it_from_being_that(self) -> None:
        shapes = dict(_shapes(_SMALL["imdn"]()))
        del shapes["IMDB2.c1.bias"]
        with pytest.raises(UnsupportedCheckpointError) as caught:
            detect(shapes)
        wanted = "nearest is imdn-c16b3 x5 (plain form): 1 missing (IMDB2.c1.bias);"
        assert wanted in str(caught.value)

    @pytest.mark.parametrize("width", [12, 18])
    def test_builders_say_which_widths_they_take(self, width: int) -> None:
        with pytest.raises(ArchitectureError, match=f"got num_feat {width}, allowed multiples"):
            imdn(scale=2, num_feat=width)
        with pytest.raises(ArchitectureError, match="got num_feat 18, allowed multiples of 4"):
            imdn_rte(num_feat=18)


class TestLoad:
    @pytest.fixture
    def path(self, save: Callable[..., Path]) -> Path:
        return save(_SMALL["imdn"]().state_dict())

    @pytest.mark.parametrize(
        ("model", "scale"), [(None, None), ("imdn", None), ("imdn", 5), ("imdn-c16b3", 5)]
    )
    def test_a_variant_is_what_its_family_or_its_own_name_asks_for(
        self, path: Path, model: str | None, scale: int | None
    ) -> None:
        loaded = checkpoints.load(path, model, scale)
        assert (loaded.spec.name, loaded.spec.scale) == ("imdn-c16b3", 5)
        assert loaded.licence == "unknown"
        image = torch.rand(1, 3, 6, 7)
        with torch.no_grad():
            assert torch.equal(loaded.net(image), _SMALL["imdn"]()(image))

    @pytest.mark.parametrize(
        ("model", "scale", "said"),
        [
            ("imdn", 4, "is of imdn-c16b3 x5, not of imdn x4; name imdn,"),
            ("imdn", 3, "not of imdn x3"),
            ("imdn-c16b2", None, "is of imdn-c16b3 x5, not of imdn-c16b2"),
            ("rtc", None, "is of imdn-c16b3 x5 (plain form), not of imdn-rtc x2; name imdn,"),
            ("imdn-as", None, "not of imdn-as"),
        ],
    )
    def test_another_network_than_asked_for_is_refused(
        self, path: Path, model: str, scale: int | None, said: str
    ) -> None:
        with pytest.raises(UnsupportedCheckpointError) as caught:
            checkpoints.load(path, model, scale)
        assert said in str(caught.value)

    def test_a_listed_network_is_not_what_an_unlisted_scale_asks_for(
        self, state: dict[str, torch.Tensor], save: Callable[..., Path]
    ) -> None:
        with pytest.raises(UnsupportedCheckpointError, match="of imdn-rtc x2, not of rtc x3"):
            checkpoints.load(save(state), "rtc", 3)

    def test_the_name_alone_asks_for_the_checkpoint(self) -> None:
        with pytest.raises(ArchitectureError, match=r"variant of imdn, .* --checkpoint FILE"):
            find_spec("imdn-c16b3", 5)


@pytest.mark.parametrize(
    ("net", "training_form", "said"),
    [
        pytest.param(
            lambda: _small("imdn", 3, num_feat=32, num_blocks=4),
            False,
            "imdn-c32b4 x3, imdn with 32 channels, 4 blocks, in plain form",
            id="plain",
        ),
        pytest.param(
            lambda: _small("imdn-rtc", 2, True, num_feat=4, num_blocks=1),
            True,
            "imdn-rtc-c4b1 x2, imdn-rtc with 4 channels, 1 block, in training form; its 1,099 "
            "parameters are folded into 996",
            id="training",
        ),
        pytest.param(
            lambda: _small("fmen", 2, num_feat=8, mid_feat=6, num_pairs=1, attention_blocks=(2, 1)),
            False,
            "fmen-c8m6b1e2-1 x2, fmen with 8 channels, 6 in the attention, 1 pair of blocks, 2-1 "
            "ERBs in the attention blocks, in plain form",
            id="fmen",
        ),
    ],
)
def test_convert_says_in_one_line_what_was_read(
    net: Callable[[], nn.Module],
    training_form: bool,
    said: str,
    save: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    loaded = checkpoints.load(save(net().state_dict(), "theirs.pth"))
    assert loaded.training_form is training_form
    log_folding(loaded)
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"edgesr: note: theirs.pth is {said}"
