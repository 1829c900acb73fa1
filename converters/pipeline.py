"""Checkpoint -> proven `.tflite`: the stages in order, each returning a typed value."""

import hashlib
import importlib.metadata
import platform
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from converters.manifest import FACTS_ENTRY, Facts, GpuRecord, Manifest, RangeRecord, manifest_path
from converters.probes import Probe, calibration_probes, verification_probes
from converters.spec import ConversionSpec, Precision, file_name
from edgesr.checkpoints import LoadedCheckpoint, weights_sha256
from edgesr.errors import ConversionError
from edgesr.files import atomic_outputs, check_writable
from edgesr.progress import ProgressCallback, silent

if TYPE_CHECKING:
    import onnx
    from torch import nn

    from converters.passes.fp16_range import RangeReport
    from converters.verify import ParityReport

#: The passes for the GPU delegate, in order.
GPU_PASSES = ("io_scale", "split_free", "linear_chains", "depth_to_space", "fp16_range")

_TOOLS = ("torch", "onnx", "onnx2tf", "tensorflow", "ai-edge-litert", "numpy", "edgesr")
_STAGES = ("fold", "export", "rewrite", "convert")


@dataclass(frozen=True)
class Rewritten:
    """A graph after the exact passes.

    Attributes:
        model: The graph: range [0, 1], only operators that TFLite's GPU delegate has.
        passes: Names of the passes that ran, in order.
        ranges: What fp16_range did; None if it was left out.
    """

    model: "onnx.ModelProto"
    passes: tuple[str, ...]
    ranges: "RangeReport | None"


def convert(
    checkpoint: LoadedCheckpoint,
    spec: ConversionSpec,
    outputs: Mapping[Precision, Path],
    *,
    pictures: Path | None = None,
    overwrite: bool = False,
    threads: int | None = None,
    progress: ProgressCallback = silent,
) -> list[Manifest]:
    """Convert a checkpoint, prove every file equal to it, and only then write them.

    Args:
        checkpoint: The loaded network, training or plain form.
        spec: Size and precisions.
        outputs: Precision -> path of the `.tflite`; the manifest goes beside it as `.json`.
        pictures: Folder of photographs for calibration and parity; None for the test card.
        overwrite: Whether existing files may be replaced.
        threads: CPU threads of the parity runs.
        progress: Told of every stage and of every parity input.

    Returns:
        The manifest of each file, in the order of `spec.precisions`.

    Raises:
        ParityGateError: A file does not match; nothing is written.
        ConversionError: A stage cannot do its work.
        SizeError: The size needs more memory than there is.
        OutputError: A file cannot be written; none of them is.
    """
    from edgesr.reparam import fold

    from converters.memory import check_memory

    targets = [t for p in spec.precisions for t in (outputs[p], manifest_path(outputs[p]))]
    for target in targets:
        check_writable(target, overwrite=overwrite)
    _stage(progress, "fold")
    plain = fold(checkpoint.net)
    check_memory(plain, spec.height, spec.width)
    rewritten, calibration = _rewritten(plain, checkpoint, spec, pictures, progress)
    _stage(progress, "convert")
    contents = _tflite_files(rewritten, checkpoint, spec)
    probes = verification_probes(spec.height, spec.width, pictures)
    with tempfile.TemporaryDirectory(prefix="edgesr-") as scratch:
        files = {Path(scratch, outputs[p].name): p.value for p in spec.precisions}
        for path, content in zip(files, contents, strict=True):
            path.write_bytes(content)
        reports = _verified(files, checkpoint, probes, threads, progress)
        manifests = [
            _manifest(path, report, rewritten, calibration)
            for path, report in zip(files, reports, strict=True)
        ]
    texts = [t for c, m in zip(contents, manifests, strict=True) for t in (c, m.to_json().encode())]
    with atomic_outputs(targets, overwrite=overwrite) as temporary:
        for path, text in zip(temporary, texts, strict=True):
            path.write_bytes(text)
    return manifests


