"""Check that required packages are installed before work begins."""

import importlib.util
from collections.abc import Sequence

from edgesr.errors import MissingDependencyError


def require(what: str, libraries: Sequence[str], extra: str) -> None:
    """Refuse to begin without a library of an extra.

    Args:
        what: What needs it, to begin the message with.
        libraries: Names to import.
        extra: The extra of edgesr that installs them.

    Raises:
        MissingDependencyError: One is not installed.
    """
    for library in libraries:
        if importlib.util.find_spec(library) is None:
            raise MissingDependencyError(
                f"{what} needs {library}, which is not installed; run: pip install "
                f"'edgesr[{extra}]'"
            )
