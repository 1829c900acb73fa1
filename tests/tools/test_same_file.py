"""Files compare as identical, equal up to FP16 rounding, or different."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ai_edge_litert.schema_py_generated as schema
import flatbuffers
import numpy as np
import pytest

from edgesr.tflite.facts import FACTS_ENTRY
from helpers.tflite_builder import sr_model
from tools.release.same_file import Sameness, compare_files

_FACTS = {"model": "small", "tool_versions": {"torch": "1"}}


def _with_facts(model: Any, changes: Mapping[str, object]) -> None:
    buffer, entry = schema.BufferT(), schema.MetadataT()
    buffer.data = np.frombuffer(json.dumps({**_FACTS, **changes}).encode(), np.uint8)
    entry.name, entry.buffer = FACTS_ENTRY.encode(), len(model.buffers)
    model.buffers.append(buffer)
    model.metadata.append(entry)


def _file(path: Path, change: Callable[[Any], None] | None = None, **facts: object) -> Path:
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(sr_model(), 0))
    _with_facts(model, facts)
    if change is not None:
        change(model)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()))
    return path


def _weights(model: Any) -> np.ndarray:
    """The first FP16 constant, to be changed in place."""
    graph = model.subgraphs[0]
    tensor = next(t for t in graph.tensors if t.type == schema.TensorType.FLOAT16)
    buffer = model.buffers[tensor.buffer]
    buffer.data = np.array(buffer.data, np.uint8)
    return buffer.data.view(np.float16)


def _one_step(model: Any) -> None:
    weights = _weights(model)
    place = np.abs(weights).argmax()
    weights[place] = np.nextafter(weights[place], np.float16(0))


def _three_steps(model: Any) -> None:
    for _ in range(3):
        _one_step(model)


def _small_weight_by_a_step_of_the_largest(model: Any) -> None:
    weights = _weights(model)
    weights[np.abs(weights).argmin()] += np.spacing(np.abs(weights).max())


def _other_activation(model: Any) -> None:
    model.subgraphs[0].operators[2].builtinOptions.fusedActivationFunction = 1


def _other_name(model: Any) -> None:
    model.subgraphs[0].tensors[0].name = b"input"


def _without_an_operator(model: Any) -> None:
    model.subgraphs[0].operators.pop()


def _other_entry(model: Any) -> None:
    model.metadata[0].name = b"another"


@pytest.mark.parametrize(
    ("change", "facts", "sameness", "words"),
    [
        (None, {}, Sameness.IDENTICAL, ""),
        (None, {"tool_versions": {"torch": "2"}}, Sameness.ROUNDING, "torch 1 and 2"),
        (_one_step, {}, Sameness.ROUNDING, "1 of 1684 FP16 weights differ, by 1 steps at most"),
        (_small_weight_by_a_step_of_the_largest, {}, Sameness.ROUNDING, "1 of 1684"),
        (_three_steps, {}, Sameness.DIFFERENT, "3 FP16 steps apart, allowed 1"),
        (_other_activation, {}, Sameness.DIFFERENT, "other operators"),
        (_without_an_operator, {}, Sameness.DIFFERENT, "other operators"),
        (_other_name, {}, Sameness.DIFFERENT, "other tensors"),
        (_other_entry, {}, Sameness.DIFFERENT, "metadata"),
        (None, {"model": "other"}, Sameness.DIFFERENT, "other fact model"),
    ],
    ids=[
        "equal", "other versions", "one step", "a small weight", "three steps", "activation",
        "operator missing", "tensor's name", "metadata entry", "fact",
    ],
)  # fmt: skip
def test_files_are_distinguished(
    tmp_path: Path,
    change: Callable[[Any], None] | None,
    facts: dict[str, object],
    sameness: Sameness,
    words: str,
) -> None:
    first = _file(tmp_path / "a.tflite")
    second = _file(tmp_path / "b.tflite", change, **facts)
    found = compare_files(first, second)
    assert found.sameness is sameness, str(found)
    assert words in str(found)


def test_fp32_weights_must_be_equal_to_the_bit(tmp_path: Path) -> None:
    first, second = tmp_path / "a.tflite", tmp_path / "b.tflite"
    content = sr_model(half=False)
    first.write_bytes(content)
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    weights = next(b for b in model.buffers if b.data is not None and len(b.data) > 100)
    weights.data = np.array(weights.data, np.uint8)
    weights.data[0] ^= 1
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    second.write_bytes(bytes(builder.Output()))
    found = compare_files(first, second)
    assert found.sameness is Sameness.DIFFERENT
    assert "(float32) is not equal to the bit" in str(found)
