"""The classic TFLite interpreter, from whichever package has it here."""

import re
import sys
from typing import Any

from edgesr.common.litert import import_optional
from edgesr.common.text import shorten
from edgesr.errors import MissingDependencyError

#: Module -> what to call it, the best one first. tflite-runtime serves boards too old for LiteRT,
#: TensorFlow those who have it anyway.
_HOLDERS = {
    "ai_edge_litert.interpreter": "ai-edge-litert",
    "tflite_runtime.interpreter": "tflite-runtime",
    "tensorflow.lite.python.interpreter": "tensorflow",
}

#: Characters; bindings print their arguments, the content of a file among them.
_LONGEST_REASON = 300
# XNNPACK reports that it cannot allocate what its kernels need at a size as a failed reshape.
_NO_MEMORY = re.compile(
    r"XNNPack delegate failed to reshape|bad_alloc|failed to allocate memory", re.IGNORECASE
)


def interpreter_class() -> Any:  # noqa: ANN401 - three packages, one interface, no types
    """The class `Interpreter` of the first runtime that can be imported.

    Raises:
        MissingDependencyError: There is none, or it is damaged.
    """
    for module in _HOLDERS:
        found = import_optional(module)
        if found is not None:
            return found.Interpreter
    names = ", ".join(_HOLDERS.values())
    raise MissingDependencyError(
        f"no TFLite runtime is installed, allowed any of {names}; `pip install ai-edge-litert`"
    )


def plain_kernels(interpreter: Any) -> Any:  # noqa: ANN401
    """The setting `experimental_op_resolver_type` that leaves out XNNPACK."""
    types = sys.modules[interpreter.__module__].OpResolverType
    return types.BUILTIN_WITHOUT_DEFAULT_DELEGATES


def native_reason(error: Exception) -> str:
    """Shorten an error of the interpreter: no advice, no binary content, one readable line."""
    text = str(error).strip()
    first = next(iter(text.splitlines()), "no reason given")
    if isinstance(error, MemoryError) or _NO_MEMORY.search(text):
        return "the memory that is free does not suffice; run smaller images or tiles, or free some"
    unprepared = re.search(r"Node number (\d+) \(([^)]*)\) failed to prepare", text)
    if unprepared is None:
        return shorten(first, _LONGEST_REASON)
    said = first.split("Node number")[0].split(". ")[0].rstrip(".")
    reason = f"operator {unprepared[1]} {unprepared[2]} cannot be prepared: {said}"
    return shorten(reason, _LONGEST_REASON)
