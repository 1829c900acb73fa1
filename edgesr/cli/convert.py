"""`edgesr convert`: a checkpoint or an ONNX file becomes a `.tflite`, verified against it."""

import contextlib
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgesr.cli.support.lines import print_line
from edgesr.cli.support.source_options import (
    check_choice,
    check_onnx,
    value_range_option,
    weights_option,
)
from edgesr.cli.support.threads import threads_option
from edgesr.common.files import is_folder_name
from edgesr.errors import ConversionError, ParityError

if TYPE_CHECKING:
    from converters.onnx_graph.third_party import OnnxFile
    from converters.spec import Io, Precision
    from edgesr import ConvertedFile
    from edgesr.weights.sources import Weights


@click.command(
    epilog="""\b
Examples:
  edgesr convert --model rtc --fp16
  edgesr convert --checkpoint model_RTC.pth --fp16 --fp32 --output .
  edgesr convert --model rtc --weights published --gate gpu
  edgesr convert --model fmen-s --size 480x320 --json
  edgesr convert --checkpoint mine.pth --int8 --io uint8 --images photos/
  edgesr convert --model imdn --scale 4
  edgesr convert --onnx theirs.onnx --value-range 255 --size 480x320
"""
)
@click.option("--model", help="Network: a name or alias from `edgesr models`.")
@click.option("--scale", type=int, help="Which one, of a network that there is at several scales.")
@click.option(
    "--checkpoint",
    type=click.Path(path_type=Path),
    help="PyTorch or safetensors checkpoint; the architecture is detected (--model checks it), "
    "about 40 more with the extra `spandrel`.",
)
@weights_option
@click.option(
    "--onnx",
    type=click.Path(path_type=Path),
    help="ONNX file of another super-resolution network, of RGB or luma.",
)
@value_range_option
@click.option(
    "--allow-cpu-operators",
    is_flag=True,
    help="Of another network: write the file even if the GPU delegate refuses operators of it.",
)
@click.option("--fp16", is_flag=True, help="Store the weights in FP16 (the default).")
@click.option("--fp32", is_flag=True, help="Store the weights in FP32; together with --fp16, both.")
@click.option(
    "--int8",
    is_flag=True,
    help="Compute in 8-bit integers, for NPUs and CPUs; calibrated on --images. The bundled "
    "networks do not pass its gates yet.",
)
@click.option(
    "--io",
    type=click.Choice(["float", "uint8"]),
    help="Of --int8: type of the input and output. Default: float, as of every other file.",
)
@click.option(
    "--max-drop",
    type=click.FloatRange(min=0),
    metavar="DB",
    help="Of --int8: PSNR that the file may lose against FP32. Default: 0.15 dB.",
)
@click.option(
    "--size",
    metavar="HxW",
    help="Fixed size of the input. Default: 720x480, or the one size that an ONNX file has.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(),  # a path would lose the slash at its end
    help="A .tflite to write, or a folder for files of the standard name; OUT/ is made. Default: "
    "this folder.",
)
@click.option(
    "--gate",
    type=click.Choice(["cpu", "gpu"]),
    default="cpu",
    show_default=True,
    help="gpu: LiteRT's GPU accelerator must accept every operator too, and compute the right "
    "images, where there is a device for it (see `edgesr doctor`).",
)
@click.option("--force", is_flag=True, help="Replace files that exist.")
@click.option(
    "--images",
    "--pictures",  # its name until 2026-11
    "images",
    type=click.Path(path_type=Path),
    help="Folder of photographs for calibration and parity. Default: those under EDGESR_SHARED, "
    "else a synthetic test card.",
)
@threads_option
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
    int8: bool,
    io: "Io | None",
    max_drop: float | None,
    size: str | None,
    output: str | None,
    gate: str,
    force: bool,
    images: Path | None,
    threads: int | None,
    as_json: bool,
) -> None:
    """Convert a checkpoint, or an ONNX file, to a .tflite with a fixed input size.

    The network is folded, exported, rewritten so that every operator runs on the TFLite GPU
    delegate, made safe for FP16 arithmetic, and compared with PyTorch on images and extreme
    inputs. A file that does not match is not written. An ONNX file is compared with itself, as
    onnxruntime runs it.
    """
    from converters.spec import MAX_DROP_DB, parse_size
    from edgesr._api.conversion import check_output
    from edgesr.cli.support.progress_bar import progress_bar

    if onnx is None and model is None and checkpoint is None:
        raise click.UsageError("give --model NAME (see `edgesr models`) or --checkpoint FILE")
    if allow_cpu_operators and onnx is None and checkpoint is None:
        raise click.UsageError("--allow-cpu-operators belongs to --onnx FILE or --checkpoint FILE")
    check_onnx(
        onnx,
        {},
        {"--model": model, "--scale": scale, "--checkpoint": checkpoint, "--weights": weights},
    )
    if scale is not None and model is None:
        raise click.UsageError("--scale belongs to --model NAME: a checkpoint states its own")
    check_choice(checkpoint, weights)
    file = _read(onnx) if onnx else None
    height_width = parse_size(size) if size else None
    precisions = _precisions(fp16=fp16, fp32=fp32, int8=int8)
    if not int8 and (io is not None or max_drop is not None):
        raise click.UsageError("--io and --max-drop belong to --int8")
    if len(precisions) > 1 and output is not None and not is_folder_name(output):
        options = " with ".join(f"--{p}" for p in precisions)
        raise click.UsageError(
            f"{options} makes {len(precisions)} files: got --output {output}, allowed a folder: "
            f"{output}/"
        )
    check_output(output, precisions, [path for path in (checkpoint, onnx) if path is not None])
    with _details_of_errors(), progress_bar() as progress:
        progress("prepare", 0, 0)  # imports, and the search for a GPU, take seconds
        import edgesr
        from edgesr._api.networks import read_network
        from edgesr.weights.sources import load_checkpoint

        if checkpoint is not None and model is None:
            network = read_network(checkpoint, scale=scale, weights=None, progress=progress)
        else:
            network = file or load_checkpoint(model, checkpoint, weights, progress, scale)
        log_folding(network)
        files = edgesr.convert(
            network,
            size=height_width,
            precision=precisions,
            io=io or "float",
            max_drop=MAX_DROP_DB if max_drop is None else max_drop,
            output=output,
            gate=gate,
            value_range=value_range,
            allow_cpu_operators=allow_cpu_operators,
            images=images,
            threads=threads,
            overwrite=force,
            progress=progress,
        )
    _print(files, gate, as_json=as_json)


