"""Reading a `.tflite`: everything in it is found, and no damage does worse than one line."""

import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.gpu.audit import audit
from edgesr.errors import ModelFileError
from edgesr.tflite.model import ModelView, read_model
from helpers.tflite_builder import TfliteBuilder, conv_options, sr_model


def read(tmp_path: Path, content: bytes) -> ModelView:
    path = tmp_path / "m.tflite"
    path.write_bytes(content)
    return read_model(path)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("flatbuffer")


@pytest.mark.parametrize("outside", [False, True], ids=["inside", "behind the flatbuffer"])
def test_a_file_is_read_whole(tmp_path: Path, outside: bool) -> None:
    model = read(tmp_path, sr_model(6, 8, outside=outside))
    names = [operator.name for operator in model.operators]
    body = ["DEQUANTIZE", "DEQUANTIZE", "CONV_2D"]
    assert names == [*body, "LEAKY_RELU", *body, "ADD", *body, "DEPTH_TO_SPACE"]
    assert [(t.name, t.shape, t.dtype) for t in model.inputs] == [("lr", (1, 6, 8, 3), "float32")]
    assert [(t.name, t.shape, t.dtype) for t in model.outputs] == [
        ("hr", (1, 12, 16, 3), "float32")
    ]
    weight = model.operators[0].inputs[0]
    assert weight is not None
    assert (weight.shape, weight.dtype, weight.constant) == ((8, 3, 3, 3), "float16", True)
    # The builder draws the first weight from this generator.
    drawn = np.random.default_rng(1).normal(0, 0.2, (8, 3, 3, 3)).astype(np.float16)
    assert bytes(weight.data) == drawn.tobytes()
    assert model.constant_bytes == {"float16": 2 * (8 * 27 + 8 + 8 * 72 + 8 + 12 * 72 + 12)}
    assert model.metadata == {"min_runtime_version": b"1.13.0"}
    assert (model.graphs, model.description) == (1, "test")
    (signature,) = model.signatures
    assert (signature.key, signature.inputs, signature.outputs) == (
        "serving_default",
        {"lr": "lr"},
        {"hr": "hr"},
    )


def test_options_versions_and_left_out_inputs_are_read(tmp_path: Path) -> None:
    made = TfliteBuilder()
    lr = made.tensor([1, 4, 6, 3])
    weight = made.constant(np.ones((5, 3, 3, 3), np.float32))
    wide = made.tensor([1, 2, 3, 5])
    made.operator("CONV_2D", [lr, weight, -1], [wide], conv_options(2, activation="RELU6"))
    paddings = made.constant(np.array([[0, 0], [1, 2], [3, 4], [0, 0]], np.int32))
    padded = made.tensor([1, 5, 10, 5])
    made.operator("PAD", [wide, paddings], [padded], version=2)
    flexible = made.tensor([1, 5, 10, 5])
    made.operator("CUSTOM", [padded], [flexible], custom="FlexErf")
    model = read(tmp_path, made.finish([lr], [flexible]))
    conv, pad, custom = model.operators
    assert conv.inputs[2] is None
    assert conv.activation == "RELU6"
    assert [conv.options[name] for name in ("padding", "stride_w", "stride_h")] == [0, 2, 2]
    assert [conv.options[f"dilation_{side}_factor"] for side in "wh"] == [1, 1]
    assert (pad.version, pad.activation) == (2, "NONE")
    assert pad.inputs[1] is not None
    assert pad.inputs[1].integers() == (0, 0, 1, 2, 3, 4, 0, 0)
    assert (custom.name, custom.custom) == ("FlexErf", True)


@pytest.mark.parametrize(
    ("signature", "static"),
    [
        pytest.param([1, 4, 6, 3], True, id="fixed"),
        pytest.param([-1, 4, 6, 3], True, id="open batch"),
        pytest.param([1, -1, 6, 3], False, id="open height"),
    ],
)
def test_only_an_open_image_size_makes_a_tensor_dynamic(
    tmp_path: Path, signature: list[int], static: bool
) -> None:
    made = TfliteBuilder()
    lr = made.tensor([1, 4, 6, 3], signature=signature)
    hr = made.tensor([1, 4, 6, 3])
    made.operator("RELU", [lr], [hr])
    assert read(tmp_path, made.finish([lr], [hr])).inputs[0].static is static


def test_the_published_file_is_read(shared: Path) -> None:
    model = read_model(shared / "reference" / "imdn_rtc_time.tflite")
    assert len(model.operators) == 70
    assert model.operators[-1].options == {"block_size": 2}
    assert model.metadata == {"min_runtime_version": b"2.1.0".ljust(16, b"\0")}


def is_read(folder: Path, content: bytes) -> bool:
    """Whether the file can be read and judged; if not, one line says why and names the file."""
    path = folder / "m.tflite"
    path.write_bytes(content)
    try:
        audit(path).to_json()
    except ModelFileError as error:
        message = str(error)
    else:
        return True
    assert str(path) in message
    assert len(message.splitlines()) == 1
    return False


BASES = {"inside": sr_model(), "outside": sr_model(outside=True)}


@pytest.mark.parametrize("base", BASES)
@given(data=st.data())
def test_no_truncation_is_read_as_sound(base: str, scratch: Path, data: st.DataObject) -> None:
    # The last buffer is metadata of 6 bytes; behind it the flatbuffer may be padded.
    length = data.draw(st.integers(0, len(BASES[base]) - 4))
    assert not is_read(scratch, BASES[base][:length])


@pytest.mark.parametrize("base", BASES)
@given(changes=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=16))
def test_mutated_bytes_never_surprise(
    base: str, scratch: Path, changes: list[tuple[float, int]]
) -> None:
    content = bytearray(BASES[base])
    for place, value in changes:
        content[8 + int(place * (len(content) - 9))] = value
    is_read(scratch, bytes(content))


def test_five_hundred_flipped_bits_never_surprise(scratch: Path) -> None:
    rng, base = random.Random(5), BASES["inside"]
    read_fully = 0
    for _ in range(500):
        content = bytearray(base)
        for _ in range(rng.choice([1, 2, 8])):
            content[rng.randrange(8, len(content))] ^= 1 << rng.randrange(8)
        read_fully += is_read(scratch, bytes(content))
    assert 50 < read_fully < 450, "both outcomes must have been seen often"


@given(noise=st.binary(max_size=512))
def test_random_bytes_behind_the_identifier_never_surprise(scratch: Path, noise: bytes) -> None:
    assert not is_read(scratch, noise[:4].ljust(4, b"\0") + b"TFL3" + noise[4:])


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        pytest.param(lambda path: None, "No such file", id="missing"),
        pytest.param(lambda path: path.mkdir(), "it is a folder", id="a folder"),
        pytest.param(os.mkfifo, "it is a named pipe", id="a pipe"),
        pytest.param(lambda path: path.symlink_to("/dev/zero"), "it is a device", id="a device"),
        pytest.param(lambda path: path.write_bytes(b""), "got 0 bytes", id="empty"),
        pytest.param(lambda path: path.write_text("not a model"), "TFL3 identifier", id="text"),
    ],
)
def test_what_is_no_tflite_is_refused(tmp_path: Path, make: object, reason: str) -> None:
    path = tmp_path / "m.tflite"
    make(path)  # type: ignore[operator]
    with pytest.raises(ModelFileError, match=reason):
        read_model(path)


def test_reading_imports_no_framework() -> None:
    code = (
        "import sys; import edgesr.tflite.model, converters.gpu.audit\n"
        "print(*{'torch', 'tensorflow', 'onnx', 'onnx2tf', 'scipy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
