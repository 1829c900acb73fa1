"""The classic TFLite interpreter, from whichever package has it here."""

import importlib
import re
import sys
from typing import Any

from edgesr.errors import MissingDependencyError

#: Module -> what to call it, the best one first. tflite-runtime serves boards too old for LiteRT,
#: TensorFlow those who have it anyway.
_HOLDERS = {
    "ai_edge_litert.interpreter": "ai-edge-litert",
    "tflite_runtime.interpreter": "tflite-runtime",
    "tensorflow.lite.python.interpreter": "tensorflow",
}


def interpreter_class() -> Any:  # noqa: ANN401 - three packages, one interface, no types
    """The class `Interpreter` of the first runtime that can be imported.

    Raises:
        MissingDependencyError: There is none, or it is damaged.
    """
    for module in _HOLDERS:
        found = _import(module)
        if found is not None:
            return found.Interpreter
    names = ", ".join(_HOLDERS.values())
    raise MissingDependencyError(
        f"no TFLite runtime is installed, allowed any of {names}; `pip install ai-edge-litert`"
    )


def litert_schema() -> Any:  # noqa: ANN401 - generated code has no types
    """The classes that LiteRT generates from the schema of `.tflite`.

    Raises:
        MissingDependencyError: ai-edge-litert is not installed, or damaged.
    """
    require_litert("what is said of a .tflite", "ai_edge_litert.schema_py_generated")
    return sys.modules["ai_edge_litert.schema_py_generated"]


def _import(module: str) -> Any:  # noqa: ANN401
    """The module; None where it is not installed.

    Raises:
        MissingDependencyError: It is installed, but its libraries cannot be loaded. The next
            runtime would do for the CPU, but a damaged installation fails again elsewhere.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError:
        return None
    except (ImportError, OSError) as error:  # the dynamic linker's words
        package = module.partition(".")[0].replace("_", "-")
        reason = next(iter(str(error).splitlines()), "no reason given")
        raise MissingDependencyError(
            f"{package} is installed but damaged: {reason}; "
            f"`pip install --force-reinstall {package}`"
        ) from error


def plain_kernels(interpreter: Any) -> Any:  # noqa: ANN401
    """The setting `experimental_op_resolver_type` that leaves out XNNPACK."""
    types = sys.modules[interpreter.__module__].OpResolverType
    return types.BUILTIN_WITHOUT_DEFAULT_DELEGATES


def native_reason(error: Exception) -> str:
    """What an error of the interpreter says, without the advice that some of them go on to give."""
    text = str(error).strip()
    first = next(iter(text.splitlines()), "no reason given")
    unprepared = re.search(r"Node number (\d+) \(([^)]*)\) failed to prepare", text)
    if unprepared is None:
        return first
    said = first.split("Node number")[0].split(". ")[0].rstrip(".")
    return f"operator {unprepared[1]} {unprepared[2]} cannot be prepared: {said}"


def require_litert(what: str, module: str = "ai_edge_litert.compiled_model") -> None:
    """Refuse what only LiteRT can do.

    Args:
        what: What was asked for.
        module: The part of LiteRT that does it.

    Raises:
        MissingDependencyError: ai-edge-litert is not installed, or damaged.
    """
    if _import(module) is None:
        raise MissingDependencyError(f"{what} needs LiteRT: `pip install 'ai-edge-litert>=2.3,<3'`")
