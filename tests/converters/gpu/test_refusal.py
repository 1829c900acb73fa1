"""What a conversion is told of operators that the GPU delegate refuses."""

from pathlib import Path

import onnx
import pytest

from converters.gpu.refusal import NotCleanError, check_clean, check_clean_content
from converters.tflite import backend
from helpers.onnx_graphs import GraphBuilder
from helpers.tflite_builder import TfliteBuilder


@pytest.mark.parametrize(
    ("operator", "remedy"),
    [("FlexErf", "write GELU with approximate='tanh'"), ("FlexOther", "write the network without")],
)
def test_a_remedy_is_none_that_was_used_already(tmp_path: Path, operator: str, remedy: str) -> None:
    """The file has just been converted: converting it is no advice."""
    made = TfliteBuilder()
    lr, hr = made.tensor([1, 4, 6, 3], name="lr"), made.tensor([1, 4, 6, 3], name="hr")
    made.operator("CUSTOM", [lr], [hr], custom=operator)
    path = tmp_path / "converted.tflite"
    path.write_bytes(made.finish([lr], [hr]))
    with pytest.raises(NotCleanError, match=operator) as caught:
        check_clean([path])
    assert remedy in str(caught.value)
    assert "`edgesr convert`" not in str(caught.value)


def test_a_file_that_will_be_refused_is_converted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its operator fits one size only, for which it would have to be converted again."""
    made = TfliteBuilder()
    lr, hr = made.tensor([1, 4, 6, 3], name="lr"), made.tensor([1, 4, 6, 3], name="hr")
    made.operator("CUSTOM", [lr], [hr], custom="FlexErf")
    conversions: list[str] = []

    class Worker(backend.Onnx2tf):
        def __enter__(self) -> "Worker":
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def convert(self, model: onnx.ModelProto, *, half: bool) -> bytes:
            conversions.append("fp16" if half else "fp32")
            return made.finish([lr], [hr])

    monkeypatch.setattr(backend, "Onnx2tf", Worker)
    g = GraphBuilder(3, 4, 6)
    model = g.build(g.op("Erf", "lr"))
    with pytest.raises(NotCleanError, match="FlexErf"):
        backend.converted(Worker(), model, 8, 12, half=True, check=check_clean_content)
    assert conversions == ["fp16"]
    backend.converted(Worker(), model, 8, 12, half=True, check=lambda _: None)
    assert conversions == ["fp16"] * 3
    backend.converted(Worker(), model, 4, 6, half=True, check=lambda _: None)
    assert conversions == ["fp16"] * 4, "it is of the final size already"
