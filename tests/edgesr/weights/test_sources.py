"""What a user names: a network, NAME:SCALE, or a checkpoint's path."""

from pathlib import Path

import pytest

from edgesr.common.progress import silent
from edgesr.errors import ArchitectureError, CheckpointError, EdgeSRError, SizeError
from edgesr.weights.bundled import bundled_weights
from edgesr.weights.sources import load_named, named_spec


@pytest.mark.parametrize(
    ("name", "scale", "found"),
    [
        pytest.param("rtc", None, ("imdn-rtc", 2), id="alias"),
        pytest.param("imdn", 4, ("imdn", 4), id="scale apart"),
        pytest.param("imdn:3", None, ("imdn", 3), id="name and scale"),
        pytest.param("imdn:3", 3, ("imdn", 3), id="the same scale twice"),
    ],
)
def test_a_name_finds_its_network(name: str, scale: int | None, found: tuple[str, int]) -> None:
    spec = named_spec(name, scale)
    assert (spec.name, spec.scale) == found


@pytest.mark.parametrize(
    ("name", "scale", "error", "words"),
    [
        pytest.param("nope", None, ArchitectureError, "unknown model 'nope'", id="unknown"),
        pytest.param("imdn:five", None, SizeError, "NAME:SCALE", id="no number"),
        pytest.param("imdn:" + "9" * 200, None, SizeError, "NAME:SCALE", id="endless scale"),
        pytest.param("imdn:4", 2, SizeError, "--scale 2; give one scale", id="two scales"),
        pytest.param("folder/rtc", None, EdgeSRError, "folder/rtc", id="a path is no name"),
        pytest.param("rtc.pth", None, EdgeSRError, "rtc.pth", id="a suffix is no name"),
    ],
)
def test_what_names_nothing_is_refused_alike_with_and_without_weights(
    name: str, scale: int | None, error: type[EdgeSRError], words: str
) -> None:
    with pytest.raises(error, match=words):
        named_spec(name, scale)
    with pytest.raises(error, match=words):
        load_named(name, silent, scale)


def test_a_name_stands_for_its_bundled_weights() -> None:
    loaded = load_named("imdn-rtc:2", silent)
    bundled = bundled_weights(loaded.spec)
    assert bundled is not None
    assert loaded.sha256 == bundled.sha256


def test_a_file_takes_precedence_over_a_network_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rtc").write_bytes(b"no checkpoint")
    with pytest.raises(CheckpointError, match="rtc"):
        named_spec("rtc")


def test_the_scale_of_a_checkpoint_is_its_own(checkpoint: Path) -> None:
    assert named_spec(str(checkpoint), 2).scale == 2
    with pytest.raises(ArchitectureError, match="leave out --scale"):
        named_spec(str(checkpoint), 4)
