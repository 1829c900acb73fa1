"""What edgesr knows of each architecture, and which of them a state dict belongs to.

Importing this module imports no torch, so that listing the networks stays fast. Detection needs
torch: what a network's parameters are called and what shapes they have is read from the network
itself, built on torch's meta device, so no list of keys is kept by hand.
"""

import difflib
import functools
import importlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from edgesr.errors import ArchitectureError, UnsupportedCheckpointError

if TYPE_CHECKING:
    from torch import nn

#: A state dict without its values: parameter name -> shape.
Shapes = Mapping[str, tuple[int, ...]]

#: Batch norm's counter of training steps: no forward pass in eval mode reads it, and checkpoints
#: from old versions of torch or from other tools lack it.
COUNTER_SUFFIX = ".num_batches_tracked"

#: What torch's own wrappers put before every name: DataParallel, and torch.compile.
_WRAPPER_PREFIXES = ("module.", "_orig_mod.")
_NAMES_SHOWN = 3


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
        receptive_radius: Pixels of the LR picture on each side of an output pixel's own that can
            change it; tiles overlap by at least this.
        value_range: The checkpoint's own range is [0, value_range]: 1.0 or 255.0.
        builder: "module:function" that takes `training_form: bool` and returns the `nn.Module`.
        has_training_form: Whether it trains in a larger form that folds into the plain one.
        renames: Regular expressions and replacements that turn other published namings of the
            parameters into ours.
        published: The authors' weights that `edgesr convert` takes by default, if there are any.
        also_published: Other published trainings, known by their sha256.
    """

    name: str
    aliases: tuple[str, ...]
    description: str
    scale: int
    parameters: int
    receptive_radius: int
    value_range: float
    builder: str
    has_training_form: bool = False
    renames: tuple[tuple[str, str], ...] = ()
    published: PublishedWeights | None = None
    also_published: tuple[PublishedWeights, ...] = ()

    @property
    def all_published(self) -> tuple[PublishedWeights, ...]:
        """Every published training of this network, the default one first."""
        first = (self.published,) if self.published else ()
        return first + self.also_published


@dataclass(frozen=True)
class Detection:
    """The architecture that a state dict belongs to.

    Attributes:
        spec: The network.
        training_form: Whether the parameters are those of the form it trains in.
        renamed: The state dict's own parameter names -> ours. Batch norm's step counters are left
            out.
    """

    spec: ArchSpec
    training_form: bool
    renamed: Mapping[str, str]


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
    from edgesr.archs import SPECS  # the list is made of this module's types

    return SPECS


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
    known = all_specs() if specs is None else specs
    named = [spec for spec in known if name_or_alias in (spec.name, *spec.aliases)]
    if not named:
        raise ArchitectureError(_unknown_name(name_or_alias, known))
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
        ArchitectureError: A training form is asked of a network that has none.
    """
    module, function = spec.builder.split(":")
    return getattr(importlib.import_module(module), function)(training_form=training_form)


@functools.cache
def expected_shapes(spec: ArchSpec, training_form: bool) -> Shapes:
    """The names and shapes of all parameters and buffers of one form of a network.

    The network is built on the meta device, which allocates and initialises nothing.
    """
    import torch

    with torch.device("meta"):
        net = build(spec, training_form=training_form)
    return MappingProxyType({name: tuple(t.shape) for name, t in net.state_dict().items()})


def detect(
    shapes: Shapes, asked: ArchSpec | None = None, *, specs: Sequence[ArchSpec] | None = None
) -> Detection:
    """Find the architecture and form whose parameters are exactly these.

    Names may carry the prefixes of DataParallel (`module.`) and torch.compile, and follow any
    published naming that the architecture's `renames` know.

    Args:
        shapes: Names and shapes of a state dict.
        asked: The architecture that it ought to be.
        specs: The architectures to choose from; all by default.

    Raises:
        UnsupportedCheckpointError: No architecture fits (the message names the nearest one and
            form, or the nearest form of the one asked for, and what is missing, too many or of
            another shape), or it is not the one asked for.
    """
    known = all_specs() if specs is None else specs
    fits = (_Fit.of(shapes, spec, form) for spec, form in _candidates(known))
    found = next((fit for fit in fits if fit.exact), None)
    if found is None:
        raise UnsupportedCheckpointError(_explain(shapes, asked, known))
    if asked not in (None, found.spec):
        raise UnsupportedCheckpointError(
            f"the checkpoint is of {found.label}, not of {asked.name} x{asked.scale}; "
            f"ask for {found.spec.name}, or give a checkpoint of {asked.name}"
        )
    return Detection(found.spec, found.training_form, MappingProxyType(found.renamed))


