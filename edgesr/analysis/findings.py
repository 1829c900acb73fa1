"""Findings of a report: its sections as data, for the page and for JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from edgesr.analysis.features import FeatureMap
from edgesr.analysis.frequency import AttentionSpectra, Spectrum
from edgesr.analysis.points import SIDE, Point
from edgesr.analysis.stress_test import StressOutcome
from edgesr.images.metrics import Uint8Array


@dataclass(frozen=True, eq=False)
class ImageUsed:
    """Image of which features and spectra are shown.

    Attributes:
        name: For people.
        lr_hwc_u8: RGB, height x width x 3, as the networks received it.
    """

    name: str
    lr_hwc_u8: Uint8Array


@dataclass(frozen=True)
class StressTest:
    """Time and memory by image size, up to the size that does not fit.

    Attributes:
        outcomes: One per size and target.
        limit_bytes: Memory limit of each process.
        threads: CPU threads.
    """

    outcomes: Sequence[StressOutcome]
    limit_bytes: float
    threads: int


@dataclass(frozen=True, eq=False)
class Findings:
    """Findings of a report; a section that was not requested is None.

    Attributes:
        conditions: How the numbers were obtained, name -> text.
        targets: As the user named them, in order.
        points: PSNR and cost of every target.
        stress: Time and memory by image size.
        frequency: Target -> spectra of its attention blocks, or the reason why there are none.
        features: Target -> feature maps of its blocks, or the reason why there are none.
        image: Of which spectra and features are shown.
    """

    conditions: Mapping[str, str]
    targets: Sequence[str]
    points: Sequence[Point] | None = None
    stress: StressTest | None = None
    frequency: Mapping[str, Sequence[AttentionSpectra] | str] | None = None
    features: Mapping[str, Sequence[FeatureMap] | str] | None = None
    image: ImageUsed | None = field(default=None)


def as_data(findings: Findings) -> dict[str, Any]:
    """Every number, for JSON; of a feature map its mean and deviation only."""
    made: dict[str, Any] = {"conditions": dict(findings.conditions)}
    if findings.points is not None:
        made["scatter"] = {"input": [SIDE, SIDE], "points": [asdict(p) for p in findings.points]}
    if findings.stress is not None:
        made["stress"] = {
            "limit_bytes": findings.stress.limit_bytes,
            "threads": findings.stress.threads,
            "outcomes": [asdict(outcome) for outcome in findings.stress.outcomes],
        }
    if findings.image is not None:
        size = list(findings.image.lr_hwc_u8.shape[:2])
        made["image"] = {"name": findings.image.name, "input": size}
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
