"""Comparison of two `.tflite`: identical, equal up to rounding, or different.

FP16 weights are rounded one after the other, each compensating the errors of those before
(converters/passes/fp16_rounding.py). Float sums in another order, as on another CPU or with another
library, can change one of these roundings, and then those after it. Everything else is exact: it
must be equal to the bit on every machine.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgesr.common.compat import StrEnum
from edgesr.tflite.facts import FACTS_ENTRY
from edgesr.tflite.model import ModelView, TensorView, read_model

_OF_THE_MACHINE = ("tool_versions", "content_sha256")


class Sameness(StrEnum):
    """Result of a comparison."""

    IDENTICAL = "identical to the bit"
    ROUNDING = "the same up to the rounding of FP16 weights"
    DIFFERENT = "different"


@dataclass(frozen=True)
class Comparison:
    """Result of a comparison with the differences.

    Attributes:
        sameness: The result.
        details: The differences, one line each.
    """

    sameness: Sameness
    details: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "; ".join([self.sameness.value, *self.details])


def compare_files(first: Path, second: Path) -> Comparison:
    """Tell two converted files apart by their operators and weights.

    Raises:
        ModelFileError: A file is not a `.tflite`, truncated or damaged.
    """
    a, b = read_model(first), read_model(second)
    if bytes(a.content) == bytes(b.content):
        return Comparison(Sameness.IDENTICAL)
    found = [*_structure(a, b), *_metadata(a, b)]
    if found:
        return Comparison(Sameness.DIFFERENT, tuple(found))
    wrong, steps = _constants(a.tensors, b.tensors)
    if wrong:
        return Comparison(Sameness.DIFFERENT, tuple(wrong))
    return Comparison(Sameness.ROUNDING, (*steps, *_versions(a, b)))


def _structure(a: ModelView, b: ModelView) -> list[str]:
    """Compare operators in order, and tensors with names, shapes and types."""
    pairs = (
        ("operators", [_operator(a, i) for i in range(len(a.operators))],
         [_operator(b, i) for i in range(len(b.operators))]),
        ("tensors", [_tensor(t) for t in a.tensors], [_tensor(t) for t in b.tensors]),
        ("inputs", [t.index for t in a.inputs], [t.index for t in b.inputs]),
        ("outputs", [t.index for t in a.outputs], [t.index for t in b.outputs]),
        ("signatures", [str(s) for s in a.signatures], [str(s) for s in b.signatures]),
    )  # fmt: skip
    return [f"other {name}" for name, ours, theirs in pairs if ours != theirs]


def _operator(model: ModelView, index: int) -> str:
    operator = model.operators[index]
    places = [[t and t.index for t in part] for part in (operator.inputs, operator.outputs)]
    return f"{operator.name} {operator.version} {operator.activation} {places}"


def _tensor(tensor: TensorView) -> tuple[str, tuple[int, ...], str, bool]:
    return tensor.name, tensor.shape, tensor.dtype, tensor.constant


def _metadata(a: ModelView, b: ModelView) -> list[str]:
    if a.metadata.keys() != b.metadata.keys():
        return [f"metadata {sorted(a.metadata)} and {sorted(b.metadata)}"]
    found = [n for n in a.metadata if n != FACTS_ENTRY and a.metadata[n] != b.metadata[n]]
    ours, theirs = (_facts(model) for model in (a, b))
    found += [f"fact {k}" for k in ours | theirs if ours.get(k) != theirs.get(k)]
    return [f"other {name}" for name in found]


def _facts(model: ModelView) -> dict[str, object]:
    facts = json.loads(model.metadata.get(FACTS_ENTRY, b"{}"))
    return {key: value for key, value in facts.items() if key not in _OF_THE_MACHINE}


def _versions(a: ModelView, b: ModelView) -> list[str]:
    ours, theirs = (json.loads(m.metadata[FACTS_ENTRY])["tool_versions"] for m in (a, b))
    return [
        f"{name} {ours.get(name)} and {theirs.get(name)}"
        for name in sorted(ours | theirs)
        if ours.get(name) != theirs.get(name)
    ]


def _constants(a: Sequence[TensorView], b: Sequence[TensorView]) -> tuple[list[str], list[str]]:
    """Compare the constants: errors, and the distance between FP16 weights."""
    wrong: list[str] = []
    changed, total, largest = 0, 0, 0.0
    for ours, theirs in zip(a, b, strict=True):
        if not ours.constant:
            continue
        if ours.dtype != "float16":
            if bytes(ours.data) != bytes(theirs.data):
                wrong.append(f"{ours.name} ({ours.dtype}) is not equal to the bit")
            continue
        first, second = _half(ours), _half(theirs)
        steps = _steps(first, second)
        changed += int((first != second).sum())
        total += first.size
        largest = max(largest, steps)
        if not steps <= 1.0:
            wrong.append(f"{ours.name} is {steps:.3g} FP16 steps apart, allowed 1")
    return wrong, [f"{changed} of {total} FP16 weights differ, by {largest:.3g} steps at most"]


def _half(tensor: TensorView) -> NDArray[np.float16]:
    return np.frombuffer(tensor.data, "<f2")


def _steps(first: NDArray[np.float16], second: NDArray[np.float16]) -> float:
    """The largest difference, in FP16 steps of the tensor's largest weight.

    A changed rounding moves a weight by one step of its own size, and the errors that smaller
    weights then compensate are of that size too.
    """
    largest = np.maximum(np.abs(first), np.abs(second)).max()
    difference = np.abs(first.astype(np.float64) - second.astype(np.float64)).max()
    return float(difference / np.spacing(largest).astype(np.float64))
