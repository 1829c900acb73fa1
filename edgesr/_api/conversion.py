"""Networks to verified `.tflite` files: `convert`, `fold` and `fold_checkpoint`."""

import contextlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from converters.manifest import Manifest
from converters.spec import (
    DEFAULT_HEIGHT,
    DEFAULT_WIDTH,
    MAX_DROP_DB,
    ConversionSpec,
    Io,
    Precision,
)
from edgesr._api.networks import Network, read_network, resolve
from edgesr._api.options import check_choice
from edgesr.common.files import check_not_input, is_folder_name, made_folder
from edgesr.common.progress import ProgressCallback, silent
from edgesr.common.requirements import require
from edgesr.errors import OptionError, OutputError

if TYPE_CHECKING:
    from torch import nn

    from edgesr.training.export import Folded
    from edgesr.weights.checkpoints import LoadedCheckpoint

_SUFFIX = ".tflite"


@dataclass(frozen=True)
class ConvertedFile:
    """A `.tflite` that passed every gate.

    Attributes:
        path: The file; its manifest lies beside it as `.json`.
        manifest: Its facts, operators, parity and GPU verdict.
    """

    path: Path
    manifest: Manifest


def convert(
    network: Network,
    *,
    size: tuple[int, int] | None = None,
    precision: str | Iterable[str] = "fp16",
    io: Io = "float",
    max_drop: float = MAX_DROP_DB,
    output: str | os.PathLike[str] | None = None,
    gate: str = "cpu",
    scale: int | None = None,
    weights: str | None = None,
    value_range: float | None = None,
    name: str | None = None,
    allow_cpu_operators: bool = False,
    images: str | os.PathLike[str] | None = None,
    threads: int | None = None,
    overwrite: bool = False,
    progress: ProgressCallback = silent,
) -> list[ConvertedFile]:
    """Convert a network to `.tflite` files that are verified against it before they are written.

    A PyTorch module is copied and left as it is; the copy, in eval mode, is what the file must
    equal. Operators that the GPU delegate would refuse are an error (see `allow_cpu_operators`).

    Args:
        network: The name or alias of a network (see `list_models`), the path of a checkpoint or of
            an `.onnx` file, what `load_checkpoint` returns, or a `torch.nn.Module` that maps
            N x 3 x H x W to N x 3 x (scale H) x (scale W), RGB.
        size: Height, width of the file's fixed input; images of other sizes are upscaled by tiles.
            By default 720x480, or the one size that an ONNX file has.
        precision: "fp16" or "fp32", in which the weights are stored, or "int8", in which all is
            computed; or several.
        io: Of int8: type of the file's input and output, "float" or "uint8" (grey levels).
        max_drop: Of int8: dB of PSNR that the file may lose against the network.
        output: A name ending in .tflite, or a folder for files of the standard name,
            `<name>_x<scale>_<H>x<W>_<precision>.tflite`; by default the current one. A folder
            that is not there yet is named with a slash at its end, and made.
        gate: "cpu", or "gpu": LiteRT's GPU accelerator must accept every operator and compute the
            right images too, where there is a device for it.
        scale: Which one, of a network of several scales; of a module, the scale that it must have.
        weights: Of a name: "bundled" or "published"; by default bundled where there are any.
        value_range: The network's own input and output lie in [0, value_range]. By default 1 or
            255 is chosen by what the network makes of a natural image, where that tells; else it is
            1, or that of the architecture. The file's always lie in [0, 1].
        name: Of a module: its name in files; by default the name of its class.
        allow_cpu_operators: Of a module or an ONNX file: write the file even if the GPU delegate
            would refuse operators of it.
        images: Folder of photographs for calibration and parity. By default those under
            EDGESR_SHARED, else a synthetic test card.
        threads: CPU threads; all that this process may use by default.
        overwrite: Whether files that exist may be replaced.
        progress: Called as (stage, done, total).

    Returns:
        One entry per precision, in the order given.

    Raises:
        ParityError: A file does not match the network within its gate; nothing is written.
        ConversionError: A rewrite cannot be exact, or the GPU delegate would refuse operators.
        ModuleError: The module cannot be exported, or is no super-resolution network.
        OnnxFileError: The ONNX file cannot be converted.
        CheckpointError: The checkpoint cannot be used.
        SizeError: The size is out of range, or needs more memory than is free.
        OptionError: An argument is not allowed, or belongs to another kind of network.
        OutputError: A file exists or cannot be written.
        AcceleratorError: The GPU accelerator failed.
        MissingDependencyError: A library is missing: `pip install 'edgesr[convert]'`.

    Examples:
        >>> import edgesr
        >>> (file,) = edgesr.convert("rtc", size=(32, 24))
        >>> file.path.name
        'imdn-rtc_x2_32x24_fp16.tflite'
        >>> file.manifest.gpu.rules_passed
        True

        A module of one's own:

        >>> import torch
        >>> from torch import nn
        >>> class Tiny(nn.Sequential):
        ...     def __init__(self):
        ...         super().__init__(nn.Conv2d(3, 12, 3, padding=1), nn.PixelShuffle(2))
        >>> torch.manual_seed(0) and None
        >>> (file,) = edgesr.convert(Tiny(), size=(32, 24))
        >>> file.path.name, sorted(file.manifest.operators)
        ('Tiny_x2_32x24_fp16.tflite', ['CONV_2D', 'DEPTH_TO_SPACE', 'DEQUANTIZE'])
    """
    check_choice("gate", gate, ("cpu", "gpu"))
    precisions = _precisions(precision)
    check_output(
        output, precisions, [Path(network)] if isinstance(network, str | os.PathLike) else []
    )
    if size is not None:
        ConversionSpec(*size, precisions)  # a bad size is refused before anything is downloaded
    of_onnx = isinstance(network, str | os.PathLike) and Path(network).suffix.lower() == ".onnx"
    libraries = ("onnx", "onnxruntime", "onnx2tf", "tensorflow")
    require("converting", libraries, "onnx" if of_onnx else "convert")
    if Precision.INT8 in precisions:
        require("converting to integers", ("torch",), "convert")
    from converters import pipeline
    from converters.parity.test_inputs import shared_photos
    from edgesr.weights.checkpoints import LoadedCheckpoint

    read = read_network(network, scale=scale, weights=weights, progress=progress)
    if allow_cpu_operators and isinstance(read, LoadedCheckpoint):
        raise OptionError(
            f"allow_cpu_operators belongs to ONNX files and modules: {read.spec.name} has no "
            "operator that the GPU delegate refuses; leave it out"
        )
    spec = ConversionSpec(*(size or _default_size(read)), precisions, io, max_drop)
    source = resolve(
        read, (spec.height, spec.width), scale=scale, value_range=value_range, name=name,
        allow_cpu_operators=allow_cpu_operators, progress=progress,
    )  # fmt: skip
    target, is_folder = Path(output or ""), is_folder_name(output or ".")
    outputs = dict.fromkeys(precisions, target)
    if is_folder:
        outputs = pipeline.default_outputs(source, spec, target)
    with made_folder(target) if is_folder else contextlib.nullcontext():
        manifests = pipeline.convert(
            source,
            spec,
            outputs,
            images=shared_photos() if images is None else Path(images),
            overwrite=overwrite,
            gpu_gate=gate == "gpu",
            threads=threads,
            progress=progress,
        )
    return [ConvertedFile(outputs[p], m) for p, m in zip(precisions, manifests, strict=True)]


