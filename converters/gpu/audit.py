"""Static audit of a `.tflite`: content, cost, and the GPU delegate's rules."""

import dataclasses
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from converters.gpu.checker import check_gpu, dequantized_constants
from converters.gpu.rules import Severity, Violation
from edgesr.common.liveness import peak_live_size
from edgesr.errors import ModelFileError
from edgesr.tflite.facts import FACTS_ENTRY, facts_in
from edgesr.tflite.model import ModelView, OperatorView, SignatureView, TensorView, read_model
from edgesr.tflite.shape import ModelShape, check_closed, sr_shape
from edgesr.tflite.validation import check_structure

_HALF_BITS = 16
_FLOATS = ("float32", "float16", "bfloat16", "float64")


@dataclass(frozen=True)
class TensorFacts:
    """An input or output tensor, its shape in the file's own layout; -1 is an open size."""

    name: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def is_open(self) -> bool:
        """Whether a dimension other than the batch is left open."""
        return any(side < 0 for side in self.shape[1:])


@dataclass(frozen=True)
class OperatorFacts:
    """An operator of a file, its tensors' shapes and its cost.

    Attributes:
        index: Its place in the order of execution.
        name: Built-in name, or a custom operator's own name.
        version: Version that the file requires.
        activation: Name of the activation fused into it, or `NONE`.
        inputs: Shapes of its inputs, constants among them.
        outputs: Shapes of its outputs.
        macs: Multiply-accumulates of convolutions and matrix products; otherwise 0.
    """

    index: int
    name: str
    version: int
    activation: str
    inputs: tuple[tuple[int, ...], ...]
    outputs: tuple[tuple[int, ...], ...]
    macs: int


@dataclass(frozen=True)
class Audit:
    """Content, cost and rule violations of a `.tflite`.

    Attributes:
        file: Its name.
        size_bytes: Its size.
        description: Its own description.
        inputs: The tensors that the caller fills.
        outputs: The tensors that the caller reads.
        signatures: Named inputs and outputs.
        scale: Upscaling factor; None if it is not a super-resolution model.
        not_sr: Why it is not; None if it is.
        caveat: Why it may fail to run although the rules accept it; None for a file that is as
            edgesr wrote it.
        operators: In the order of execution.
        parameters: Number of elements of its float and quantised constants.
        constant_bytes: Bytes of constants by type.
        macs: Multiply-accumulates of one run.
        peak_activation_bytes: Peak live activations, in the file's own types: an operator's inputs
            and outputs, and what is read later. Constants, and constants that DEQUANTIZE widens,
            do not count; nothing is computed in place.
        peak_activation_bytes_fp16: The same with every float in FP16, as a device's GPU stores
            them.
        metadata: Entry name -> its text; binary entries are shown by their size.
        graphs: Number of graphs; more than one where there is control flow.
        findings: Every violation of the GPU delegate's rules, cautions among them.
    """

    file: str
    size_bytes: int
    description: str
    inputs: tuple[TensorFacts, ...]
    outputs: tuple[TensorFacts, ...]
    signatures: tuple[SignatureView, ...]
    scale: int | None
    not_sr: str | None
    caveat: str | None
    operators: tuple[OperatorFacts, ...]
    parameters: int
    constant_bytes: Mapping[str, int]
    macs: int
    peak_activation_bytes: int
    peak_activation_bytes_fp16: int
    metadata: Mapping[str, str]
    graphs: int
    findings: tuple[Violation, ...]

    @property
    def refused(self) -> tuple[Violation, ...]:
        """The violations because of which the GPU delegate refuses operators."""
        return tuple(f for f in self.findings if f.severity is Severity.REFUSED)

    @property
    def cautions(self) -> tuple[Violation, ...]:
        """The violations that matter on some devices or runtimes only."""
        return tuple(f for f in self.findings if f.severity is Severity.CAUTION)

    @property
    def violations(self) -> tuple[str, ...]:
        """The refused violations, one line each."""
        return tuple(str(violation) for violation in self.refused)

    @property
    def verdict(self) -> str:
        """The verdict in one line."""
        count = len(self.operators)
        refused = len({violation.operator_index for violation in self.refused})
        if refused:
            return f"GPU delegate: refuses {refused} of {count} operators"
        return f"GPU delegate: accepts all {count} operators"

    @property
    def facts(self) -> Mapping[str, Any] | None:
        """The facts that edgesr wrote into the file; None if there are none."""
        try:
            found = json.loads(self.metadata.get(FACTS_ENTRY, ""))
        except (ValueError, RecursionError):
            return None
        return cast(dict[str, Any], found) if isinstance(found, dict) else None

    def to_json(self) -> dict[str, Any]:
        """The audit with its verdict as JSON values."""
        return {
            **dataclasses.asdict(self),
            "facts": self.facts,
            "gpu_verdict": self.verdict,
            "gpu_clean": not self.refused and self.caveat is None,
        }


