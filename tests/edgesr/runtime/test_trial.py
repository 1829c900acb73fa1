"""A file that edgesr did not make runs first where it may crash, and a changed one not at all."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgesr.errors import ModelFileError
from edgesr.runtime import session
from edgesr.runtime.session import Backend, open_model
from helpers.small_net import SmallNet
from helpers.tflite_builder import TfliteBuilder

Write = Callable[[bytes], Path]


def _integers_without_scales(kind: str, dtype: str, *, sources: int = 1) -> bytes:
    """RGB in and out in float32; between them an operator on integers without quantisation."""
    made = TfliteBuilder()
    lr = made.tensor([1, 8, 8, 3], name="lr")
    source = made.tensor([1, 8, 8, 3], dtype)
    result = made.tensor([1, 8, 8, 3], dtype)
    hr = made.tensor([1, 8, 8, 3], name="hr")
    made.operator("CAST", [lr], [source])
    made.operator(kind, [source] * sources, [result])
    made.operator("CAST", [result], [hr])
    return made.finish([lr], [hr])


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_model(content: bytes) -> Path:
        path = tmp_path / "m.tflite"
        path.write_bytes(content)
        return path

    return write_model


@pytest.mark.parametrize(
    ("kind", "dtype", "sources"),
    [
        ("SQRT", "int16", 1), ("RSQRT", "int16", 1), ("LOG", "int16", 1),
        ("ADD", "int8", 2), ("SUB", "uint8", 2), ("SQUARED_DIFFERENCE", "int8", 2),
        ("ELU", "int32", 1), ("DIV", "int8", 2),
    ],
)  # fmt: skip
def test_an_operator_without_quantisation_is_one_error(
    write: Write, kind: str, dtype: str, sources: int
) -> None:
    """Some of them end LiteRT in a segmentation fault: this test lives because a child died."""
    path = write(_integers_without_scales(kind, dtype, sources=sources))
    with pytest.raises(ModelFileError, match=r"m\.tflite"):
        open_model(path)


@pytest.mark.parametrize("backend", [Backend.CPU, Backend.CPU_FP16])
def test_a_sound_file_of_others_runs_here_after_its_trial(write: Write, backend: Backend) -> None:
    net = SmallNet()
    runner = open_model(write(net.tflite(8, 8, facts=False)), backend)
    lr_nhwc = np.random.default_rng(0).random((1, 8, 8, 3), np.float32)
    assert np.allclose(runner.run(lr_nhwc)[0], net.apply(lr_nhwc[0]), atol=1e-2)


def test_only_what_edgesr_did_not_make_is_tried_elsewhere(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []
    monkeypatch.setattr(session, "try_elsewhere", lambda _c, name, *_: tried.append(name))
    open_model(write(SmallNet().tflite(8, 8)))
    assert tried == []
    path = write(SmallNet().tflite(8, 8, facts=False))
    open_model(path)
    assert tried == [str(path)]


@pytest.mark.parametrize("place", [0.3, 0.5, 0.7])
def test_one_changed_byte_is_found_when_a_file_is_opened(write: Write, place: float) -> None:
    content = bytearray(SmallNet(8).tflite(8, 8))
    at = content.rindex(SmallNet(8).weights()[0].transpose(3, 0, 1, 2).astype("<f4").tobytes())
    size = SmallNet(8).weights()[0].nbytes // 2
    content[at + int(place * size)] ^= 1
    with pytest.raises(ModelFileError, match="was changed or damaged after edgesr wrote it"):
        open_model(write(bytes(content)))
