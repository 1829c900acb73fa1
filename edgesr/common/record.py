"""The base of everything that is written to a file as JSON and read again."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from edgesr.common.text import shorten

_LONGEST_VALUE = 60  # characters
#: What pydantic's types of errors require, in words of the files.
_REQUIRED = {
    "bool": "true or false",
    "dict": "a table of keys",
    "float": "a number",
    "int": "a whole number",
    "list": "a list",
    "model": "a table of keys",
    "string": "text",
    "tuple": "a list",
}
#: The bounds of numbers and of lengths: pydantic's name of the bound -> words.
_BOUNDS = {
    "gt": "more than",
    "ge": "at least",
    "lt": "less than",
    "le": "at most",
}


class Record(BaseModel):
    """Unknown keys are errors: a typo must not pass as an absent fact."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def first_problem(error: ValidationError) -> str:
    """Describe the first problem of a file in one line, e.g. `runs: got 0, allowed at least 1`.

    Items of lists count from 0.
    """
    detail = true_problems(error)[0]
    return describe_problem(".".join(map(str, detail["loc"])), detail)


def true_problems(error: ValidationError) -> list[ErrorDetails]:
    """List the problems, without lists that are too short only because items of them are wrong."""
    found = error.errors()
    places = [detail["loc"] for detail in found]
    return [
        detail
        for detail in found
        if detail["type"] != "too_short"
        or not any(place[:-1][: len(detail["loc"])] == detail["loc"] for place in places)
    ]


def describe_problem(key: str, detail: Mapping[str, Any]) -> str:
    """Describe one of pydantic's problems in words of the file that it lies in.

    Args:
        key: Where it lies; empty for the whole file.
        detail: An entry of `ValidationError.errors()`.
    """
    kind: str = detail["type"]
    key = shorten(key, _LONGEST_VALUE)
    if kind == "json_invalid":
        return "it is not JSON"
    if kind == "missing":
        return f"{key}: missing; add it"
    if kind == "extra_forbidden":
        return f"{key}: unknown key; take it out or correct its name"
    return f"{key or 'the whole file'}: got {_shown(detail['input'])}, allowed {_allowed(detail)}"


def _shown(value: object) -> str:
    if isinstance(value, Mapping):
        return "a table of keys"
    if isinstance(value, list | tuple):
        return "a list"
    return shorten(repr(value), _LONGEST_VALUE)


def _allowed(detail: Mapping[str, Any]) -> str:
    kind, context = str(detail["type"]), detail.get("ctx", {})
    for name, words in _BOUNDS.items():
        if name in context:
            return f"{words} {context[name]:g}"
    if "expected" in context:
        return str(context["expected"])
    if kind in ("too_short", "too_long"):
        bound = "at least" if kind == "too_short" else "at most"
        count = context.get("min_length", context.get("max_length"))
        return f"a list of {bound} {count}"
    if kind == "finite_number":
        return "a finite number"
    if kind == "value_error":
        return str(context["error"])
    return _REQUIRED.get(kind.partition("_")[0], "a value of another kind")
