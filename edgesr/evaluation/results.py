"""Results of an evaluation: scores per image and method, as data and as CSV."""

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from edgesr.evaluation.methods import Method
from edgesr.images.datasets import Pair


@dataclass(frozen=True)
class ImageScore:
    """PSNR and SSIM of one image upscaled by one method.

    Attributes:
        psnr_db: On Y, 8 bits, `scale` pixels shaved off each edge.
        ssim: Likewise.
        seconds: Wall time of upscaling.
    """

    psnr_db: float
    ssim: float
    seconds: float

    def above(self, other: "ImageScore") -> tuple[float, float]:
        """PSNR in dB and SSIM by which this score exceeds another."""
        # Two infinities do not differ; their difference would be no number.
        same = self.psnr_db == other.psnr_db
        return 0.0 if same else self.psnr_db - other.psnr_db, self.ssim - other.ssim


@dataclass(frozen=True)
class MethodScores:
    """Scores of one method on every image.

    Attributes:
        method: The method.
        scores: One per image, in the order of the images.
    """

    method: Method
    scores: tuple[ImageScore, ...]

    @property
    def mean(self) -> ImageScore:
        """Mean over the images."""
        return ImageScore(
            fmean(score.psnr_db for score in self.scores),
            fmean(score.ssim for score in self.scores),
            fmean(score.seconds for score in self.scores),
        )


@dataclass(frozen=True)
class Evaluation:
    """Scores of several methods on the same images.

    Attributes:
        pairs: The images.
        methods: Bicubic, then the methods in the order they were named.
        conditions: How the numbers were obtained, name -> value.
    """

    pairs: Sequence[Pair]
    methods: Sequence[MethodScores]
    conditions: dict[str, Any]

    @property
    def first(self) -> MethodScores:
        """The first method named, to which differences are given."""
        return self.methods[1]


def as_data(evaluation: Evaluation) -> dict[str, Any]:
    """Every number of an evaluation, for JSON."""
    targets: list[dict[str, Any]] = []
    for one in evaluation.methods:
        psnr_db, ssim = one.mean.above(evaluation.first.mean)
        targets.append(
            {
                "target": one.method.name,
                "computed_by": one.method.how,
                "mean": asdict(one.mean),
                "to_first": {"psnr_db": psnr_db, "ssim": ssim},
                "images": [
                    {"name": pair.name, **asdict(score)}
                    for pair, score in zip(evaluation.pairs, one.scores, strict=True)
                ],
            }
        )
    return {"conditions": evaluation.conditions, "targets": targets}


def as_csv(evaluation: Evaluation) -> str:
    """One row per image and method, and the means in the last rows."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image", "target", "psnr_db", "ssim", "psnr_db_to_first", "ssim_to_first"])
    rows = [
        (pair.name, [one.scores[index] for one in evaluation.methods])
        for index, pair in enumerate(evaluation.pairs)
    ]
    for name, row in [*rows, ("mean", [one.mean for one in evaluation.methods])]:
        for one, score in zip(evaluation.methods, row, strict=True):
            numbers = (score.psnr_db, score.ssim, *score.above(row[1]))
            writer.writerow([name, one.method.name, *(f"{n:.6f}" for n in numbers)])
    return text.getvalue()
