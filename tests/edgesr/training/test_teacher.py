"""Targets from published networks: their parts, the file that keeps them, a training on them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edgesr.networks.spec import build, find_spec
from edgesr.training import run
from edgesr.training.data.store import ImageStore, prepare
from edgesr.training.folder import as_toml
from edgesr.training.recipe import Recipe, RecipeError, Teacher, load_recipe, parse_recipe
from edgesr.training.run import train
from edgesr.training.teacher import TeacherNet, ensemble, taught
from helpers.training import draw_images, places, short_recipe

pytestmark = pytest.mark.usefixtures("one_torch_thread")

CPU = torch.device("cpu")


class Doubled(nn.Module):
    """Every pixel four times, plus a summand in the network's own range."""

    def __init__(self, summand: float) -> None:
        super().__init__()
        self.summand = summand

    def forward(self, lr_nchw: Tensor) -> Tensor:
        return lr_nchw.repeat_interleave(2, 2).repeat_interleave(2, 3) + self.summand


def _net(summand: float, value_range: float = 1.0) -> TeacherNet:
    return TeacherNet("doubled", "0" * 64, Doubled(summand), value_range)


def _recipe(**changes: object) -> Recipe:
    teacher = Teacher.model_validate({"networks": ["imdn-rtc"], "symmetries": 1} | changes)
    return short_recipe(reductions=(0.5,), teacher=teacher)


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    draw_images(tmp_path / "drawn")
    draw_images(tmp_path / "photos")
    folders = [tmp_path / "drawn", tmp_path / "photos"]
    return prepare(folders, 2, tmp_path / "cache", reductions=(0.5,))


def test_the_ensemble_is_a_mean_over_networks_of_any_range() -> None:
    lr_nchw = torch.full((1, 3, 4, 5), 100.0)
    mean = ensemble([_net(10 / 255), _net(30, 255)], lr_nchw)
    torch.testing.assert_close(mean, torch.full((1, 3, 8, 10), 120.0))


def test_every_symmetry_is_undone_behind_the_network() -> None:
    """A network that commutes with all of them gives the same for one and for eight."""
    lr_nchw = torch.rand(1, 3, 4, 6) * 255
    torch.testing.assert_close(
        ensemble([_net(0)], lr_nchw, symmetries=8), ensemble([_net(0)], lr_nchw, symmetries=1)
    )


def test_eight_symmetries_make_any_network_symmetric() -> None:
    torch.manual_seed(0)
    spec = find_spec("imdn-rtc", 2)
    net = TeacherNet(spec.name, "", build(spec).eval(), spec.value_range)
    lr_nchw = torch.rand(1, 3, 8, 8) * 255
    turned = ensemble([net], lr_nchw.rot90(1, (2, 3)))
    torch.testing.assert_close(turned, ensemble([net], lr_nchw).rot90(1, (2, 3)))


def test_targets_are_mixed_with_hr(store: ImageStore, tmp_path: Path) -> None:
    recipe = _recipe(hr_share=0.25, untaught=["drawn"])
    targets = taught(store, recipe, [_net(8 / 255)], tmp_path, CPU)
    assert len(targets) == len(store)
    for index, file in enumerate(store.files):
        np.testing.assert_array_equal(targets.lr(index), store.lr(index))
        expected = store.hr(index).astype(float)
        if "photos" in file.parts:
            twice = store.lr(index).repeat(2, 0).repeat(2, 1).astype(float) + 8
            expected = (0.25 * expected + 0.75 * twice).clip(0, 255)
        assert np.abs(targets.hr(index) - expected).max() <= 0.51


def test_a_reduced_image_becomes_one_without_hr(store: ImageStore, tmp_path: Path) -> None:
    recipe = _recipe(unlabelled=[0.5], untaught=["drawn"])
    targets = taught(store, recipe, [_net(0)], tmp_path, CPU)
    photos = sum("photos" in file.parts for file in store.files)
    assert len(targets) == len(store) + photos // 2
    last = targets.hr(len(targets) - 1)
    np.testing.assert_array_equal(targets.lr(len(targets) - 1), store.hr(len(store) - 1))
    np.testing.assert_array_equal(last, store.hr(len(store) - 1).repeat(2, 0).repeat(2, 1))


def test_targets_are_computed_once(
    store: ImageStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = taught(store, _recipe(), [_net(0)], tmp_path, CPU)
    monkeypatch.setattr(Doubled, "forward", None)
    again = taught(store, _recipe(), [_net(0)], tmp_path, CPU)
    np.testing.assert_array_equal(first.pixels_u8, again.pixels_u8)


def test_a_training_learns_from_them_and_names_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "published_teachers", lambda *_: [_net(0)])
    draw_images(tmp_path / "images")
    plain, with_teacher = places(tmp_path, "plain"), places(tmp_path, "taught")
    train(short_recipe(), plain)
    train(short_recipe(teacher=Teacher(networks=("imdn-rtc",))), with_teacher)
    record = (with_teacher.output / "run.json").read_text()
    assert '"doubled"' in record
    assert '"doubled"' not in (plain.output / "run.json").read_text()


def test_a_recipe_with_a_teacher_is_written_as_it_is_read() -> None:
    recipe = load_recipe("fmen-s")
    assert recipe.teacher is not None
    assert parse_recipe(as_toml(recipe), "again") == recipe


def test_unlabelled_images_are_reduced_ones() -> None:
    text = as_toml(load_recipe("fmen-s")).replace("unlabelled = [0.5", "unlabelled = [0.25")
    with pytest.raises(RecipeError, match=r"teacher.unlabelled: got 0.25, allowed only"):
        parse_recipe(text, "mine.toml")
