"""What edgesr knows of each architecture, and which of them a state dict belongs to.

This module imports no torch, so that listing the networks stays fast.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

#: A state dict without its values: parameter name -> shape.
Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class PublishedWeights:
    """A checkpoint that the network's authors published; never part of this project.

    Attributes:
        filename: Name in the cache and in `EDGESR_SHARED/reference`.
        url: Address it is downloaded from.
        sha256: Digest that the file must have.
        licence: The licence its authors state, or "none stated".
    """

    filename: str
    url: str
    sha256: str
    licence: str


@dataclass(frozen=True)
class ArchSpec:
    """One network at one scale.

    Attributes:
        name: Its name on the command line, e.g. `imdn-rtc`.
        aliases: Other names for it.
        description: One line for `edgesr models`.
        scale: Upscaling factor.
        parameters: Parameters of the plain (folded) form.
        receptive_radius: Pixels of the LR picture on each side of an output pixel's own that can
            change it; tiles overlap by at least this.
        value_range: The checkpoint's own range is [0, value_range]: 1.0 or 255.0.
        builder: "module:function" that takes `training_form: bool` and returns the `nn.Module`.
        renames: Regular expressions and replacements that turn other published namings of the
            parameters into ours.
        published: Where the authors' weights are, if they published any.
    """

    name: str
    aliases: tuple[str, ...]
    description: str
    scale: int
    parameters: int
    receptive_radius: int
    value_range: float
    builder: str
    renames: tuple[tuple[str, str], ...] = ()
    published: PublishedWeights | None = None
