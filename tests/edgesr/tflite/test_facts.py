"""What a file states of its network, and the overlap of tiles that follows."""

from pathlib import Path

import pytest

from edgesr.errors import ModelFileError
from edgesr.tflite.facts import Reach, read_facts, read_reach
from edgesr.tflite.resize import resize
from edgesr.tflite.shape import ModelShape
from edgesr.upscaling.tiling import Overlap, choose_overlap
from helpers.small_net import SmallNet


def test_a_file_without_facts_states_nothing(tmp_path: Path) -> None:
    path = tmp_path / "foreign.tflite"
    path.write_bytes(SmallNet().tflite(8, 8, facts=False))
    assert read_facts(path) is None


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
        ({"whole_image": 1}, "unsound"),
    ],
    ids=str,
)
def test_unsound_facts_are_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: dict[str, object], radius: object
) -> None:
    path = tmp_path / "small.tflite"
    said = SmallNet().facts() | wrong
    monkeypatch.setattr(SmallNet, "facts", lambda _: said)
    path.write_bytes(SmallNet().tflite(8, 8))
    if radius == "unsound":
        with pytest.raises(ModelFileError, match="EDGESR_FACTS are damaged"):
            read_facts(path)
    else:
        facts = read_facts(path)
        assert facts is not None
        assert facts.receptive_radius == radius


def test_a_name_out_of_the_facts_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "small.tflite"
    said = SmallNet().facts() | {"long" * 300: 1}
    monkeypatch.setattr(SmallNet, "facts", lambda _: said)
    path.write_bytes(SmallNet().tflite(8, 8))
    with pytest.raises(ModelFileError, match="unknown key") as failed:
        read_facts(path)
    assert len(str(failed.value)) < 300 + len(str(path))


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
    got, said = choose_overlap(None if stated is None else Reach(stated), wanted, shape)
    assert got == Overlap(pixels)
    assert (said is None) == (warning is None)
    assert warning is None or (said is not None and warning in said)


def test_what_a_file_says_of_its_network_is_heeded(tmp_path: Path) -> None:
    net = SmallNet(2, 1, halvings=1, whole_image=True)
    path = tmp_path / "strided.tflite"
    path.write_bytes(net.tflite(16, 16))
    reach = read_reach(path)
    assert reach == Reach(net.reach, 2, whole_image=True)
    overlap, warning = choose_overlap(reach, None, ModelShape(16, 16, 2))
    assert (overlap.radius, overlap.multiple, warning) == (net.reach, 2, None)
    assert overlap.blend > 0


def test_a_file_that_edgesr_resizes_states_its_new_digest(tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(SmallNet().tflite(8, 8))
    before = read_facts(path)
    path.write_bytes(resize(path.read_bytes(), 16, 12).content)
    after = read_facts(path)
    assert before is not None
    assert after is not None
    assert before.content_sha256 != after.content_sha256
