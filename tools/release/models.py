"""Convert, verify and measure the shipped `.tflite` files and write their cards.

    python -m tools.release.models               (or: make models)
    python -m tools.release.models --model rtc   that network's files; all are measured again
    python -m tools.release.models --measure     latency and quality again, the files staying

FP16 and FP32 at 720x480 of every network with bundled weights go to `tflite_models/`. Calibration
uses the synthetic inputs alone, never photographs, so that the files do not depend on the images of
a machine: they are what `edgesr convert --model NAME --fp16 --fp32` makes where EDGESR_SHARED is
not set. (Photographs in calibration change the parity on other photographs by 0.1 dB.) Parity is
then measured on photographs too, on every available backend; they and the benchmark set are those
under EDGESR_SHARED.
"""

import datetime
import os
import platform
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import click
import numpy as np

from converters.gpu.audit import audit
from converters.gpu.gate import GpuBackends, find_gpu_backends
from converters.manifest import GpuRecord, Manifest, manifest_path, read_manifest
from converters.parity.gates import DEFAULT_BACKENDS
from converters.parity.test_inputs import shared_photos
from converters.parity.verify_file import describe, verify_file
from converters.pipeline import convert, default_outputs, make
from converters.source import Source, checkpoint_source
from converters.spec import ConversionSpec, Precision
from edgesr.benchmark.timing import Float64Array, time_interleaved
from edgesr.common.files import atomic_outputs
from edgesr.common.machine import processor, system
from edgesr.common.progress import ProgressCallback, silent
from edgesr.errors import EdgeSRError, ImageError
from edgesr.evaluation.benchmark_sets import benchmark_set, by_bicubic, by_file, measure
from edgesr.networks.spec import ArchSpec, all_specs, find_spec
from edgesr.runtime.session import available_threads, open_model
from edgesr.weights.bundled import bundled_checkpoint, bundled_weights
from edgesr.weights.checkpoints import load
from tools.release.model_cards import model_card, table_of_models
from tools.release.records import (
    FileMeasurement,
    LatencyConditions,
    Measurements,
    QualityRecord,
)
from tools.release.weights import benchmarks_folder

FOLDER = Path(__file__).parents[2] / "tflite_models"
MEASUREMENTS = "measurements.json"
CONVERSION = ConversionSpec(precisions=(Precision.FP16, Precision.FP32))

_MEASURED_ON = "Set5"
_ROUNDS, _WARM_UP = 30, 3


def shipped_specs() -> list[ArchSpec]:
    """The networks whose files come with edgesr: those with bundled weights."""
    return [spec for spec in all_specs() if bundled_weights(spec)]


def build(
    spec: ArchSpec,
    folder: Path,
    *,
    threads: int | None = None,
    progress: ProgressCallback = silent,
) -> list[Path]:
    """Convert a network's bundled weights into the shipped files with manifests.

    Args:
        spec: The network.
        folder: The output folder.
        threads: CPU threads of the parity runs.
        progress: Called for every stage.

    Returns:
        The FP16 and the FP32 file.

    Raises:
        CheckpointError: The network has no bundled weights.
        ParityGateError: A file does not match; nothing is written.
    """
    source = _source(spec)
    outputs = default_outputs(source, CONVERSION, folder)
    convert(source, CONVERSION, outputs, images=None, threads=threads, progress=progress)
    return list(outputs.values())


def content(spec: ArchSpec) -> dict[str, bytes]:
    """Convert as `build` does, without verification: name -> content.

    Args:
        spec: The network.

    Raises:
        CheckpointError: The network has no bundled weights.
    """
    source = _source(spec)
    _, contents = make(source, CONVERSION)
    names = default_outputs(source, CONVERSION, FOLDER)
    return {names[precision].name: made for precision, made in contents.items()}


def _source(spec: ArchSpec) -> Source:
    checkpoint = load(bundled_checkpoint(spec), spec.name, spec.scale)
    return checkpoint_source(checkpoint, CONVERSION.height, CONVERSION.width)


def verified(
    path: Path, images: Path, gpu: GpuBackends, progress: ProgressCallback = silent
) -> Manifest:
    """Verify a file on photographs and a GPU too, and return its manifest.

    Args:
        path: The file, its manifest beside it.
        images: Folder of photographs.
        gpu: The GPU backends.
        progress: Called for every input.

    Raises:
        ParityGateError: It does not match, or the GPU refuses it.
    """
    described, manifest = describe(path), read_manifest(manifest_path(path))
    source = _source(find_spec(manifest.facts.model, manifest.facts.scale))
    backends = (*DEFAULT_BACKENDS[described.precision.value], *gpu.backends)
    report = verify_file(described, source, backends=backends, images=images, progress=progress)
    record = GpuRecord.of(manifest.gpu.violations, gpu)
    return manifest.model_copy(update={"parity": report.backends, "gpu": record})


def measured(files: Sequence[Path], benchmarks: Path) -> Measurements:
    """Measure quality and latency of the files.

    Args:
        files: Files of `build`.
        benchmarks: The folder of the benchmark sets.

    Raises:
        ImageError: The set is not available.
    """
    conditions = _conditions()
    runners = (open_model(file, threads=conditions.threads) for file in files)
    latencies_ms = time_interleaved(list(runners), runs=_ROUNDS, warm_up=_WARM_UP).T
    return Measurements(
        files=tuple(
            _measurement(file, times_ms, benchmarks)
            for file, times_ms in zip(files, latencies_ms, strict=True)
        ),
        latency=conditions,
    )