def _precisions(*, fp16: bool, fp32: bool, int8: bool) -> "tuple[Precision, ...]":
    """The precisions asked for; FP16 where none is."""
    from converters.spec import Precision

    wanted = {
        Precision.FP16: fp16 or not (fp32 or int8), Precision.FP32: fp32, Precision.INT8: int8
    }  # fmt: skip
    return tuple(precision for precision, on in wanted.items() if on)


def _read(path: Path) -> "OnnxFile":
    from converters.onnx_graph.third_party import read_onnx

    return read_onnx(path)


@contextlib.contextmanager
def _details_of_errors() -> Generator[None]:
    """Print on stderr what failed, operator by operator and input by input."""
    from edgesr.cli.support import printing

    try:
        yield
    except ConversionError as error:
        from converters.gpu.refusal import NotCleanError

        if isinstance(error, NotCleanError):
            for refusal in error.refusals:
                print_line(f"refused  {refusal}", err=True)
        raise
    except ParityError as error:
        from converters.parity.verify import ParityGateError

        if isinstance(error, ParityGateError):
            printing.parity_tables([b for r in error.reports for b in r.backends], err=True)
        raise


def _print(files: "Sequence[ConvertedFile]", gate: str, *, as_json: bool) -> None:
    """Print the manifests as JSON, or a summary of each file."""
    from edgesr.cli.support import printing

    gpu = files[0].manifest.gpu
    if gate == "gpu" and gpu.accelerator == "not checked":
        print_line(f"accelerator not checked: {gpu.why_not_checked}", err=True)
    if as_json:
        printing.as_json([file.manifest.model_dump(mode="json") for file in files])
        return
    for file in files:
        printing.converted(file.path, file.manifest)


def log_folding(network: object) -> None:
    """Print on stderr what a checkpoint was found to be, where that is not what its name says.

    A variant, the training form, which is folded, or a network that spandrel built.
    """
    from converters.third_party_checkpoint import ThirdPartyCheckpoint
    from edgesr.cli.support.progress_bar import log_line
    from edgesr.weights.checkpoints import LoadedCheckpoint

    if isinstance(network, ThirdPartyCheckpoint):
        log_line(
            f"edgesr: note: {network.path.name} is {network.architecture} x{network.scale}, built "
            f"by {network.builder}"
        )
    if not isinstance(network, LoadedCheckpoint):
        return
    for remark in network.notes:
        log_line(f"edgesr: note: {network.filename}: {remark}")
    spec, note = network.spec, ""
    if spec.is_variant:
        note = f"{spec.name} x{spec.scale}, {spec.description},"
        note += "" if network.training_form else " in plain form"
    if network.training_form:
        count = sum(parameter.numel() for parameter in network.net.parameters())
        note = (
            f"{note or spec.name} in training form; its {count:,} parameters are folded into "
            f"{spec.parameters:,}"
        )
    if note:
        log_line(f"edgesr: note: {network.filename} is {note}")
