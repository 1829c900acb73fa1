"""Records of measurements of bundled weights and shipped files."""

from typing import Any, Literal

from edgesr.common.record import Record
from edgesr.evaluation.benchmark_sets import Quality


class QualityRecord(Record):
    """Means over one benchmark set.

    Attributes:
        name: The set.
        images: Number of its images.
        psnr_db: On Y, 8 bits, as many border pixels shaved as the scale.
        ssim: Likewise.
    """

    name: str
    images: int
    psnr_db: float
    ssim: float

    @classmethod
    def of(cls, quality: Quality) -> "QualityRecord":
        """Build the record of a measurement."""
        return cls(
            name=quality.name, images=quality.images, psnr_db=quality.psnr_db, ssim=quality.ssim
        )


class WeightsQuality(Record):
    """Quality of the weights and of bicubic on the benchmark sets.

    Attributes:
        bicubic: MATLAB's bicubic.
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
        images: Number of its images.
        origin: Their origin.
        terms: The terms on which they are available.
    """

    folder: str
    images: int
    origin: str
    terms: str


class WeightsRecord(Record):
    """The record beside bundled weights, `edgesr/weights/<model>_x<scale>.json`.

    Attributes:
        model: Name of the network.
        scale: Upscaling factor.
        parameters: Number of parameters of the plain form, which the file holds.
        sha256: Digest of the file.
        weights_sha256: Digest of names, shapes and values, see `edgesr.weights.checkpoints`.
        licence: Licence of the weights, with the terms of the training data.
        finished_on: Day on which the training ended, UTC.
        data: The training data, verified by the digest of all pixels.
        training: `run.json` of the training.
        quality: Quality on the benchmark sets.
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
    """Measurements of one shipped file.

    Attributes:
        file: Its name.
        sha256: Digest of its bytes.
        parameters: Number of parameters of the network's plain form.
        stored_parameters: Number of weights that the file holds.
        macs: Multiply-accumulates of one run.
        quality: Quality of the file itself, FP32 arithmetic on the CPU.
        bicubic: MATLAB's bicubic on the same images.
        median_ms: Median latency of one run.
        p90_ms: 90th percentile of the latency.
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
    """Machine, runtime and rounds that latencies were measured with.

    Attributes:
        processor: Its name.
        cpus: Number of CPUs available to the process.
        threads: CPU threads of a run.
        rounds: Interleaved rounds, one timed run of each file.
        warm_up: Untimed rounds before.
        load_before: The system's load average over the last minute before the first round.
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
    """`tflite_models/measurements.json`: quality and latency of the shipped files.

    Attributes:
        files: One entry per file.
        latency: Conditions of all latencies.
    """

    schema_version: Literal[1] = 1
    files: tuple[FileMeasurement, ...]
    latency: LatencyConditions
