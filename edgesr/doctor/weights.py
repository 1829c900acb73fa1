"""Checks of the sources of weights; nothing is downloaded."""

import os
from collections.abc import Sequence
from pathlib import Path

from edgesr.doctor.check import Area, Check, State
from edgesr.errors import CheckpointError
from edgesr.networks.spec import ArchSpec, PublishedWeights, all_specs
from edgesr.weights.bundled import DEFAULT_MODEL, bundled_checkpoint, bundled_weights, shipped_file
from edgesr.weights.download import cache_folder, file_sha256


def weight_checks(specs: Sequence[ArchSpec] | None = None) -> list[Check]:
    """Check the weights of each network; the default network's are needed.

    Args:
        specs: The networks; all by default.
    """
    found: list[Check] = []
    for spec in all_specs() if specs is None else specs:
        needed = spec.name == DEFAULT_MODEL
        if bundled := _bundled(spec, needed=needed):
            found.append(bundled)
        elif spec.published:
            found.append(_published(spec, spec.published, needed=needed))
    return found


def _bundled(spec: ArchSpec, *, needed: bool) -> Check | None:
    """Check bundled weights; None where there should be none."""
    name = f"{spec.name} x{spec.scale}"
    try:
        if bundled_weights(spec) is None:
            return None
        path = bundled_checkpoint(spec)
    except CheckpointError as error:
        return Check(Area.WEIGHTS, name, State.BROKEN, str(error), "pip install edgesr", needed)
    shipped = shipped_file(spec)
    found = f"bundled: {path}; {shipped.name if shipped else 'no .tflite of it'}"
    return Check(Area.WEIGHTS, name, State.OK, found, needed=needed)


def _published(spec: ArchSpec, weights: PublishedWeights, *, needed: bool) -> Check:
    name = f"{spec.name} x{spec.scale}"
    shared = os.environ.get("EDGESR_SHARED")
    given = Path(shared, "reference", weights.filename) if shared else None
    if given is not None and given.is_file():
        if file_sha256(given) == weights.sha256:
            found = f"{given} (from EDGESR_SHARED)"
            return Check(Area.WEIGHTS, name, State.OK, found, needed=needed)
        found = f"{given} is not the published file: its sha256 differs"
        return Check(Area.WEIGHTS, name, State.BROKEN, found, "unset EDGESR_SHARED", needed)
    cached = cache_folder() / weights.filename
    if file_sha256(cached) == weights.sha256:
        return Check(Area.WEIGHTS, name, State.OK, f"{cached} (downloaded)", needed=needed)
    return Check(
        Area.WEIGHTS,
        name,
        State.UNCHECKED,
        f"not here; the first conversion downloads {weights.filename} from {weights.project}",
        f"edgesr convert --model {spec.name}",
        needed,
    )
