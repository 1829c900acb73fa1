"""Reading a checkpoint: safely, strictly, and with every refusal in one line.

Nothing in a checkpoint is run: torch reads it with `weights_only=True`, which refuses anything but
tensors and plain containers. Published checkpoints were saved on a GPU, hence `map_location="cpu"`.
"""

import hashlib
import importlib
import io
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from edgesr.bundled import bundled_weights
from edgesr.detection import detect
from edgesr.errors import CheckpointError, MissingDependencyError, UnsupportedCheckpointError
from edgesr.registry import COUNTER_SUFFIX, ArchSpec, build, specs_named
from edgesr.variants import family_name

if TYPE_CHECKING:
    from torch import Tensor, nn

#: Entries under which training tools keep the weights. The exponential moving average comes first:
#: it is what their authors evaluate.
_WRAPPERS = ("params_ema", "params", "state_dict", "model_state_dict")
_MAX_NESTING = 8  # a pickle can hold a dict inside itself
_MAX_BYTES = 2**30  # the largest checkpoint of a network for phones has a few megabytes
_TORCH_STARTS = (b"PK\x03\x04", b"\x80")  # a zip archive since torch 1.6, a pickle before
_SAVE_ADVICE = "save its weights alone: torch.save(net.state_dict(), FILE)"


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
    """

    spec: ArchSpec
    training_form: bool
    net: "nn.Module"
    sha256: str
    filename: str
    licence: str
    source: str


def load(path: Path, model: str | None = None, scale: int | None = None) -> LoadedCheckpoint:
    """Read a PyTorch or safetensors checkpoint and build its network.

    The weights may lie under `params_ema`, `params`, `state_dict` or `model_state_dict`, nested or
    not, may carry the prefix `module.`, and may be of any floating-point type.

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
    asked = _asked(model, scale)
    content = _read_bytes(path)
    weights = _unwrap(path, _parse(path, content))
    try:
        shapes = {name: tuple(t.shape) for name, t in weights.items()}
        found = detect(shapes, asked[0] if len(asked) == 1 else None)
    except UnsupportedCheckpointError as error:
        raise UnsupportedCheckpointError(f"{path}: {error}") from error
    if model and not _is_asked(found.spec, asked, model, scale):
        wanted = model if scale is None else f"{model} x{scale}"
        raise UnsupportedCheckpointError(
            f"{path}: the checkpoint is of {found.spec.name} x{found.spec.scale}, not of {wanted}; "
            f"ask for {found.spec.model}, or give a checkpoint of {wanted}"
        )
    state = {ours: _as_float32(path, name, weights[name]) for name, ours in found.renamed.items()}
    sha256 = hashlib.sha256(content).hexdigest()
    licence, source = _provenance(found.spec, sha256)
    net = _filled(_build_quietly(found.spec, training_form=found.training_form), state)
    return LoadedCheckpoint(
        found.spec, found.training_form, net, sha256, path.name, licence, source
    )


def _asked(model: str | None, scale: int | None) -> tuple[ArchSpec, ...]:
    """The listed networks that a checkpoint may be of, or a variant of; none: any."""
    if model is None:
        return ()
    named = specs_named(family_name(model))
    return tuple(spec for spec in named if scale in (None, spec.scale)) or named


def _is_asked(spec: ArchSpec, asked: tuple[ArchSpec, ...], model: str, scale: int | None) -> bool:
    """Whether what was detected is what was asked for; a variant's own name is that one's alone."""
    named = spec.name == model or family_name(model) == model
    return named and scale in (None, spec.scale) and any(map(spec.answers, asked))


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


def _read_bytes(path: Path) -> bytes:
    if path.is_dir():
        raise CheckpointError(f"checkpoint {path} is a folder; name the file in it")
    try:
        # A device or a pipe has no size to judge by, and may never end.
        if path.exists() and not path.is_file():
            raise CheckpointError(f"checkpoint {path} is no regular file; name a checkpoint file")
        size = path.stat().st_size
        if not 0 < size <= _MAX_BYTES:
            raise CheckpointError(
                f"checkpoint {path} has {size} bytes, allowed 1 to {_MAX_BYTES}; "
                "copy or download it again"
            )
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(
            f"cannot read checkpoint {path}: {error.strerror or error}"
        ) from error


