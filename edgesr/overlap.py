"""How far tiles must overlap: what a `.tflite` says of itself, or a guess."""

import json
from pathlib import Path

from edgesr.runtime import ModelShape, read_model_bytes
from edgesr.tflite_schema import buffer_bytes, parse_model

_FACTS_ENTRY = b"EDGESR_FACTS"  # converters/manifest.py writes it
# More than the reach of the lightweight networks known here (22 to 34 pixels).
_GUESS = 48


def stated_radius(path: Path) -> int | None:
    """The receptive radius that edgesr's converter wrote into a file; None in other files.

    Raises:
        ModelFileError: The file is missing, truncated or damaged.
    """
    content = read_model_bytes(path)
    model = parse_model(content, str(path))
    for entry in model["metadata"]:
        if entry["name"] == _FACTS_ENTRY:
            return _radius(bytes(buffer_bytes(content, model["buffers"][entry["buffer"]])))
    return None


def _radius(facts: bytes) -> int | None:
    """The field of the facts, if they are sound."""
    try:
        found = json.loads(facts)["receptive_radius"]
    except (ValueError, KeyError, TypeError):
        return None
    return found if isinstance(found, int) and found >= 0 else None


def choose_overlap(
    stated: int | None, wanted: int | None, shape: ModelShape
) -> tuple[int, str | None]:
    """Decide how far tiles overlap on each inner side.

    Without a statement in the file, and without a wish, it is 48 pixels, or a quarter of the tile's
    shorter side where that is less, so that at least half of a tile is kept.

    Args:
        stated: What the file says.
        wanted: What the user says, which counts.
        shape: Sizes of the file.

    Returns:
        Pixels, and a warning where seams are possible.
    """
    if wanted is not None:
        if stated is not None and wanted < stated:
            return wanted, (
                f"overlap {wanted} is less than the network's receptive radius {stated}: "
                "seams are possible"
            )
        return wanted, None
    if stated is not None:
        return stated, None
    guess = min(_GUESS, min(shape.height, shape.width) // 4)
    return guess, (
        f"the model file does not say how far its network reaches; tiles overlap by {guess} "
        "pixels: if seams show, pass a larger --overlap"
    )
