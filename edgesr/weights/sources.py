"""Where a network's weights come from: the user's file, or bundled or published weights."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from edgesr.common.progress import ProgressCallback
from edgesr.errors import ArchitectureError, CheckpointError, SizeError

if TYPE_CHECKING:
    from edgesr.networks.spec import ArchSpec
    from edgesr.weights.checkpoints import LoadedCheckpoint

#: "bundled": trained by edgesr's authors; "published": by the network's.
Weights = Literal["bundled", "published"]

_SCALE_DIGITS = 3


def load_checkpoint(
    model: str | None,
    checkpoint: Path | None,
    weights: Weights | None,
    progress: ProgressCallback,
    scale: int | None = None,
) -> "LoadedCheckpoint":
    """Load `checkpoint`, or else the bundled or published weights of `model`.

    Raises:
        EdgeSRError: Neither was given, the network is unknown, or its weights cannot be downloaded
            or read.
    """
    from edgesr.networks.spec import find_spec
    from edgesr.weights.bundled import bundled_checkpoint, bundled_weights
    from edgesr.weights.checkpoints import load
    from edgesr.weights.download import published_checkpoint

    if checkpoint is not None:
        return load(checkpoint, model, scale)
    if model is None:
        raise CheckpointError("give the name of a network (`edgesr models`) or a checkpoint")
    spec = find_spec(model, scale)
    if weights == "bundled" or (weights is None and bundled_weights(spec)):
        return load(bundled_checkpoint(spec), spec.name, spec.scale)
    return load(published_checkpoint(spec, progress), spec.name, spec.scale)


def load_named(
    name: str, progress: ProgressCallback, scale: int | None = None
) -> "LoadedCheckpoint":
    """Load what a user names: a network, NAME:SCALE, or a checkpoint's path.

    Args:
        name: A network's name stands for its bundled weights, else its published ones.
        progress: Reports downloads.
        scale: Of a network that has several scales, where `name` states none.

    Raises:
        SizeError: The scale is no number, or `name` and `scale` state different ones.
        EdgeSRError: The network is unknown, or its weights cannot be downloaded or read.
    """
    if _is_path(name):
        return load_checkpoint(None, Path(name), None, progress)
    model, wanted = _model_and_scale(name, scale)
    return load_checkpoint(model, None, None, progress, wanted)


def named_spec(name: str, scale: int | None = None) -> "ArchSpec":
    """Find the network that a user names, downloading no weights; see `load_named`.

    Raises:
        SizeError: The scale is no number, or `name` and `scale` state different ones.
        ArchitectureError: The network is unknown, or has another scale.
        CheckpointError: It is a checkpoint that cannot be read.
    """
    from edgesr.networks.spec import find_spec
    from edgesr.weights.checkpoints import load

    if not _is_path(name):
        return find_spec(*_model_and_scale(name, scale))
    spec = load(Path(name)).spec
    if scale not in (None, spec.scale):
        raise ArchitectureError(
            f"{name} holds {spec.name} x{spec.scale}, got --scale {scale}; leave out --scale"
        )
    return spec


def _is_path(name: str) -> bool:
    """Whether a checkpoint is meant; an existing file takes precedence over a network's name."""
    from edgesr.networks.spec import all_specs

    path, model = Path(name), name.partition(":")[0]
    is_network = any(model in (spec.name, *spec.aliases) for spec in all_specs())
    return path.is_file() or (not is_network and (bool(path.suffix) or len(path.parts) > 1))


def _model_and_scale(name: str, scale: int | None) -> tuple[str, int | None]:
    model, colon, stated = name.partition(":")
    if not colon:
        return model, scale
    if not (stated.isdecimal() and len(stated) <= _SCALE_DIGITS):
        raise SizeError(f"got {name}, allowed NAME:SCALE, e.g. {model}:4")
    if scale not in (None, int(stated)):
        raise SizeError(f"got {name} and --scale {scale}; give one scale")
    return model, int(stated)
