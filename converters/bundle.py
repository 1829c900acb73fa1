"""Take a training's weights into the package: file, record and model card.

    python -m converters.bundle RUN --data DIR [--last]

RUN is the folder that `edgesr train` filled; DIR the pictures that it was trained on, to prove by
their digest what they are. The benchmark sets are those under EDGESR_SHARED.
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
from converters.records import DataRecord, QualityRecord, WeightsQuality, WeightsRecord
from converters.spec import ConversionSpec, Precision
from converters.weights_card import weights_card
from edgesr.bundled import WEIGHTS_FOLDER, source_of, stem
from edgesr.checkpoints import LoadedCheckpoint, load, weights_sha256
from edgesr.download import cache_folder
from edgesr.errors import EdgeSRError, OutputError, PictureError
from edgesr.files import atomic_outputs
from edgesr.quality import (
    SETS,
    Upscale,
    benchmark_set,
    by_bicubic,
    by_network,
    by_upscaler,
    measure,
)
from edgesr.runtime import Backend, available_threads
from edgesr.train.folder import RunFolder
from edgesr.whole import whole_upscaler

#: Folder of training pictures -> what they are, and on which terms they can be had.
ORIGINS = {
    "bsds": (
        "BSDS500 (Berkeley segmentation), its train and test splits",
        "research use; B100's pictures are in its val split, which is left out",
    ),
    "sunhays": ("Sun-Hays80", "none stated where it was had"),
    "photos": ("photographs, reduced to 2040 pixels", "public domain"),
    "drawn": ("what `python -m edgesr.train.drawings` draws", "edgesr's own, Apache-2.0"),
}

LICENCE = "Apache-2.0; trained on BSDS500 among others, whose terms are research use"


def bundle(
    run: Path, data: Sequence[Path], benchmarks: Path, output: Path, *, last: bool = False
) -> WeightsRecord:
    """Measure a training's weights and write them with record and card.

    Args:
        run: The folder of the training.
        data: The folders it was trained on.
        benchmarks: The folder of the benchmark sets.
        output: The folder to write to; files there are replaced.
        last: Take the weights of the last step instead of those that measured best: nothing is
            chosen by what is then reported.

    Raises:
        CheckpointError: The weights cannot be read.
        OutputError: The training has not ended, or a file cannot be written.
        ParityGateError: The FP16 file does not match.
        PictureError: The pictures are not those that the training recorded, or of unknown origin.
    """
    folder = RunFolder(run)
    weights = folder.model if last else folder.best
    training = _read_run(folder, weights) | {"taken": "last" if last else "best"}
    content = weights.read_bytes()
    checkpoint = load(weights, training["model"])
    origins = _data(data, checkpoint.spec.scale, training)
    # As the finished file will be loaded: these facts are part of the `.tflite` that is measured.
    name = stem(checkpoint.spec)
    checkpoint = replace(checkpoint, licence=LICENCE, source=source_of(name))
    with tempfile.TemporaryDirectory(prefix="edgesr-") as scratch:
        spec = ConversionSpec(precisions=(Precision.FP16,))
        outputs = default_outputs(checkpoint, spec, Path(scratch))
        (manifest,) = convert(checkpoint, spec, outputs)
        quality = _quality(checkpoint, outputs[Precision.FP16], benchmarks)
    ended = datetime.datetime.fromtimestamp(folder.record.stat().st_mtime, datetime.UTC)
    record = WeightsRecord(
        model=checkpoint.spec.name,
        scale=checkpoint.spec.scale,
        parameters=checkpoint.spec.parameters,
        sha256=hashlib.sha256(content).hexdigest(),
        weights_sha256=weights_sha256(checkpoint.net),
        licence=LICENCE,
        finished_on=ended.date().isoformat(),
        data=origins,
        training=training,
        quality=quality,
        fp16_tflite_sha256=manifest.sha256,
    )
    _write(output / name, content, record)
    return record


def _read_run(folder: RunFolder, weights: Path) -> dict[str, Any]:
    """The record of a training that has ended."""
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
    """What the pictures are, after proof that the training saw exactly these."""
    from edgesr.train.run import data_digest
    from edgesr.train.store import prepare

    # Trainings of before there were reductions recorded none.
    reductions = training["recipe"].get("reductions", ())
    store = prepare(tuple(folders), scale, cache_folder() / "train", reductions=reductions)
    if (got := data_digest(store)) != training["data"]["training"]:
        raise PictureError(
            f"{', '.join(map(str, folders))}: the pixels have sha256 {got}, the training recorded "
            f"{training['data']['training']}; name the pictures that it was trained on"
        )
    counts = Counter(_origin(file) for file in store.files[:: store.sizes_of_each])
    return tuple(
        DataRecord(folder=name, pictures=count, origin=ORIGINS[name][0], terms=ORIGINS[name][1])
        for name, count in counts.items()
    )


def _origin(file: Path) -> str:
    for part in reversed(file.parts):
        if part in ORIGINS:
            return part
    raise PictureError(
        f"{file}: of unknown origin, allowed folders {', '.join(ORIGINS)}; add it to ORIGINS"
    )


def _quality(checkpoint: LoadedCheckpoint, tflite: Path, benchmarks: Path) -> WeightsQuality:
    scale = checkpoint.spec.scale
    # In one piece: the same but for the last bits for a network of limited reach, and many times as
    # fast where pictures are smaller than the file's input.
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
        upscale: What is to be measured.
        benchmarks: The folder of the sets.
        scale: The upscaling factor.

    Raises:
        PictureError: A set is not there, or a picture is unreadable.
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
    """Where the benchmark sets lie.

    Raises:
        PictureError: EDGESR_SHARED is not set.
    """
    if shared := os.environ.get("EDGESR_SHARED"):
        return Path(shared, "data")
    raise PictureError("the benchmark sets are needed: set EDGESR_SHARED to the folder of data/")


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--data", required=True, multiple=True, type=click.Path(path_type=Path))
@click.option("--last", is_flag=True, help="Those of the last step, not those that measured best.")
def command(*, run: Path, data: tuple[Path, ...], last: bool) -> None:
    """Take the weights of the training in RUN into the package."""
    try:
        record = bundle(run, data, benchmarks_folder(), WEIGHTS_FOLDER, last=last)
    except EdgeSRError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
    for entry in record.quality.pytorch:
        click.echo(f"{entry.name}: {entry.psnr_db:.3f} dB, SSIM {entry.ssim:.4f}")


if __name__ == "__main__":
    command()
