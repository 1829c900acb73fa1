"""The container of a checkpoint: a zip archive, a pickle or safetensors, read without running it.

torch reads it with `weights_only=True`, which refuses anything but tensors and plain containers.
Published checkpoints were saved on a GPU, hence `map_location="cpu"`. What torch leaves unchecked
is checked before: the archive's checksums and unpacked size, and how long its pickles are, since
torch's unpickler runs in Python and a small file can hold millions of steps.
"""

import io
import itertools
import pickletools
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from edgesr.common.inputs import check_regular, read_regular
from edgesr.common.text import printable
from edgesr.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor

#: Entries under which training tools keep the weights. The exponential moving average comes first:
#: it is what their authors evaluate.
_WRAPPERS = ("params_ema", "params", "state_dict", "model_state_dict")
_MAX_NESTING = 8  # a pickle can hold a dict inside itself
_MAX_DICTS = 200
_MAX_BYTES = 2**30  # the largest checkpoint of a network for phones has a few megabytes
_MAX_OPCODES = 500_000  # published checkpoints have up to 10,000; a second of torch's unpickler
_LEGACY_PICKLES = 5  # magic number, protocol, system, the object, the storages' keys
_TORCH_STARTS = (b"PK\x03\x04", b"\x80")  # a zip archive since torch 1.6, a pickle before
_SAVE_ADVICE = "save its weights alone: torch.save(net.state_dict(), FILE)"


def read_container(path: Path) -> tuple[object, bytes]:
    """Read what a checkpoint holds.

    Returns:
        The object in the file, and the file's bytes.

    Raises:
        CheckpointError: The file is missing, no file, empty, truncated, damaged, of another format,
            too large, or holds more than tensors.
    """
    if not check_regular(path, CheckpointError, limit=_MAX_BYTES):
        raise CheckpointError(f"checkpoint {path} has 0 bytes; copy or download it again")
    content = read_regular(path, CheckpointError, limit=_MAX_BYTES)
    return _parse(path, content), content


def state_dicts(path: Path, loaded: object) -> Iterator[tuple[str, dict[str, "Tensor"]]]:
    """Find the state dicts in what a checkpoint holds, the likeliest first.

    Args:
        path: The checkpoint, for messages.
        loaded: What it holds.

    Yields:
        The keys that lead to a state dict (empty for the usual places), and the state dict. After
        the one in the usual place come others: entries of other names, and the part of a dict whose
        names begin alike, as wrappers (`net_g.`, `generator.`, Lightning's `model.`) leave them.

    Raises:
        CheckpointError: The usual place holds no ordinary tensors; raised after all others.
    """
    usual: CheckpointError | None = None
    try:
        yield "", _unwrap(path, loaded)
    except CheckpointError as error:
        usual = error
    for where, tensors in _nested_tensors(loaded):
        for prefix in ("", *_prefixes(tensors)):
            if where or prefix:
                part = {
                    k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)
                }
                yield f"{where}{prefix}", part
    if usual is not None:
        raise usual


def _nested_tensors(loaded: object) -> Iterator[tuple[str, dict[str, "Tensor"]]]:
    """The ordinary named tensors of every dict, outer ones first."""
    waiting, seen = [("", loaded, 0)], 0
    while waiting and seen < _MAX_DICTS:
        where, found, depth = waiting.pop(0)
        if not isinstance(found, Mapping) or depth > _MAX_NESTING:
            continue
        seen += 1
        entries = cast("Mapping[Any, Any]", found)
        tensors = {k: v for k, v in entries.items() if isinstance(k, str) and _is_ordinary(v)}
        if tensors:
            yield where, tensors
        waiting += [(f"{where}{key}.", value, depth + 1) for key, value in entries.items()]


def _prefixes(tensors: Mapping[str, "Tensor"]) -> list[str]:
    """What several names begin with, up to a dot: one to three words, shorter ones first."""
    found: dict[str, int] = {}
    for name in tensors:
        words = name.split(".")
        for count in range(1, min(4, len(words))):
            prefix = ".".join(words[:count]) + "."
            found[prefix] = found.get(prefix, 0) + 1
    return sorted((p for p, n in found.items() if n > 1), key=lambda p: (p.count("."), p))


def _parse(path: Path, content: bytes) -> object:
    """What the file holds, as torch or safetensors reads it."""
    import safetensors.torch
    import torch

    try:
        if _is_safetensors(content):
            return safetensors.torch.load(content)
        _check_container(path, content)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about old pickle protocols: no user can act on them
            return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except (MemoryError, CheckpointError):
        raise
    # A damaged pickle makes torch raise nearly anything: KeyError, EOFError, IndexError, ...
    except Exception as error:
        raise CheckpointError(_unreadable(path, content, error)) from error