def _candidates(specs: Sequence[ArchSpec]) -> Iterator[tuple[ArchSpec, bool]]:
    """Every architecture in every form it has; the plain form first."""
    for spec in specs:
        yield spec, False
        if spec.has_training_form:
            yield spec, True


@dataclass(frozen=True)
class _Fit:
    """How well a state dict fits one form of one architecture.

    Attributes:
        missing: Our names that the state dict lacks.
        unexpected: The state dict's names that the network has not.
        reshaped: The state dict's names of wrong shape, with the shape got and the one allowed.
        renamed: The state dict's names that the network has -> ours.
        likeness: Share of all names that agree (half for a wrong shape), then the number of
            shapes they have in common whatever their names.
    """

    spec: ArchSpec
    training_form: bool
    missing: list[str]
    unexpected: list[str]
    reshaped: list[tuple[str, tuple[int, ...], tuple[int, ...]]]
    renamed: dict[str, str]
    likeness: tuple[float, int]

    @property
    def exact(self) -> bool:
        return not (self.missing or self.unexpected or self.reshaped)

    @property
    def label(self) -> str:
        form = "training form" if self.training_form else "plain form"
        return f"{self.spec.name} x{self.spec.scale} ({form})"

    @staticmethod
    def of(shapes: Shapes, spec: ArchSpec, training_form: bool) -> "_Fit":
        expected = expected_shapes(spec, training_form)
        missing = {n: None for n in expected if not n.endswith(COUNTER_SUFFIX)}  # keeps order
        renamed: dict[str, str] = {}
        unexpected: list[str] = []
        reshaped: list[tuple[str, tuple[int, ...], tuple[int, ...]]] = []
        for name, ours in _normalised(shapes, spec).items():
            if ours in expected and ours.endswith(COUNTER_SUFFIX):
                continue
            if ours not in missing:  # not the network's, or a second name for the same parameter
                unexpected.append(name)
                continue
            del missing[ours]
            renamed[name] = ours
            if shapes[name] != expected[ours]:
                reshaped.append((name, shapes[name], expected[ours]))
        agreeing = len(renamed) - len(reshaped) / 2
        union = len(renamed) + len(missing) + len(unexpected)
        common = (Counter(shapes.values()) & Counter(expected.values())).total()
        return _Fit(
            spec,
            training_form,
            list(missing),
            unexpected,
            reshaped,
            renamed,
            (agreeing / max(union, 1), common),
        )


def _normalised(shapes: Shapes, spec: ArchSpec) -> dict[str, str]:
    """A state dict's names -> the same in our naming, without wrappers' prefixes."""
    names = {name: name for name in shapes}
    while prefix := next((p for p in _WRAPPER_PREFIXES if _all_start_with(names, p)), ""):
        names = {name: ours.removeprefix(prefix) for name, ours in names.items()}
    for pattern, replacement in spec.renames:
        names = {name: re.sub(pattern, replacement, ours) for name, ours in names.items()}
    return names


def _all_start_with(names: Mapping[str, str], prefix: str) -> bool:
    return bool(names) and all(ours.startswith(prefix) for ours in names.values())


def _explain(shapes: Shapes, asked: ArchSpec | None, known: Sequence[ArchSpec]) -> str:
    """One line: what is nearest, and what keeps the state dict from being that."""
    fits = [_Fit.of(shapes, spec, form) for spec, form in _candidates([asked] if asked else known)]
    nearest = max(fits, key=lambda fit: fit.likeness)
    if asked is None:
        names = ", ".join(dict.fromkeys(spec.name for spec in known))
        start = f"{len(shapes)} parameters that fit no known network ({names}); nearest is "
    else:
        start = f"{len(shapes)} parameters that are not those of "
    reshaped = [
        f"{name} is {_sizes(got)}, must be {_sizes(allowed)}"
        for name, got, allowed in nearest.reshaped
    ]
    problems = [
        f"{len(items)} {what} ({_first(items)})"
        for what, items in (
            ("missing", nearest.missing),
            ("too many", nearest.unexpected),
            ("of another shape", reshaped),
        )
        if items
    ]
    return f"{start}{nearest.label}: {', '.join(problems)}; `edgesr models` lists what is supported"


def _first(items: Sequence[str]) -> str:
    more = ", ..." if len(items) > _NAMES_SHOWN else ""
    return ", ".join(items[:_NAMES_SHOWN]) + more


def _sizes(shape: tuple[int, ...]) -> str:
    return "x".join(str(size) for size in shape) or "a scalar"
