"""`edgesr convert`: a checkpoint or an ONNX file becomes a `.tflite`, proven equal to it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgesr.cli.sources import check_choice, check_onnx, value_range_option, weights_option
from edgesr.errors import ConversionError, OutputError, ParityError

if TYPE_CHECKING:
    from converters.onnx_file import OnnxFile
    from converters.source import Source
    from converters.spec import ConversionSpec, Precision
    from edgesr.checkpoints import LoadedCheckpoint
    from edgesr.cli.sources import Weights
    from edgesr.progress import ProgressCallback


@click.command(
    epilog="""\b
Examples:
  edgesr convert --model rtc --fp16
  edgesr convert --checkpoint model_RTC.pth --fp16 --fp32 --output .
  edgesr convert --model rtc --weights published --gate gpu
  edgesr convert --model fmen-s --size 480x320 --json
  edgesr convert --model imdn --scale 4
  edgesr convert --onnx theirs.onnx --value-range 255 --size 480x320
"""
)
@click.option("--model", help="Network: a name or alias from `edgesr models`.")
@click.option("--scale", type=int, help="Which one, of a network that there is at several scales.")
@click.option(
    "--checkpoint",
    type=click.Path(path_type=Path),
    help="PyTorch or safetensors checkpoint; the architecture is detected (--model checks it).",
)
@weights_option
@click.option(
    "--onnx",
    type=click.Path(path_type=Path),
    help="ONNX file of another super-resolution network: RGB, 1 x 3 x height x width, float32.",
)
@value_range_option
@click.option(
    "--allow-cpu-operators",
    is_flag=True,
    help="With --onnx: write the file even if the GPU delegate would refuse operators of it.",
)
@click.option("--fp16", is_flag=True, help="Store the weights in FP16 (the default).")
@click.option("--fp32", is_flag=True, help="Store the weights in FP32; together with --fp16, both.")
@click.option(
    "--size",
    metavar="HxW",
    help="Fixed size of the input. Default: 720x480, or the one size that an ONNX file has.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="A .tflite to write, or a folder for files of the standard name. Default: this folder.",
)
@click.option(
    "--gate",
    type=click.Choice(["cpu", "gpu"]),
    default="cpu",
    show_default=True,
    help="gpu: LiteRT's GPU accelerator must take every operator and give the right pictures too, "
    "where there is a device for it (see `edgesr doctor`).",
)
@click.option("--force", is_flag=True, help="Replace files that exist.")
@click.option(
    "--pictures",
    type=click.Path(path_type=Path),
    help="Folder of photographs for calibration and parity. Default: those under EDGESR_SHARED, "
    "else a drawn test card.",
)
@click.option("--threads", type=click.IntRange(1), help="CPU threads. Default: all.")
@click.option("--json", "as_json", is_flag=True, help="Print the manifests as JSON on stdout.")
def command(
    *,
    model: str | None,
    scale: int | None,
    checkpoint: Path | None,
    weights: "Weights | None",
    onnx: Path | None,
    value_range: int | None,
    allow_cpu_operators: bool,
    fp16: bool,
    fp32: bool,
    size: str | None,
    output: Path | None,
    gate: str,
    force: bool,
    pictures: Path | None,
    threads: int | None,
    as_json: bool,
) -> None:
    """Convert a checkpoint, or an ONNX file, to a .tflite with a fixed input size.

    The network is folded, exported, rewritten so that every operator runs on the TFLite GPU
    delegate, made safe for FP16 arithmetic, and compared with PyTorch on pictures and extreme
    inputs. A file that does not match is not written. An ONNX file is compared with itself, as
    onnxruntime runs it.
    """
    from converters.spec import ConversionSpec, Precision, parse_size

    if onnx is None and model is None and checkpoint is None:
        raise click.UsageError("give --model NAME (see `edgesr models`) or --checkpoint FILE")
    check_onnx(
        onnx,
        {"--value-range": value_range, "--allow-cpu-operators": allow_cpu_operators},
        {"--model": model, "--scale": scale, "--checkpoint": checkpoint, "--weights": weights},
    )
    if scale is not None and model is None:
        raise click.UsageError("--scale belongs to --model NAME: a checkpoint says its own")
    check_choice(checkpoint, weights)
    file = _read(onnx) if onnx else None
    height, width = parse_size(size) if size else _default_size(file)
    wanted = {Precision.FP16: fp16 or not fp32, Precision.FP32: fp32}
    precisions = tuple(p for p, on in wanted.items() if on)
    spec = ConversionSpec(height, width, precisions)
    _check_output(output, precisions)
    source = _Source(model, scale, checkpoint, weights, file, value_range or 1, allow_cpu_operators)
    options = _Options(pictures, threads, force, gpu_gate=gate == "gpu")
    _run(source, spec, output, options, as_json=as_json)


@dataclass(frozen=True)
class _Source:
    """What is to be converted."""

    model: str | None
    scale: int | None
    checkpoint: Path | None
    weights: "Weights | None"
    onnx: "OnnxFile | None"
    value_range: float
    allow_cpu_operators: bool


def _read(path: Path) -> "OnnxFile":
    from converters.onnx_file import read_onnx

    return read_onnx(path)


def _default_size(file: "OnnxFile | None") -> tuple[int, int]:
    """The one size that a file has, or ours."""
    from converters.spec import DEFAULT_HEIGHT, DEFAULT_WIDTH

    if file is None:
        return DEFAULT_HEIGHT, DEFAULT_WIDTH
    return file.height or DEFAULT_HEIGHT, file.width or DEFAULT_WIDTH


@dataclass(frozen=True)
class _Options:
    """What is passed on to the conversion as it is."""

    pictures: Path | None
    threads: int | None
    force: bool
    gpu_gate: bool


def _run(
    source: _Source,
    spec: "ConversionSpec",
    output: Path | None,
    options: _Options,
    *,
    as_json: bool,
) -> None:
    """Convert with a progress bar and show what came out."""
    from edgesr.cli import report
    from edgesr.cli.progress_bar import progress_bar

    try:
        with progress_bar() as progress:
            # Importing takes seconds, and looking for a GPU: they are not to pass in silence.
            progress("prepare", 0, 0)
            from converters import pipeline
            from converters.probes import default_pictures

            loaded = _load(source, spec, progress)
            say_folded(loaded)
            outputs = _outputs(loaded, spec, output)
            manifests = pipeline.convert(
                loaded,
                spec,
                outputs,
                pictures=options.pictures or default_pictures(),
                overwrite=options.force,
                gpu_gate=options.gpu_gate,
                threads=options.threads,
                progress=progress,
            )
    except ConversionError as error:
        from converters.gpu_refusal import NotCleanError

        if isinstance(error, NotCleanError):
            for refusal in error.refusals:
                click.echo(f"refused  {refusal}", err=True)
        raise
    except ParityError as error:
        from converters.verify import ParityGateError

        if isinstance(error, ParityGateError):
            report.parity_tables([b for r in error.reports for b in r.backends], err=True)
        raise
    if options.gpu_gate and manifests[0].gpu.accelerator == "not checked":
        click.echo(f"accelerator not checked: {manifests[0].gpu.why_not_checked}", err=True)
    if as_json:
        report.as_json([manifest.model_dump(mode="json") for manifest in manifests])
        return
    for path, manifest in zip(outputs.values(), manifests, strict=True):
        report.converted(path, manifest)


def say_folded(loaded: "LoadedCheckpoint | Source") -> None:
    """Say what was read of a variant, and that a training form is not what will run, but equal."""
    from edgesr.checkpoints import LoadedCheckpoint
    from edgesr.cli.progress_bar import say

    if not isinstance(loaded, LoadedCheckpoint):
        return
    spec, note = loaded.spec, ""
    if spec.is_variant:
        note = f"{spec.name} x{spec.scale}, {spec.description},"
        note += "" if loaded.training_form else " in plain form"
    if loaded.training_form:
        count = sum(parameter.numel() for parameter in loaded.net.parameters())
        note = (
            f"{note or spec.name} in training form; its {count:,} parameters are folded into "
            f"{spec.parameters:,}"
        )
    if note:
        say(f"edgesr: note: {loaded.filename} is {note}")


def _load(
    source: _Source, spec: "ConversionSpec", progress: "ProgressCallback"
) -> "LoadedCheckpoint | Source":
    """What is to be converted, read and judged."""
    from converters.source import onnx_source
    from edgesr.cli.sources import load_checkpoint

    if source.onnx is None:
        return load_checkpoint(
            source.model, source.checkpoint, source.weights, progress, source.scale
        )
    return onnx_source(
        source.onnx,
        spec.height,
        spec.width,
        value_range=source.value_range,
        allow_refused=source.allow_cpu_operators,
    )


def _check_output(output: Path | None, precisions: "Sequence[Precision]") -> None:
    """Refuse a name that cannot serve, before anything is downloaded."""
    if output is None or output.is_dir():
        return
    if len(precisions) > 1:
        raise click.UsageError(
            f"--fp16 with --fp32 makes two files: got --output {output}, allowed a folder that "
            "exists"
        )
    if output.suffix != ".tflite":
        raise OutputError(
            f"got --output {output}, allowed a folder that exists or a name ending in .tflite"
        )


def _outputs(
    loaded: "LoadedCheckpoint | Source", spec: "ConversionSpec", output: Path | None
) -> "dict[Precision, Path]":
    """Where the files go: the named file, or standard names in the named folder."""
    from converters.pipeline import default_outputs

    if output is None or output.is_dir():
        return default_outputs(loaded, spec, output or Path())
    return {precision: output for precision in spec.precisions}