def default_outputs(
    checkpoint: LoadedCheckpoint, spec: ConversionSpec, folder: Path
) -> dict[Precision, Path]:
    """The standard names in a folder."""
    arch = checkpoint.spec
    return {p: folder / file_name(arch.name, arch.scale, spec, p) for p in spec.precisions}


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
        skip: Names of passes to leave out.

    Raises:
        ConversionError: `skip` names no pass, or a pass cannot be exact here.
    """
    from converters.passes.depth_to_space import depth_to_space
    from converters.passes.fp16_range import fp16_range
    from converters.passes.io_scale import io_scale
    from converters.passes.linear_chains import linear_chains
    from converters.passes.split_free import split_free

    if unknown := skip - set(GPU_PASSES):
        raise ConversionError(f"got passes {sorted(unknown)}, allowed {', '.join(GPU_PASSES)}")
    names = tuple(name for name in GPU_PASSES if name not in skip)
    model = io_scale(exported, value_range) if "io_scale" in names else exported
    for name, run in (
        ("split_free", split_free),
        ("linear_chains", linear_chains),
        ("depth_to_space", depth_to_space),
    ):
        model = run(model) if name in names else model
    if "fp16_range" not in names:
        return Rewritten(model, names, None)
    inputs_nchw = [p.lr_nhwc.transpose(0, 3, 1, 2).copy() for p in calibration]
    model, ranges = fp16_range(model, inputs_nchw)
    return Rewritten(model, names, ranges)


def _stage(progress: ProgressCallback, name: str) -> None:
    progress(name, _STAGES.index(name), len(_STAGES))


def _rewritten(
    plain: "nn.Module",
    checkpoint: LoadedCheckpoint,
    spec: ConversionSpec,
    pictures: Path | None,
    progress: ProgressCallback,
) -> tuple[Rewritten, tuple[str, ...]]:
    """Export and rewrite; also the names of the calibration inputs."""
    from converters.onnx_export import export

    _stage(progress, "export")
    exported = export(plain, spec.height, spec.width)
    _stage(progress, "rewrite")
    calibration = calibration_probes(spec.height, spec.width, pictures)
    rewritten = rewrite(exported, checkpoint.spec.value_range, calibration, spec.skip_passes)
    return rewritten, tuple(probe.name for probe in calibration)


def _tflite_files(
    rewritten: Rewritten, checkpoint: LoadedCheckpoint, spec: ConversionSpec
) -> list[bytes]:
    """One finished file per precision."""
    from converters.tflite import embed, to_tflite

    made = to_tflite(rewritten.model)
    contents: list[bytes] = []
    for precision in spec.precisions:
        facts = _facts(rewritten, checkpoint, spec, precision)
        contents.append(
            embed(
                made.fp16 if precision is Precision.FP16 else made.fp32,
                input_name=facts.input_name,
                output_name=facts.output_name,
                description=f"{facts.model} x{facts.scale} super-resolution, made by edgesr",
                metadata={FACTS_ENTRY: facts.model_dump_json()},
            )
        )
    return contents


def _facts(
    rewritten: Rewritten, checkpoint: LoadedCheckpoint, spec: ConversionSpec, precision: Precision
) -> Facts:
    return Facts(
        model=checkpoint.spec.name,
        scale=checkpoint.spec.scale,
        height=spec.height,
        width=spec.width,
        precision=precision.value,
        receptive_radius=checkpoint.spec.receptive_radius,
        weights_sha256=weights_sha256(checkpoint.net),
        weights_source=checkpoint.source,
        weights_licence=checkpoint.licence,
        passes=rewritten.passes,
        tool_versions=_tool_versions(),
    )


def _tool_versions() -> dict[str, str]:
    versions = {name: importlib.metadata.version(name) for name in _TOOLS}
    return {"python": platform.python_version(), **versions}


def _verified(
    files: Mapping[Path, str],
    checkpoint: LoadedCheckpoint,
    probes: Sequence[Probe],
    threads: int | None,
    progress: ProgressCallback,
) -> "list[ParityReport]":
    from converters.verify import torch_reference, verify

    reference = torch_reference(checkpoint.net, checkpoint.spec.value_range)
    return verify(files, reference, probes, threads=threads, progress=progress)


def _manifest(
    path: Path, report: "ParityReport", rewritten: Rewritten, calibration: tuple[str, ...]
) -> Manifest:
    """The record of one proven file."""
    from converters.audit import audit

    content = path.read_bytes()
    found = audit(path)
    ranges = rewritten.ranges
    return Manifest(
        file=path.name,
        sha256=hashlib.sha256(content).hexdigest(),
        size_bytes=len(content),
        facts=Facts.model_validate_json(found.metadata[FACTS_ENTRY]),
        operators=dict(Counter(operator.name for operator in found.operators)),
        peak_activation_bytes=found.peak_activation_bytes,
        fp16_range=None
        if ranges is None
        else RangeRecord(
            largest_before=ranges.largest_before,
            largest_after=ranges.largest_after,
            scaled_tensors=ranges.scaled_tensors,
            calibration_inputs=calibration,
        ),
        parity=report.backends,
        gpu=GpuRecord(rules_passed=not found.offences, offences=found.offences),
    )
