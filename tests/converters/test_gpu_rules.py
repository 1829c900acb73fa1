"""Every rule of the GPU condemns what it should, and nothing else."""

from collections import Counter
from pathlib import Path

import pytest

from converters.audit import audit
from converters.flatbuffer import read_model
from converters.gpu_checks import check_gpu
from converters.gpu_rules import RULES, Offence, Severity
from helpers.gpu_cases import CAUTIONS, CHANNELS, REFUSED, SIX, TAKEN, built
from helpers.tflite_builder import TfliteBuilder, sr_model


def offences_of(tmp_path: Path, content: bytes) -> tuple[Offence, ...]:
    path = tmp_path / "m.tflite"
    path.write_bytes(content)
    return check_gpu(read_model(path))


@pytest.mark.parametrize("name", REFUSED)
def test_an_offence_is_refused_by_its_rule(name: str, tmp_path: Path) -> None:
    case, shape, rule = REFUSED[name]
    found = offences_of(tmp_path, built(case, shape))
    assert {offence.rule for offence in found} == {rule}
    assert {offence.severity for offence in found} == {Severity.REFUSED}


@pytest.mark.parametrize("name", CAUTIONS)
def test_what_depends_on_the_device_is_a_caution(name: str, tmp_path: Path) -> None:
    case, shape, rule = CAUTIONS[name]
    found = offences_of(tmp_path, built(case, shape))
    assert {(offence.rule, offence.severity) for offence in found} == {(rule, Severity.CAUTION)}


@pytest.mark.parametrize("name", TAKEN)
def test_a_sound_operator_is_taken(name: str, tmp_path: Path) -> None:
    assert offences_of(tmp_path, built(TAKEN[name])) == ()


@pytest.mark.parametrize("half", [True, False], ids=["FP16 weights", "FP32 weights"])
def test_a_clean_super_resolution_file_is_taken(half: bool, tmp_path: Path) -> None:
    assert offences_of(tmp_path, sr_model(half=half)) == ()


def test_an_open_picture_size_is_refused_an_open_batch_is_not(tmp_path: Path) -> None:
    for signature, rules in (([-1, 4, 6, 8], set[str]()), ([1, -1, -1, 8], {"gpu-static"})):
        made = TfliteBuilder()
        source = made.tensor(CHANNELS, signature=signature)
        output = made.tensor(CHANNELS, signature=signature)
        made.operator("RELU", [source], [output])
        found = offences_of(tmp_path, made.finish([source], [output]))
        assert {offence.rule for offence in found} == rules


def test_every_rule_has_a_case() -> None:
    seen = {case[2] for case in [*REFUSED.values(), *CAUTIONS.values()]}
    assert seen | {"gpu-static"} == set(RULES)


def test_an_offence_says_where_what_and_what_to_do(tmp_path: Path) -> None:
    case, shape, _ = REFUSED["RESHAPE to rank 6"]
    (offence,) = offences_of(tmp_path, built(case, shape))
    assert (offence.operator_index, offence.operator) == (0, "RESHAPE")
    assert (offence.tensor, offence.shape) == ("output", SIX)
    assert str(offence) == (
        "operator 0 RESHAPE, tensor output [1, 2, 2, 6, 4, 2]: got rank 6; the GPU takes tensors "
        "of rank 1 to 4 (gpu-rank); reshape and transpose in four dimensions at most; where they "
        "are a PixelShuffle, write it as one DEPTH_TO_SPACE: `edgesr convert`, pass depth_to_space"
    )


def test_the_published_file_is_condemned_for_nothing(shared: Path) -> None:
    found = audit(shared / "reference" / "imdn_rtc_time.tflite")
    # Operators that the delegate takes by its README, none with a feature beyond version 1.
    assert Counter(operator.name for operator in found.operators) == {
        "STRIDED_SLICE": 30,
        "CONV_2D": 28,
        "ADD": 6,
        "CONCATENATION": 5,
        "DEPTH_TO_SPACE": 1,
    }
    assert {operator.version for operator in found.operators} == {1}
    assert found.findings == ()
    assert found.verdict == "GPU delegate: takes all 70 operators"
