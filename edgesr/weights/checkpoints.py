"""A checkpoint as the network it is of, strictly, and with every refusal in one line."""

import hashlib
import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgesr.common.text import printable
from edgesr.errors import CheckpointError, MissingDependencyError, UnsupportedCheckpointError
from edgesr.networks.detection import Detection, detect
from edgesr.networks.hyperparameters import family_name
from edgesr.networks.spec import COUNTER_SUFFIX, ArchSpec, build, specs_named
from edgesr.weights.bundled import bundled_weights
from edgesr.weights.checkpoint_file import read_container, state_dicts

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class LoadedCheckpoint:
    """A network with the weights of a file.

    Attributes:
        spec: The architecture that was detected: a listed one, or a variant of other sizes.
        training_form: Whether `net` is in its training form, to be folded.
        net: The network in eval mode, float32, on the CPU.
        sha256: Digest of the file.
        filename: Name of the file without its folder.
        licence: What the authors state where the file is a bundled or published one, else
            "unknown".
        source: Where the file comes from: this package, the published address, or that it is the
            user's own.
        notes: What a user should know: under which entry the weights were found, or that all are
            zero.
    """

    spec: ArchSpec
    training_form: bool
    net: "nn.Module"
    sha256: str
    filename: str
    licence: str
    source: str
    notes: tuple[str, ...] = ()


def load(path: Path, model: str | None = None, scale: int | None = None) -> LoadedCheckpoint:
    """Read a PyTorch or safetensors checkpoint and build its network.

    The weights may lie under `params_ema`, `params`, `state_dict` or `model_state_dict`, nested or
    not, else under any other entry or prefix, and may be of any floating-point type.

    Args:
        path: The file.
        model: Name or alias that the checkpoint must be of, or a variant of; a variant's own name
            allows that one alone. By default whatever is detected.
        scale: With a model, the scale that it must be of; by default likewise.

    Raises:
        ArchitectureError: No architecture is called `model`.
        CheckpointError: The file is missing, no file, empty, truncated, of another format, holds
            more than tensors, or its weights are not finite.
        UnsupportedCheckpointError: No architecture has these parameters, or it is not `model`.
        MissingDependencyError: torch or safetensors is not installed.
    """
    _require_torch()
    requested = _requested_specs(model, scale)
    loaded, content = read_container(path)
    where, weights, found = _first_known(
        path, loaded, requested[0] if len(requested) == 1 else None
    )
    if model and not _is_requested(found.spec, requested, model, scale):
        wanted = model if scale is None else f"{model} x{scale}"
        raise UnsupportedCheckpointError(
            f"{path}: the checkpoint is of {found.spec.name} x{found.spec.scale}, not of {wanted}; "
            f"name {found.spec.model}, or give a checkpoint of {wanted}"
        )
    state = {ours: as_float32(path, name, weights[name]) for name, ours in found.renamed.items()}
    sha256 = hashlib.sha256(content).hexdigest()
    licence, source = _provenance(found.spec, sha256)
    net = _filled(_build_quietly(found.spec, training_form=found.training_form), state)
    return LoadedCheckpoint(
        found.spec, found.training_form, net, sha256, path.name, licence, source, _notes(where, net)
    )


def _first_known(
    path: Path, loaded: object, wanted: ArchSpec | None
) -> "tuple[str, dict[str, Tensor], Detection]":
    """Where in a checkpoint the weights of a known network lie, and which network it is.

    Raises:
        CheckpointError: There are no weights.
        UnsupportedCheckpointError: None are of a known network; the reason is that of the usual
            place.
    """
    first: UnsupportedCheckpointError | None = None
    for where, weights in state_dicts(path, loaded):
        try:
            shapes = {name: tuple(t.shape) for name, t in weights.items()}
            return where, weights, detect(shapes, wanted)
        except UnsupportedCheckpointError as error:
            first = first or error
    if first is None:
        raise CheckpointError(f"checkpoint {path} holds no weights")
    raise UnsupportedCheckpointError(f"{path}: {first}") from first


