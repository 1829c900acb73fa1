"""Bundle a training's weights with the package: file, record and model card.

    python -m tools.release.weights RUN --data DIR [--last] [--held-out DIR] [--decided-on TEXT]

RUN is the output folder of `edgesr train`, DIR the folder of its training images, which are
verified by their digest. The benchmark sets are those under EDGESR_SHARED.
"""

import datetime
import hashlib
import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from converters.pipeline import convert, default_outputs
from converters.source import checkpoint_source
from converters.spec import ConversionSpec, Precision
from edgesr.common.files import atomic_outputs
from edgesr.errors import EdgeSRError, ImageError, OutputError
from edgesr.evaluation.benchmark_sets import (
    SETS,
    Upscale,
    benchmark_set,
    by_bicubic,
    by_network,
    by_upscaler,
    measure,
)
from edgesr.images.datasets import find_images
from edgesr.runtime.session import Backend, available_threads
from edgesr.training.folder import RunFolder
from edgesr.upscaling.upscaler import whole_upscaler
from edgesr.weights.bundled import WEIGHTS_FOLDER, source_of, stem
from edgesr.weights.checkpoints import LoadedCheckpoint, load, weights_sha256
from edgesr.weights.download import cache_folder, file_sha256
from tools.release.records import DataRecord, QualityRecord, WeightsQuality, WeightsRecord
from tools.release.weights_card import licence_of, weights_card

#: Folder of training images -> their origin, and the terms on which they are available.
ORIGINS = {
    "bsds": (
        "BSDS500 (Berkeley segmentation), its train and test splits",
        "research use; B100's images are in its val split, which is left out",
    ),
    "sunhays": ("Sun-Hays80", "none stated at the source"),
    "photos": ("photographs, reduced to 2040 pixels", "public domain"),
    "drawn": (
        "synthetic images of `python -m edgesr.training.synthetic_images`",
        "edgesr's own, Apache-2.0",
    ),
}

LICENCE = "Apache-2.0; trained on BSDS500 among others, whose terms are research use"


def bundle(
    run: Path,
    data: Sequence[Path],
    benchmarks: Path,
    output: Path,
    *,
    last: bool = False,
    held_out: Path | None = None,
    decided_on: str | None = None,
) -> WeightsRecord:
    """Measure a training's weights and write them with record and card.

    Args:
        run: The folder of the training.
        data: The folders of its training images.
        benchmarks: The folder of the benchmark sets.
        output: The folder to write to; files there are replaced.
        last: Whether to bundle the weights of the last step instead of those that measured best:
            then nothing is selected by what is reported.
        held_out: A folder of images that were kept from the training, for the card.
        decided_on: The images that decisions were taken on, for the card.

    Raises:
        CheckpointError: The weights cannot be read.
        OutputError: The training has not ended, or a file cannot be written.
        ParityGateError: The FP16 file does not match.
        ImageError: The images are not those that the training recorded, or of unknown origin.
    """
    folder = RunFolder(run)
    weights = folder.model if last else folder.best
    training = _read_run(folder, weights) | {"taken": "last" if last else "best"}
    if decided_on is not None:
        training["decided_on"] = decided_on
    if held_out is not None:
        training["held_out"] = _held_out(held_out, data)
    licence = LICENCE + _of_teachers(training)
    content = weights.read_bytes()
    checkpoint = load(weights, training["model"])
    origins = _data(data, checkpoint.spec.scale, training)
    # As the finished file will be loaded: these facts are part of the `.tflite` that is measured.
    name = stem(checkpoint.spec)
    checkpoint = replace(checkpoint, licence=licence, source=source_of(name))
    with tempfile.TemporaryDirectory(prefix="edgesr-") as scratch:
        spec = ConversionSpec(precisions=(Precision.FP16,))
        source = checkpoint_source(checkpoint, spec.height, spec.width)
        outputs = default_outputs(source, spec, Path(scratch))
        (manifest,) = convert(source, spec, outputs)
        quality = _quality(checkpoint, outputs[Precision.FP16], benchmarks)
    ended = datetime.datetime.fromtimestamp(folder.record.stat().st_mtime, datetime.timezone.utc)
    record = WeightsRecord(
        model=checkpoint.spec.name,
        scale=checkpoint.spec.scale,
        parameters=checkpoint.spec.parameters,
        sha256=hashlib.sha256(content).hexdigest(),
        weights_sha256=weights_sha256(checkpoint.net),
        licence=licence,
        finished_on=ended.date().isoformat(),
        data=origins,
        training=training,
        quality=quality,
        fp16_tflite_sha256=manifest.sha256,
    )
    _write(output / name, content, record)
    return record


