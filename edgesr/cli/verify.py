"""`edgesr verify`: a `.tflite` against its PyTorch checkpoint, with the gates of `convert`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgesr.cli.support.lines import print_line
from edgesr.cli.support.source_options import (
    check_choice,
    check_named,
    check_onnx,
    value_range_option,
    weights_option,
)
from edgesr.cli.support.threads import threads_option

if TYPE_CHECKING:
    from converters.manifest import BackendParity
    from converters.onnx_graph.third_party import OnnxFile
    from edgesr import LoadedCheckpoint
    from edgesr.weights.sources import Weights


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
@click.option("--model", help="Network: a name or alias. Default: what the file itself names.")
@click.option(
    "--checkpoint",
    type=click.Path(path_type=Path),
    help="The weights to compare with. Default: the bundled or published ones that the file was "
    "made from.",
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
    help="The backend. gpu is LiteRT's GPU accelerator, which must accept every operator, in FP32 "
    "and, where the device has it, FP16 arithmetic. Default: what `edgesr convert` runs.",
)
@click.option(
    "--every-input",
    is_flag=True,
    help="On a software device too, run every input; it takes 60 times as long as the CPU.",
)
@click.option(
    "--images",
    "--pictures",  # its name until 2026-11
    "images",
    type=click.Path(path_type=Path),
    help="Folder of photographs. Default: those under EDGESR_SHARED, else a synthetic test card.",
)
@threads_option
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
    images: Path | None,
    threads: int | None,
    as_json: bool,
) -> None:
    """Prove FILE equal to its network, on images and on extreme inputs.

    A failed gate exits with status 1. The gates are those of `edgesr convert`: for FP16 weights
    PSNR >= 60 dB and max abs <= 1e-2 in FP32 arithmetic; for FP32 weights max abs <= 1e-4; in FP16
    arithmetic PSNR >= 55 dB. On a GPU, every operator must run there, and the result be within
    1e-4 of the CPU's, but not equal to the bit.
    """
    import edgesr
    from converters.parity.verify import ParityGateError
    from converters.parity.verify_file import describe
    from edgesr.cli.support.progress_bar import progress_bar

    check_choice(checkpoint, weights)
    check_onnx(
        onnx,
        {},
        {"--model": model, "--checkpoint": checkpoint, "--weights": weights},
    )
    if not (onnx or checkpoint or model) and describe(file).facts is None:
        check_named(None, None)
    try:
        with progress_bar() as progress:
            progress("prepare", 0, 0)
            report = edgesr.verify(
                file,
                _network(onnx, checkpoint, model),
                weights=weights,
                value_range=value_range,
                backend=backend,
                every_input=every_input,
                images=images,
                threads=threads,
                progress=progress,
            )
    except ParityGateError as error:
        _show(error.reports[0].backends, as_json=as_json)
        raise
    _show(report.backends, as_json=as_json)
    if report.not_run:
        print_line(f"gpu-fp16 was not run: {report.not_run}", err=True)


def _network(
    onnx: Path | None, checkpoint: Path | None, model: str | None
) -> "OnnxFile | LoadedCheckpoint | Path | str | None":
    """What to compare with; None for what the file itself names."""
    if onnx is not None:
        from converters.onnx_graph.third_party import read_onnx

        return read_onnx(onnx)
    if checkpoint is not None:
        import edgesr

        return edgesr.load_checkpoint(checkpoint, model=model) if model else checkpoint
    return model


def _show(backends: "Sequence[BackendParity]", *, as_json: bool) -> None:
    from edgesr.cli.support import printing as report

    if as_json:
        report.as_json([parity.model_dump(mode="json") for parity in backends])
    else:
        report.parity_tables(backends)
