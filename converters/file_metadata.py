"""Metadata of a converted file: facts inside, manifest beside it."""

import hashlib
import importlib.metadata
import platform
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from converters.gpu.audit import audit
from converters.manifest import GpuRecord, Manifest, RangeRecord
from converters.parity.test_inputs import InputImage
from converters.source import Source
from converters.spec import ConversionSpec, Precision
from edgesr.tflite.facts import FACTS_ENTRY, UNSEALED, Facts

if TYPE_CHECKING:
    from converters.gpu.gate import GpuBackends
    from converters.parity.verify import ParityReport
    from converters.passes.fp16_range import RangeReport


def build_facts(
    passes: tuple[str, ...], source: Source, spec: ConversionSpec, precision: Precision
) -> Facts:
    """Collect the facts that are stored inside a file.

    Args:
        passes: Names of the passes that ran, in order.
        source: The network.
        spec: Size of the file's input.
        precision: Precision of the stored weights.
    """
    versions = {name: importlib.metadata.version(name) for name in source.tools}
    return Facts(
        model=source.name,
        scale=source.scale,
        height=spec.height,
        width=spec.width,
        precision=precision.value,
        receptive_radius=source.receptive_radius,
        size_multiple=source.size_multiple,
        whole_image=source.whole_image,
        weights_sha256=source.weights_sha256,
        weights_source=source.weights_source,
        weights_licence=source.weights_licence,
        passes=passes,
        tool_versions={"python": platform.python_version(), **versions},
        content_sha256=UNSEALED,
    )


def build_manifest(
    path: Path,
    report: "ParityReport",
    ranges: "RangeReport | None",
    calibration: Sequence[InputImage],
    source: Source,
    gpu: "GpuBackends",
) -> Manifest:
    """Build the manifest of a file that passed its gates.

    Args:
        path: The file.
        report: Its parity.
        ranges: Report of fp16_range; None if the pass did not run.
        calibration: The calibration inputs.
        source: The network.
        gpu: The GPU backends that the gates included.
    """
    content = path.read_bytes()
    found = audit(path)
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
            calibration_inputs=tuple(image.name for image in calibration),
        ),
        value_range=source.range_evidence
        and f"[0, {source.value_range:g}]: {source.range_evidence}",
        reference=source.reference_runtime,
        parity=report.backends,
        gpu=GpuRecord.of(found.violations, gpu),
    )
