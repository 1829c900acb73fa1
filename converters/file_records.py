"""What is written beside and into a file: its facts, and its manifest."""

import hashlib
import importlib.metadata
import platform
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from converters.audit import audit
from converters.manifest import FACTS_ENTRY, Facts, GpuRecord, Manifest, RangeRecord
from converters.probes import Probe
from converters.source import Source
from converters.spec import ConversionSpec, Precision

if TYPE_CHECKING:
    from converters.gpu_gate import FoundGpu
    from converters.passes.fp16_range import RangeReport
    from converters.verify import ParityReport


def facts_of(
    passes: tuple[str, ...], source: Source, spec: ConversionSpec, precision: Precision
) -> Facts:
    """What a file says of itself.

    Args:
        passes: Names of the passes that ran, in order.
        source: The network.
        spec: Size of the file's input.
        precision: Of its weights.
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
        whole_picture=source.whole_picture,
        weights_sha256=source.weights_sha256,
        weights_source=source.weights_source,
        weights_licence=source.weights_licence,
        passes=passes,
        tool_versions={"python": platform.python_version(), **versions},
    )


def manifest_of(
    path: Path,
    report: "ParityReport",
    ranges: "RangeReport | None",
    calibration: Sequence[Probe],
    source: Source,
    gpu: "FoundGpu",
) -> Manifest:
    """The record of one proven file.

    Args:
        path: The file.
        report: Its parity.
        ranges: What fp16_range did; None if it was left out.
        calibration: The inputs that showed how large intermediates get.
        source: The network.
        gpu: What GPU there is.
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
            calibration_inputs=tuple(probe.name for probe in calibration),
        ),
        reference=source.referee,
        parity=report.backends,
        gpu=GpuRecord.of(found.offences, gpu),
    )