def _notes(where: str, net: "nn.Module") -> tuple[str, ...]:
    """What a user should know of how the weights were found, and of themselves."""
    notes: list[str] = []
    if where:
        notes.append(f"its weights lie under {printable(where)!r}; the rest is left out")
    if not any(bool(values.any()) for name, values in net.named_parameters() if "weight" in name):
        notes.append("all its weights are zero")
    return tuple(notes)


def _requested_specs(model: str | None, scale: int | None) -> tuple[ArchSpec, ...]:
    """The listed networks that a checkpoint may be of, or a variant of; none: any."""
    if model is None:
        return ()
    named = specs_named(family_name(model))
    return tuple(spec for spec in named if scale in (None, spec.scale)) or named


def _is_requested(
    spec: ArchSpec, requested: tuple[ArchSpec, ...], model: str, scale: int | None
) -> bool:
    """Whether what was detected is what was requested; a variant's own name is that one's alone."""
    named = spec.name == model or family_name(model) == model
    return named and scale in (None, spec.scale) and any(map(spec.answers, requested))


def weights_sha256(net: "nn.Module") -> str:
    """Digest of a network's weights, whatever file they came from.

    Over all parameters and buffers in the order of their names, except batch norm's step counters:
    the line "<name> <d0>x<d1>x...", then the values as little-endian float32 in row-major order.
    """
    import torch

    digest = hashlib.sha256()
    for name, tensor in sorted(net.state_dict().items()):
        if name.endswith(COUNTER_SUFFIX):
            continue
        values = tensor.detach().to("cpu", torch.float32).numpy()
        digest.update(f"{name} {'x'.join(str(size) for size in values.shape)}\n".encode())
        digest.update(values.astype("<f4").tobytes())
    return digest.hexdigest()


def _require_torch() -> None:
    for library in ("safetensors", "torch"):
        try:
            importlib.import_module(library)
        except ImportError as error:
            raise MissingDependencyError(
                f"reading a checkpoint needs {library}, which is not installed; "
                "run: pip install 'edgesr[convert]'"
            ) from error


def as_float32(path: Path, name: str, tensor: "Tensor") -> "Tensor":
    """The tensor in float32, refused where that is not finite."""
    import torch

    if not tensor.is_floating_point():
        raise CheckpointError(
            f"checkpoint {path}: {name} is of type {tensor.dtype}, allowed floating point; "
            "give the checkpoint from before its quantisation"
        )
    values = tensor.detach().to(torch.float32)
    nan = int(torch.isnan(values).sum())
    infinite = int(torch.isinf(values).sum())
    if nan or infinite:
        raise CheckpointError(
            f"checkpoint {path}: {name} holds {nan} NaN and {infinite} infinite of "
            f"{values.numel()} values in float32, allowed finite ones; its training diverged or "
            "the file is damaged: take an earlier one"
        )
    return values


def _build_quietly(spec: ArchSpec, *, training_form: bool) -> "nn.Module":
    """Build a network without touching the caller's random numbers, which its weights draw."""
    import torch

    with torch.random.fork_rng(devices=[]):
        return build(spec, training_form=training_form)


def _filled(net: "nn.Module", state: dict[str, "Tensor"]) -> "nn.Module":
    """The network with these weights, strictly, in eval mode; step counters stay as built."""
    counters = {n: t for n, t in net.state_dict().items() if n.endswith(COUNTER_SUFFIX)}
    net.load_state_dict(counters | state, strict=True)
    return net.float().eval()


def _provenance(spec: ArchSpec, sha256: str) -> tuple[str, str]:
    """Licence and source of a file, known where it is a bundled or published one."""
    bundled = bundled_weights(spec)
    if bundled and bundled.sha256 == sha256:
        return bundled.licence, bundled.source
    for weights in spec.all_published:
        if weights.sha256 == sha256:
            return weights.licence, f"published by {weights.project}: {weights.url}"
    return "unknown", "a file of the user's own, not one of the published checkpoints edgesr knows"
