"""Parity of an existing `.tflite`, made by edgesr or by another tool."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from converters.parity.gates import DEFAULT_BACKENDS
from converters.parity.test_inputs import calibration_inputs, parity_inputs
from converters.parity.verify import ParityReport, verify
from converters.source import Source
from converters.spec import Precision
from edgesr.common.progress import ProgressCallback, silent
from edgesr.errors import ModelFileError, OptionError, ParityError
from edgesr.runtime.session import Backend
from edgesr.tflite.facts import FACTS_ENTRY, Facts, parse_facts
from edgesr.tflite.shape import ModelShape, sr_shape

_SMALL_SIDE = 128


@dataclass(frozen=True)
class FileDescription:
    """Sizes, precision and facts of a file.

    Attributes:
        path: The file.
        shape: Its sizes.
        precision: Type of its stored weights.
        facts: The facts that edgesr wrote into it; None where another tool made it.
    """

    path: Path
    shape: ModelShape
    precision: Precision
    facts: Facts | None


def describe(path: Path) -> FileDescription:
    """Read the sizes, precision and facts of a file.

    Raises:
        ModelFileError: The file is unreadable, or not a super-resolution model.
    """
    from edgesr.tflite.model import read_model

    model = read_model(path)
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ModelFileError(
            f"{path} is not a super-resolution model: {len(model.inputs)} inputs and "
            f"{len(model.outputs)} outputs, allowed one of each"
        )
    shape = sr_shape(path, list(model.inputs[0].shape), list(model.outputs[0].shape))
    stored = {t.dtype for t in model.tensors if t.constant}
    precision = Precision.FP16 if "float16" in stored else Precision.FP32
    if any(t.dtype == "int8" and t.quantized and not t.constant for t in model.tensors):
        precision = Precision.INT8
    facts = (
        parse_facts(model.metadata[FACTS_ENTRY], path) if FACTS_ENTRY in model.metadata else None
    )
    return FileDescription(path, shape, precision, facts)


def verify_file(
    described: FileDescription,
    source: Source,
    *,
    backends: Sequence[Backend] | None = None,
    every_input: bool = False,
    images: Path | None = None,
    threads: int | None = None,
    progress: ProgressCallback = silent,
) -> ParityReport:
    """Verify a file against its network by the gates of its precision.

    Args:
        described: The file.
        source: The network that it must equal.
        backends: The backends; by default those of every conversion.
        every_input: Whether a software device runs every input too.
        images: Folder of photographs; None for the test card.
        threads: CPU threads.
        progress: Called for every input.

    Raises:
        ParityError: The file is of another scale than the network.
        ParityGateError: It does not match, or a backend rejected it.
        NoGpuError: A GPU is required and there is none.
        AcceleratorError: The GPU accelerator crashed, or ran out of memory or time.
    """
    shape = described.shape
    if shape.scale != source.scale:
        raise ParityError(
            f"{described.path} upscales by {shape.scale}, {source.name} by {source.scale}: not the "
            "same network; give the one that the file was made from"
        )
    if described.precision is Precision.INT8:
        return _judged(described, source, backends, images, threads, progress)
    # Small inputs show cheaply how much contrast keeps the network in range.
    small_side = (_SMALL_SIDE, _SMALL_SIDE) if source.any_size else (shape.height, shape.width)
    small = calibration_inputs(*small_side, None, source.reference)
    contrasts = {image.name: image.contrast for image in small}
    inputs = parity_inputs(shape.height, shape.width, images, contrasts)
    precision = described.precision.value
    files = {described.path: precision}
    return verify(
        files,
        source.reference,
        inputs,
        reference_runtime=source.reference_runtime,
        backends={precision: backends or DEFAULT_BACKENDS[precision]},
        every_input=every_input,
        threads=threads,
        progress=progress,
    )[0]


def _judged(
    described: FileDescription,
    source: Source,
    backends: Sequence[Backend] | None,
    images: Path | None,
    threads: int | None,
    progress: ProgressCallback,
) -> ParityReport:
    """Hold an integer file to its own gates.

    Raises:
        OptionError: A backend other than the CPU is asked for: integers have no other arithmetic.
        ParityGateError: A gate failed.
    """
    from converters.int8.gates import judge
    from converters.parity.verify import ParityGateError

    if backends is not None and set(backends) != {Backend.CPU}:
        raise OptionError(
            f"{described.path} computes in integers: got another backend, allowed {Backend.CPU}; "
            "leave --backend out"
        )
    shape = described.shape
    report = judge(
        described.path, source.reference, source.scale, (shape.height, shape.width),
        images=images, threads=threads, progress=progress,
    )  # fmt: skip
    if report.failures:
        raise ParityGateError([report], source.reference_runtime.split(",")[0])
    return report
