"""Checkpoint or ONNX file -> proven `.tflite`: the stages in order, each with a typed result."""

import contextlib
import tempfile
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from converters.file_records import facts_of, manifest_of
from converters.manifest import FACTS_ENTRY, Manifest, manifest_path
from converters.probes import Probe, calibration_probes, verification_probes
from converters.source import Source, checkpoint_source
from converters.spec import ConversionSpec, Precision, check_multiple, file_name
from edgesr.checkpoints import LoadedCheckpoint
from edgesr.files import atomic_outputs, check_writable, temporary_file_errors
from edgesr.progress import ProgressCallback, silent

if TYPE_CHECKING:
    import onnx

    from converters.gpu_gate import FoundGpu
    from converters.passes.fp16_range import RangeReport
    from converters.tflite import Onnx2tf
    from converters.verify import ParityReport

Float32Array = NDArray[np.float32]

#: The passes for the GPU delegate, in order; global_mean runs where there is one.
GPU_PASSES = (
    "io_scale", "split_free", "linear_chains", "depth_to_space", "global_mean", "fp16_range",
)  # fmt: skip


@dataclass(frozen=True)
class Rewritten:
    """A graph after the exact passes.

    Attributes:
        model: The graph: range [0, 1], only operators that TFLite's GPU delegate has.
        passes: Names of the passes that ran, in order.
        ranges: What fp16_range did; None if it was left out.
        calibration: The inputs that showed how large intermediates get; of the graph's own size.
    """

    model: "onnx.ModelProto"
    passes: tuple[str, ...]
    ranges: "RangeReport | None"
    calibration: tuple[Probe, ...]


def convert(
    source: LoadedCheckpoint | Source,
    spec: ConversionSpec,
    outputs: Mapping[Precision, Path],
    *,
    pictures: Path | None = None,
    overwrite: bool = False,
    gpu_gate: bool = False,
    threads: int | None = None,
    progress: ProgressCallback = silent,
) -> list[Manifest]:
    """Convert a network, prove every file equal to it, and only then write them.

    Args:
        source: The loaded checkpoint, training or plain form, or an ONNX file.
        spec: Size and precisions.
        outputs: Precision -> path of the `.tflite`; the manifest goes beside it as `.json`.
        pictures: Folder of photographs for calibration and parity; None for the test card.
        overwrite: Whether existing files may be replaced.
        gpu_gate: Whether LiteRT's GPU accelerator, where there is a device for it, must take every
            operator and give the right pictures too. Without a device the manifest says so.
        threads: CPU threads of the parity runs.
        progress: Told of every stage and of every parity input.

    Returns:
        The manifest of each file, in the order of `spec.precisions`.

    Raises:
        ParityGateError: A file does not match, or the GPU does not take it; nothing is written.
        AcceleratorError: The GPU accelerator crashed, or ran out of memory or time.
        ConversionError: A stage cannot do its work.
        NotCleanError: The GPU would refuse operators, where the source must have none such.
        SizeError: The network does not take that size, or it needs more memory than there is.
        OutputError: A file cannot be written; none of them is.
    """
    from converters.gpu_gate import look_for_gpu

    paths = [outputs[precision] for precision in spec.precisions]
    targets = [*paths, *map(manifest_path, paths)]
    if isinstance(source, LoadedCheckpoint):
        check_multiple(spec, source.spec)
    for target in targets:
        check_writable(target, overwrite=overwrite)
    gpu = look_for_gpu(wanted=gpu_gate)
    source = _folded(source, spec, progress)
    rewritten, contents = make(source, spec, pictures, progress)
    contrasts = {probe.name: probe.contrast for probe in rewritten.calibration}
    probes = verification_probes(spec.height, spec.width, pictures, contrasts)
    with _lying_about(contents, outputs) as files:
        reports = _proven(files, source, probes, gpu, threads, progress)
        manifests = [
            manifest_of(path, report, rewritten.ranges, rewritten.calibration, source, gpu)
            for path, report in zip(files, reports, strict=True)
        ]
    texts = [manifest.to_json().encode() for manifest in manifests]
    _write(targets, [*contents.values(), *texts], overwrite=overwrite)
    return manifests


def _write(targets: Sequence[Path], contents: Sequence[bytes], *, overwrite: bool) -> None:
    """All of it or nothing."""
    with atomic_outputs(targets, overwrite=overwrite) as temporary:
        for path, content in zip(temporary, contents, strict=True):
            path.write_bytes(content)


def _folded(
    source: LoadedCheckpoint | Source, spec: ConversionSpec, progress: ProgressCallback
) -> Source:
    """The plain network, which a conversion to that size has memory for."""
    from converters.memory import check_memory

    if isinstance(source, LoadedCheckpoint):
        with _stage(progress, "fold"):
            source = checkpoint_source(source)
    check_memory(source.bytes_per_pixel, source.scale, spec.height, spec.width)
    return source


def make(
    source: Source,
    spec: ConversionSpec,
    pictures: Path | None = None,
    progress: ProgressCallback = silent,
) -> tuple[Rewritten, dict[Precision, bytes]]:
    """The rewritten graph, and the files' content, which nothing is proven of yet: see `convert`.

    Args:
        source: The plain network.
        spec: Size and precisions.
        pictures: Folder of photographs for calibration; None for the test card.
        progress: Told of every stage.

    Raises:
        ConversionError: A stage cannot do its work.
    """
    from converters.tflite import Onnx2tf

    with contextlib.ExitStack() as stack:
        # They load TensorFlow while the graph is rewritten.
        workers = {p: stack.enter_context(Onnx2tf()) for p in spec.precisions}
        rewritten = _rewritten(source, spec, pictures, progress)
        contents: dict[Precision, bytes] = {}
        for precision, worker in workers.items():
            progress("convert", len(contents), len(workers))
            contents[precision] = _tflite_file(worker, rewritten, source, spec, precision)
        progress("convert", len(contents), len(workers))
    return rewritten, contents


