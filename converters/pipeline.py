"""Network -> verified `.tflite`: the stages in order, each with a typed result."""

import contextlib
import tempfile
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from converters.file_metadata import build_facts, build_manifest
from converters.manifest import Manifest, manifest_path
from converters.parity.test_inputs import InputImage, calibration_inputs, parity_inputs
from converters.source import Source
from converters.spec import ConversionSpec, Precision, file_name
from edgesr.common.files import atomic_outputs, check_writable, temporary_file_errors
from edgesr.common.progress import ProgressCallback, one_step, silent
from edgesr.errors import ModelFileError
from edgesr.tflite.facts import FACTS_ENTRY, seal

if TYPE_CHECKING:
    import onnx

    from converters.gpu.gate import GpuBackends
    from converters.parity.verify import ParityReport
    from converters.passes.fp16_range import RangeReport
    from converters.tflite.backend import Onnx2tf

Float32Array = NDArray[np.float32]

_SMALL_SIDE = 192

#: The passes for the GPU delegate, in order; those from global_mean to centred_sigmoid run where
#: there is such a thing.
GPU_PASSES = (
    "io_scale", "split_free", "linear_chains", "depth_to_space", "global_mean", "edge_pad",
    "centred_sigmoid", "fp16_range",
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
    calibration: tuple[InputImage, ...]


def convert(
    source: Source,
    spec: ConversionSpec,
    outputs: Mapping[Precision, Path],
    *,
    images: Path | None = None,
    overwrite: bool = False,
    gpu_gate: bool = False,
    threads: int | None = None,
    progress: ProgressCallback = silent,
) -> list[Manifest]:
    """Convert a network, verify every file against it, and only then write them.

    Args:
        source: The network.
        spec: Size and precisions.
        outputs: Precision -> path of the `.tflite`; the manifest goes beside it as `.json`.
        images: Folder of photographs for calibration and parity; None for the test card.
        overwrite: Whether existing files may be replaced.
        gpu_gate: Whether LiteRT's GPU accelerator, where there is a device for it, must accept
            every operator and compute the right images too. Without a device the manifest records
            why it was not checked.
        threads: CPU threads of the parity runs.
        progress: Called for every stage and every parity input.

    Returns:
        The manifest of each file, in the order of `spec.precisions`.

    Raises:
        ParityGateError: A file does not match, or the GPU rejects it; nothing is written.
        AcceleratorError: The GPU accelerator crashed, or ran out of memory or time.
        ConversionError: A stage cannot be exact.
        NotCleanError: The GPU would refuse operators, where the source must have none such.
        SizeError: The conversion needs more memory than is free.
        OutputError: A file cannot be written; none of them is.
    """
    from converters.gpu.gate import find_gpu_backends
    from converters.memory import check_memory

    paths = [outputs[precision] for precision in spec.precisions]
    targets = [*paths, *map(manifest_path, paths)]
    for target in targets:
        check_writable(target, overwrite=overwrite)
    gpu = find_gpu_backends(wanted=gpu_gate)
    check_memory(source, spec.height, spec.width)
    rewritten, contents = make(source, spec, images, progress)
    contrasts = {image.name: image.contrast for image in rewritten.calibration}
    small = _small_size(source, spec, contents.values())
    inputs = parity_inputs(spec.height, spec.width, images, contrasts, small)
    with _staged(contents, outputs) as files:
        floats = {path: p for path, p in files.items() if p is not Precision.INT8}
        reports = dict(
            zip(floats, _verified(floats, source, inputs, gpu, threads, progress), strict=True)
        )
        for path in files.keys() - floats.keys():
            reports[path] = _judged(path, source, spec, images, threads, progress)
        manifests = [
            build_manifest(path, reports[path], *_ranges(rewritten, p), source, gpu)
            for path, p in files.items()
        ]
    texts = [manifest.to_json().encode() for manifest in manifests]
    _write(targets, [*contents.values(), *texts], overwrite=overwrite)
    return manifests


def _ranges(
    rewritten: Rewritten, precision: Precision
) -> "tuple[RangeReport | None, tuple[InputImage, ...]]":
    """What fp16_range did; nothing in integers."""
    return (None, ()) if precision is Precision.INT8 else (rewritten.ranges, rewritten.calibration)


def _judged(
    path: Path,
    source: Source,
    spec: ConversionSpec,
    images: Path | None,
    threads: int | None,
    progress: ProgressCallback,
) -> "ParityReport":
    """The parity of an integer file, all its gates passed."""
    from converters.int8.gates import judge
    from converters.parity.verify import ParityGateError

    size = (spec.height, spec.width)
    if source.any_size:
        size = min(spec.height, _SMALL_SIDE), min(spec.width, _SMALL_SIDE)
    report = judge(
        path, source.reference, source.scale, size, images=images, max_drop=spec.max_drop_db,
        threads=threads, progress=progress,
    )  # fmt: skip
    if report.failures:
        raise ParityGateError([report], source.reference_runtime.split(",")[0])
    return report


def _write(targets: Sequence[Path], contents: Sequence[bytes], *, overwrite: bool) -> None:
    """Write all files or none."""
    with atomic_outputs(targets, overwrite=overwrite) as temporary:
        for path, content in zip(temporary, contents, strict=True):
            path.write_bytes(content)


def make(
    source: Source,
    spec: ConversionSpec,
    images: Path | None = None,
    progress: ProgressCallback = silent,
) -> tuple[Rewritten, dict[Precision, bytes]]:
    """Make the files' content without verifying it; `convert` does both.

    Args:
        source: The network.
        spec: Size and precisions.
        images: Folder of photographs for calibration; None for the test card.
        progress: Called for every stage.

    Returns:
        The rewritten graph, and precision -> content of the file.

    Raises:
        ConversionError: A stage cannot be exact.
    """
    from converters.onnx_graph.native import named_errors
    from converters.tflite.backend import Onnx2tf

    with named_errors(source.label), contextlib.ExitStack() as stack:
        # They load TensorFlow while the graph is rewritten.
        workers = {p: stack.enter_context(Onnx2tf()) for p in spec.precisions}
        rewritten = _rewritten(source, spec, images, progress)
        contents: dict[Precision, bytes] = {}
        for precision, worker in workers.items():
            progress("convert", len(contents), len(workers))
            contents[precision] = (
                _integer_file(worker, source, spec, images, progress)
                if precision is Precision.INT8
                else _tflite_file(worker, rewritten, source, spec, precision)
            )
        progress("convert", len(contents), len(workers))
    return rewritten, contents


@contextlib.contextmanager
def _staged(
    contents: Mapping[Precision, bytes], outputs: Mapping[Precision, Path]
) -> Generator[dict[Path, Precision]]:
    """The files under their final names in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="edgesr-") as scratch:
        files = {Path(scratch, outputs[precision].name): precision for precision in contents}
        with temporary_file_errors():
            for path, precision in files.items():
                path.write_bytes(contents[precision])
        yield files


def _small_size(
    source: Source, spec: ConversionSpec, contents: Iterable[bytes]
) -> tuple[int, int] | None:
    """Size of all parity inputs but the first; None where the file runs at its own size only.

    One image of the file's own size proves that size, which no weight depends on. The reference
    would take most of the conversion's time otherwise.
    """
    from edgesr.tflite.resize import resize

    height, width = min(spec.height, _SMALL_SIDE), min(spec.width, _SMALL_SIDE)
    if not source.any_size or height % source.size_multiple or width % source.size_multiple:
        return None
    try:
        for content in contents:
            resize(content, height, width)
    except ModelFileError:
        return None
    return height, width


def _verified(
    files: Mapping[Path, Precision],
    source: Source,
    inputs: Sequence[InputImage],
    gpu: "GpuBackends",
    threads: int | None,
    progress: ProgressCallback,
) -> "list[ParityReport]":
    """The parity of every file, all gates passed."""
    from converters.gpu.refusal import check_clean
    from converters.parity.gates import DEFAULT_BACKENDS
    from converters.parity.verify import verify

    precisions = {path: precision.value for path, precision in files.items()}
    if not files:
        return []
    if source.must_be_clean:
        check_clean(precisions)
    return verify(
        precisions,
        source.reference,
        inputs,
        reference_runtime=source.reference_runtime,
        backends={p: (*DEFAULT_BACKENDS[p], *gpu.backends) for p in precisions.values()},
        threads=threads,
        progress=progress,
    )


def default_outputs(source: Source, spec: ConversionSpec, folder: Path) -> dict[Precision, Path]:
    """The standard names in a folder."""
    return {p: folder / file_name(source.name, source.scale, spec, p) for p in spec.precisions}


def rewrite(
    exported: "onnx.ModelProto",
    value_range: float,
    calibration: Sequence[InputImage],
    skip: frozenset[str] = frozenset(),
    *,
    must_fit_fp16: bool = True,
) -> Rewritten:
    """Run the exact passes for the GPU delegate.

    Args:
        exported: The plain network as ONNX, in its own value range.
        value_range: Upper end of that range.
        calibration: Inputs that show how large intermediates get.
        skip: Names of passes to leave out, to show what they are for.
        must_fit_fp16: Whether what cannot be rescaled must fit into FP16 as it is.

    Raises:
        ConversionError: A pass cannot be exact here.
    """
    from converters.passes.centred_sigmoid import centred_sigmoid, has_centred_sigmoid
    from converters.passes.depth_to_space import depth_to_space
    from converters.passes.edge_pad import edge_pad, has_edge_pad
    from converters.passes.fp16_range import fp16_range
    from converters.passes.global_mean import global_mean, has_global_mean
    from converters.passes.io_scale import io_scale
    from converters.passes.linear_chains import linear_chains
    from converters.passes.split_free import split_free

    found = {
        "global_mean": has_global_mean,
        "edge_pad": has_edge_pad,
        "centred_sigmoid": has_centred_sigmoid,
    }
    without = skip | {name for name, is_there in found.items() if not is_there(exported)}
    names = tuple(name for name in GPU_PASSES if name not in without)
    model = io_scale(exported, value_range) if "io_scale" in names else exported
    for name, run in (
        ("split_free", split_free),
        ("linear_chains", linear_chains),
        ("depth_to_space", depth_to_space),
        ("global_mean", global_mean),
        ("edge_pad", edge_pad),
        ("centred_sigmoid", partial(centred_sigmoid, calibration_nchw=_nchw(calibration))),
    ):
        model = run(model) if name in names else model
    if "fp16_range" not in names:
        return Rewritten(model, names, None, tuple(calibration))
    model, ranges = fp16_range(model, _nchw(calibration), must_fit=must_fit_fp16)
    return Rewritten(model, names, ranges, tuple(calibration))


def _nchw(images: Sequence[InputImage]) -> list[Float32Array]:
    return [np.ascontiguousarray(i.lr_nhwc.transpose(0, 3, 1, 2)) for i in images]


def _rewritten(
    source: Source, spec: ConversionSpec, images: Path | None, progress: ProgressCallback
) -> Rewritten:
    """Export and rewrite at the calibration size."""
    from converters.onnx_graph.calibration import unclipped

    height, width = source.calibration_size(spec.height, spec.width)
    with one_step(progress, "export"):
        exported = source.export(height, width)
    with one_step(progress, "rewrite"):
        # The contrast that a network takes shows before the Clip that it may end in.
        reference = unclipped(exported, source.value_range) or source.reference
        calibration = calibration_inputs(height, width, images, reference)
        must_fit = Precision.FP16 in spec.precisions
        rewritten = rewrite(exported, source.value_range, calibration, must_fit_fp16=must_fit)
    return replace(rewritten, passes=(*source.passes, *rewritten.passes))


def _accept(_: bytes) -> None:
    """The check of a file whose operators the GPU may refuse."""


def _integer_file(
    worker: "Onnx2tf",
    source: Source,
    spec: ConversionSpec,
    images: Path | None,
    progress: ProgressCallback,
) -> bytes:
    """One integer file of the final size; what the GPU accepts of it is not asked."""
    from converters.int8.conversion import integer_file

    return integer_file(worker, source, spec, images, progress, _accept)


def _tflite_file(
    worker: "Onnx2tf",
    rewritten: Rewritten,
    source: Source,
    spec: ConversionSpec,
    precision: Precision,
) -> bytes:
    """One finished file of the final size."""
    from converters.gpu.refusal import check_clean_content
    from converters.passes import fp16_rounding
    from converters.tflite.backend import converted, embed

    half = precision is Precision.FP16
    model, passes = rewritten.model, rewritten.passes
    if half:
        model = fp16_rounding.round_weights(model, _nchw(rewritten.calibration))
        passes = (*passes, fp16_rounding.NAME)
    facts = build_facts(passes, source, spec, precision)
    check = check_clean_content if source.must_be_clean else _accept
    unsealed = embed(
        converted(worker, model, spec.height, spec.width, half=half, check=check),
        input_name=facts.input_name,
        output_name=facts.output_name,
        description=f"{facts.model} x{facts.scale} super-resolution, made by edgesr",
        metadata={FACTS_ENTRY: facts.model_dump_json()},
    )
    return seal(unsealed)
