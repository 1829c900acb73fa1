"""Page of an evaluation: scores, crops side by side, and their differences."""

from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup

from edgesr.common.progress import ProgressCallback, silent
from edgesr.evaluation.results import ImageScore, MethodScores
from edgesr.images.datasets import Pair
from edgesr.images.metrics import Uint8Array, luma
from edgesr.images.png import encode_png
from edgesr.report.page import image, render_page

#: So many images are shown.
SHOWN = 6

_CROP = 96  # pixels of the large image
_STEP = 16  # places for a crop lie so far apart
_GAIN = 8  # a difference of 32 grey levels is white


def page(
    title: str,
    conditions: Mapping[str, str],
    pairs: Sequence[Pair],
    columns: Sequence[MethodScores],
    progress: ProgressCallback = silent,
) -> str:
    """Render an evaluation; the images that are shown are upscaled once more.

    Shown are those on which the first network has the lowest PSNR, each where that network is
    farthest from the original.

    Args:
        title: Of the page.
        conditions: How the numbers were obtained.
        pairs: The images.
        columns: What was measured, bicubic first.
        progress: Told of every image shown, as stage "page".
    """
    first = columns[min(1, len(columns) - 1)]
    order = sorted(range(len(pairs)), key=lambda index: first.scores[index].psnr_db)[:SHOWN]
    sections: list[dict[str, object]] = []
    for done, index in enumerate(order):
        progress("page", done, len(order))
        sections.append(_section(pairs[index], columns, index))
    progress("page", len(order), len(order))
    return render_page(
        "evaluation.html",
        title=title,
        subtitle=f"mean of {len(pairs)} images",
        means=[
            [column.method.name, f"{column.mean.psnr_db:.2f}", f"{column.mean.ssim:.4f}"]
            for column in columns
        ],
        methods=[column.method.name for column in columns],
        images=[
            [pair.name, *(_score(column.scores[index]) for column in columns)]
            for index, pair in enumerate(pairs)
        ],
        conditions=conditions,
        first=first.method.name,
        gain=_GAIN,
        sections=sections,
    )


def _score(score: ImageScore) -> str:
    return f"{score.psnr_db:.2f} dB / {score.ssim:.4f}"


def _section(pair: Pair, columns: Sequence[MethodScores], index: int) -> dict[str, object]:
    """Values of the template for one image: the original's crop and that of every method."""
    made = [column.method.upscale(pair.lr_hwc_u8) for column in columns]
    errors = [_error(pair.hr_hwc_u8, hr) for hr in made]
    row, column_start = _worst_place(errors[min(1, len(errors) - 1)])
    place = slice(row, row + _CROP), slice(column_start, column_start + _CROP)
    crops = [{"caption": "original", "image": _png(pair.hr_hwc_u8[place]), "difference": ""}]
    for column, hr, error in zip(columns, made, errors, strict=True):
        difference = np.minimum(_GAIN * error[place], 255).astype(np.uint8)[..., None].repeat(3, 2)
        crops.append(
            {
                "caption": f"{column.method.name}: {_score(column.scores[index])}",
                "image": _png(hr[place]),
                "difference": _png(difference),
            }
        )
    at = f"rows from {row}, columns from {column_start}"
    return {"name": pair.name, "place": at, "crops": crops}


def _error(hr_hwc_u8: Uint8Array, made_hwc_u8: Uint8Array) -> np.ndarray[tuple[int, int]]:
    """Absolute difference of Y, height x width."""
    return np.abs(luma(hr_hwc_u8).astype(np.int16) - luma(made_hwc_u8).astype(np.int16))


def _worst_place(error_hw: np.ndarray[tuple[int, int]]) -> tuple[int, int]:
    """First row and column of the crop with the largest squared error."""
    height, width = error_hw.shape
    squared = error_hw.astype(np.float64) ** 2
    places = [
        (row, column)
        for row in range(0, max(1, height - _CROP + 1), _STEP)
        for column in range(0, max(1, width - _CROP + 1), _STEP)
    ]
    return max(places, key=lambda p: float(squared[p[0] : p[0] + _CROP, p[1] : p[1] + _CROP].sum()))


def _png(pixels_hwc_u8: Uint8Array) -> Markup:
    return image(encode_png(np.ascontiguousarray(pixels_hwc_u8)), "png", "")