def _parse(path: Path, content: bytes) -> object:
    """What the file holds, as torch or safetensors reads it."""
    import safetensors.torch
    import torch

    try:
        if _is_safetensors(path, content):
            return safetensors.torch.load(content)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about old pickle protocols: no user can act on them
            return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    # A damaged pickle makes torch raise nearly anything: KeyError, EOFError, IndexError, ...
    except Exception as error:
        raise CheckpointError(_unreadable(path, content, error)) from error


def _is_safetensors(path: Path, content: bytes) -> bool:
    """By its suffix, or because it begins with the length of a JSON header and that header."""
    header_length = int.from_bytes(content[:8], "little")
    return path.suffix == ".safetensors" or (
        content[8:9] == b"{" and header_length <= len(content) - 8
    )


def _unreadable(path: Path, content: bytes, error: Exception) -> str:
    """One line on why a file cannot be read as a checkpoint."""
    text = str(error)
    if asks_for := re.search(r"\bGLOBAL (\S+)", text):
        what = "whole saved network" if asks_for[1].startswith("torch.nn.") else "Python object"
        return (
            f"checkpoint {path} is refused: it holds more than tensors (it asks for "
            f"{asks_for[1]}), and loading such a {what} could run code; if it is your own, "
            f"{_SAVE_ADVICE}"
        )
    if not (content.startswith(_TORCH_STARTS) or _is_safetensors(path, content)):
        return (
            f"checkpoint {path} is no PyTorch or safetensors file: it begins with "
            f"{content[:16]!r}; give one made by torch.save(net.state_dict(), FILE) or safetensors"
        )
    reason = re.split(r"(?<=\w)\.\s|\n", text.strip(), maxsplit=1)[0]
    detail = f"{type(error).__name__}: {reason}".rstrip(": ")
    return (
        f"checkpoint {path} is truncated or damaged ({detail}); copy or download it again, or "
        f"{_SAVE_ADVICE}"
    )


def _unwrap(path: Path, loaded: object) -> dict[str, "Tensor"]:
    """The state dict inside the entries that training tools put around it."""
    for _ in range(_MAX_NESTING):
        if not isinstance(loaded, Mapping):
            raise CheckpointError(
                f"checkpoint {path} holds a {type(loaded).__name__}, allowed a state dict; "
                f"{_SAVE_ADVICE}"
            )
        entries = cast("Mapping[Any, Any]", loaded)
        inner = next((key for key in _WRAPPERS if isinstance(entries.get(key), Mapping)), None)
        if inner is None:
            return _checked_tensors(path, entries)
        loaded = entries[inner]
    raise CheckpointError(
        f"checkpoint {path} nests entries in each other without end; {_SAVE_ADVICE}"
    )


def _checked_tensors(path: Path, entries: Mapping[Any, Any]) -> dict[str, "Tensor"]:
    """The entries, if every one is a named ordinary tensor."""
    from torch import Tensor, strided

    if not entries:
        raise CheckpointError(f"checkpoint {path} holds no weights; {_SAVE_ADVICE}")
    for name, value in entries.items():
        ordinary = (
            isinstance(name, str)
            and isinstance(value, Tensor)
            and value.layout is strided
            and not (value.is_quantized or value.is_meta)
        )
        if not ordinary:
            raise CheckpointError(
                f"checkpoint {path}: entry {name!r} is a {_kind(value)}, allowed dense tensors, "
                f"or a dict of them under {', '.join(_WRAPPERS)}; {_SAVE_ADVICE}"
            )
    return dict(entries)


def _kind(value: object) -> str:
    from torch import Tensor

    if not isinstance(value, Tensor):
        return type(value).__name__
    return f"{value.device.type} tensor of {value.dtype} and layout {value.layout}"


def _as_float32(path: Path, name: str, tensor: "Tensor") -> "Tensor":
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
