"""The hand-written schema says what the generated one says, and damaged files stay harmless."""

import re
import struct
import time
from collections.abc import Callable
from typing import Any

import ai_edge_litert.schema_py_generated as generated
import flatbuffers
import pytest

from edgesr.errors import ModelFileError
from edgesr.tflite import schema as tflite_schema
from edgesr.tflite.operators import SIGNATURES
from edgesr.tflite.schema import TENSOR_TYPES, buffer_bytes, parse_model, short_name
from helpers.tflite_builder import sr_model

_CODES = {
    "Int8": "b",
    "Uint8": "B",
    "Bool": "B",
    "Int32": "i",
    "Uint32": "I",
    "Uint64": "Q",
    "Float32": "f",
}


def members(enum: str) -> dict[int, str]:
    return {v: k for k, v in vars(getattr(generated, enum)).items() if isinstance(v, int)}


def table_names() -> dict[str | int, str]:
    """Our name of a table -> the schema's."""
    renamed = {"Quantization": "QuantizationParameters", "Sparsity": "SparsityParameters"}
    named = {t: renamed.get(t, t) for t in tflite_schema._SCHEMA if t != "Options"}
    return {**named, **{number: members("BuiltinOptions")[number] for number in _options()}}


def _options() -> list[int]:
    return list(tflite_schema._OPTIONS)


class Recorder:
    """Stands in for the flatbuffers builder: notes what the generated functions would write."""

    def __init__(self) -> None:
        self.field: tuple[int, str] | None = None
        self.element_size = 0

    def __getattr__(self, name: str) -> Callable[..., None]:
        found = re.fullmatch(r"Prepend(\w+?)(Relative)?Slot", name)
        assert found, f"the generated code calls {name}"

        def prepend(slot: int, value: object, default: object) -> None:
            self.field = (slot, found.group(1))

        return prepend

    def StartVector(self, size: int, count: int, alignment: int) -> None:  # noqa: N802
        self.element_size = size


def generated_fields(table: str) -> dict[int, tuple[str, str, int]]:
    """Slot -> name, kind of entry, size of an element where it is a vector."""
    fields: dict[int, tuple[str, str, int]] = {}
    for name, function in vars(generated).items():
        added = re.fullmatch(rf"{table}Add([A-Z]\w*)", name)
        if not added:
            continue
        recorder: Any = Recorder()
        function(recorder, 0)
        start = getattr(generated, f"{table}Start{added.group(1)}Vector", None)
        if start:
            start(recorder, 1)
        slot, kind = recorder.field
        snake = re.sub(r"(?<!^)(?=[A-Z])", "_", added.group(1)).lower()
        fields[slot] = (snake.replace("options2", "options_2"), kind, recorder.element_size)
    return fields


@pytest.mark.parametrize("table", list(table_names()), ids=table_names().values())
def test_fields_are_those_of_the_generated_schema(table: str | int) -> None:
    expected = generated_fields(table_names()[table])
    for slot, field in enumerate(tflite_schema._FIELDS[table]):
        if field.name == "_":
            continue
        name, kind, element_size = expected[slot]
        assert field.name == name
        if kind != "UOffsetT":
            assert (field.kind, field.vector) == (_CODES[kind], False)
        else:
            assert field.vector == (element_size > 0)
            assert field.width == (element_size or 4)


def test_every_tensor_type_has_a_size() -> None:
    names = {number: name for number, (name, _) in TENSOR_TYPES.items()}
    assert names == {number: name.lower() for number, name in members("TensorType").items()}


@pytest.mark.parametrize("code", SIGNATURES, ids=[s.name for s in SIGNATURES.values()])
def test_operators_have_the_schemas_numbers(code: int) -> None:
    signature = SIGNATURES[code]
    assert members("BuiltinOperator")[code] == signature.name
    if signature.options:
        options = members("BuiltinOptions")[signature.options].lower().removesuffix("options")
        name = signature.name.lower().replace("_", "")
        assert options in name or (options == "reducer" and name[:4] in ("redu", "mean", "sum"))


@pytest.mark.parametrize("outside", [False, True], ids=["inside", "behind the flatbuffer"])
def test_buffers_are_found(outside: bool) -> None:
    content = sr_model(outside=outside)
    model = parse_model(content, "m.tflite")
    sizes = [len(buffer_bytes(content, buffer)) for buffer in model["buffers"]]
    # 3x3x3x8, 8, 3x3x8x8, 8, 3x3x8x12, 12 halves, then "1.13.0".
    assert sizes == [0, 432, 16, 1152, 16, 1728, 24, 6]


def shared_tables(build: Callable[[flatbuffers.Builder], int]) -> bytes:
    """A model with one graph, made by `build`."""
    builder = flatbuffers.Builder(1024)
    graph = build(builder)
    generated.ModelStartSubgraphsVector(builder, 1)
    builder.PrependUOffsetTRelative(graph)
    graphs = builder.EndVector()
    generated.ModelStart(builder)
    generated.ModelAddSubgraphs(builder, graphs)
    builder.Finish(generated.ModelEnd(builder), b"TFL3")
    return bytes(builder.Output())


def one_tensor_many_times(builder: flatbuffers.Builder) -> int:
    name = builder.CreateString("n" * 100_000)
    generated.TensorStart(builder)
    generated.TensorAddName(builder, name)
    tensor = generated.TensorEnd(builder)
    generated.SubGraphStartTensorsVector(builder, 400_000)
    for _ in range(400_000):
        builder.PrependUOffsetTRelative(tensor)
    tensors = builder.EndVector()
    generated.SubGraphStart(builder)
    generated.SubGraphAddTensors(builder, tensors)
    return generated.SubGraphEnd(builder)


def test_a_file_that_points_to_itself_over_and_over_is_refused_at_once() -> None:
    content = shared_tables(one_tensor_many_times)
    start_s = time.process_time()
    with pytest.raises(ModelFileError, match="again and again"):
        parse_model(content, "m.tflite")
    # Unchecked, the names alone would take 40 GB.
    assert time.process_time() - start_s < 5


def with_word(content: bytes, at: int, value: int) -> bytes:
    return content[:at] + struct.pack("<I", value) + content[at + 4 :]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"", "0 bytes without the TFL3 identifier", id="empty"),
        pytest.param(b"\x89PNG\r\n\x1a\n" + bytes(64), "not a .tflite", id="another format"),
        pytest.param(b"\x08\0\0\0TFL3", "damaged", id="identifier only"),
        pytest.param(with_word(sr_model(), 0, 0xFFFFFFF0), "points to byte", id="root far away"),
        pytest.param(with_word(sr_model(), 0, 4), "damaged", id="root is no table"),
        pytest.param(sr_model()[:3000], "truncated or damaged", id="cut in the middle"),
        pytest.param(sr_model(outside=True)[:-100], "ends behind", id="buffer cut off"),
    ],
)
def test_damage_is_named_in_one_line(content: bytes, message: str) -> None:
    with pytest.raises(ModelFileError, match=message) as caught:
        parse_model(content, "m.tflite")
    assert str(caught.value).startswith("m.tflite ")
    assert len(str(caught.value).splitlines()) == 1


def test_a_long_name_is_cut_in_a_message() -> None:
    assert short_name({"name": b"long" * 300}) == "long" * 20 + "..."
    assert short_name({"name": b"lr"}) == "lr"
    assert short_name({"name": None}) == "without a name"


def test_control_characters_in_names_do_not_reach_a_message() -> None:
    assert tflite_schema.printable(b"a\x1b[31m\nb\xff") == "a\ufffd[31m\ufffdb\ufffd"
