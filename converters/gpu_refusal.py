"""Why the GPU accelerator refuses a file, in terms of the rules, and what removes the reason."""

import re
from collections.abc import Iterable
from pathlib import Path

from converters.audit import Audit, audit
from converters.gpu_rules import Offence
from converters.manifest import RefusalRecord
from edgesr.errors import ConversionError
from edgesr.gpu_log import Refusal, Refusals

# The runtime's own limits, and not the GPU's: more elements than a 32-bit number counts.
_TOO_LARGE = re.compile(r"exceed|too large|overflow", re.IGNORECASE)
_SMALLER = "convert at a smaller --size"
# Neither has the runtime's CPU that version.
_TOO_NEW = re.compile(r"Didn't find op for builtin opcode")
_OLDER = "convert again without the feature that raised the version, or install a newer LiteRT"
_UNFORESEEN = "none known: no rule of edgesr's foresees it; `edgesr inspect` shows the operator"


def explain(path: Path, refusals: Refusals) -> tuple[RefusalRecord, ...]:
    """Bring the accelerator's words together with the rule that each operator breaks.

    Args:
        path: The `.tflite`.
        refusals: What the accelerator said of it.

    Returns:
        One record per kind of operator; those first that the accelerator named.

    Raises:
        ModelFileError: The file cannot be read.
    """
    found = audit(path)
    named = {refusal.operator: refusal for refusal in refusals.refused}
    records = [_record(refusal, found) for refusal in named.values()]
    if refusals.on_cpu is None:
        # Nothing was prepared after the first failure: the rules tell what else would fail.
        others = {o.operator: o for o in reversed(found.refused) if o.operator not in named}
        silent = "not reached by the accelerator"
        records += [_record(Refusal(name, silent), found) for name in reversed(others)]
    return tuple(records)


class NotCleanError(ConversionError):
    """A file holds operators that the GPU refuses, and is to hold none.

    Attributes:
        refusals: One record per kind of operator.
    """

    def __init__(self, refusals: tuple[RefusalRecord, ...]) -> None:
        first, *others = refusals
        more = f" (and {len(others)} more)" if others else ""
        super().__init__(
            f"the GPU delegate refuses operators of this network: {first}{more}; to write "
            "the file nevertheless, give --allow-cpu-operators"
        )
        self.refusals = refusals


def check_clean(files: Iterable[Path]) -> None:
    """Refuse files that break a known rule of the GPU's.

    Raises:
        NotCleanError: One does.
    """
    for path in files:
        found = audit(path)
        first = {offence.operator: offence for offence in reversed(found.refused)}
        if first:
            refusals = [Refusal(name, f"got {o.found}") for name, o in reversed(first.items())]
            raise NotCleanError(tuple(_record(refusal, found) for refusal in refusals))


def _record(refusal: Refusal, found: Audit) -> RefusalRecord:
    broken = [o for o in found.refused if o.operator == refusal.operator]
    first = _most_telling(broken)
    return RefusalRecord(
        operator=refusal.operator,
        count=max(1, len({o.operator_index for o in broken})),
        of=sum(operator.name == refusal.operator for operator in found.operators),
        tensor=first.tensor if first else None,
        shape=first.shape if first else None,
        rule=f"{first.allowed} ({first.rule})" if first else None,
        reason=refusal.reason.rstrip("."),
        remedy=first.remedy if first else _remedy(refusal.reason),
    )


def _remedy(reason: str) -> str:
    """What helps where no rule is broken."""
    if _TOO_NEW.search(reason):
        return _OLDER
    return _SMALLER if _TOO_LARGE.search(reason) else _UNFORESEEN


def _most_telling(broken: list[Offence]) -> Offence | None:
    """The first offence that has a tensor: its shape shows what is wrong."""
    return next((o for o in broken if o.tensor), broken[0] if broken else None)
