"""The facts inside every `.tflite` that edgesr makes, and the manifest that lies beside it."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
)

from edgesr.errors import ModelFileError

if TYPE_CHECKING:
    from converters.gpu_gate import FoundGpu

#: Name of the metadata entry inside the `.tflite` that holds the `Facts` as JSON.
FACTS_ENTRY = "EDGESR_FACTS"

#: What a file of one of our networks is compared with.
PYTORCH = "PyTorch, the network before folding"


class Record(BaseModel):
    """Unknown keys are errors: a typo must not pass as an absent fact."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Facts(Record):
    """What an app must know to use the file, and where its weights come from.

    Attributes:
        model: Name of the network.
        scale: Upscaling factor.
        height: Rows of the input.
        width: Columns of the input.
        layout: Order of the dimensions of input and output.
        color: Order of the channels.
        dtype: Type of input and output.
        value_range: Smallest and largest value of input and output; the output is not clipped.
        precision: Type of the stored weights.
        receptive_radius: Pixels by which tiles must overlap on each inner side; None where it is
            not known.
        size_multiple: What tiles must begin at multiples of, in the picture; 1 is not written.
        whole_picture: Whether statistics over all pixels enter every pixel, so that tiles come near
            the network's result on the whole picture and are not equal to it; only true is written.
        signature: Key of the signature.
        input_name: The signature's input.
        output_name: The signature's output.
        weights_sha256: Digest of the weights' names, shapes and values, whatever held them.
        weights_source: Where the weights come from.
        weights_licence: The licence of the weights.
        passes: The exact rewrites, in order.
        tool_versions: Versions of what made the file.
    """

    schema_version: Literal[1] = 1
    model: str
    scale: int = Field(ge=1)
    height: int = Field(ge=1)
    width: int = Field(ge=1)
    layout: Literal["NHWC"] = "NHWC"
    color: Literal["RGB"] = "RGB"
    dtype: Literal["float32"] = "float32"
    value_range: tuple[float, float] = (0.0, 1.0)
    precision: Literal["fp16", "fp32"]
    receptive_radius: int | None = Field(ge=0)
    size_multiple: int = Field(default=1, ge=1)
    whole_picture: bool = False
    signature: str = "serving_default"
    input_name: str = "lr"
    output_name: str = "hr"
    weights_sha256: str
    weights_source: str
    weights_licence: str
    passes: tuple[str, ...]
    tool_versions: dict[str, str]

    @model_serializer(mode="wrap")
    def _leave_out_the_usual(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without the fields that only some networks need: other files stay the same to the bit."""
        written: dict[str, Any] = handler(self)
        if self.size_multiple == 1:
            del written["size_multiple"]
        if not self.whole_picture:
            del written["whole_picture"]
        return written


class InputParity(Record):
    """How far a file is from PyTorch on one input.

    Where the output is not finite, the differences are infinite; JSON has null for them.

    Attributes:
        input: Name of the input.
        contrast: 1.0, or less where the network leaves its range at full contrast.
        periodic: Whether a few values repeat everywhere.
        max_abs: Largest absolute difference, of values in [0, 1].
        max_grey_levels: The same in steps of 1/255.
        p99_9: 99.9th percentile of the absolute differences.
        psnr_db: Peak 1.0; None where the outputs are equal to the bit.
        residual_psnr_db: PSNR of output minus bicubic upscale, its peak the range of the
            reference's residual; None where the outputs are equal or the residual is flat.
        max_abs_to_cpu: Largest absolute difference to the same file on the CPU; None where the
            CPU computed, or could not open the file.
        finite: Whether the file's output has neither NaN nor infinity.
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


class DeviceRecord(Record):
    """A GPU, or what plays one.

    Attributes:
        adapter: Its name.
        api: What it is driven by.
        software: Whether a CPU plays it.
        precision: In which arithmetic it computes, as found out by computing.
    """

    adapter: str
    api: str
    software: bool
    precision: Literal["fp16", "fp32"]


class RefusalRecord(Record):
    """One kind of operator that the GPU accelerator did not take.

    Attributes:
        operator: Its name.
        count: How many of them break a rule that edgesr knows; at least 1.
        of: How many of them the file holds.
        tensor: The tensor at fault in the first of them, if it is one.
        shape: That tensor's shape.
        rule: Id and sentence of the rule; None where no known rule foresees it.
        reason: The accelerator's own words.
        remedy: The pass or option that removes it.
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
        rule = f"; the GPU takes {self.rule}" if self.rule else ""
        return f"{where}: {self.reason}{rule}; remedy: {self.remedy}"


class BackendParity(Record):
    """Parity on one backend, with the gate it had to pass.

    Attributes:
        backend: What computed.
        gate: What had to be reached on every input.
        failures: What failed it and by how much; empty when it passed.
        psnr_db: Over all inputs together; None where nothing differs or nothing ran, and null in
            JSON where an output is not finite, as the failures then say.
        inputs: The measurements; none if the backend did not take the file.
        device: The GPU that computed every operator; None for the CPU.
        refusals: What the GPU accelerator did not take.
    """

    backend: str
    gate: str
    failures: tuple[str, ...]
    psnr_db: float | None
    inputs: tuple[InputParity, ...]
    device: DeviceRecord | None = None
    refusals: tuple[RefusalRecord, ...] = ()


class RangeRecord(Record):
    """Largest intermediate on the calibration inputs, before and after fp16_range.

    Attributes:
        largest_before: Largest absolute value before.
        largest_after: Largest absolute value after.
        scaled_tensors: How many tensors were scaled.
        calibration_inputs: The inputs.
    """

    largest_before: float
    largest_after: float
    scaled_tensors: int
    calibration_inputs: tuple[str, ...]


class GpuRecord(Record):
    """What is known about the GPU: the rules' verdict, and the accelerator's own.

    Attributes:
        rules_passed: Whether no known rule is broken.
        offences: Those that are, one line each.
        accelerator: "passed" if LiteRT's GPU accelerator took every operator and gave the right
            pictures; `parity` tells on which device.
        why_not_checked: Empty if it was.
    """

    rules_passed: bool
    offences: tuple[str, ...]
    accelerator: Literal["not checked", "passed"] = "not checked"
    why_not_checked: str = ""

    @classmethod
    def of(cls, offences: tuple[str, ...], gpu: "FoundGpu") -> "GpuRecord":
        """The record of a file that has passed its gates.

        Args:
            offences: Known rules that it breaks.
            gpu: On which GPU the gates were run, or why on none.
        """
        checked = bool(gpu.backends)
        return cls(
            rules_passed=not offences,
            offences=offences,
            accelerator="passed" if checked else "not checked",
            why_not_checked="" if checked else gpu.why_not,
        )


class Manifest(Record):
    """The record beside a `.tflite`, `<name>.json`.

    Attributes:
        file: Name of the `.tflite`.
        sha256: Digest of its bytes.
        size_bytes: Its size.
        facts: What it holds inside.
        operators: Operator -> count.
        peak_activation_bytes: By liveness over the operators, in the file's own types.
        fp16_range: What the pass did; None if it did not run.
        reference: What the file was compared with; not written where that is the usual.
        parity: Per backend.
        gpu: Whether a GPU takes it.
    """

    schema_version: Literal[1] = 1
    file: str
    sha256: str
    size_bytes: int
    facts: Facts
    operators: dict[str, int]
    peak_activation_bytes: int
    fp16_range: RangeRecord | None
    reference: str = PYTORCH
    parity: tuple[BackendParity, ...]
    gpu: GpuRecord

    @model_serializer(mode="wrap")
    def _leave_out_the_usual(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        written: dict[str, Any] = handler(self)
        if self.reference == PYTORCH:
            del written["reference"]
        return written

    def to_json(self) -> str:
        """The manifest as it is written to disk."""
        return self.model_dump_json(indent=2) + "\n"


def manifest_path(model_path: Path) -> Path:
    """Where the manifest of a `.tflite` lies."""
    return model_path.with_suffix(".json")


def read_manifest(path: Path) -> Manifest:
    """Read a manifest.

    Raises:
        ModelFileError: It is missing, no JSON, or not of this schema.
    """
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ModelFileError(f"cannot read manifest {path}: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the whole file"
        raise ModelFileError(
            f"{path} is no edgesr manifest: {where}: {first['msg']}; convert the model again"
        ) from error