@contextlib.contextmanager
def _lying_about(
    contents: Mapping[Precision, bytes], outputs: Mapping[Precision, Path]
) -> Generator[dict[Path, Precision]]:
    """The files under their final names in a folder that goes away."""
    with tempfile.TemporaryDirectory(prefix="edgesr-") as scratch:
        files = {Path(scratch, outputs[precision].name): precision for precision in contents}
        with temporary_file_errors():
            for path, precision in files.items():
                path.write_bytes(contents[precision])
        yield files


def _proven(
    files: Mapping[Path, Precision],
    source: Source,
    probes: Sequence[Probe],
    gpu: "FoundGpu",
    threads: int | None,
    progress: ProgressCallback,
) -> "list[ParityReport]":
    """What was measured on every file, all gates passed."""
    from converters.gpu_refusal import check_clean
    from converters.parity import DEFAULT_BACKENDS
    from converters.verify import verify

    precisions = {path: precision.value for path, precision in files.items()}
    if source.must_be_clean:
        check_clean(precisions)
    return verify(
        precisions,
        source.reference,
        probes,
        referee=source.referee,
        backends={p: (*DEFAULT_BACKENDS[p], *gpu.backends) for p in precisions.values()},
        threads=threads,
        progress=progress,
    )


def default_outputs(
    source: LoadedCheckpoint | Source, spec: ConversionSpec, folder: Path
) -> dict[Precision, Path]:
    """The standard names in a folder."""
    network = source.spec if isinstance(source, LoadedCheckpoint) else source
    return {p: folder / file_name(network.name, network.scale, spec, p) for p in spec.precisions}


def rewrite(
    exported: "onnx.ModelProto",
    value_range: float,
    calibration: Sequence[Probe],
    skip: frozenset[str] = frozenset(),
) -> Rewritten:
    """Run the exact passes for the GPU delegate.

    Args:
        exported: The plain network as ONNX, in its own value range.
        value_range: Upper end of that range.
        calibration: Inputs that show how large intermediates get.
        skip: Names of passes to leave out, to show what they are for.

    Raises:
        ConversionError: A pass cannot be exact here.
    """
    from converters.passes.depth_to_space import depth_to_space
    from converters.passes.fp16_range import fp16_range
    from converters.passes.global_mean import global_mean, has_global_mean
    from converters.passes.io_scale import io_scale
    from converters.passes.linear_chains import linear_chains
    from converters.passes.split_free import split_free

    without = skip if has_global_mean(exported) else skip | {"global_mean"}
    names = tuple(name for name in GPU_PASSES if name not in without)
    model = io_scale(exported, value_range) if "io_scale" in names else exported
    for name, run in (
        ("split_free", split_free),
        ("linear_chains", linear_chains),
        ("depth_to_space", depth_to_space),
        ("global_mean", global_mean),
    ):
        model = run(model) if name in names else model
    if "fp16_range" not in names:
        return Rewritten(model, names, None, tuple(calibration))
    model, ranges = fp16_range(model, _nchw(calibration))
    return Rewritten(model, names, ranges, tuple(calibration))


def _nchw(probes: Sequence[Probe]) -> list[Float32Array]:
    return [np.ascontiguousarray(p.lr_nhwc.transpose(0, 3, 1, 2)) for p in probes]


@contextlib.contextmanager
def _stage(progress: ProgressCallback, name: str) -> Generator[None]:
    """Tell that a stage of one step begins, and that it is done."""
    progress(name, 0, 1)
    yield
    progress(name, 1, 1)


def _rewritten(
    source: Source, spec: ConversionSpec, pictures: Path | None, progress: ProgressCallback
) -> Rewritten:
    """Export and rewrite at the size of calibration."""
    height, width = source.calibration_size(spec.height, spec.width)
    with _stage(progress, "export"):
        exported = source.export(height, width)
    with _stage(progress, "rewrite"):
        calibration = calibration_probes(height, width, pictures, source.reference)
        rewritten = rewrite(exported, source.value_range, calibration)
    return replace(rewritten, passes=(*source.passes, *rewritten.passes))


def _tflite_file(
    worker: "Onnx2tf",
    rewritten: Rewritten,
    source: Source,
    spec: ConversionSpec,
    precision: Precision,
) -> bytes:
    """One finished file of the final size."""
    from converters import fp16_rounding
    from converters.tflite import converted, embed

    half = precision is Precision.FP16
    model, passes = rewritten.model, rewritten.passes
    if half:
        model = fp16_rounding.round_weights(model, _nchw(rewritten.calibration))
        passes = (*passes, fp16_rounding.NAME)
    facts = facts_of(passes, source, spec, precision)
    return embed(
        converted(worker, model, spec.height, spec.width, half=half),
        input_name=facts.input_name,
        output_name=facts.output_name,
        description=f"{facts.model} x{facts.scale} super-resolution, made by edgesr",
        metadata={FACTS_ENTRY: facts.model_dump_json()},
    )
