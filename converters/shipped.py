"""Make the `.tflite` files that come with edgesr, prove and measure them, and write their cards.

    python -m converters.shipped               (or: make models)
    python -m converters.shipped --model rtc   that network's files; all are measured again
    python -m converters.shipped --measure     latency and quality again, the files staying

FP16 and FP32 at 720x480 of every network with bundled weights go to `tflite_models/`. Calibration
uses the drawn inputs alone, never photographs, so that the files do not depend on what pictures a
machine has: they are what `edgesr convert --model NAME --fp16 --fp32` makes where EDGESR_SHARED is
not set. (Photographs in calibration change the parity on other photographs by 0.1 dB.) Parity is
then measured on photographs too, on every backend that is here; they and the benchmark set lie
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

from converters.audit import audit
from converters.bundle import benchmarks_folder
from converters.gpu_gate import FoundGpu, look_for_gpu
from converters.latency import Float64Array, measure_latencies
from converters.manifest import GpuRecord, Manifest, manifest_path, read_manifest
from converters.parity import DEFAULT_BACKENDS
from converters.pipeline import convert, default_outputs, make
from converters.probes import default_pictures
from converters.records import (
    FileMeasurement,
    LatencyConditions,
    Measurements,
    QualityRecord,
)
from converters.shipped_cards import model_card, table_of_models
from converters.source import checkpoint_source
from converters.spec import ConversionSpec, Precision
from converters.verify_file import describe, verify_file
from edgesr.bundled import bundled_checkpoint, bundled_weights
from edgesr.checkpoints import LoadedCheckpoint, load
from edgesr.errors import EdgeSRError, PictureError
from edgesr.files import atomic_outputs
from edgesr.machine import processor, system
from edgesr.progress import ProgressCallback, silent
from edgesr.quality import benchmark_set, by_bicubic, by_file, measure
from edgesr.registry import ArchSpec, all_specs, find_spec
from edgesr.runtime import available_threads

FOLDER = Path(__file__).parent.parent / "tflite_models"
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
    """Convert a network's bundled weights as they are shipped, manifests beside.

    Args:
        spec: The network.
        folder: Where to.
        threads: CPU threads of the parity runs.
        progress: Told of every stage.

    Returns:
        The FP16 and the FP32 file.

    Raises:
        CheckpointError: It has no bundled weights.
        ParityGateError: A file does not match; nothing is written.
    """
    checkpoint = _checkpoint(spec)
    outputs = default_outputs(checkpoint, CONVERSION, folder)
    convert(checkpoint, CONVERSION, outputs, pictures=None, threads=threads, progress=progress)
    return list(outputs.values())


def content(spec: ArchSpec) -> dict[str, bytes]:
    """The same files as `build` makes, without the proof: name -> content.

    Args:
        spec: The network.

    Raises:
        CheckpointError: It has no bundled weights.
    """
    checkpoint = _checkpoint(spec)
    _, contents = make(checkpoint_source(checkpoint), CONVERSION)
    names = default_outputs(checkpoint, CONVERSION, FOLDER)
    return {names[precision].name: made for precision, made in contents.items()}


def _checkpoint(spec: ArchSpec) -> LoadedCheckpoint:
    return load(bundled_checkpoint(spec), spec.name, spec.scale)


def proven(
    path: Path, pictures: Path, gpu: FoundGpu, progress: ProgressCallback = silent
) -> Manifest:
    """The manifest of a file that `build` made, its parity measured on photographs and a GPU too.

    Args:
        path: The file, its manifest beside it.
        pictures: Folder of photographs.
        gpu: What GPU there is.
        progress: Told after every input.

    Raises:
        ParityGateError: It does not match, or the GPU does not take it.
    """
    described, manifest = describe(path), read_manifest(manifest_path(path))
    checkpoint = _checkpoint(find_spec(manifest.facts.model, manifest.facts.scale))
    backends = (*DEFAULT_BACKENDS[described.precision.value], *gpu.backends)
    report = verify_file(
        described, checkpoint, backends=backends, pictures=pictures, progress=progress
    )
    record = GpuRecord.of(manifest.gpu.offences, gpu)
    return manifest.model_copy(update={"parity": report.backends, "gpu": record})


def measured(files: Sequence[Path], benchmarks: Path) -> Measurements:
    """Quality and latency of the files.

    Args:
        files: What `build` made.
        benchmarks: The folder of the benchmark sets.

    Raises:
        PictureError: The set is not there.
    """
    conditions = _conditions()
    latencies = measure_latencies(
        files, threads=conditions.threads, rounds=_ROUNDS, warm_up=_WARM_UP
    )
    return Measurements(
        files=tuple(
            _measurement(file, taken_ms, benchmarks)
            for file, taken_ms in zip(files, latencies, strict=True)
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
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
    )


def _measurement(file: Path, taken_ms: Float64Array, benchmarks: Path) -> FileMeasurement:
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
        median_ms=round(float(np.median(taken_ms)), 1),
        p90_ms=round(float(np.quantile(taken_ms, 0.9)), 1),
    )


def cards(manifests: Sequence[Manifest], measurements: Measurements) -> dict[str, str]:
    """Every text of the folder: file name -> content. It depends on nothing else."""
    by_file = {entry.file: entry for entry in measurements.files}
    texts = {
        f"{Path(m.file).stem}.md": model_card(m, by_file[m.file], measurements.latency)
        for m in manifests
    }
    return texts | {"README.md": table_of_models(manifests, measurements)}


def write_all(
    folder: Path,
    pictures: Path,
    benchmarks: Path,
    specs: Sequence[ArchSpec] | None = None,
    progress: ProgressCallback = silent,
) -> list[Manifest]:
    """Make the files of networks in a folder anew; all of it is written, or nothing.

    Everything in the folder is measured, since latencies are only comparable within one run.

    Args:
        folder: Where to; files there are replaced.
        pictures: Folder of photographs.
        benchmarks: The folder of the benchmark sets.
        specs: The networks; None for all that are shipped. The files of the others are there.
        progress: Told of every stage.

    Raises:
        EdgeSRError: A file cannot be made, proven, measured or written.
    """
    gpu = look_for_gpu()
    with tempfile.TemporaryDirectory(prefix="edgesr-") as scratch:
        made = {
            file.name: file
            for spec in (shipped_specs() if specs is None else specs)
            for file in build(spec, Path(scratch), progress=progress)
        }
        proofs = {name: proven(file, pictures, gpu, progress) for name, file in made.items()}
        # What is made anew does not lie in the folder yet, or lies there as it was.
        names = dict.fromkeys([*(file.name for file in _files(folder)), *made])
        files = _in_order([made.get(name, folder / name) for name in names])
        manifests = [proofs.get(file.name) or read_manifest(manifest_path(file)) for file in files]
        measurements = measured(files, benchmarks)
        contents = {name: file.read_bytes() for name, file in made.items()}
    texts = {manifest_path(Path(name)).name: proof.to_json() for name, proof in proofs.items()}
    _write(folder, contents, texts | _measured_texts(manifests, measurements))
    return manifests


def measure_again(folder: Path, benchmarks: Path) -> list[Manifest]:
    """Measure the files of a folder again, where the first time the machine was busy.

    Args:
        folder: What `write_all` has filled.
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
    """Everything but the files and their manifests."""
    record = measurements.model_dump_json(indent=2) + "\n"
    return cards(manifests, measurements) | {MEASUREMENTS: record}


def _write(folder: Path, files: Mapping[str, bytes], texts: Mapping[str, str]) -> None:
    """All of it or nothing."""
    contents = {**files, **{name: text.encode() for name, text in texts.items()}}
    with atomic_outputs([folder / name for name in contents], overwrite=True) as temporary:
        for path, content in zip(temporary, contents.values(), strict=True):
            path.write_bytes(content)


@click.command()
@click.option("--measure", "only_measure", is_flag=True, help="Leave the files as they are.")
@click.option("--model", "models", multiple=True, help="Make the files of this network alone.")
def command(*, only_measure: bool, models: tuple[str, ...]) -> None:
    """Make, prove and measure the shipped files."""
    try:
        pictures = default_pictures()
        if pictures is None:
            raise PictureError("photographs are needed: set EDGESR_SHARED to the folder of train/")
        if only_measure:
            manifests = measure_again(FOLDER, benchmarks_folder())
        else:
            specs = [find_spec(name) for name in models] or None
            manifests = write_all(FOLDER, pictures, benchmarks_folder(), specs)
    except EdgeSRError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
    for manifest in manifests:
        click.echo(f"{FOLDER / manifest.file}  sha256 {manifest.sha256[:16]}...")


if __name__ == "__main__":
    command()
