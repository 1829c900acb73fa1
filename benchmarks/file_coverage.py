"""Content, GPU coverage and FP16 fidelity of one converted file."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from converters.gpu.audit import Audit
from converters.gpu.checker import dequantized_constants
from converters.manifest import InputParity
from converters.parity.gates import bicubic, compare, pooled_psnr
from converters.parity.test_inputs import InputImage
from edgesr.errors import ModelFileError
from edgesr.runtime.gpu import GpuRefusalError
from edgesr.runtime.session import Backend, Float32Array, Runner, open_model
from edgesr.tflite.model import read_model

_MAX_RANK = 4


@dataclass(frozen=True)
class ConvertedFile:
    """A file of one converter.

    Attributes:
        name: Its name in the table.
        path: The file.
        value_range: Upper end of the range of its input and output.
    """

    name: str
    path: Path
    value_range: float


@dataclass(frozen=True)
class Case:
    """One input in [0, 1] with its reference output, NHWC."""

    image: InputImage
    wanted: Float32Array


@dataclass(frozen=True)
class Contents:
    """Operators and rule violations of a file.

    Attributes:
        operators: Name -> count, without the DEQUANTIZE of weights, which no engine runs.
        dequantized_weights: Number of these DEQUANTIZE.
        rank_above_4: Operators that read or make a tensor of rank 5 or more.
        flex: TensorFlow (Flex) operators.
        rules_broken: Id of a rule of `edgesr inspect` -> number of violations, cautions among them.
    """

    operators: dict[str, int]
    dequantized_weights: int
    rank_above_4: int
    flex: int
    rules_broken: dict[str, int]


@dataclass(frozen=True)
class Acceleration:
    """Result of compiling a file for the accelerator.

    Attributes:
        loads: Whether the accelerator could prepare the file.
        on_gpu: Number of operators that it accepts.
        on_cpu: Number of operators that it refuses; None if it could not prepare the file.
        refused: The refused operators with its messages, each once.
    """

    loads: bool
    on_gpu: int
    on_cpu: int | None
    refused: tuple[str, ...] = ()

    @property
    def percent(self) -> float:
        """Share of the operators that run on the accelerator."""
        return 0.0 if self.on_cpu is None else 100 * self.on_gpu / (self.on_gpu + self.on_cpu)


@dataclass(frozen=True)
class Fidelity:
    """Fidelity of a file on the CPU to PyTorch, in [0, 1].

    Attributes:
        does_not_run: Why the file does not run; None if it does.
        fp16_psnr_db: PSNR of FP16 arithmetic over all inputs together; None if not finite.
        fp16_photos_psnr_db: The same over the photographs; None also if there are none.
        fp16_inputs: Parity of FP16 arithmetic per input.
        fp32_max_abs: Control: largest difference of FP32 arithmetic on any input.
    """

    does_not_run: str | None
    fp16_psnr_db: float | None = None
    fp16_photos_psnr_db: float | None = None
    fp16_inputs: tuple[InputParity, ...] = ()
    fp32_max_abs: float | None = None


def contents(path: Path, found: Audit) -> Contents:
    """Count operators and rule violations."""
    weights = dequantized_constants(read_model(path))
    operators = Counter(operator.name for operator in found.operators)
    operators["DEQUANTIZE"] -= len(weights)
    return Contents(
        operators=dict(+operators),
        dequantized_weights=len(weights),
        rank_above_4=sum(
            any(len(shape) > _MAX_RANK for shape in (*operator.inputs, *operator.outputs))
            for operator in found.operators
        ),
        flex=sum(operator.name.startswith("Flex") for operator in found.operators),
        rules_broken=dict(Counter(finding.rule for finding in found.findings)),
    )


def acceleration(path: Path, operators: int) -> Acceleration:
    """Compile a file of `operators` operators; the accelerator counts only refused ones."""
    try:
        open_model(path, Backend.GPU).close()
    except GpuRefusalError as error:
        left = error.refusals
    else:
        return Acceleration(loads=True, on_gpu=operators, on_cpu=0)
    reasons = tuple(f"{refusal.operator}: {refusal.reason}" for refusal in left.refused)
    return Acceleration(left.on_cpu is not None, left.on_gpu, left.on_cpu, reasons)


def fidelity(file: ConvertedFile, cases: Sequence[Case]) -> Fidelity:
    """Compare a file with PyTorch in FP16 and FP32 arithmetic."""
    try:
        half = _compared(file, cases, Backend.CPU_FP16)
        single = _compared(file, cases, Backend.CPU)
    except ModelFileError as error:
        return Fidelity(str(error).removeprefix(f"LiteRT cannot load {file.path}: "))
    photos = [p for p, case in zip(half, cases, strict=True) if case.image.is_natural]
    return Fidelity(
        does_not_run=None,
        fp16_psnr_db=_together(half),
        fp16_photos_psnr_db=_together(photos),
        fp16_inputs=tuple(half),
        fp32_max_abs=max(parity.max_abs for parity in single),
    )


def _together(inputs: Sequence[InputParity]) -> float | None:
    finite = bool(inputs) and all(parity.finite for parity in inputs)
    return pooled_psnr(inputs) if finite else None


def _compared(file: ConvertedFile, cases: Sequence[Case], backend: Backend) -> list[InputParity]:
    runner = open_model(file.path, backend)
    return [_compared_once(runner, np.float32(file.value_range), case) for case in cases]


def _compared_once(runner: Runner, value_range: np.float32, case: Case) -> InputParity:
    lr_nhwc, wanted = case.image.lr_nhwc, case.wanted
    got = runner.run(lr_nhwc * value_range) / value_range
    return compare(case.image, got, wanted, bicubic(lr_nhwc, *wanted.shape[1:3]))
