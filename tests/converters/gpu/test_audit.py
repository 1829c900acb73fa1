"""The audit's figures, against figures worked out by hand."""

import json
from pathlib import Path

import numpy as np
import pytest

from converters.gpu.audit import Audit, audit
from edgesr.tflite.facts import FACTS_ENTRY
from helpers.tflite_builder import TfliteBuilder, conv_options, options, sr_model

PIXELS = 720 * 480


def audited(tmp_path: Path, content: bytes) -> Audit:
    path = tmp_path / "m.tflite"
    path.write_bytes(content)
    return audit(path)


@pytest.mark.parametrize("half", [True, False], ids=["FP16 weights", "FP32 weights"])
def test_figures_of_a_small_network(half: bool, tmp_path: Path) -> None:
    """3 -> 8 -> 8 -> 12 channels at 6x8: every figure by hand, whatever holds the weights."""
    found = audited(tmp_path, sr_model(6, 8, half=half))
    weights = 9 * 3 * 8 + 8 + 9 * 8 * 8 + 8 + 9 * 8 * 12 + 12
    assert found.parameters == weights
    assert found.macs == 6 * 8 * 9 * (3 * 8 + 8 * 8 + 8 * 12)
    # The worst place is the sum: both operands and the result, 8 channels each; DEPTH_TO_SPACE
    # holds 12 + 12. Widened weights are no activations.
    assert found.peak_activation_bytes == 6 * 8 * 24 * 4
    assert found.peak_activation_bytes_fp16 == 6 * 8 * 24 * 2
    assert found.constant_bytes == {"float16" if half else "float32": weights * (2 if half else 4)}
    assert (found.scale, found.not_sr) == (2, None)
    assert [(t.name, t.shape, t.dtype) for t in found.inputs] == [("lr", (1, 6, 8, 3), "float32")]
    assert found.verdict == f"GPU delegate: accepts all {len(found.operators)} operators"
    assert found.violations == ()


def test_the_published_file(shared: Path) -> None:
    path = shared / "reference" / "imdn_rtc_time.tflite"
    found = audit(path)
    assert found.size_bytes == path.stat().st_size == 104_488
    assert (found.parameters, found.scale) == (20_190, 2)
    # Per pixel: head, five blocks of 3x3 12->12, 9->12, 9->12, 9->3 and 1x1 12->12, 1x1, tail.
    block = 9 * (12 * 12 + 2 * 9 * 12 + 9 * 3) + 12 * 12
    assert found.macs == PIXELS * (9 * 3 * 12 + 5 * block + 12 * 12 + 9 * 12 * 12)
    # Third slice of a block: head 12, block input 12, three kept parts of 3, the activation of 12
    # that is sliced, and its rest of 9.
    assert found.peak_activation_bytes == PIXELS * (12 + 12 + 3 * 3 + 12 + 9) * 4
    assert found.metadata == {"min_runtime_version": "2.1.0"}


def test_an_activation_that_is_read_again_later_stays_live(tmp_path: Path) -> None:
    made = TfliteBuilder()
    lr = made.tensor([1, 4, 6, 3])
    first, second, third = (made.tensor([1, 4, 6, 3]) for _ in range(3))
    hr = made.tensor([1, 4, 6, 3])
    made.operator("RELU", [lr], [first])
    made.operator("RELU", [first], [second])
    made.operator("RELU", [second], [third])
    made.operator("ADD", [third, first], [hr], options("AddOptions"))
    # At the third operator: first (read again), second, third.
    assert audited(tmp_path, made.finish([lr], [hr])).peak_activation_bytes == 3 * 4 * 6 * 3 * 4


def test_outputs_live_to_the_end_and_unread_results_die_at_once(tmp_path: Path) -> None:
    made = TfliteBuilder()
    lr, early, unread, hr = (made.tensor([1, 4, 6, 3]) for _ in range(4))
    made.operator("RELU", [lr], [early])
    made.operator("RELU6", [lr], [unread])
    made.operator("TANH", [lr], [hr])
    content = made.finish([lr], [early, hr])
    # At RELU6 and at TANH: the input, the early output, the operator's own.
    assert audited(tmp_path, content).peak_activation_bytes == 3 * 4 * 6 * 3 * 4


def test_integer_activations_keep_their_width_in_fp16(tmp_path: Path) -> None:
    made = TfliteBuilder()
    lr, narrow = made.tensor([1, 4, 6, 3]), made.tensor([1, 4, 6, 3], "int8")
    made.operator("QUANTIZE", [lr], [narrow])
    found = audited(tmp_path, made.finish([lr], [narrow]))
    assert found.peak_activation_bytes == 4 * 6 * 3 * (4 + 1)
    assert found.peak_activation_bytes_fp16 == 4 * 6 * 3 * (2 + 1)


