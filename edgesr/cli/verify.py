"""`edgesr verify`: a `.tflite` against its PyTorch checkpoint, with the gates of `convert`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgesr.cli.sources import (
    check_choice,
    check_onnx,
    value_range_option,
    weights_option,
)

if TYPE_CHECKING:
    from converters.manifest import BackendParity
    from converters.source import Source
    from converters.verify_file import FileDescription
    from edgesr.checkpoints import LoadedCheckpoint
    from edgesr.cli.sources import Weights
    from edgesr.progress import ProgressCallback
    from edgesr.runtime import ModelShape


@click.command(
    epilog="""\b
Examples:
  edgesr verify imdn-rtc_x2_720x480_fp16.tflite
  edgesr verify imdn-rtc_x2_720x480_fp16.tflite --backend all
  edgesr verify other.tflite --model rtc --checkpoint model_RTC.pth --backend gpu --json
  edgesr verify theirs_720x480_fp16.tflite --onnx theirs.onnx --value-range 255
"""
)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--model", help="Network: a name or alias. Default: what the file says of itself.")
@click.option(
    "--checkpoint",
    type=click.Path(path_type=Path),
    help="The weights to compare with. Default: the bundled or published ones that the file says "
    "it was made from.",
)
@weights_option
@click.option(
    "--onnx",
    type=click.Path(path_type=Path),
    help="The ONNX file to compare with, as onnxruntime runs it, instead of a checkpoint.",
)
@value_range_option
@click.option(
    "--backend",
    type=click.Choice(["cpu", "cpu-fp16", "gpu", "gpu-fp16", "all"]),
    help="What computes. gpu is LiteRT's GPU accelerator, which must take every operator, in FP32 "
    "and, where the device has it, FP16 arithmetic. Default: what `edgesr convert` runs.",
)
@click.option(
    "--every-input",
    is_flag=True,
    help="On a software device too, run every input; it takes 60 times as long as the CPU.",
)
@click.option(
    "--pictures",
    type=click.Path(path_type=Path),
    help="Folder of photographs. Default: those under EDGESR_SHARED, else a drawn test card.",
)
@click.option("--threads", type=click.IntRange(1), help="CPU threads. Default: all.")
@click.option("--json", "as_json", is_flag=True, help="Print the measurements as JSON on stdout.")
def command(
    *,
    file: Path,
    model: str | None,
    checkpoint: Path | None,
    weights: "Weights | None",
    onnx: Path | None,
    value_range: int | None,
    backend: str | None,
    every_input: bool,
    pictures: Path | None,
    threads: int | None,
    as_json: bool,
) -> None:
    """Prove FILE equal to its network, on pictures and on extreme inputs.

    A failed gate exits with status 1. The gates are those of `edgesr convert`: for FP16 weights
    PSNR >= 60 dB and max abs <= 1e-2 in FP32 arithmetic; for FP32 weights max abs <= 1e-4; in FP16
    arithmetic PSNR >= 55 dB. On a GPU, every operator must run there, and the result be within
    1e-4 of the CPU's, but not equal to the bit.
    """
    from converters.gpu_gate import chosen_backends
    from converters.probes import default_pictures
    from converters.verify import ParityGateError
    from converters.verify_file import describe, verify_file
    from edgesr.cli.progress_bar import progress_bar

    check_choice(checkpoint, weights)
    check_onnx(
        onnx,
        {"--value-range": value_range},
        {"--model": model, "--checkpoint": checkpoint, "--weights": weights},
    )
    described = describe(file)
    try:
        with progress_bar() as progress:
            progress("prepare", 0, 0)
            backends, left_out = chosen_backends(backend) if backend else (None, "")
            if onnx:
                network = _onnx_network(onnx, value_range, described.shape)
            else:
                network = _checkpoint(described, model, checkpoint, weights, progress)
            parities = verify_file(
                described,
                network,
                backends=backends,
                every_input=every_input,
                pictures=pictures or default_pictures(),
                threads=threads,
                progress=progress,
            ).backends
    except ParityGateError as error:
        _show(error.reports[0].backends, as_json=as_json)
        raise
    _show(parities, as_json=as_json)
    if left_out:
        click.echo(f"gpu-fp16 was not run: {left_out}", err=True)


def _onnx_network(path: Path, value_range: int | None, shape: "ModelShape") -> "Source":
    from converters.onnx_file import read_onnx
    from converters.source import onnx_source

    # What the GPU refuses is for `convert` to judge; here the file is there already.
    return onnx_source(
        read_onnx(path),
        shape.height,
        shape.width,
        value_range=value_range or 1,
        allow_refused=True,
    )


def _checkpoint(
    described: "FileDescription",
    model: str | None,
    checkpoint: Path | None,
    weights: "Weights | None",
    progress: "ProgressCallback",
) -> "LoadedCheckpoint":
    from edgesr.cli.sources import load_checkpoint

    if checkpoint:
        return load_checkpoint(model, checkpoint, weights, progress)
    named, chosen = _named(described, model, weights)
    scale = described.facts.scale if described.facts else None
    return load_checkpoint(named, None, chosen, progress, scale)


def _named(
    described: "FileDescription", model: str | None, weights: "Weights | None"
) -> "tuple[str | None, Weights | None]":
    """The network and whose weights: what the user says, else what the file says of itself."""
    from converters.source import ONNX_ORIGIN
    from edgesr.cli.sources import weights_of_file
    from edgesr.errors import CheckpointError
    from edgesr.registry import find_spec

    facts = described.facts
    if facts is None or weights is not None:
        return model or (facts.model if facts else None), weights
    if model is None and facts.weights_source.startswith(ONNX_ORIGIN):
        raise CheckpointError(
            f"{described.path} was made from another network's {facts.weights_source}; name that "
            "file with --onnx FILE"
        )
    spec = find_spec(facts.model, facts.scale)
    if model is not None and model not in (spec.name, *spec.aliases):
        return model, None
    return model or facts.model, weights_of_file(described.path, facts)


def _show(backends: "Sequence[BackendParity]", *, as_json: bool) -> None:
    from edgesr.cli import report

    if as_json:
        report.as_json([parity.model_dump(mode="json") for parity in backends])
    else:
        report.parity_tables(backends)
