"""Telling from names and shapes which network a checkpoint is, and explaining when it is none."""

from pathlib import Path

import pytest
import torch

from edgesr.errors import UnsupportedCheckpointError
from edgesr.networks.detection import detect
from edgesr.networks.spec import COUNTER_SUFFIX, ArchSpec, expected_shapes, find_spec
from helpers.networks import FORMS

RTC = find_spec("imdn-rtc")
FMEN_S = find_spec("fmen-s")

Shapes = dict[str, tuple[int, ...]]


def shapes_of(spec: ArchSpec, training_form: bool = False) -> Shapes:
    return dict(expected_shapes(spec, training_form))


def shapes_in(path: Path) -> Shapes:
    state = torch.load(path, map_location="cpu", weights_only=True)
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


class TestDetect:
    @pytest.mark.parametrize(("spec", "training_form"), FORMS)
    def test_every_form_is_detected_as_itself(self, spec: ArchSpec, training_form: bool) -> None:
        shapes = shapes_of(spec, training_form)
        found = detect(shapes)
        assert (found.spec, found.training_form) == (spec, training_form)
        assert found.renamed == {n: n for n in shapes if not n.endswith(COUNTER_SUFFIX)}

    @pytest.mark.parametrize(
        ("filename", "name"),
        [
            ("model_RTC.pth", "imdn-rtc"),
            ("fmen_test_weights.pt", "fmen-s"),
            ("team03_fmen.pth", "fmen-s"),
            ("IMDN_x2.pth", "imdn"),
            ("IMDN_x4.pth", "imdn"),
            ("imdn_baseline.pth", "imdn-baseline"),
            ("team26_imdn_nb7.pth", "imdn-clb"),
            ("team39_imdn_plus.pth", "imdn-plus"),
        ],
    )
    def test_published_files_are_detected_in_every_naming(
        self, shared: Path, filename: str, name: str
    ) -> None:
        found = detect(shapes_in(shared / "reference" / filename))
        assert (found.spec.name, found.training_form) == (name, False)
        assert found.spec.scale == (2 if "x2" in filename or "RTC" in filename else 4)
        assert set(found.renamed.values()) == set(shapes_of(found.spec))

    @pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.module."])
    def test_prefixes_of_torch_wrappers_are_stripped(self, prefix: str) -> None:
        found = detect({prefix + name: shape for name, shape in shapes_of(RTC).items()})
        assert found.spec is RTC
        assert found.renamed[prefix + "model.0.weight"] == "model.0.weight"

    def test_prefix_on_some_names_only_is_not_stripped(self) -> None:
        shapes = shapes_of(RTC)
        shapes["module.model.0.weight"] = shapes.pop("model.0.weight")
        with pytest.raises(UnsupportedCheckpointError, match=r"1 missing \(model\.0\.weight\)"):
            detect(shapes)

    def test_step_counters_of_batch_norm_may_be_missing(self) -> None:
        shapes = shapes_of(FMEN_S, training_form=True)
        assert any(name.endswith(COUNTER_SUFFIX) for name in shapes)
        without = {n: s for n, s in shapes.items() if not n.endswith(COUNTER_SUFFIX)}
        assert detect(without).training_form

    def test_step_counter_of_a_layer_the_network_has_not_is_too_many(self) -> None:
        with pytest.raises(UnsupportedCheckpointError, match=r"1 too many \(bn9\.num_batches"):
            detect({**shapes_of(FMEN_S, training_form=True), "bn9" + COUNTER_SUFFIX: ()})

    def test_two_names_for_one_parameter_are_refused(self) -> None:
        shapes = shapes_of(FMEN_S)
        shapes["hfabs.0.squeeze.bias"] = shapes["HFABs.0.squeeze.bias"]
        with pytest.raises(UnsupportedCheckpointError, match=r"1 too many \(hfabs\.0\.squeeze"):
            detect(shapes)


class TestDiagnosis:
    def message(self, shapes: Shapes, asked: ArchSpec | None = None) -> str:
        with pytest.raises(UnsupportedCheckpointError) as caught:
            detect(shapes, asked)
        message = str(caught.value)
        assert "\n" not in message
        return message

    @pytest.mark.parametrize(("spec", "training_form"), FORMS)
    def test_nearest_is_named_with_its_form(self, spec: ArchSpec, training_form: bool) -> None:
        shapes = shapes_of(spec, training_form)
        removed = next(reversed([n for n in shapes if not n.endswith(COUNTER_SUFFIX)]))
        del shapes[removed]
        form = "training form" if training_form else "plain form"
        expected = f"nearest is {spec.name} x{spec.scale} ({form}): 1 missing ({removed});"
        assert expected in self.message(shapes)

    def test_missing_too_many_and_misshapen_are_counted_and_the_first_named(self) -> None:
        shapes = shapes_of(RTC)
        for i in range(4):
            del shapes[f"model.1.sub.{i}.c1.bias"]
        shapes |= {"extra.weight": (1, 2), "model.0.weight": (12, 1, 3, 3)}
        message = self.message(shapes)
        assert (
            "4 missing (model.1.sub.0.c1.bias, model.1.sub.1.c1.bias, model.1.sub.2.c1.bias, ...)"
            in message
        )
        assert "1 too many (extra.weight)" in message
        assert "1 of another shape (model.0.weight is 12x1x3x3, must be 12x3x3x3)" in message

    def test_a_network_of_no_scale_is_nearest_to_its_own_family(self) -> None:
        shapes = {**shapes_of(FMEN_S), "tail.0.weight": (13, 50, 3, 3), "tail.0.bias": (13,)}
        message = self.message(shapes)
        assert "nearest is fmen-s x4 (plain form): 2 of another shape" in message

    def test_of_a_network_of_another_kind_no_nearest_is_named(self) -> None:
        shapes = {"conv_first.weight": (64, 3, 3, 3), "conv_first.bias": (64,)}
        message = self.message(shapes)
        assert "fit no known network (imdn-rtc, " in message
        assert "nearest" not in message

    def test_other_names_for_the_same_shapes_are_recognised(self) -> None:
        renamed = {f"layer{i}": shape for i, shape in enumerate(shapes_of(FMEN_S).values())}
        assert "nearest is fmen-s x4 (plain form): 68 missing" in self.message(renamed)

    @pytest.mark.parametrize("filename", ["IMDN_x2.pth", "team39_imdn_plus.pth"])
    def test_relatives_of_a_listed_network_are_nearest_to_it(
        self, shared: Path, filename: str
    ) -> None:
        with pytest.raises(UnsupportedCheckpointError) as caught:
            detect(shapes_in(shared / "reference" / filename), specs=(RTC, FMEN_S))
        assert "fit no known network (imdn-rtc, fmen-s)" in str(caught.value)
        assert "nearest is imdn-rtc x2 (plain form): " in str(caught.value)

    def test_an_empty_state_dict_is_refused(self) -> None:
        assert "0 parameters" in self.message({})

    def test_another_network_than_asked_for_is_refused(self) -> None:
        message = self.message(shapes_of(FMEN_S), asked=RTC)
        assert "is of fmen-s x4 (plain form), not of imdn-rtc x2" in message

    def test_an_unknown_checkpoint_is_compared_with_the_one_asked_for(self) -> None:
        shapes = shapes_of(FMEN_S)
        del shapes["lr_conv.bias"]
        message = self.message(shapes, asked=RTC)
        assert "not those of imdn-rtc x2 (plain form): 56 missing" in message
