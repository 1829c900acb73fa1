"""A few hundred bad inputs of every kind end as they must; `make fuzz` runs more."""

from collections.abc import Generator

import pytest

from fuzz.run import KINDS, Name, Runners

_SEED = 1
_COUNTS = {
    "images": 60,
    "tflite_files": 60,
    "records": 21,
    "logs": 32,
    "command_words": 21,
    "surroundings": 11,
    "special_files": 11,
    "checkpoints": 18,
    "onnx_files": 18,
    "recipes": 11,
}


@pytest.fixture(scope="module")
def runners() -> Generator[Runners]:
    with Runners() as made:
        yield made


def test_every_kind_of_input_has_cases() -> None:
    assert _COUNTS.keys() == KINDS.keys()


@pytest.mark.slow
@pytest.mark.parametrize("kind", _COUNTS)
def test_bad_inputs_end_without_crash_traceback_hang_remains_or_wrong_result(
    runners: Runners, kind: str
) -> None:
    names = [Name(kind, _SEED, number) for number in range(_COUNTS[kind])]
    found = {str(name): findings for name in names if (findings := runners.run(name))}
    assert not found, "\n".join(f"{name}: {findings}" for name, findings in found.items())
