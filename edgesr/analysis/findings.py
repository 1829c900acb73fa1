"""What a report tells: its sections as data, for the page and for programs."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from edgesr.analysis.features import FeatureMap
from edgesr.analysis.frequency import AttentionSpectra, Spectrum
from edgesr.analysis.points import SIDE, Point
from edgesr.analysis.pressure import Outcome
from edgesr.metrics import Uint8Array


@dataclass(frozen=True, eq=False)
class PictureUsed:
    """The picture that features and frequencies are of.

    Attributes:
        name: What it is, for people.
        lr_hwc_u8: RGB, height x width x 3, as the networks saw it.
    """

    name: str
    lr_hwc_u8: Uint8Array


@dataclass(frozen=True)
class Pressure:
    """The pressure test.

    Attributes:
        outcomes: Every size of every target.
        limit_bytes: Memory that was allowed.
        threads: CPU threads.
    """

    outcomes: Sequence[Outcome]
    limit_bytes: float
    threads: int


@dataclass(frozen=True, eq=False)
class Findings:
    """A report. A section that was not asked for is None.

    Attributes:
        conditions: How it was made, name -> text.
        targets: As the user named them, in order.
        points: PSNR and costs.
        pressure: Time and memory over the size.
        frequency: Target -> spectra of its attention blocks, or why there are none.
        features: Target -> maps of its blocks, or why there are none.
        picture: What the last two are of.
    """

    conditions: Mapping[str, str]
    targets: Sequence[str]
    points: Sequence[Point] | None = None
    pressure: Pressure | None = None
    frequency: Mapping[str, Sequence[AttentionSpectra] | str] | None = None
    features: Mapping[str, Sequence[FeatureMap] | str] | None = None
    picture: PictureUsed | None = field(default=None)


def as_data(findings: Findings) -> dict[str, Any]:
    """All numbers, for JSON; maps by their mean and deviation only."""
    made: dict[str, Any] = {"conditions": dict(findings.conditions)}
    if findings.points is not None:
        made["scatter"] = {"input": [SIDE, SIDE], "points": [asdict(p) for p in findings.points]}
    if findings.pressure is not None:
        made["pressure"] = {
            "limit_bytes": findings.pressure.limit_bytes,
            "threads": findings.pressure.threads,
            "outcomes": [asdict(outcome) for outcome in findings.pressure.outcomes],
        }
    if findings.picture is not None:
        size = list(findings.picture.lr_hwc_u8.shape[:2])
        made["picture"] = {"name": findings.picture.name, "input": size}
    if findings.frequency is not None:
        made["frequency"] = {
            name: found if isinstance(found, str) else [_block(block) for block in found]
            for name, found in findings.frequency.items()
        }
    if findings.features is not None:
        made["features"] = {
            name: found if isinstance(found, str) else [_map(one) for one in found]
            for name, found in findings.features.items()
        }
    return made


def _block(spectra: AttentionSpectra) -> dict[str, Any]:
    return {
        "block": spectra.block,
        "before": _spectrum(spectra.before),
        "after": _spectrum(spectra.after),
    }


def _spectrum(spectrum: Spectrum) -> dict[str, Any]:
    return {
        "high_share": spectrum.high_share,
        "channels_high_share": spectrum.channels_high_share,
        "frequency": spectrum.profile.frequency.tolist(),
        "power": spectrum.profile.power.tolist(),
    }


def _map(found: FeatureMap) -> dict[str, Any]:
    return {
        "block": found.block,
        "kind": found.kind,
        "channels": found.channels,
        "size": list(found.mean_hw.shape),
        "mean": float(np.mean(found.mean_hw)),
        "deviation": float(np.std(found.mean_hw)),
    }
