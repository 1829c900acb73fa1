"""Detect the architecture from a state dict's names and shapes.

What a network's parameters are called and what shapes they have is read from the network itself,
so no list of keys is kept by hand, and a new architecture is detected as soon as it is listed.
Where no listed network fits, width, depth and scale are read from the shapes, and the network of
these sizes is compared in the same way: a variant is as strictly known as a listed network.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from edgesr.errors import UnsupportedCheckpointError
from edgesr.networks.hyperparameters import Family, Shapes
from edgesr.networks.spec import COUNTER_SUFFIX, ArchSpec, all_specs, expected_shapes, variant_of

#: What torch's own wrappers put before every name: DataParallel, and torch.compile.
_WRAPPER_PREFIXES = ("module.", "_orig_mod.")
_NAMES_SHOWN = 3


@dataclass(frozen=True)
class Detection:
    """The architecture that a state dict belongs to.

    Attributes:
        spec: The network; a variant (`ArchSpec.sizes`) where it is none of the listed ones.
        training_form: Whether the parameters are those of the form it trains in.
        renamed: The state dict's own parameter names -> ours. Batch norm's step counters are left
            out.
    """

    spec: ArchSpec
    training_form: bool
    renamed: Mapping[str, str]


def detect(
    shapes: Shapes, requested: ArchSpec | None = None, *, specs: Sequence[ArchSpec] | None = None
) -> Detection:
    """Find the architecture and form whose parameters are exactly these.

    Names may carry the prefixes of DataParallel (`module.`) and torch.compile, and follow any
    published naming that the architecture's `renames` know.

    Args:
        shapes: Names and shapes of a state dict.
        requested: The architecture that it ought to be; a variant of that may have any scale.
        specs: The architectures to choose from; all by default.

    Raises:
        UnsupportedCheckpointError: No architecture fits (the message names the nearest one and
            form, or the nearest form of the requested one, and what is missing, too many or of
            another shape), or it is not the requested one.
    """
    known = all_specs() if specs is None else specs
    found = _first_exact(shapes, known) or _first_exact(shapes, _variants(shapes, known))
    if found is None:
        raise UnsupportedCheckpointError(_explain(shapes, requested, known))
    if requested and not found.spec.answers(requested):
        raise UnsupportedCheckpointError(
            f"the checkpoint is of {found.label}, not of {requested.name} x{requested.scale}; "
            f"name {found.spec.model}, or give a checkpoint of {requested.name}"
        )
    return Detection(found.spec, found.training_form, MappingProxyType(found.renamed))


def _first_exact(shapes: Shapes, specs: Iterable[ArchSpec]) -> "_Fit | None":
    fits = (_Fit.of(shapes, spec, form) for spec, form in _candidates(specs))
    return next((fit for fit in fits if fit.exact), None)


def _variants(shapes: Shapes, specs: Sequence[ArchSpec]) -> Iterator[ArchSpec]:
    """Of each family the one network of the sizes that the shapes show, where they show any."""
    bases: dict[Family, ArchSpec] = {}
    for spec in specs:
        if spec.family:
            bases.setdefault(spec.family, spec)
    for base in bases.values():
        renamed = _normalised(shapes, base).items()
        if found := variant_of(base, {ours: shapes[name] for name, ours in renamed}):
            yield found


def _candidates(specs: Iterable[ArchSpec]) -> Iterator[tuple[ArchSpec, bool]]:
    """Every architecture in every form it has; the plain form first."""
    for spec in specs:
        yield spec, False
        if spec.has_training_form:
            yield spec, True


@dataclass(frozen=True)
class _Fit:
    """Fit of a state dict to one form of one architecture.

    Attributes:
        missing: Our names that the state dict lacks.
        unexpected: The state dict's names that the network has not.
        reshaped: The state dict's names of wrong shape, with the shape got and the one allowed.
        renamed: The state dict's names that the network has -> ours.
        likeness: Share of all names that agree (half for a wrong shape); then, for nets that name
            their parts otherwise, how far the ends of the names and the shapes are the same.
    """

    spec: ArchSpec
    training_form: bool
    missing: list[str]
    unexpected: list[str]
    reshaped: list[tuple[str, tuple[int, ...], tuple[int, ...]]]
    renamed: dict[str, str]
    likeness: tuple[float, float]

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
        alike = _overlap(map(_ending, shapes), map(_ending, expected))
        alike += _overlap(shapes.values(), expected.values())
        return _Fit(
            spec,
            training_form,
            list(missing),
            unexpected,
            reshaped,
            renamed,
            (agreeing / max(union, 1), alike),
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


def _ending(name: str) -> str:
    """The last part of a parameter's name that its author chose, e.g. `c1.weight`."""
    return ".".join(name.split(".")[-2:])


def _overlap(some: Iterable[object], others: Iterable[object]) -> float:
    """Share of two bags that is in both."""
    a, b = Counter(some), Counter(others)
    return (a & b).total() / max((a | b).total(), 1)


# Networks of other projects reach 0.03 and 0.38, a known one with other names 0 and 0.7.
_ALIKE = (0.1, 0.5)


def _explain(shapes: Shapes, requested: ArchSpec | None, known: Sequence[ArchSpec]) -> str:
    """One line: what is nearest, and what keeps the state dict from being that."""
    listed = [requested] if requested else known
    # Behind the listed networks: of two that are equally near, the first is named.
    specs = [*listed, *_variants(shapes, listed)]
    fits = [_Fit.of(shapes, spec, form) for spec, form in _candidates(specs)]
    nearest = max(fits, key=lambda fit: fit.likeness)
    if requested is None:
        names = ", ".join(dict.fromkeys(spec.name for spec in known))
        start = f"{len(shapes)} parameters that fit no known network ({names}); "
        names_alike, shapes_alike = nearest.likeness
        if names_alike < _ALIKE[0] and shapes_alike < _ALIKE[1]:  # it is of another kind
            return f"{start}`edgesr models` lists what is supported"
        start += "nearest is "
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
