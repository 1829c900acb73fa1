"""LiteRT's package with one file missing or another in its place; the rest are links."""

from pathlib import Path

import ai_edge_litert

ACCELERATOR = "libLiteRtWebGpuAccelerator.so"
RUNTIME = "libLiteRt.so"


def litert() -> Path:
    """The folder of the package that is installed."""
    return Path(next(iter(ai_edge_litert.__path__)))


def put_litert(folder: Path, name: str, content: bytes | None) -> None:
    """Make the package in a folder.

    Args:
        folder: To be put before all others on the path of modules.
        name: The file that is another.
        content: What it holds; None for no such file.
    """
    package = folder / "ai_edge_litert"
    package.mkdir()
    for path in litert().iterdir():
        if path.name != name:
            (package / path.name).symlink_to(path)
    if content is not None:
        (package / name).write_bytes(content)