def _read_run(folder: RunFolder, weights: Path) -> dict[str, Any]:
    """Read the record of a training that has ended."""
    try:
        run = json.loads(folder.record.read_bytes())
        finished = run["result"]["finished"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OutputError(
            f"cannot read {folder.record} ({error!r}), which a training writes at its end; name "
            "the folder of one that has ended"
        ) from error
    if not finished or not weights.is_file():
        raise OutputError(f"{folder.path} holds no finished training; go on with it first")
    return run


def _data(
    folders: Sequence[Path], scale: int, training: Mapping[str, Any]
) -> tuple[DataRecord, ...]:
    """Origins of the images, after verifying that the training used exactly these."""
    from edgesr.training.data.store import prepare
    from edgesr.training.run import data_digest

    # Older trainings recorded no reductions.
    reductions = training["recipe"].get("reductions", ())
    store = prepare(tuple(folders), scale, cache_folder() / "train", reductions=reductions)
    if (got := data_digest(store)) != training["data"]["training"]:
        raise ImageError(
            f"{', '.join(map(str, folders))}: the pixels have sha256 {got}, the training recorded "
            f"{training['data']['training']}; name the images that it was trained on"
        )
    counts = Counter(_origin(file) for file in store.files[:: store.sizes_of_each])
    return tuple(
        DataRecord(folder=name, images=count, origin=ORIGINS[name][0], terms=ORIGINS[name][1])
        for name, count in counts.items()
    )


def _held_out(folder: Path, data: Sequence[Path]) -> list[str]:
    """The names of images, after proof that no training image is one of them."""
    held = {file_sha256(file): file for file in find_images(folder)}
    for part in data:
        for file in find_images(part):
            if (digest := file_sha256(file)) in held:
                raise ImageError(f"{file} is {held[digest]}, which is said to be held out")
    return [file.stem for file in held.values()]


def _of_teachers(training: Mapping[str, Any]) -> str:
    """What the licence line says of the networks that taught."""
    teacher = training["recipe"].get("teacher")
    if not teacher:
        return ""
    licences = [f"{name} ({licence_of(name, training['scale'])})" for name in teacher["networks"]]
    return f"; taught by outputs of {', '.join(licences)}, none of whose weights are in it"


def _origin(file: Path) -> str:
    for part in reversed(file.parts):
        if part in ORIGINS:
            return part
    raise ImageError(
        f"{file}: of unknown origin, allowed folders {', '.join(ORIGINS)}; add it to ORIGINS"
    )


def _quality(checkpoint: LoadedCheckpoint, tflite: Path, benchmarks: Path) -> WeightsQuality:
    scale = checkpoint.spec.scale
    # Untiled: the same but for the last bits for a network of bounded receptive field, and many
    # times as fast where images are smaller than the file's input.
    whole = whole_upscaler(tflite, Backend.CPU, available_threads())
    return WeightsQuality(
        bicubic=on_all_sets(by_bicubic(scale), benchmarks, scale),
        pytorch=on_all_sets(
            by_network(checkpoint.net, checkpoint.spec.value_range), benchmarks, scale
        ),
        fp16_tflite=on_all_sets(by_upscaler(whole), benchmarks, scale),
    )


def on_all_sets(upscale: Upscale, benchmarks: Path, scale: int) -> tuple[QualityRecord, ...]:
    """Measure on Set5, Set14 and B100.

    Args:
        upscale: The method to measure.
        benchmarks: The folder of the sets.
        scale: The upscaling factor.

    Raises:
        ImageError: A set is not available, or an image is unreadable.
    """
    return tuple(
        QualityRecord.of(measure(upscale, name, benchmark_set(benchmarks, name, scale), scale))
        for name in SETS
    )


def _write(target: Path, content: bytes, record: WeightsRecord) -> None:
    """All three files or none."""
    contents = {
        ".safetensors": content,
        ".json": (record.model_dump_json(indent=2) + "\n").encode(),
        ".md": weights_card(record).encode(),
    }
    # The name of a model may hold a dot, which with_suffix would cut.
    paths = [target.with_name(target.name + suffix) for suffix in contents]
    with atomic_outputs(paths, overwrite=True) as temporary:
        for path, text in zip(temporary, contents.values(), strict=True):
            path.write_bytes(text)


def benchmarks_folder() -> Path:
    """Where Set5, Set14 and B100 lie, by EDGESR_SHARED.

    Raises:
        ImageError: EDGESR_SHARED is not set.
    """
    if shared := os.environ.get("EDGESR_SHARED"):
        return Path(shared, "data")
    raise ImageError("the benchmark sets are needed: set EDGESR_SHARED to the folder of data/")


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--data", required=True, multiple=True, type=click.Path(path_type=Path))
@click.option(
    "--last",
    is_flag=True,
    help="Bundle the weights of the last step, not those that measured best.",
)
@click.option("--held-out", type=click.Path(path_type=Path), help="Images kept from the training.")
@click.option("--decided-on", metavar="TEXT", help="The images that decisions were taken on.")
def command(
    *, run: Path, data: tuple[Path, ...], last: bool, held_out: Path | None, decided_on: str | None
) -> None:
    """Bundle the weights of the training in RUN with the package."""
    try:
        record = bundle(
            run,
            data,
            benchmarks_folder(),
            WEIGHTS_FOLDER,
            last=last,
            held_out=held_out,
            decided_on=decided_on,
        )
    except EdgeSRError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
    for entry in record.quality.pytorch:
        click.echo(f"{entry.name}: {entry.psnr_db:.3f} dB, SSIM {entry.ssim:.4f}")


if __name__ == "__main__":
    command()
