"""The files that a page offers."""

from collections.abc import Sequence
from pathlib import Path

from edgesr.networks.spec import all_specs
from edgesr.weights.bundled import model_file, shipped_file


def model_files(names: Sequence[str]) -> list[Path]:
    """The `.tflite` files that a user means, each once.

    Args:
        names: Paths or names of networks; empty for all files that come with edgesr.

    Raises:
        ModelFileError: A name is neither, or no file comes with edgesr.
    """
    if names:
        return list(dict.fromkeys(model_file(name) for name in names))
    # The default network's file first: it is the one that is chosen when the page opens.
    default = model_file(None)
    others = [file for spec in all_specs() if (file := shipped_file(spec)) and file != default]
    return [default, *others]