def check_output(
    output: str | os.PathLike[str] | None,
    precisions: tuple[Precision, ...],
    inputs: Sequence[Path] = (),
) -> None:
    """Refuse an output that cannot serve, before anything is downloaded.

    Raises:
        OutputError: It is no folder, no name of one `.tflite`, or one of the inputs.
    """
    if output is None or is_folder_name(output):
        return
    if len(precisions) > 1:
        count = {2: "two", 3: "three"}[len(precisions)]
        raise OutputError(f"got {output} for {count} files, allowed a folder: {output}{os.sep}")
    path = Path(output)
    if path.suffix != _SUFFIX:
        raise OutputError(
            f"got --output {output}, allowed a folder (a new one with a slash: {output}{os.sep}) "
            f"or a name ending in {_SUFFIX}"
        )
    for written in (path, path.with_suffix(".json")):  # the file and its manifest
        check_not_input(written, inputs)


def _precisions(wanted: str | Iterable[str]) -> tuple[Precision, ...]:
    names = (wanted,) if isinstance(wanted, str) else tuple(wanted)
    if not names:
        check_choice("precision", "", Precision)
    return tuple(Precision(check_choice("precision", n, Precision)) for n in dict.fromkeys(names))


def _default_size(network: object) -> tuple[int, int]:
    """The one size that an ONNX file has, or edgesr's."""
    from converters.onnx_graph.third_party import OnnxFile

    if isinstance(network, OnnxFile):
        return network.height or DEFAULT_HEIGHT, network.width or DEFAULT_WIDTH
    return DEFAULT_HEIGHT, DEFAULT_WIDTH


