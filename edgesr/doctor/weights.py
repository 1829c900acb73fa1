"""Where the published weights would come from; nothing is downloaded to find out."""

import os
from pathlib import Path

from edgesr.doctor.check import Area, Check, State
from edgesr.download import cache_folder, file_sha256
from edgesr.registry import ArchSpec, PublishedWeights, all_specs


def weight_checks() -> list[Check]:
    """One check per network with published weights; the first network's are the main job's."""
    published = [(spec, spec.published) for spec in all_specs() if spec.published]
    return [
        _check(spec, weights, needed=index == 0) for index, (spec, weights) in enumerate(published)
    ]


def _check(spec: ArchSpec, weights: PublishedWeights, *, needed: bool) -> Check:
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
