"""Damaged and odd recipes through `edgesr train`."""

from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import tomllib

from fuzz.case import Case, damage, edit_tree

_RECIPES = Path(__file__).parents[3] / "edgesr" / "training" / "recipes"


@cache
def _texts() -> list[bytes]:
    return [path.read_bytes() for path in sorted(_RECIPES.glob("*.toml"))]


def make(rng: Random) -> Case:
    """A recipe, most often bad, and a training by it that ends for lack of images at the latest."""
    text = rng.choice(_texts())
    if rng.random() < 0.3:
        text = damage(text, rng)
    else:
        tree = tomllib.loads(text.decode())
        for _ in range(rng.choice((1, 1, 2))):
            edit_tree(tree, rng)
        text = _toml(tree)
    words = ["train", "--recipe", "r.toml", "--data", "images", "-o", "out", "--cache", "cache"]
    return Case(words, {"r.toml": text, "images/a.txt": b"no image"})


def _toml(tree: dict[str, Any]) -> bytes:
    lines = [f"{_text(key)} = {_value(value)}" for key, value in tree.items()]
    return "\n".join(lines).encode(errors="replace")


def _value(value: object) -> str:
    """A value in one line, tables too."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_text(str(k))} = {_value(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    return _text(value) if isinstance(value, str) else str(value)


def _text(value: str) -> str:
    """A quoted string with everything escaped that must be."""
    return '"' + "".join(c if c.isalnum() else f"\\U{ord(c):08x}" for c in value) + '"'