def _conditions() -> LatencyConditions:
    return LatencyConditions(
        processor=processor(),
        cpus=available_threads(),
        threads=available_threads(),
        rounds=_ROUNDS,
        warm_up=_WARM_UP,
        load_before=round(os.getloadavg()[0], 2),
        runtime=f"ai-edge-litert {version('ai-edge-litert')}, XNNPACK, FP32 arithmetic",
        system=system(),
        python=platform.python_version(),
        date=datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
    )


def _measurement(file: Path, times_ms: Float64Array, benchmarks: Path) -> FileMeasurement:
    found, manifest = audit(file), read_manifest(manifest_path(file))
    spec = find_spec(manifest.facts.model, manifest.facts.scale)
    pairs = benchmark_set(benchmarks, _MEASURED_ON, spec.scale)
    ours, bicubic = (
        QualityRecord.of(measure(upscale, _MEASURED_ON, pairs, spec.scale))
        for upscale in (by_file(file), by_bicubic(spec.scale))
    )
    return FileMeasurement(
        file=file.name,
        sha256=manifest.sha256,
        parameters=spec.parameters,
        stored_parameters=found.parameters,
        macs=found.macs,
        quality=ours,
        bicubic=bicubic,
        median_ms=round(float(np.median(times_ms)), 1),
        p90_ms=round(float(np.quantile(times_ms, 0.9)), 1),
    )


def cards(manifests: Sequence[Manifest], measurements: Measurements) -> dict[str, str]:
    """Write the cards and the README of the folder: file name -> content."""
    by_file = {entry.file: entry for entry in measurements.files}
    texts = {
        f"{Path(m.file).stem}.md": model_card(m, by_file[m.file], measurements.latency)
        for m in manifests
    }
    return texts | {"README.md": table_of_models(manifests, measurements)}


def write_all(
    folder: Path,
    images: Path,
    benchmarks: Path,
    specs: Sequence[ArchSpec] | None = None,
    progress: ProgressCallback = silent,
) -> list[Manifest]:
    """Make the files of networks again; write all or none.

    Everything in the folder is measured, since latencies are only comparable within one run.

    Args:
        folder: The output folder; files in it are replaced.
        images: Folder of photographs.
        benchmarks: The folder of the benchmark sets.
        specs: The networks; None for all that are shipped. The files of the others exist already.
        progress: Called for every stage.

    Raises:
        EdgeSRError: A file cannot be made, verified, measured or written.
    """
    gpu = find_gpu_backends()
    with tempfile.TemporaryDirectory(prefix="edgesr-") as scratch:
        made = {
            file.name: file
            for spec in (shipped_specs() if specs is None else specs)
            for file in build(spec, Path(scratch), progress=progress)
        }
        new_manifests = {name: verified(file, images, gpu, progress) for name, file in made.items()}
        # In the folder these files do not exist yet, or are the old ones.
        names = dict.fromkeys([*(file.name for file in _files(folder)), *made])
        files = _in_order([made.get(name, folder / name) for name in names])
        manifests = [
            new_manifests.get(file.name) or read_manifest(manifest_path(file)) for file in files
        ]
        measurements = measured(files, benchmarks)
        contents = {name: file.read_bytes() for name, file in made.items()}
    texts = {
        manifest_path(Path(name)).name: manifest.to_json()
        for name, manifest in new_manifests.items()
    }
    _write(folder, contents, texts | _measured_texts(manifests, measurements))
    return manifests


def measure_again(folder: Path, benchmarks: Path) -> list[Manifest]:
    """Measure the files of a folder again.

    Args:
        folder: The output folder of `write_all`.
        benchmarks: The folder of the benchmark sets.

    Raises:
        EdgeSRError: A file cannot be read, measured or written.
    """
    files = _files(folder)
    manifests = [read_manifest(manifest_path(file)) for file in files]
    _write(folder, {}, _measured_texts(manifests, measured(files, benchmarks)))
    return manifests


def _files(folder: Path) -> list[Path]:
    """The shipped files of a folder, in the order of the networks."""
    return _in_order(list(folder.glob("*.tflite")))


def _in_order(files: Sequence[Path]) -> list[Path]:
    begin = [f"{spec.name}_x{spec.scale}_" for spec in shipped_specs()]
    return [file for start in begin for file in sorted(files) if file.name.startswith(start)]


def _measured_texts(manifests: Sequence[Manifest], measurements: Measurements) -> dict[str, str]:
    """The texts of the folder: cards, README and measurements."""
    record = measurements.model_dump_json(indent=2) + "\n"
    return cards(manifests, measurements) | {MEASUREMENTS: record}


def _write(folder: Path, files: Mapping[str, bytes], texts: Mapping[str, str]) -> None:
    """Write all files or none."""
    contents = {**files, **{name: text.encode() for name, text in texts.items()}}
    with atomic_outputs([folder / name for name in contents], overwrite=True) as temporary:
        for path, content in zip(temporary, contents.values(), strict=True):
            path.write_bytes(content)


@click.command()
@click.option("--measure", "only_measure", is_flag=True, help="Measure again, without converting.")
@click.option("--model", "models", multiple=True, help="Convert this network alone.")
def command(*, only_measure: bool, models: tuple[str, ...]) -> None:
    """Convert, verify and measure the shipped files."""
    try:
        images = shared_photos()
        if images is None:
            raise ImageError("photographs are needed: set EDGESR_SHARED to the folder of train/")
        if only_measure:
            manifests = measure_again(FOLDER, benchmarks_folder())
        else:
            specs = [find_spec(name) for name in models] or None
            manifests = write_all(FOLDER, images, benchmarks_folder(), specs)
    except EdgeSRError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
    for manifest in manifests:
        click.echo(f"{FOLDER / manifest.file}  sha256 {manifest.sha256[:16]}...")


if __name__ == "__main__":
    command()
