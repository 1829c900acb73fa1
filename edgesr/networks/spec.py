"""Architecture specs: facts, lookup by name, builder.

Importing this module imports no torch, so that listing the networks stays fast.
"""

import difflib
import functools
import importlib
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from edgesr.errors import ArchitectureError
from edgesr.networks.hyperparameters import BuilderSizes, Family, Shapes, Sizes, family_name

if TYPE_CHECKING:
    from torch import nn

#: Batch norm's counter of training steps: no forward pass in eval mode reads it, and checkpoints
#: from old versions of torch or from other tools lack it.
COUNTER_SUFFIX = ".num_batches_tracked"

_MAX_PARAMETERS = 2**28  # in float32 as many bytes as a checkpoint may have


@dataclass(frozen=True)
class PublishedWeights:
    """A checkpoint that the network's authors published; never part of this project.

    Attributes:
        filename: Name in the cache and in `EDGESR_SHARED/reference`.
        project: Where its authors live, for people, e.g. `github.com/Zheng222/IMDN`.
        url: Address it is downloaded from.
        sha256: Digest that the file must have.
        licence: The licence its authors state, or "none stated".
    """

    filename: str
    project: str
    url: str
    sha256: str
    licence: str


@dataclass(frozen=True)
class ArchSpec:
    """One network at one scale.

    Attributes:
        name: Its name on the command line, e.g. `imdn-rtc`; shared by a family's scales.
        aliases: Other names for it.
        description: One line for `edgesr models`.
        scale: Upscaling factor.
        parameters: Parameters of the plain (folded) form.
        receptive_radius: Pixels of the LR image on each side of an output pixel's own that can
            change it; tiles overlap by at least this.
        value_range: The checkpoint's own range is [0, value_range]: 1.0 or 255.0.
        size_multiple: What height and width of the input must be multiples of; more than 1 where
            the head lowers the resolution.
        whole_image: Whether statistics over all pixels enter every pixel, as attention over
            channels has them; the receptive radius is then that of the rest.
        builder: "module:function" that takes `scale: int`, `training_form: bool` if there is one,
            and the family's sizes as keywords, and returns the `nn.Module`.
        has_training_form: Whether it trains in a larger form that folds into the plain one.
        renames: Regular expressions and replacements that turn other published namings of the
            parameters into ours.
        published: The authors' weights that `edgesr convert` takes by default, if there are any.
        also_published: Other published trainings, known by their sha256.
        family: The architecture with all its sizes, if it comes in more than the listed ones.
        sizes: Keywords of the builder, of a variant; a listed network has the builder's defaults.
    """

    name: str
    aliases: tuple[str, ...]
    description: str
    scale: int
    parameters: int
    receptive_radius: int
    value_range: float
    builder: str
    size_multiple: int = 1
    whole_image: bool = False
    has_training_form: bool = False
    renames: tuple[tuple[str, str], ...] = ()
    published: PublishedWeights | None = None
    also_published: tuple[PublishedWeights, ...] = ()
    family: Family | None = None
    sizes: BuilderSizes = ()

    @property
    def is_variant(self) -> bool:
        """Whether it is no listed network but one of other sizes."""
        return bool(self.sizes)

    @property
    def model(self) -> str:
        """The listed name that `--model` knows it by."""
        return self.family.name if self.family and self.is_variant else self.name

    def answers(self, requested: "ArchSpec") -> bool:
        """Whether it is the requested network, or a variant of its architecture."""
        if not (self.is_variant and self.family and requested.family):
            return self == requested
        return self.family.reader == requested.family.reader

    @property
    def all_published(self) -> tuple[PublishedWeights, ...]:
        """Every published training of this network, the default one first."""
        first = (self.published,) if self.published else ()
        return first + self.also_published


def ordered(*specs: ArchSpec) -> tuple[ArchSpec, ...]:
    """The list of architectures, checked.

    Raises:
        ValueError: A name stands for two networks, or a network is listed twice at one scale.
    """
    owners: dict[str, str] = {}
    for spec in specs:
        labels = (spec.name, *spec.aliases)
        taken = [label for label in labels if owners.get(label, spec.name) != spec.name]
        if taken or len(set(labels)) < len(labels):
            raise ValueError(f"{spec.name}: {taken or labels} used twice among names and aliases")
        owners |= dict.fromkeys(labels, spec.name)
    for (name, scale), count in Counter((spec.name, spec.scale) for spec in specs).items():
        if count > 1:
            raise ValueError(f"{name} x{scale} is listed {count} times")
    return specs


