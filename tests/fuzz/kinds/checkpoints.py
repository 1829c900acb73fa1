"""Damaged, odd and hostile checkpoints through `info`, `fold` and `convert`."""

import io
import json
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from fuzz.case import NASTY_TEXT, Case, damage, edit_tree

_ODD_WEIGHTS = (float("nan"), float("inf"), 3e38, -3e38, 1e-45, 0.0, 65504.0)


def make(rng: Random) -> Case:
    """A checkpoint, most often bad, and the command on it."""
    makers: list[Callable[[Random], tuple[str, bytes, bool]]] = [
        _damaged_bytes,
        _damaged_member,
        _wrong_checksum,
        _odd_state,
        _odd_state,
        _safetensors,
        _pickle,
        _big_pickle,
    ]
    suffix, content, is_damaged = rng.choice(makers)(rng)
    name = f"weights{suffix}"
    words = rng.choice(
        [
            *([["info", name, "--size", "32x32"]] * 4),
            *([["fold", name]] * 4),
            ["info", name, "--size", "32x32", "--json"],
            ["convert", "--checkpoint", name, "--size", "32x32", "--fp32"],
        ]
    )
    if words[0] == "convert" and rng.random() < 0.7:
        words = ["info", name]  # a conversion takes many times as long
    return Case(words, {name: content}, _refuse if is_damaged else None)


def _refuse(_: Path, __: str) -> list[str]:
    return ["accepted a checkpoint that is damaged"]


@cache
def _state(training_form: bool = False) -> dict[str, Any]:
    """FMEN-S with random weights."""
    import torch

    from edgesr.networks.spec import build, find_spec

    torch.manual_seed(0)
    return dict(build(find_spec("fmen-s"), training_form=training_form).state_dict())


def _saved(state: object, **options: object) -> bytes:
    import torch

    file = io.BytesIO()
    torch.save(state, file, **options)  # type: ignore[arg-type]
    return file.getvalue()


def _plain(rng: Random) -> dict[str, Any]:
    return _state(rng.random() < 0.3)


def _damaged_bytes(rng: Random) -> tuple[str, bytes, bool]:
    zipped = rng.random() < 0.7
    content = _saved(_plain(rng), _use_new_zipfile_serialization=zipped)
    return ".pth", damage(content, rng), False


def _members(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _zipped(members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def _damaged_member(rng: Random) -> tuple[str, bytes, bool]:
    """A zip archive that is whole, of which a member is damaged, missing or renamed."""
    members = _members(_saved(_plain(rng)))
    name = rng.choice([*members, next(n for n in members if n.endswith("data.pkl"))])
    content = members.pop(name)
    match rng.randrange(4):
        case 0:
            members[name] = damage(content, rng)
        case 1:
            members["m" + rng.choice(NASTY_TEXT).replace("\ud800", "?")] = content
        case 2:
            members[name] = _zipped({name: content})
        case _:
            pass
    return ".pth", _zipped(members, rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))), False


def _wrong_checksum(rng: Random) -> tuple[str, bytes, bool]:
    """One bit of a weight's bytes in a zip archive is another; the archive's CRC-32 tells."""
    content = bytearray(_saved(_plain(rng)))
    with zipfile.ZipFile(io.BytesIO(bytes(content))) as archive:
        chosen = rng.choice([i for i in archive.infolist() if "/data/" in i.filename])
    name_length, extra_length = struct.unpack_from("<HH", content, chosen.header_offset + 26)
    start = chosen.header_offset + 30 + name_length + extra_length
    content[start + rng.randrange(chosen.file_size)] ^= 1 << rng.randrange(8)
    return rng.choice((".pth", ".pt", ".safetensors")), bytes(content), True