def _check_container(path: Path, content: bytes) -> None:
    """Refuse what torch would read although it is damaged, of another kind, or without end.

    Raises:
        CheckpointError: A checksum is wrong, it unpacks to too much, or its pickle is too long.
    """
    if not content.startswith(b"PK\x03\x04"):
        if content.startswith(b"\x80"):
            _check_length(path, content, _LEGACY_PICKLES)
        return
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = archive.infolist()
        if (size := sum(member.file_size for member in members)) > _MAX_BYTES:
            raise CheckpointError(
                f"checkpoint {path} unpacks to {size / 2**20:,.0f} MiB, allowed are "
                f"{_MAX_BYTES / 2**20:,.0f} MiB"
            )
        names = [member.filename.partition("/")[2] for member in members]
        if any(name.startswith("code/") for name in names):
            raise CheckpointError(
                f"checkpoint {path} is a TorchScript archive, allowed is a state dict; load it "
                "with torch.jit.load and save its weights: torch.save(net.state_dict(), FILE)"
            )
        if "archive_format" in names or any(name.startswith("models/") for name in names):
            raise CheckpointError(
                f"checkpoint {path} is a program of torch.export, allowed is a state dict; load "
                "it with torch.export.load and save its weights: "
                "torch.save(program.state_dict, FILE)"
            )
        if (damaged := archive.testzip()) is not None:
            raise CheckpointError(
                f"checkpoint {path} is damaged: the checksum of {printable(damaged)} in it is "
                "wrong; copy or download it again"
            )
        for member in members:
            if member.filename.endswith("/data.pkl"):
                _check_length(path, archive.read(member), 1)


def _check_length(path: Path, content: bytes, pickles: int) -> None:
    """Refuse pickles of too many steps; what breaks off is torch's to refuse."""
    stream, count = io.BytesIO(content), 0
    try:
        for _ in range(pickles):
            for _ in itertools.islice(pickletools.genops(stream), _MAX_OPCODES - count + 1):
                count += 1
            if count > _MAX_OPCODES:
                raise CheckpointError(
                    f"checkpoint {path} holds a pickle of more than {_MAX_OPCODES:,} steps, which "
                    f"no network's weights need; {_SAVE_ADVICE}"
                )
    except (ValueError, EOFError, IndexError, UnicodeDecodeError):
        return


def _is_safetensors(content: bytes) -> bool:
    """Whether it begins with the length of a JSON header and that header, whatever its suffix."""
    header_length = int.from_bytes(content[:8], "little")
    return content[8:9] == b"{" and header_length <= len(content) - 8


def _unreadable(path: Path, content: bytes, error: Exception) -> str:
    """One line on why a file cannot be read as a checkpoint."""
    text = str(error)
    if wanted := re.search(r"\bGLOBAL (\S+)", text):
        what = "whole saved network" if wanted[1].startswith("torch.nn.") else "Python object"
        return (
            f"checkpoint {path} is refused: it holds more than tensors (it requires "
            f"{wanted[1]}), and loading such a {what} could run code; if it is your own, "
            f"{_SAVE_ADVICE}"
        )
    torch_file = content.startswith(_TORCH_STARTS)
    if path.suffix == ".safetensors" and not torch_file:
        return (
            f"checkpoint {path} is truncated or damaged: it has no whole safetensors header; copy "
            "or download it again"
        )
    if not torch_file and not _is_safetensors(content):
        return (
            f"checkpoint {path} is no PyTorch or safetensors file: it begins with "
            f"{content[:16]!r}; give one made by torch.save(net.state_dict(), FILE) or safetensors"
        )
    # torch's own words are about its parts, and advise to load without protection.
    return (
        f"checkpoint {path} is truncated or damaged; copy or download it again, or {_SAVE_ADVICE}"
    )


def _unwrap(path: Path, loaded: object) -> dict[str, "Tensor"]:
    """The state dict inside the entries that training tools put around it."""
    for _ in range(_MAX_NESTING):
        if not isinstance(loaded, Mapping):
            raise CheckpointError(
                f"checkpoint {path} holds {_kind(loaded)}, allowed a state dict; {_SAVE_ADVICE}"
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
    if not entries:
        raise CheckpointError(f"checkpoint {path} holds no weights; {_SAVE_ADVICE}")
    for name, value in entries.items():
        if not (isinstance(name, str) and _is_ordinary(value)):
            raise CheckpointError(
                f"checkpoint {path}: entry {name!r} is {_kind(value)}, allowed dense tensors, "
                f"or a dict of them under {', '.join(_WRAPPERS)}; {_SAVE_ADVICE}"
            )
    return dict(entries)


def _kind(value: object) -> str:
    from torch import Tensor

    if not isinstance(value, Tensor):
        return "None" if value is None else f"a {type(value).__name__}"
    return f"a {value.device.type} tensor of {value.dtype} and layout {value.layout}"


def _is_ordinary(value: object) -> bool:
    """Whether it is a dense tensor with values."""
    from torch import Tensor, strided

    return (
        isinstance(value, Tensor)
        and value.layout is strided
        and not (value.is_quantized or value.is_meta)
    )
