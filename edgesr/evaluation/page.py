"""An evaluation as one HTML file: tables, crops side by side, where they differ, a zoom.

Nothing is loaded from elsewhere: pictures lie in the file as PNG, and there is no script but the
one line that moves the zoom.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from edgesr.evaluation.contestants import Contestant
from edgesr.evaluation.evaluate import Column, Measured
from edgesr.metrics import Uint8Array, luma
from edgesr.png import encode_png
from edgesr.progress import ProgressCallback, silent
from edgesr.train.pictures import Pair

#: So many pictures are shown.
SHOWN = 6

_CROP = 96  # pixels of the large picture
_STEP = 16  # places for a crop lie so far apart
_GAIN = 8  # a difference of 32 grey levels is white

_STYLE = """
:root { --zoom: 2 }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 90rem; padding: 0 1rem }
table { border-collapse: collapse; margin: 1rem 0 }
th, td { padding: .2rem .8rem; text-align: right; border-bottom: 1px solid #ccc }
th:first-child, td:first-child { text-align: left }
.row { display: flex; gap: .8rem; overflow-x: auto; padding-bottom: .5rem }
figure { margin: 0 } figcaption { font-size: 13px; max-width: calc(96px * var(--zoom)) }
img { image-rendering: pixelated; width: calc(96px * var(--zoom)); display: block }
.zoom { position: sticky; top: 0; background: #fff; padding: .5rem 0 }
"""
_ZOOM = (
    '<p class="zoom"><label>Zoom <input type="range" min="1" max="8" step="1" value="2" '
    "oninput=\"document.documentElement.style.setProperty('--zoom', this.value)\"></label></p>"
)


@dataclass(frozen=True)
class _Figure:
    """One crop and what is said of it."""

    caption: str
    crop_hwc_u8: Uint8Array
    difference_hwc_u8: Uint8Array | None


def page(
    title: str,
    conditions: Mapping[str, str],
    pairs: Sequence[Pair],
    columns: Sequence[Column],
    progress: ProgressCallback = silent,
) -> str:
    """Write an evaluation; the pictures that are shown are upscaled once more.

    Shown are those on which the first network has the lowest PSNR, each where that network is
    farthest from the original.

    Args:
        title: Of the page.
        conditions: How the numbers were obtained.
        pairs: The pictures.
        columns: What was measured, bicubic first.
        progress: Told of every picture shown, as stage "page".
    """
    first = columns[min(1, len(columns) - 1)]
    order = sorted(range(len(pairs)), key=lambda index: first.measured[index].psnr_db)[:SHOWN]
    sections: list[str] = []
    for done, index in enumerate(order):
        progress("page", done, len(order))
        sections.append(_section(pairs[index], columns, index))
    progress("page", len(order), len(order))
    facts = "".join(f"<li>{escape(k)}: {escape(v)}</li>" for k, v in conditions.items())
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style></head><body><h1>{escape(title)}</h1>{_table(pairs, columns)}"
        f"<ul>{facts}</ul>{_ZOOM}<p>The {len(order)} pictures on which "
        f"{escape(first.contestant.name)} has the lowest PSNR, each where it is farthest from the "
        f"original. Below each crop: its difference in Y, {_GAIN} times as bright.</p>"
        f"{''.join(sections)}</body></html>\n"
    )


def _table(pairs: Sequence[Pair], columns: Sequence[Column]) -> str:
    heads = "".join(f"<th>{escape(column.contestant.name)}</th>" for column in columns)
    rows = [
        _row(pair.name, [column.measured[index] for column in columns])
        for index, pair in enumerate(pairs)
    ]
    mean = _row(f"mean of {len(pairs)}", [column.mean for column in columns])
    return (
        f"<table><tr><th>PSNR in dB / SSIM, on Y</th>{heads}</tr>{mean}</table>"
        f"<details><summary>Every picture</summary><table><tr><th>picture</th>{heads}</tr>"
        f"{''.join(rows)}</table></details>"
    )


def _row(name: str, measured: Sequence[Measured]) -> str:
    cells = "".join(f"<td>{m.psnr_db:.2f} / {m.ssim:.4f}</td>" for m in measured)
    return f"<tr><td>{escape(name)}</td>{cells}</tr>"


def _section(pair: Pair, columns: Sequence[Column], index: int) -> str:
    """One picture: the original's crop and that of every contestant."""
    made = [_upscaled(pair, column.contestant) for column in columns]
    errors = [_error(pair.hr_hwc_u8, picture) for picture in made]
    row, column_start = _worst_place(errors[min(1, len(errors) - 1)])
    place = slice(row, row + _CROP), slice(column_start, column_start + _CROP)
    figures = [_Figure("original", pair.hr_hwc_u8[place], None)]
    for column, picture, error in zip(columns, made, errors, strict=True):
        measured = column.measured[index]
        caption = f"{column.contestant.name}: {measured.psnr_db:.2f} dB / {measured.ssim:.4f}"
        difference = np.minimum(_GAIN * error[place], 255).astype(np.uint8)[..., None].repeat(3, 2)
        figures.append(_Figure(caption, picture[place], difference))
    at = f"rows from {row}, columns from {column_start}"
    shown = "".join(map(_figure, figures))
    return f'<h2>{escape(pair.name)}</h2><p>{at}</p><div class="row">{shown}</div>'


def _upscaled(pair: Pair, contestant: Contestant) -> Uint8Array:
    return contestant.upscale(pair.lr_hwc_u8)


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


def _figure(figure: _Figure) -> str:
    difference = "" if figure.difference_hwc_u8 is None else _image(figure.difference_hwc_u8)
    return (
        f"<figure>{_image(figure.crop_hwc_u8)}{difference}"
        f"<figcaption>{escape(figure.caption)}</figcaption></figure>"
    )


def _image(pixels_hwc_u8: Uint8Array) -> str:
    content = encode_png(np.ascontiguousarray(pixels_hwc_u8))
    return f'<img alt="" src="data:image/png;base64,{base64.b64encode(content).decode()}">'
