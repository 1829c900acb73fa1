"""Every rule of the GPU condemns what it should, and nothing else."""

from collections import Counter
from pathlib import Path

import pytest

from converters.gpu.audit import audit
from converters.gpu.checker import check_gpu
from converters.gpu.rules import RULES, Severity, Violation
from edgesr.tflite.model import read_model
from helpers.gpu_cases import CAUTIONS, CHANNELS, REFUSED, SIX, TAKEN, built
from helpers.tflite_builder import TfliteBuilder, sr_model


def violations_of(tmp_path: Path, content: bytes) -> tuple[Violation, ...]:
    path = tmp_path / "m.tflite"
    path.write_bytes(content)
    return check_gpu(read_model(path))


@pytest.mark.parametrize("name", REFUSED)
def test_a_violation_is_refused_by_its_rule(name: str, tmp_path: Path) -> None:
    case, shape, rule = REFUSED[name]
    found = violations_of(tmp_path, built(case, shape))
    assert {violation.rule for violation in found} == {rule}
    assert {violation.severity for violation in found} == {Severity.REFUSED}


@pytest.mark.parametrize("name", CAUTIONS)
def test_what_depends_on_the_device_is_a_caution(name: str, tmp_path: Path) -> None:
    case, shape, rule = CAUTIONS[name]
    found = violations_of(tmp_path, built(case, shape))
    assert {(violation.rule, violation.severity) for violation in found} == {
        (rule, Severity.CAUTION)
    }


@pytest.mark.parametrize("name", TAKEN)
def test_a_sound_operator_is_accepted(name: str, tmp_path: Path) -> None:
    assert violations_of(tmp_path, built(TAKEN[name])) == ()


@pytest.mark.parametrize("half", [True, False], ids=["FP16 weights", "FP32 weights"])
def test_a_clean_super_resolution_file_is_accepted(half: bool, tmp_path: Path) -> None:
    assert violations_of(tmp_path, sr_model(half=half)) == ()


def test_an_open_image_size_is_refused_an_open_batch_is_not(tmp_path: Path) -> None:
    for signature, rules in (([-1, 4, 6, 8], set[str]()), ([1, -1, -1, 8], {"gpu-static"})):
        made = TfliteBuilder()
        source = made.tensor(CHANNELS, signature=signature)
        output = made.tensor(CHANNELS, signature=signature)
        made.operator("RELU", [source], [output])
        found = violations_of(tmp_path, made.finish([source], [output]))
        assert {violation.rule for violation in found} == rules


def test_every_rule_has_a_case() -> None:
    seen = {case[2] for case in [*REFUSED.values(), *CAUTIONS.values()]}
    assert seen | {"gpu-static"} == set(RULES)


def test_a_violation_names_place_cause_and_remedy(tmp_path: Path) -> None:
    case, shape, _ = REFUSED["RESHAPE to rank 6"]
    (violation,) = violations_of(tmp_path, built(case, shape))
    assert (violation.operator_index, violation.operator) == (0, "RESHAPE")
    assert (violation.tensor, violation.shape) == ("output", SIX)
    assert str(violation) == (
        "operator 0 RESHAPE, tensor output [1, 2, 2, 6, 4, 2]: got rank 6; the GPU delegate "
        "accepts tensors of rank 1 to 4 (gpu-rank); reshape and transpose in four dimensions at "
        "most; where they are a PixelShuffle, write it as one DEPTH_TO_SPACE: `edgesr convert`, "
        "pass depth_to_space"
    )


def test_the_published_file_breaks_no_rule(shared: Path) -> None:
    found = audit(shared / "reference" / "imdn_rtc_time.tflite")
    # Operators that the delegate accepts by its README, none with a feature beyond version 1.
    assert Counter(operator.name for operator in found.operators) == {
        "STRIDED_SLICE": 30,
        "CONV_2D": 28,
        "ADD": 6,
        "CONCATENATION": 5,
        "DEPTH_TO_SPACE": 1,
    }
    assert {operator.version for operator in found.operators} == {1}
    assert found.findings == ()
    assert found.verdict == "GPU delegate: accepts all 70 operators"
