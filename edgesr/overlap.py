"""How far tiles must overlap: what a `.tflite` says of itself, or a guess."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgesr.runtime import ModelShape, read_model_bytes
from edgesr.tflite_schema import buffer_bytes, parse_model
from edgesr.tiling import Overlap

_FACTS_ENTRY = b"EDGESR_FACTS"  # converters/manifest.py writes it
# More than the reach of the lightweight networks known here (22 to 34 pixels).
_GUESS = 48
# Over so many pixels one tile of a network that looks at the whole picture becomes the next.
_BLEND = 64


@dataclass(frozen=True)
class StatedFacts:
    """What edgesr's converter wrote into a file, as far as pictures are concerned.

    Attributes:
        model: The network's name.
        scale: Its upscaling factor.
        receptive_radius: How far it reaches, in pixels of its input; None where it is not known.
        size_multiple: What height and width of its input are multiples of.
        whole_picture: Whether statistics over all pixels enter every pixel.
        weights_sha256: Digest of its weights.
    """

    model: str
    scale: int
    receptive_radius: int | None
    size_multiple: int = 1
    whole_picture: bool = False
    weights_sha256: str = ""


def stated_facts(path: Path) -> StatedFacts | None:
    """The facts that edgesr's converter wrote into a file; None in other files.

    Raises:
        ModelFileError: The file is missing, truncated or damaged.
    """
    content = read_model_bytes(path)
    model = parse_model(content, str(path))
    for entry in model["metadata"]:
        if entry["name"] == _FACTS_ENTRY:
            return _sound_facts(bytes(buffer_bytes(content, model["buffers"][entry["buffer"]])))
    return None


def _sound_facts(text: bytes) -> StatedFacts | None:
    """The facts, if everything in them can be."""
    try:
        found: dict[str, Any] = json.loads(text)
        texts = [found["model"], found["weights_sha256"]]
        numbers = [found["scale"], found.get("size_multiple", 1)]
        radius, whole = found["receptive_radius"], found.get("whole_picture", False)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    known = [*numbers, 1 if radius is None else radius]
    sound = all(type(n) is int and n >= least for n, least in zip(known, (1, 1, 0), strict=True))
    if not sound or type(whole) is not bool or not all(isinstance(text, str) for text in texts):
        return None
    (model, sha256), (scale, multiple) = texts, numbers
    return StatedFacts(model, scale, radius, multiple, whole, sha256)


def choose_overlap(
    stated: StatedFacts | None, wanted: int | None, shape: ModelShape
) -> tuple[Overlap, str | None]:
    """Decide how far tiles overlap on each inner side, and how they must lie.

    Without a statement in the file, and without a wish, it is 48 pixels, or a quarter of the tile's
    shorter side where that is less, so that at least half of a tile is kept.

    Args:
        stated: What the file says.
        wanted: How many pixels the user says, which counts.
        shape: Sizes of the file.

    Returns:
        How tiles must lie, and a warning where seams are possible.
    """
    radius, warning = _choose_radius(stated and stated.receptive_radius, wanted, shape)
    if stated is None:
        return Overlap(radius), warning
    blend = _BLEND if stated.whole_picture else 0
    return Overlap(radius, stated.size_multiple, blend), warning


def _choose_radius(
    stated: int | None, wanted: int | None, shape: ModelShape
) -> tuple[int, str | None]:
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
