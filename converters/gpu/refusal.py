"""Explain what the GPU accelerator refuses by the rules, with remedies."""

import re
import tempfile
from collections.abc import Iterable
from pathlib import Path

from converters.gpu.audit import Audit, audit
from converters.gpu.rules import CONVERT, Violation
from converters.manifest import RefusedOperator
from edgesr.common.files import temporary_file_errors
from edgesr.errors import ConversionError
from edgesr.runtime.gpu_log import Refusal, Refusals

# A limit of the runtime, not of the GPU: more elements than a 32-bit number counts.
_TOO_LARGE = re.compile(r"exceed|too large|overflow", re.IGNORECASE)
_SMALLER = "convert at a smaller --size"
# The runtime's CPU does not have that version either.
_TOO_NEW = re.compile(r"Didn't find op for builtin opcode")
_OLDER = "convert again without the feature that raised the version, or install a newer LiteRT"
# Remedies where the file has just been made by edgesr, so that converting it is none.
_WITHOUT = "write the network without it, and convert again"
_TANH_GELU = "write GELU with approximate='tanh', and convert again"
_UNKNOWN = "none known: no rule of edgesr covers it; `edgesr inspect` shows the operator"


def explain(path: Path, refusals: Refusals) -> tuple[RefusedOperator, ...]:
    """Join the accelerator's refusals with the rules that the operators break.

    Args:
        path: The `.tflite`.
        refusals: The refusals in the accelerator's log.

    Returns:
        One record per kind of operator; those that the accelerator named come first.

    Raises:
        ModelFileError: The file cannot be read.
    """
    found = audit(path)
    named = {refusal.operator: refusal for refusal in refusals.refused}
    records = [_record(refusal, found) for refusal in named.values()]
    if refusals.on_cpu is None:
        # Nothing was prepared after the first failure: only the rules show what else would fail.
        others = {o.operator: o for o in reversed(found.refused) if o.operator not in named}
        reason = "not reached by the accelerator"
        records += [_record(Refusal(name, reason), found) for name in reversed(others)]
    return tuple(records)


class NotCleanError(ConversionError):
    """A file holds operators that the GPU delegate refuses.

    Attributes:
        refusals: One record per kind of operator.
    """

    def __init__(self, refusals: tuple[RefusedOperator, ...]) -> None:
        first, *others = refusals
        more = f" (and {len(others)} more)" if others else ""
        super().__init__(
            f"the GPU delegate refuses operators of this network: {first}{more}; to write "
            "the file nevertheless, give --allow-cpu-operators"
        )
        self.refusals = refusals


def check_clean(files: Iterable[Path]) -> None:
    """Refuse files that break a known rule of the GPU delegate.

    Raises:
        NotCleanError: A file breaks one.
    """
    for path in files:
        found = audit(path)
        first = {violation.operator: violation for violation in reversed(found.refused)}
        if first:
            refusals = [Refusal(name, f"got {o.found}") for name, o in reversed(first.items())]
            raise NotCleanError(tuple(_after_converting(_record(r, found)) for r in refusals))


def check_clean_content(content: bytes) -> None:
    """Refuse the content of a file that breaks a known rule of the GPU delegate.

    Raises:
        NotCleanError: It breaks one.
        OutputError: The folder for temporary files is full.
    """
    with tempfile.TemporaryDirectory(prefix="edgesr-") as scratch:
        path = Path(scratch, "model.tflite")
        with temporary_file_errors():
            path.write_bytes(content)
        check_clean([path])


def _after_converting(refused: RefusedOperator) -> RefusedOperator:
    """The record without the advice to run `edgesr convert`, which has been done."""
    remedy = refused.remedy.partition(": `edgesr convert`")[0]
    if remedy == CONVERT:
        # What remains of the error function is GELU in its exact form.
        remedy = _TANH_GELU if refused.operator.endswith("Erf") else _WITHOUT
    return refused.model_copy(update={"remedy": remedy})


def _record(refusal: Refusal, found: Audit) -> RefusedOperator:
    broken = [o for o in found.refused if o.operator == refusal.operator]
    first = _first_with_tensor(broken)
    return RefusedOperator(
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
    """The remedy where no rule is broken."""
    if _TOO_NEW.search(reason):
        return _OLDER
    return _SMALLER if _TOO_LARGE.search(reason) else _UNKNOWN


def _first_with_tensor(broken: list[Violation]) -> Violation | None:
    """The first violation that names a tensor, else the first."""
    return next((o for o in broken if o.tensor), broken[0] if broken else None)