def _odd_state(rng: Random) -> tuple[str, bytes, bool]:
    """A state dict with other values, names, types or shapes, in a wrapper or not."""
    import torch

    state: dict[Any, Any] = {name: value.clone() for name, value in _plain(rng).items()}
    name = rng.choice(list(state))
    match rng.randrange(8):
        case 0:
            state[name].view(-1)[0] = rng.choice(_ODD_WEIGHTS)
        case 1:
            for value in (v for v in state.values() if v.is_floating_point()):
                value.fill_(rng.choice((0.0, float("nan"), 3e38)))
        case 2:
            state[rng.choice(NASTY_TEXT)] = state.pop(name)
        case 3:
            kinds = (torch.float16, torch.bfloat16, torch.float64, torch.int8, torch.complex64)
            state[name] = state[name].to(rng.choice(kinds))
        case 4:
            state[name] = rng.choice(
                (state[name].flatten()[:1], state[name].flatten(), torch.empty(0), 3, None)
            )
        case 5:
            prefix = rng.choice(("module.", "net_g.", "generator.", "model.", "\x1b[31m."))
            state = {prefix + key: value for key, value in state.items()}
        case 6:
            state[rng.choice((3, None, (1, 2), "more"))] = rng.choice((torch.ones(2), "text", [1]))
        case _:
            del state[name]
    wrapped: object = state
    for _ in range(rng.choice((0, 0, 1, 1, 9))):
        wrapped = {rng.choice(("params", "state_dict", "model", "odd")): wrapped, "epoch": 3}
    return rng.choice((".pth", ".pt", ".ckpt")), _saved(wrapped), False


def _safetensors(rng: Random) -> tuple[str, bytes, bool]:
    """A safetensors file with an edited header, damaged, or of another name."""
    from safetensors.torch import save

    content = save({name: value.contiguous() for name, value in _plain(rng).items()})
    length = struct.unpack_from("<Q", content)[0]
    header, rest = json.loads(content[8 : 8 + length]), content[8 + length :]
    match rng.randrange(4):
        case 0:
            content = damage(content, rng)
        case 1:
            content = struct.pack("<Q", rng.choice((0, 1, 2**40, 2**64 - 1))) + content[8:]
        case 2:
            header["__metadata__"] = {rng.choice(NASTY_TEXT): rng.choice(NASTY_TEXT)}
        case _:
            edit_tree(header, rng)
    if content[8 : 8 + length] != json.dumps(header).encode():
        text = json.dumps(header).encode()
        content = rng.choice((content, struct.pack("<Q", len(text)) + text + rest))
    return rng.choice((".safetensors", ".safetensors", ".pth")), content, False


class _Call:
    """Pickles as a call of a function."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self._call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self._call


def _pickle(rng: Random) -> tuple[str, bytes, bool]:
    """Pickles of other things: calls, deep and self-containing containers, other objects."""
    deep: object = {}
    for _ in range(rng.choice((10, 900))):
        deep = rng.choice(([deep], {"state_dict": deep}, (deep,)))
    loop: dict[str, object] = {}
    loop["state_dict"] = loop
    things = (
        _Call(print, "executed"),
        _Call(open, "executed.txt", "w"),
        OrderedDict(a=_Call(exec, "import os; os.abort()")),
        *(deep, loop, Path("x"), b"bytes", None, 3, [], {}, set("ab"), 1j),
        {text: 1 for text in NASTY_TEXT if text != "\ud800"},
    )
    protocol = rng.randrange(6)
    content = pickle.dumps(rng.choice(things), protocol)
    if rng.random() < 0.5:
        members = _members(_saved({"a": 1}))
        name = next(n for n in members if n.endswith("data.pkl"))
        content = _zipped(members | {name: content})
    return ".pth", damage(content, rng) if rng.random() < 0.3 else content, False


def _big_pickle(rng: Random) -> tuple[str, bytes, bool]:
    """A small zip archive whose pickle unpacks to many opcodes, or to one long stretch."""
    count = rng.choice((10**6, 3 * 10**7))
    body = rng.choice((b"}", b"N0", b"(d0", b"]q\0"))
    content = b"\x80\x02" + body * (count // len(body)) + b"}."
    members = _members(_saved({"a": 1}))
    name = next(n for n in members if n.endswith("data.pkl"))
    return ".pth", _zipped(members | {name: content}, zipfile.ZIP_DEFLATED), False
