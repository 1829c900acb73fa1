"""Networks as users name them: `load_checkpoint`, and the one place that resolves the kinds."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, get_args

from edgesr._api.options import check_choice
from edgesr.common.progress import ProgressCallback, silent
from edgesr.errors import OptionError, UnsupportedCheckpointError
from edgesr.networks.spec import all_specs
from edgesr.weights import sources
from edgesr.weights.sources import Weights

if TYPE_CHECKING:
    from torch import nn

    from converters.onnx_graph.third_party import OnnxFile
    from converters.source import Source
    from converters.third_party_checkpoint import ThirdPartyCheckpoint
    from edgesr.weights.checkpoints import LoadedCheckpoint

#: A network's name or alias, a checkpoint or ONNX file, a module, or what the loaders return.
Network: TypeAlias = (
    "str | os.PathLike[str] | nn.Module | LoadedCheckpoint | ThirdPartyCheckpoint | OnnxFile"
)

_ONNX_SUFFIX = ".onnx"


def load_checkpoint(
    checkpoint: str | os.PathLike[str],
    *,
    model: str | None = None,
    scale: int | None = None,
    weights: str | None = None,
    progress: ProgressCallback = silent,
) -> "LoadedCheckpoint":
    """Load a network with its weights, the architecture detected.

    Args:
        checkpoint: A PyTorch or safetensors file; or, as a `str`, the name or alias of a network
            (see `list_models`), for the weights that come with edgesr, else those of its authors.
        model: Of a file: the network that it must be of. By default whatever is detected.
        scale: Which one, of a network of several scales.
        weights: Of a name: "bundled" (with edgesr) or "published" (by the authors; downloaded once
            into the cache).
        progress: Called as (stage, done, total) for a download.

    Returns:
        The network in eval mode (float32, on the CPU), its facts, licence and origin. Nothing in
        the file is executed: torch reads it with `weights_only=True`.

    Raises:
        ArchitectureError: No network has that name or scale.
        CheckpointError: The file cannot be read, or holds more than finite weights.
        UnsupportedCheckpointError: No known architecture has these parameters.
        DownloadError: The published weights cannot be downloaded.
        OptionError: `weights` is given for a file, or `model` for a name.
        MissingDependencyError: torch is not installed: `pip install 'edgesr[convert]'`.

    Examples:
        >>> import edgesr
        >>> loaded = edgesr.load_checkpoint("rtc")
        >>> loaded.spec.name, loaded.spec.scale, loaded.training_form, loaded.licence[:10]
        ('imdn-rtc', 2, False, 'Apache-2.0')
    """
    if is_name(checkpoint):
        if model is not None:
            raise OptionError(f"got model {model!r} for the network {checkpoint}; leave it out")
        return sources.load_checkpoint(
            str(checkpoint), None, check_weights(weights), progress, scale
        )
    if weights is not None:
        raise OptionError(f"got weights {weights!r} for the file {checkpoint}; leave it out")
    return sources.load_checkpoint(model, Path(checkpoint), None, progress, scale)


def is_name(network: str | os.PathLike[str]) -> bool:
    """Whether a network's name is meant, not a file; a path object always means a file."""
    if not isinstance(network, str):
        return False
    if any(network in (spec.name, *spec.aliases) for spec in all_specs()):
        return True
    path = Path(network)
    return not (path.suffix or len(path.parts) > 1 or path.exists())


def check_weights(weights: str | None) -> Weights | None:
    """Return a choice of weights if there is such a one.

    Raises:
        OptionError: There is no such choice.
    """
    if weights is None:
        return None
    check_choice("weights", weights, get_args(Weights))
    return "bundled" if weights == "bundled" else "published"


def read_network(
    network: Network, *, scale: int | None, weights: str | None, progress: ProgressCallback
) -> "LoadedCheckpoint | ThirdPartyCheckpoint | OnnxFile | nn.Module":
    """Read what a user names; modules, and what was read before, stay as they are.

    A checkpoint of no network of edgesr's is tried with spandrel.

    Raises:
        OptionError: An argument belongs to another kind of network.
        EdgeSRError: The file or the weights cannot be read.
    """
    if isinstance(network, str | os.PathLike):
        if is_name(network) or Path(network).suffix.lower() != _ONNX_SUFFIX:
            try:
                return load_checkpoint(network, scale=scale, weights=weights, progress=progress)
            except UnsupportedCheckpointError as error:
                from converters.third_party_checkpoint import read_third_party

                return read_third_party(Path(network), error)
        from converters.onnx_graph.third_party import read_onnx

        network = read_onnx(Path(network))
    if weights is not None:
        raise OptionError(f"got weights {weights!r}, allowed for a network's name alone")
    return network


def resolve(
    network: "LoadedCheckpoint | ThirdPartyCheckpoint | OnnxFile | nn.Module",
    size: tuple[int, int],
    *,
    scale: int | None = None,
    value_range: float | None = None,
    name: str | None = None,
    allow_cpu_operators: bool = False,
    progress: ProgressCallback = silent,
) -> "Source":
    """The source of what `read_network` returns: here the kinds of network become one.

    Args:
        network: The network.
        size: Height, width of the file's input.
        scale: The scale that it must have.
        value_range: The network's own range is [0, value_range]; by default what it shows.
        name: Of a module: its name in files.
        allow_cpu_operators: Of an ONNX file or a module: whether operators that the GPU delegate
            refuses are allowed.
        progress: Called for stages.

    Raises:
        OptionError: An argument belongs to another kind of network, or another scale is wanted.
        EdgeSRError: The network does not fit that size, or cannot be converted.
    """
    from converters.onnx_graph.third_party import OnnxFile
    from converters.source import checkpoint_source
    from converters.third_party_checkpoint import ThirdPartyCheckpoint
    from converters.third_party_source import (
        module_source,
        onnx_source,
        third_party_checkpoint_source,
    )
    from edgesr.weights.checkpoints import LoadedCheckpoint

    if value_range is not None and not 0 < value_range < float("inf"):
        raise OptionError(f"got value_range {value_range}, allowed a positive number, as 1 or 255")
    if isinstance(network, LoadedCheckpoint):
        if name is not None:
            raise OptionError(
                f"name belongs to modules: {network.spec.name} has its own; leave it out"
            )
        _check_scale(network.spec.name, network.spec.scale, scale)
        return checkpoint_source(network, *size, value_range=value_range, progress=progress)
    if isinstance(network, OnnxFile):
        if name is not None:
            raise OptionError(f"got name {name!r} for {network.path}: the file's name is taken")
        source = onnx_source(
            network, *size, value_range=value_range, allow_refused=allow_cpu_operators
        )
        _check_scale(source.name, source.scale, scale)
        return source
    if isinstance(network, ThirdPartyCheckpoint):
        if name is not None:
            raise OptionError(f"got name {name!r} for {network.path}: the file's name is taken")
        return third_party_checkpoint_source(
            network, *size, scale=scale, value_range=value_range, allow_refused=allow_cpu_operators
        )
    return module_source(
        network, *size, name=name, scale=scale, value_range=value_range,
        allow_refused=allow_cpu_operators,
    )  # fmt: skip


def _check_scale(name: str, scale: int, wanted: int | None) -> None:
    if wanted not in (None, scale):
        raise OptionError(f"{name} upscales x{scale}, got scale {wanted}; leave the scale out")
