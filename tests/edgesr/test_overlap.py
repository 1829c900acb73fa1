"""What a file states of its network, and the overlap of tiles that follows."""

from pathlib import Path

import pytest

from edgesr.overlap import StatedFacts, choose_overlap, stated_facts
from edgesr.runtime import ModelShape
from edgesr.tiling import Overlap
from helpers.small_net import SmallNet


def test_a_file_without_facts_states_nothing(tmp_path: Path) -> None:
    path = tmp_path / "foreign.tflite"
    path.write_bytes(SmallNet().tflite(8, 8, facts=False))
    assert stated_facts(path) is None


@pytest.mark.parametrize(
    ("wrong", "radius"),
    [
        ({}, 2),
        ({"receptive_radius": None}, None),
        ({"receptive_radius": -1}, "unsound"),
        ({"receptive_radius": "2"}, "unsound"),
        ({"scale": 0}, "unsound"),
        ({"model": 5}, "unsound"),
        ({"size_multiple": 1.5}, "unsound"),
        ({"whole_picture": 1}, "unsound"),
    ],
    ids=str,
)
def test_unsound_facts_are_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: dict[str, object], radius: object
) -> None:
    path = tmp_path / "small.tflite"
    said = SmallNet().facts() | wrong
    monkeypatch.setattr(SmallNet, "facts", lambda _: said)
    path.write_bytes(SmallNet().tflite(8, 8))
    facts = stated_facts(path)
    assert (facts.receptive_radius if facts else "unsound") == radius


_SHAPE = ModelShape(720, 480, 2)


@pytest.mark.parametrize(
    ("stated", "wanted", "shape", "pixels", "warning"),
    [
        (22, None, _SHAPE, 22, None),
        (22, 30, _SHAPE, 30, None),
        (22, 5, _SHAPE, 5, "less than the network's receptive radius 22"),
        (None, 7, _SHAPE, 7, None),
        (None, None, _SHAPE, 48, "overlap by 48 pixels"),
        (None, None, ModelShape(128, 96, 2), 24, "overlap by 24 pixels"),
        (None, None, ModelShape(3, 3, 4), 0, "overlap by 0 pixels"),
    ],
    ids=["stated", "more", "less", "wish", "guess", "guess for small tiles", "tiny tiles"],
)
def test_overlap(
    stated: int | None, wanted: int | None, shape: ModelShape, pixels: int, warning: str | None
) -> None:
    facts = None if stated is None else StatedFacts("small", 2, stated)
    got, said = choose_overlap(facts, wanted, shape)
    assert got == Overlap(pixels)
    assert (said is None) == (warning is None)
    assert warning is None or (said is not None and warning in said)


def test_what_a_file_says_of_its_network_is_heeded(tmp_path: Path) -> None:
    net = SmallNet(2, 1, halvings=1, whole_picture=True)
    path = tmp_path / "strided.tflite"
    path.write_bytes(net.tflite(16, 16))
    facts = stated_facts(path)
    assert facts == StatedFacts("small", 2, net.reach, 2, True, "0" * 64)
    overlap, warning = choose_overlap(facts, None, ModelShape(16, 16, 2))
    assert (overlap.radius, overlap.multiple, warning) == (net.reach, 2, None)
    assert overlap.blend > 0
