"""Parity of a `.tflite` that lies on disk, whoever made it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from converters.manifest import FACTS_ENTRY, Facts
from converters.parity import DEFAULT_BACKENDS
from converters.probes import calibration_probes, verification_probes
from converters.source import Source, original
from converters.spec import Precision
from converters.verify import ParityReport, verify
from edgesr.errors import ModelFileError, ParityError
from edgesr.progress import ProgressCallback, silent
from edgesr.runtime import Backend, ModelShape, sr_shape

if TYPE_CHECKING:
    from edgesr.checkpoints import LoadedCheckpoint


_SMALL_SIDE = 128


@dataclass(frozen=True)
class FileDescription:
    """What a file says of itself.

    Attributes:
        path: The file.
        shape: Its sizes.
        precision: Type of its stored weights.
        facts: What edgesr wrote into it; None where another tool made it.
    """

    path: Path
    shape: ModelShape
    precision: Precision
    facts: Facts | None


def describe(path: Path) -> FileDescription:
    """Read sizes, precision and facts.

    Raises:
        ModelFileError: The file is unreadable, or not a super-resolution model.
    """
    from converters.flatbuffer import read_model

    model = read_model(path)
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ModelFileError(
            f"{path} is not a super-resolution model: {len(model.inputs)} inputs and "
            f"{len(model.outputs)} outputs, allowed one of each"
        )
    shape = sr_shape(path, list(model.inputs[0].shape), list(model.outputs[0].shape))
    stores_half = any(t.dtype == "float16" and len(t.data) for t in model.tensors)
    precision = Precision.FP16 if stores_half else Precision.FP32
    return FileDescription(path, shape, precision, read_facts(path, model.metadata))


def read_facts(path: Path, metadata: Mapping[str, bytes]) -> Facts | None:
    """The facts among a file's metadata entries, or None if edgesr did not make it.

    Raises:
        ModelFileError: The entry is there but not of this schema.
    """
    if FACTS_ENTRY not in metadata:
        return None
    try:
        return Facts.model_validate_json(metadata[FACTS_ENTRY])
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ModelFileError(
            f"{path}: its {FACTS_ENTRY} are damaged or of a newer edgesr ({where}: {first['msg']})"
        ) from error


def verify_file(
    described: FileDescription,
    network: "LoadedCheckpoint | Source",
    *,
    backends: Sequence[Backend] | None = None,
    every_input: bool = False,
    pictures: Path | None = None,
    threads: int | None = None,
    progress: ProgressCallback = silent,
) -> ParityReport:
    """Compare a file with the network it was made from, by the gates of its precision.

    Args:
        described: The file.
        network: What it ought to equal: a checkpoint, or an ONNX file.
        backends: What is to compute; by default what every conversion is run on.
        every_input: Whether a software device runs every input too.
        pictures: Folder of photographs; None for the test card.
        threads: CPU threads.
        progress: Told after every input.

    Raises:
        ParityError: The file is of another scale than the network.
        ParityGateError: It does not match, or a backend does not take it.
        NoGpuError: A GPU is asked for and there is none.
        AcceleratorError: The GPU accelerator crashed, or ran out of memory or time.
    """
    shape, wanted = described.shape, original(network)
    if shape.scale != wanted.scale:
        raise ParityError(
            f"{described.path} upscales by {shape.scale}, {wanted.name} by {wanted.scale}: not the "
            f"same network; name the right one with {wanted.options}"
        )
    # Small inputs tell cheaply how much contrast the network takes.
    small_side = (_SMALL_SIDE, _SMALL_SIDE) if wanted.any_size else (shape.height, shape.width)
    small = calibration_probes(*small_side, None, wanted.reference)
    contrasts = {probe.name: probe.contrast for probe in small}
    probes = verification_probes(shape.height, shape.width, pictures, contrasts)
    precision = described.precision.value
    files = {described.path: precision}
    return verify(
        files,
        wanted.reference,
        probes,
        referee=wanted.referee,
        backends={precision: backends or DEFAULT_BACKENDS[precision]},
        every_input=every_input,
        threads=threads,
        progress=progress,
    )[0]