def audit(path: Path) -> Audit:
    """Read a `.tflite` and check it against the GPU delegate's rules.

    Raises:
        ModelFileError: The file is missing, not a `.tflite`, truncated or damaged.
    """
    model = read_model(path)
    shape, not_sr = _sr_shape(path, model)
    operators = tuple(_operator(operator) for operator in model.operators)
    return Audit(
        file=path.name,
        size_bytes=len(model.content),
        description=model.description,
        inputs=tuple(map(_tensor, model.inputs)),
        outputs=tuple(map(_tensor, model.outputs)),
        signatures=model.signatures,
        scale=shape.scale if shape else None,
        not_sr=not_sr,
        caveat=_caveat(path, model.content),
        operators=operators,
        parameters=_parameters(model.tensors),
        constant_bytes=model.constant_bytes,
        macs=sum(operator.macs for operator in operators),
        peak_activation_bytes=peak_activation_bytes(model),
        peak_activation_bytes_fp16=peak_activation_bytes(model, half=True),
        metadata={name: _printable(data) for name, data in model.metadata.items()},
        graphs=model.graphs,
        findings=check_gpu(model),
    )


def peak_activation_bytes(model: ModelView, *, half: bool = False) -> int:
    """Bytes of all tensors that are alive at once, at the worst operator.

    An activation is live from the operator that makes it to the last one that reads it; the
    graph's outputs are live to the end.

    Args:
        model: The model.
        half: Whether every float counts as FP16, as on a device's GPU.
    """
    weights = dequantized_constants(model)

    def size(tensor: TensorView) -> int:
        if half and tensor.dtype in _FLOATS:
            return tensor.elements * _HALF_BITS // 8
        return tensor.bytes

    sizes = {t.index: size(t) for t in model.tensors if not t.constant and t.index not in weights}
    steps = [
        ([t.index for t in operator.inputs if t], [t.index for t in operator.outputs])
        for operator in model.operators
    ]
    sources, results = ([t.index for t in end] for end in (model.inputs, model.outputs))
    peak, _ = peak_live_size(steps, sizes, sources, results)
    return peak


def _operator(operator: OperatorView) -> OperatorFacts:
    return OperatorFacts(
        index=operator.index,
        name=operator.name,
        version=operator.version,
        activation=operator.activation,
        inputs=tuple(t.shape for t in operator.inputs if t is not None),
        outputs=tuple(t.shape for t in operator.outputs),
        macs=_macs(operator),
    )


def _macs(operator: OperatorView) -> int:
    """Multiply-accumulates of an operator.

    Weights are O x kh x kw x I, of a depthwise convolution 1 x kh x kw x O.
    """
    source, weights = (*operator.inputs, None, None)[:2]
    if source is None or weights is None or len(weights.shape) < 2 or not operator.outputs:
        return 0
    output = operator.outputs[0]
    per_filter = weights.elements // max(1, weights.shape[0])
    match operator.name:
        case "CONV_2D" | "FULLY_CONNECTED":
            return output.elements * per_filter
        case "DEPTHWISE_CONV_2D":
            return output.elements * (per_filter // max(1, weights.shape[-1]))
        case "TRANSPOSE_CONV":
            fed = operator.inputs[2] if len(operator.inputs) > 2 else None
            return (fed.elements * (weights.elements // max(1, weights.shape[-1]))) if fed else 0
        case _:
            return 0


def _parameters(tensors: Iterable[TensorView]) -> int:
    """Number of weights and biases; shapes, axes and paddings do not count."""
    return sum(t.elements for t in tensors if t.constant and (t.dtype in _FLOATS or t.quantized))


def _sr_shape(path: Path, model: ModelView) -> tuple[ModelShape | None, str | None]:
    """The sizes of a super-resolution model, or why it is not one."""
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        counts = f"{len(model.inputs)} inputs and {len(model.outputs)} outputs"
        return None, f"{counts}, a super-resolution model has one of each"
    source, result = model.inputs[0], model.outputs[0]
    if (source.dtype, result.dtype) != ("float32", "float32"):
        types = f"{source.dtype} in and {result.dtype} out"
        return None, f"{types}, a super-resolution model has float32"
    try:
        check_closed(path, source.stated_shape)
        return sr_shape(path, list(source.shape), list(result.shape)), None
    except ModelFileError as error:
        return None, str(error).split("model: ", 1)[-1].removeprefix(f"{path} ")


def _caveat(path: Path, content: bytes) -> str | None:
    """Why the runtime may fail where the GPU delegate's rules do not; None for a sealed file."""
    try:
        check_structure(content, path.name)
        facts = facts_in(content, path)
    except ModelFileError as error:
        return str(error)
    if facts is None:
        return "not made by edgesr and not run here: the runtime may refuse it"
    if facts.content_sha256 is None:
        return "without a digest and not run here: whether it is as edgesr wrote it is not known"
    return None


def _tensor(tensor: TensorView) -> TensorFacts:
    return TensorFacts(tensor.name, tensor.stated_shape, tensor.dtype)


def _printable(data: bytes) -> str:
    """An entry's text, or its size where it is binary."""
    text = data.rstrip(b"\0")
    try:
        decoded = text.decode("utf-8")
    except UnicodeDecodeError:
        decoded = "\0"
    if all(c.isprintable() or c.isspace() for c in decoded):
        return decoded
    return f"<{len(data)} bytes>"