def fold(network: "nn.Module | LoadedCheckpoint") -> "nn.Module":
    """Turn a network of edgesr's from its training form into plain convolutions, exactly.

    `convert` folds checkpoints by itself.

    Args:
        network: A network, or what `load_checkpoint` returns; it is left as it is.

    Returns:
        A plain copy in eval mode that computes the same function, in the same dtype.

    Raises:
        ConversionError: A module with parameters is neither plain nor can it be folded.

    Examples:
        >>> import edgesr, torch
        >>> net = edgesr.load_checkpoint("rtc").net
        >>> plain = edgesr.fold(net)
        >>> lr_nchw = torch.rand(1, 3, 16, 16)
        >>> torch.equal(plain(lr_nchw), net(lr_nchw))
        True
    """
    require("folding", ("torch",), "train")
    from edgesr.networks import reparam
    from edgesr.weights.checkpoints import LoadedCheckpoint

    return reparam.fold(network.net if isinstance(network, LoadedCheckpoint) else network)


def fold_checkpoint(
    checkpoint: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    overwrite: bool = False,
) -> "Folded":
    """Fold a checkpoint in training form and write the plain weights, verified equal.

    Args:
        checkpoint: A PyTorch or safetensors file; also the `checkpoint.pt` of a training, of which
            the averaged weights are used.
        output: The `.safetensors` to write.
        overwrite: Whether it may replace a file.

    Returns:
        Parameters before and after, and how far both forms are apart on a synthetic image.

    Raises:
        CheckpointError: The checkpoint cannot be used, or is plain already.
        ConversionError: The two forms do not compute the same.
        OutputError: The output exists, cannot be written, or is not called `.safetensors`.
        MissingDependencyError: torch is not installed.

    Examples:
        >>> import edgesr, torch
        >>> from edgesr.networks.spec import build, find_spec
        >>> net = build(find_spec("fmen-s"), training_form=True)
        >>> torch.save(net.state_dict(), "training.pth")
        >>> folded = edgesr.fold_checkpoint("training.pth", "plain.safetensors")
        >>> folded.model, folded.parameters_before > folded.parameters == 341066
        ('fmen-s', True)
    """
    from edgesr.common.files import check_writable

    target = Path(output)
    if target.suffix != ".safetensors":
        raise OutputError(f"got --output {target}, allowed a name ending in .safetensors")
    check_writable(target, overwrite=overwrite, inputs=[Path(checkpoint)])
    require("folding", ("torch", "safetensors"), "train")
    from edgesr.training.export import fold_file

    return fold_file(Path(checkpoint), target, overwrite=overwrite)
