"""LiteRT's Python package: imported where it is needed, refused where it is missing."""

import importlib
import sys
from typing import Any

from edgesr.errors import MissingDependencyError


def litert_schema() -> Any:  # noqa: ANN401 - generated code has no types
    """The classes that LiteRT generates from the schema of `.tflite`.

    Raises:
        MissingDependencyError: ai-edge-litert is not installed, or damaged.
    """
    require_litert("what is said of a .tflite", "ai_edge_litert.schema_py_generated")
    return sys.modules["ai_edge_litert.schema_py_generated"]


def import_optional(module: str) -> Any:  # noqa: ANN401
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


def require_litert(what: str, module: str = "ai_edge_litert.compiled_model") -> None:
    """Refuse what only LiteRT can do.

    Args:
        what: What needs it, for the message.
        module: The part of LiteRT that does it.

    Raises:
        MissingDependencyError: ai-edge-litert is not installed, or damaged.
    """
    if import_optional(module) is None:
        raise MissingDependencyError(f"{what} needs LiteRT: `pip install 'ai-edge-litert>=2.3,<3'`")
