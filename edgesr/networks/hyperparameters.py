"""The sizes of a network, read from the names and shapes of its parameters.

An architecture is defined for more widths, depths and scales than the listed ones. Its file has a
reader, made of what is here, that tells them from a state dict. What a reader says is a guess: the
network that is built of it must have exactly these parameters (`edgesr.networks.detection`).
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

#: A state dict without its values: parameter name -> shape.
Shapes = Mapping[str, tuple[int, ...]]

#: A builder's keywords with their values; pairs, because a spec must be hashable.
BuilderSizes = tuple[tuple[str, int | tuple[int, ...]], ...]

# A stored tensor can repeat one value without end, and so claim any shape in a few bytes: what no
# network for a phone has is not built.
_LARGEST = 1024

_VARIANT_NAME = re.compile(r"(.+)-c\d+(?:m\d+)?b\d+(?:e\d+(?:-\d+)*)?")


@dataclass(frozen=True)
class Family:
    """An architecture that comes in other sizes than the listed ones.

    Attributes:
        name: What a variant's name begins with: that of a listed network.
        reader: "module:function" that takes names (ours) and shapes and returns `Sizes`, or None
            where they are not those of this architecture.
    """

    name: str
    reader: str


@dataclass(frozen=True)
class Sizes:
    """Sizes that distinguish the networks of an architecture.

    Attributes:
        scale: Upscaling factor.
        builder: The other keywords of the builder.
        receptive_radius: As in `ArchSpec`; it follows from the depth.
        tag: The sizes in a variant's name, e.g. `c32b4`: fit for a file name.
        words: The same for people.
    """

    scale: int
    builder: BuilderSizes
    receptive_radius: int
    tag: str
    words: str


def trunk_sizes(num_feat: int, num_blocks: int, scale: int, receptive_radius: int) -> Sizes | None:
    """The sizes of a network of equal blocks; None where one was not found (0) or is absurd."""
    if not sensible(num_feat, num_blocks, scale):
        return None
    return Sizes(
        scale,
        (("num_feat", num_feat), ("num_blocks", num_blocks)),
        receptive_radius,
        f"c{num_feat}b{num_blocks}",
        f"{num_feat} channels, {counted(num_blocks, 'block')}",
    )


def sensible(*sizes: int) -> bool:
    """Whether every one was found and none is beyond what a network for a phone has."""
    return all(1 <= size <= _LARGEST for size in sizes)


def counted(number: int, noun: str) -> str:
    """A number with its noun, e.g. `1 block`."""
    return f"{number} {noun}{'s' * (number != 1)}"


def output_channels(shapes: Shapes, pattern: str) -> int:
    """Channels out of the first convolution whose weight has such a name; 0 if none has."""
    found = next((shape for name, shape in shapes.items() if re.fullmatch(pattern, name)), ())
    return found[0] if found else 0


def shuffle_factor(shapes: Shapes, pattern: str) -> int:
    """Factor of the pixel shuffle behind such a convolution, to RGB; 0 if it fits none."""
    outputs = output_channels(shapes, pattern)
    factor = math.isqrt(outputs // 3)
    return factor if 3 * factor * factor == outputs else 0


def count(shapes: Shapes, pattern: str) -> int:
    """How many parameters have such a name."""
    return sum(re.fullmatch(pattern, name) is not None for name in shapes)


def family_name(name: str) -> str:
    """The family in a variant's name; any other name as it is."""
    found = _VARIANT_NAME.fullmatch(name)
    return found[1] if found else name