def all_specs() -> tuple[ArchSpec, ...]:
    """Every architecture, in the order in which detection tries them."""
    from edgesr.networks.registry import SPECS  # the list is made of this module's types

    return SPECS


def specs_named(
    name_or_alias: str, *, specs: Sequence[ArchSpec] | None = None
) -> tuple[ArchSpec, ...]:
    """The architectures of that name, one for each scale.

    Raises:
        ArchitectureError: None has that name.
    """
    known = all_specs() if specs is None else specs
    family = family_name(name_or_alias)
    if family != name_or_alias and any(spec.name == family for spec in known):
        raise ArchitectureError(
            f"{name_or_alias} is a variant of {family}, of which edgesr has no weights: it is "
            "known by its checkpoint alone; name that with --checkpoint FILE"
        )
    named = tuple(spec for spec in known if name_or_alias in (spec.name, *spec.aliases))
    if not named:
        raise ArchitectureError(_unknown_name(name_or_alias, known))
    return named


def find_spec(
    name_or_alias: str, scale: int | None = None, *, specs: Sequence[ArchSpec] | None = None
) -> ArchSpec:
    """The architecture of that name.

    Args:
        name_or_alias: As on the command line.
        scale: Needed only where a name is offered at several scales.
        specs: The list to look in; all architectures by default.

    Raises:
        ArchitectureError: No architecture has that name (the message lists all of them and the
            closest), or none at that scale, or several where no scale was given.
    """
    named = specs_named(name_or_alias, specs=specs)
    fitting = [spec for spec in named if scale in (None, spec.scale)]
    if len(fitting) == 1:
        return fitting[0]
    allowed = ", ".join(str(spec.scale) for spec in named)
    raise ArchitectureError(
        f"model {name_or_alias}: got scale {scale or 'unspecified'}, allowed {allowed}"
    )


def _unknown_name(name: str, known: Sequence[ArchSpec]) -> str:
    labels = list(dict.fromkeys(label for s in known for label in (s.name, *s.aliases)))
    closest = difflib.get_close_matches(name.lower().replace("_", "-"), labels, n=1, cutoff=0.0)
    return f"unknown model {name!r}, allowed: {', '.join(labels)}; did you mean {closest[0]}?"


def build(spec: ArchSpec, *, training_form: bool = False) -> "nn.Module":
    """Build the network with torch's random initial weights.

    Raises:
        ArchitectureError: A training form is requested of a network that has none.
    """
    options: dict[str, Any] = {"scale": spec.scale, **dict(spec.sizes)}
    if spec.has_training_form:
        options["training_form"] = training_form
    elif training_form:
        raise ArchitectureError(f"{spec.name} has no training form: it trains as it runs")
    return _imported(spec.builder)(**options)


def _imported(address: str) -> Any:  # noqa: ANN401 - builders and readers differ in type
    """The function that "module:function" names."""
    module, function = address.split(":")
    return getattr(importlib.import_module(module), function)


def variant_of(base: ArchSpec, shapes: Shapes) -> ArchSpec | None:
    """The network of a listed one's architecture that has sizes read from these shapes.

    That it has these parameters is not said yet: `edgesr.networks.detection` compares them.

    Args:
        base: A listed network; what does not follow from the sizes is taken from it.
        shapes: A state dict in our naming.

    Returns:
        None where the shapes show no sizes that the architecture is defined for.
    """
    read: Sizes | None = _imported(base.family.reader)(shapes) if base.family else None
    if base.family is None or read is None:
        return None
    made = replace(
        base,
        name=f"{base.family.name}-{read.tag}",
        aliases=(),
        description=f"{base.family.name} with {read.words}",
        scale=read.scale,
        receptive_radius=read.receptive_radius,
        published=None,
        also_published=(),
        sizes=read.builder,
    )
    try:
        plain = expected_shapes(made, training_form=False)
    except ArchitectureError:
        return None
    # A plain form has parameters alone, no buffers.
    parameters = sum(math.prod(shape) for shape in plain.values())
    return replace(made, parameters=parameters) if parameters <= _MAX_PARAMETERS else None


@functools.cache
def expected_shapes(spec: ArchSpec, training_form: bool) -> Shapes:
    """The names and shapes of all parameters and buffers of one form of a network.

    The network is built on the meta device, which allocates and initialises nothing.
    """
    import torch

    with torch.device("meta"):
        net = build(spec, training_form=training_form)
    return MappingProxyType({name: tuple(t.shape) for name, t in net.state_dict().items()})
