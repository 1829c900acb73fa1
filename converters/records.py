"""What is measured of bundled weights and shipped files: records that cards are written from."""

from typing import Any, Literal

from converters.manifest import Record
from edgesr.quality import Quality


class QualityRecord(Record):
    """Means over one benchmark set.

    Attributes:
        name: The set.
        pictures: How many it holds.
        psnr_db: On Y, 8 bits, as many pixels shaved as the scale.
        ssim: Likewise.
    """

    name: str
    pictures: int
    psnr_db: float
    ssim: float

    @classmethod
    def of(cls, quality: Quality) -> "QualityRecord":
        """The same as a record."""
        return cls(
            name=quality.name, pictures=quality.pictures, psnr_db=quality.psnr_db, ssim=quality.ssim
        )


class WeightsQuality(Record):
    """What the weights make of the benchmark sets, and what others do.

    Attributes:
        bicubic: MATLAB's.
        pytorch: The network in PyTorch, FP32.
        fp16_tflite: Its FP16 file, FP32 arithmetic on the CPU.
    """

    bicubic: tuple[QualityRecord, ...]
    pytorch: tuple[QualityRecord, ...]
    fp16_tflite: tuple[QualityRecord, ...]


class DataRecord(Record):
    """Part of the training data.

    Attributes:
        folder: Its folder.
        pictures: How many.
        origin: What they are.
        terms: On which terms they can be had.
    """

    folder: str
    pictures: int
    origin: str
    terms: str


class WeightsRecord(Record):
    """The record beside bundled weights, `edgesr/weights/<model>_x<scale>.json`.

    Attributes:
        model: Name of the network.
        scale: Upscaling factor.
        parameters: Of the plain form, which the file holds.
        sha256: Digest of the file.
        weights_sha256: Digest of names, shapes and values (`edgesr.checkpoints.weights_sha256`).
        licence: Of the weights, with what binds the training data.
        finished_on: Day on which the training ended, UTC.
        data: What it was trained on, proven by the digest of all pixels.
        training: `run.json` of the training.
        quality: What they make of the benchmark sets.
        fp16_tflite_sha256: Digest of the file that was measured.
    """

    schema_version: Literal[1] = 1
    model: str
    scale: int
    parameters: int
    sha256: str
    weights_sha256: str
    licence: str
    finished_on: str
    data: tuple[DataRecord, ...]
    training: dict[str, Any]
    quality: WeightsQuality
    fp16_tflite_sha256: str


class FileMeasurement(Record):
    """One shipped file.

    Attributes:
        file: Its name.
        sha256: Digest of its bytes.
        parameters: Of the network's plain form.
        stored_parameters: Numbers that the file holds.
        macs: Multiply-accumulates of one run.
        quality: Of the file itself, FP32 arithmetic on the CPU.
        bicubic: MATLAB's bicubic on the same pictures.
        median_ms: Latency of one run.
        p90_ms: 90th percentile.
    """

    file: str
    sha256: str
    parameters: int
    stored_parameters: int
    macs: int
    quality: QualityRecord
    bicubic: QualityRecord
    median_ms: float
    p90_ms: float


class LatencyConditions(Record):
    """What the latencies depend on.

    Attributes:
        processor: Its name.
        cpus: How many this process may use.
        threads: CPU threads of a run.
        rounds: Timed runs of each file; the files take turns.
        warm_up: Runs before.
        load_before: The system's load average over the last minute when it began.
        runtime: Name and version.
        system: Operating system and architecture.
        python: Version.
        date: Day, UTC.
    """

    processor: str
    cpus: int
    threads: int
    rounds: int
    warm_up: int
    load_before: float
    runtime: str
    system: str
    python: str
    date: str


class Measurements(Record):
    """`tflite_models/measurements.json`: what the manifests do not hold.

    Attributes:
        files: One entry per file.
        latency: Conditions of all latencies.
    """

    schema_version: Literal[1] = 1
    files: tuple[FileMeasurement, ...]
    latency: LatencyConditions
