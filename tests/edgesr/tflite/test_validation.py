"""What is refused before native code sees it, and that nothing crashes that is not refused."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgesr.errors import ModelFileError
from edgesr.runtime.integrity import check_integrity
from helpers import run_mutants
from helpers.tflite_builder import TfliteBuilder, conv_options, options, sr_model

Edit = Callable[[TfliteBuilder], None]


def simple(edit: Edit | None = None) -> bytes:
    """Lr -> RELU -> CONV_2D 3x3 -> SPLIT in two -> CONCATENATION -> hr, then `edit`ed."""
    made = TfliteBuilder()
    lr = made.tensor([1, 4, 6, 3], name="lr")
    active = made.tensor([1, 4, 6, 3], name="active")
    made.operator("RELU", [lr], [active])
    weight = made.constant(np.ones((12, 3, 3, 3), np.float32), "weight")
    bias = made.constant(np.ones(12, np.float32), "bias")
    wide = made.tensor([1, 4, 6, 12], name="wide")
    made.operator("CONV_2D", [active, weight, bias], [wide], conv_options())
    axis = made.constant(np.array(3, np.int32), "axis")
    parts = [made.tensor([1, 4, 6, 6], name=f"part_{i}") for i in range(2)]
    made.operator("SPLIT", [axis, wide], parts, options("SplitOptions", numSplits=2))
    whole = made.tensor([1, 4, 6, 12], name="whole")
    made.operator("CONCATENATION", parts, [whole], options("ConcatenationOptions", axis=3))
    hr = made.tensor([1, 8, 12, 3], name="hr")
    made.operator("DEPTH_TO_SPACE", [whole], [hr], options("DepthToSpaceOptions", blockSize=2))
    if edit:
        made.graph.inputs, made.graph.outputs = [lr], [hr]
        edit(made)
        return made.finish(made.graph.inputs, made.graph.outputs)
    return made.finish([lr], [hr])


def operator(number: int, **fields: Any) -> Edit:
    """Change fields of one operator."""

    def edit(made: TfliteBuilder) -> None:
        for field in fields.items():
            setattr(made.graph.operators[number], *field)

    return edit


def tensor(name: str, **fields: Any) -> Edit:
    """Change fields of one tensor."""

    def edit(made: TfliteBuilder) -> None:
        found = next(t for t in made.graph.tensors if t.name == name.encode())
        for field in fields.items():
            setattr(found, *field)

    return edit


def rename_operator(number: int, code: int) -> Edit:
    def edit(made: TfliteBuilder) -> None:
        made.model.operatorCodes[number].builtinCode = code
        made.model.operatorCodes[number].deprecatedBuiltinCode = min(code, 127)

    return edit


def outputs_no_one_makes(made: TfliteBuilder) -> None:
    made.graph.outputs = [made.tensor([1, 4, 6, 3], name="nothing")]


def two_parts_in_three(made: TfliteBuilder) -> None:
    made.graph.operators[2].builtinOptions.numSplits = 3


DAMAGE = [
    pytest.param(operator(0, inputs=[4]), "tensor wide is read before it is made", id="order"),
    pytest.param(operator(0, outputs=[2]), "tensor weight is made twice", id="over a constant"),
    pytest.param(operator(2, outputs=[6, 6]), "part_0 is made twice", id="two outputs in one"),
    pytest.param(outputs_no_one_makes, "output nothing is never made", id="output"),
    pytest.param(operator(1, inputs=[1]), r"CONV_2D has the inputs \[1\]", id="too few inputs"),
    pytest.param(operator(1, inputs=[1, -1, 3]), "CONV_2D has the inputs", id="input left out"),
    pytest.param(operator(0, inputs=[0, 0]), "RELU has the inputs", id="too many inputs"),
    pytest.param(operator(0, outputs=[]), "RELU has the outputs", id="no output"),
    pytest.param(
        operator(2, builtinOptionsType=0, builtinOptions=None), "SPLIT lacks its", id="options"
    ),
    pytest.param(two_parts_in_three, "SPLIT in 3 has 2 outputs", id="split count"),
    pytest.param(rename_operator(0, 119), "operator WHILE, none of an image", id="control flow"),
    pytest.param(rename_operator(0, 9999), "operator 9999, none of an image", id="no operator"),
    pytest.param(tensor("wide", shape=[1, 4, 6, 16]), "declared as", id="declared shape"),
    pytest.param(tensor("lr", shape=[1, 2**15, 2**15, 2**12]), "GiB of this", id="memory"),
    pytest.param(tensor("lr", shape=[1, 4, 6, -3]), "has the shape", id="negative size"),
    pytest.param(tensor("bias", shape=[60]), "has 48 bytes, not 240", id="constant's size"),
    pytest.param(tensor("bias", type=99), "unknown type 99", id="type"),
]


@pytest.mark.parametrize(("edit", "message"), DAMAGE)
def test_damage_is_refused_in_one_line(edit: Edit, message: str) -> None:
    with pytest.raises(ModelFileError, match=message) as caught:
        check_integrity(simple(edit), "m.tflite")
    assert str(caught.value).startswith("m.tflite ")
    assert len(str(caught.value).splitlines()) == 1


def test_only_computed_shapes_are_left_out_where_the_gpu_computes() -> None:
    wrong_shape = simple(tensor("wide", shape=[1, 4, 6, 16]))
    check_integrity(wrong_shape, shapes=False)
    with pytest.raises(ModelFileError, match="output nothing is never made"):
        check_integrity(simple(outputs_no_one_makes), shapes=False)


def quantization(scale: float, zero_point: int) -> Any:
    import ai_edge_litert.schema_py_generated as schema

    made: Any = schema.QuantizationParametersT()
    made.scale, made.zeroPoint = [scale], [zero_point]
    return made


@pytest.mark.parametrize(
    ("scale", "zero_point"),
    [
        pytest.param(float("nan"), 0, id="NaN"),
        pytest.param(-1.0, 0, id="negative"),
        pytest.param(1e-42, 0, id="subnormal"),
        pytest.param(0.1, 128, id="zero point of int8 beyond 127"),
    ],
)
def test_unusable_quantization_is_refused(scale: float, zero_point: int) -> None:
    edit = tensor("active", type=9, quantization=quantization(scale, zero_point))
    with pytest.raises(ModelFileError, match="tensor active is quantised beyond its type"):
        check_integrity(simple(edit), "m.tflite")


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(simple(), id="split"),
        pytest.param(sr_model(half=True), id="FP16 weights"),
        pytest.param(sr_model(half=False), id="FP32 weights"),
        pytest.param(sr_model(outside=True), id="weights behind the flatbuffer"),
    ],
)
def test_sound_files_pass(content: bytes) -> None:
    check_integrity(content)


def test_the_published_file_passes(shared: Path) -> None:
    check_integrity((shared / "reference" / "imdn_rtc_time.tflite").read_bytes())


def test_open_model_refuses_what_would_crash(tmp_path: Path) -> None:
    """In a child process: unchecked, this file ends in a segmentation fault."""
    path = tmp_path / "m.tflite"
    path.write_bytes(simple(two_parts_in_three))
    code = (
        "import sys; from pathlib import Path; from edgesr.errors import ModelFileError\n"
        "from edgesr.runtime.session import open_model\n"
        "try: open_model(Path(sys.argv[1]))\n"
        "except ModelFileError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True)
    assert done.returncode == 0, f"ended with {done.returncode}: {done.stderr}"
    assert "SPLIT in 3 has 2 outputs" in done.stdout


BASES = {
    "fp16": sr_model(half=True),
    "fp32": sr_model(half=False),
    "outside": sr_model(outside=True),
    "split": simple(),
}


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["cpu", "cpu-fp16"])
@pytest.mark.parametrize("base", BASES)
def test_no_mutated_file_crashes_the_runtime(base: str, backend: str, tmp_path: Path) -> None:
    path = tmp_path / "base.tflite"
    path.write_bytes(BASES[base])
    argv = [sys.executable, run_mutants.__file__, path, "1", "150", backend]
    done = subprocess.run(argv, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    endings = json.loads(done.stdout)
    assert set(endings) <= {"ran", "refused", "failed"}, endings
    # Some must get through, or the runs would prove nothing about what passes.
    assert endings.get("ran", 0) >= 5
    assert endings["refused"] >= 15
