"""The manifest beside every `.tflite` that edgesr makes."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import (
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
)

from edgesr.common.inputs import read_regular
from edgesr.common.record import Record, first_problem
from edgesr.errors import ModelFileError
from edgesr.tflite.facts import Facts

if TYPE_CHECKING:
    from converters.gpu.gate import GpuBackends


#: The reference runtime of the networks of edgesr.
PYTORCH = "PyTorch, the network before folding"

_MOST_BYTES = 16 * 2**20


class InputParity(Record):
    """Parity of a file with its network on one input.

    Where the output is not finite, the differences are infinite, which JSON stores as null.

    Attributes:
        input: Name of the input.
        contrast: 1.0, or less where the network would leave its range at full contrast.
        periodic: Whether a few values repeat everywhere.
        max_abs: Largest absolute difference, of values in [0, 1].
        max_grey_levels: The same in steps of 1/255.
        p99_9: 99.9th percentile of the absolute differences.
        psnr_db: PSNR with peak 1.0; None where the outputs are equal to the bit.
        residual_psnr_db: PSNR of output minus bicubic upscale, its peak the range of the
            reference's residual; None where the outputs are equal or the residual is flat.
        max_abs_to_cpu: Largest absolute difference from the same file on the CPU; None on the CPU
            itself, or where it could not open the file.
        finite: Whether the file's output has neither NaN nor infinity.
        natural: Whether the input is a photograph, or stands for one.
        size: Its height and width; None in manifests of before, where all had the file's own.
        fp32_rms: Root mean square by which rounding in FP32 alone changes the reference on a
            synthetic input; None where it did not have to be known.
        fp32_max: The largest such change.
    """

    input: str
    contrast: float
    periodic: bool
    max_abs: float
    max_grey_levels: float
    p99_9: float
    psnr_db: float | None
    residual_psnr_db: float | None
    max_abs_to_cpu: float | None = None
    finite: bool
    natural: bool = False
    size: tuple[int, int] | None = None
    fp32_rms: float | None = None
    fp32_max: float | None = None

    @model_serializer(mode="wrap")
    def _omit_what_few_have(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        written: dict[str, Any] = handler(self)
        for name, usual in (
            ("natural", False),
            ("size", None),
            ("fp32_rms", None),
            ("fp32_max", None),
        ):
            if written[name] == usual:
                del written[name]
        return written


class GpuDeviceRecord(Record):
    """The GPU, hardware or software, that a file ran on.

    Attributes:
        adapter: Its name.
        api: Its graphics API.
        software: Whether it is a software device.
        precision: Its arithmetic, as measured.
    """

    adapter: str
    api: str
    software: bool
    precision: Literal["fp16", "fp32"]


class RefusedOperator(Record):
    """One kind of operator that the GPU accelerator refused.

    Attributes:
        operator: Its name.
        count: How many of this kind break a known rule; at least 1.
        of: How many of this kind the file holds.
        tensor: The first tensor at fault; None where no tensor is.
        shape: That tensor's shape.
        rule: Sentence and id of the rule; None where no known rule is broken.
        reason: The accelerator's message.
        remedy: The pass or option that removes the violation.
    """

    operator: str
    count: int
    of: int
    tensor: str | None
    shape: tuple[int, ...] | None
    rule: str | None
    reason: str
    remedy: str

    def __str__(self) -> str:
        where = f"{self.operator} ({self.count} of {self.of})"
        if self.tensor is not None and self.shape is not None:
            where += f", tensor {self.tensor} {list(self.shape)}"
        rule = f"; the GPU delegate accepts {self.rule}" if self.rule else ""
        return f"{where}: {self.reason}{rule}; remedy: {self.remedy}"


class BackendParity(Record):
    """Parity of a file on one backend, with its gate.

    Attributes:
        backend: Name of the backend.
        gate: The bounds, as text.
        failures: Every bound that was missed, and by how much; empty when the gate was passed.
        psnr_db: PSNR over all inputs together; None where nothing differs or nothing ran, and null
            in JSON where an output is not finite (the failures then name it).
        inputs: The measurements; none if the backend rejected the file.
        device: The GPU that ran every operator; None for the CPU.
        refusals: The operators that the GPU accelerator refused.
    """

    backend: str
    gate: str
    failures: tuple[str, ...]
    psnr_db: float | None
    inputs: tuple[InputParity, ...]
    device: GpuDeviceRecord | None = None
    refusals: tuple[RefusedOperator, ...] = ()


class RangeRecord(Record):
    """Largest intermediate value before and after fp16_range.

    Attributes:
        largest_before: Largest absolute value before.
        largest_after: Largest absolute value after.
        scaled_tensors: How many tensors were scaled.
        calibration_inputs: Names of the calibration inputs.
    """

    largest_before: float
    largest_after: float
    scaled_tensors: int
    calibration_inputs: tuple[str, ...]


class GpuRecord(Record):
    """Verdicts on the GPU: of the rules, and of the accelerator.

    Attributes:
        rules_passed: Whether no known rule is broken.
        violations: The rule violations, one line each.
        accelerator: "passed" if LiteRT's GPU accelerator accepted every operator and the outputs
            passed their gate; `parity` names the device.
        why_not_checked: Why the accelerator was not run; empty if it was.
    """

    rules_passed: bool
    violations: tuple[str, ...]
    accelerator: Literal["not checked", "passed"] = "not checked"
    why_not_checked: str = ""

    @classmethod
    def of(cls, violations: tuple[str, ...], gpu: "GpuBackends") -> "GpuRecord":
        """Build the record of a file that has passed its gates.

        Args:
            violations: Its rule violations.
            gpu: The GPU backends that the gates included, or why there were none.
        """
        checked = bool(gpu.backends)
        return cls(
            rules_passed=not violations,
            violations=violations,
            accelerator="passed" if checked else "not checked",
            why_not_checked="" if checked else gpu.why_not,
        )


class Manifest(Record):
    """The record beside a `.tflite`, `<name>.json`.

    Attributes:
        file: Name of the `.tflite`.
        sha256: Digest of its bytes.
        size_bytes: Its size.
        facts: The facts stored inside it.
        operators: Operator -> count.
        peak_activation_bytes: Peak live activations, in the file's own types.
        fp16_range: Report of the pass; None if it did not run.
        value_range: The network's own value range and what speaks for it; not written where
            nothing does.
        reference: The reference runtime; not written where it is PyTorch.
        parity: Parity per backend.
        gpu: Verdicts on the GPU.
    """

    schema_version: Literal[1] = 1
    file: str
    sha256: str
    size_bytes: int
    facts: Facts
    operators: dict[str, int]
    peak_activation_bytes: int
    fp16_range: RangeRecord | None
    value_range: str = ""
    reference: str = PYTORCH
    parity: tuple[BackendParity, ...]
    gpu: GpuRecord

    @model_serializer(mode="wrap")
    def _omit_defaults(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        written: dict[str, Any] = handler(self)
        if self.reference == PYTORCH:
            del written["reference"]
        if not self.value_range:
            del written["value_range"]
        return written

    def to_json(self) -> str:
        """The manifest as JSON text."""
        return self.model_dump_json(indent=2) + "\n"


def manifest_path(model_path: Path) -> Path:
    """The path of the manifest of a `.tflite`."""
    return model_path.with_suffix(".json")


def read_manifest(path: Path) -> Manifest:
    """Read and check the `.json` beside a `.tflite`.

    Raises:
        ModelFileError: It is missing, not JSON, or does not match the schema.
    """
    content = read_regular(path, ModelFileError, limit=_MOST_BYTES)
    try:
        return Manifest.model_validate_json(content, strict=True)
    except ValidationError as error:
        raise ModelFileError(
            f"{path} is no edgesr manifest: {first_problem(error)}; convert the model again"
        ) from error