def test_macs_of_each_kind_of_convolution(tmp_path: Path) -> None:
    made = TfliteBuilder()
    lr = made.tensor([1, 4, 6, 8])
    strided, deep, up = (made.tensor(s) for s in ([1, 2, 3, 8], [1, 2, 3, 8], [1, 4, 6, 5]))
    weights = [made.constant(np.ones(s, np.float32)) for s in ((8, 3, 3, 8), (1, 5, 5, 8))]
    made.operator("CONV_2D", [lr, weights[0], -1], [strided], conv_options(2))
    depthwise = options("DepthwiseConv2DOptions", strideH=1, strideW=1, depthMultiplier=1)
    made.operator("DEPTHWISE_CONV_2D", [strided, weights[1], -1], [deep], depthwise)
    size = made.constant(np.array([1, 4, 6, 5], np.int32))
    transposed = made.constant(np.ones((5, 2, 2, 8), np.float32))
    opts = options("TransposeConvOptions", strideH=2, strideW=2)
    made.operator("TRANSPOSE_CONV", [size, transposed, deep], [up], opts)
    found = audited(tmp_path, made.finish([lr], [up]))
    assert [operator.macs for operator in found.operators] == [
        2 * 3 * 8 * 9 * 8,  # an output pixel and channel: 3x3 of 8 channels
        2 * 3 * 8 * 25,  # 5x5 of its own channel
        2 * 3 * 8 * 2 * 2 * 5,  # an input pixel and channel: 2x2 of 5 channels
    ]
    # The size of the transposed convolution's output is no parameter.
    assert found.parameters == 8 * 9 * 8 + 25 * 8 + 5 * 4 * 8


@pytest.mark.parametrize(
    ("shapes", "dtype", "reason"),
    [
        pytest.param([(1, 4, 6, 3), (1, 4, 6, 8)], "float32", "output shape", id="8 channels"),
        pytest.param([(1, 4, 6, 3), (1, 6, 9, 3)], "float32", "no whole multiple", id="x1.5"),
        pytest.param([(4, 6), (4, 6)], "float32", "input shape", id="matrices"),
        pytest.param([(1, 4, 6, 3), (1, 4, 6, 3)], "int8", "int8 in and int8 out", id="int8"),
    ],
)
def test_other_models_are_audited_and_reported_as_such(
    shapes: list[tuple[int, ...]], dtype: str, reason: str, tmp_path: Path
) -> None:
    made = TfliteBuilder()
    source, result = (made.tensor(shape, dtype) for shape in shapes)
    made.operator("RELU", [source], [result])
    found = audited(tmp_path, made.finish([source], [result]))
    assert found.scale is None
    assert reason in (found.not_sr or "")
    assert len(found.operators) == 1


def test_two_inputs_are_no_super_resolution(tmp_path: Path) -> None:
    made = TfliteBuilder()
    sources, result = [made.tensor([1, 4, 6, 3]) for _ in "ab"], made.tensor([1, 4, 6, 3])
    made.operator("ADD", sources, [result], options("AddOptions"))
    found = audited(tmp_path, made.finish(sources, [result]))
    assert found.not_sr == "2 inputs and 1 outputs, a super-resolution model has one of each"


def with_entries(**entries: bytes) -> bytes:
    made = TfliteBuilder()
    lr, hr = made.tensor([1, 4, 6, 3]), made.tensor([1, 4, 6, 3])
    made.operator("RELU", [lr], [hr])
    for name, data in entries.items():
        made.metadata(name, data)
    return made.finish([lr], [hr])


def test_metadata_is_shown_as_text_where_it_is_text(tmp_path: Path) -> None:
    content = with_entries(note=b"caf\xc3\xa9\0\0", blob=b"\x01\x02\xff", code=b"\x1b[31m")
    assert audited(tmp_path, content).metadata == {
        "note": "caf\xe9",
        "blob": "<3 bytes>",
        "code": "<5 bytes>",
    }


@pytest.mark.parametrize(
    ("entry", "facts"),
    [
        pytest.param(b'{"model": "imdn-rtc"}', {"model": "imdn-rtc"}, id="facts"),
        pytest.param(b"{broken", None, id="no JSON"),
        pytest.param(b"[1, 2]", None, id="no object"),
    ],
)
def test_facts_are_read_from_their_entry(
    entry: bytes, facts: dict[str, str] | None, tmp_path: Path
) -> None:
    assert audited(tmp_path, with_entries(**{FACTS_ENTRY: entry})).facts == facts


def test_a_file_without_facts_has_none(tmp_path: Path) -> None:
    assert audited(tmp_path, sr_model()).facts is None


def test_an_audit_is_written_as_json_and_keeps_its_figures(tmp_path: Path) -> None:
    found = audited(tmp_path, sr_model())
    written = json.loads(json.dumps(found.to_json()))
    assert written["parameters"] == found.parameters
    assert written["operators"][0]["name"] == found.operators[0].name
    assert written["gpu_verdict"] == found.verdict
    assert written["gpu_clean"] is False, "edgesr did not make the file"
    assert "not made by edgesr" in written["caveat"]
    assert written["signatures"][0]["inputs"] == {"lr": "lr"}
