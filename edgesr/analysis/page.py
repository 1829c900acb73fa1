"""The report as one HTML page: nothing is fetched, nothing runs, and every text is escaped."""

import base64
import importlib.resources
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgesr.analysis import figures
from edgesr.analysis.features import FeatureMap
from edgesr.analysis.findings import Findings, PictureUsed, Pressure
from edgesr.analysis.frequency import AttentionSpectra
from edgesr.analysis.points import SIDE, Point
from edgesr.analysis.pressure import Outcome, State
from edgesr.analysis.spectrum import decibels
from edgesr.benching.svg import escape
from edgesr.png import encode_png

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
_MIB = 2**20
_SPECTRUM_SPAN_DB = 90.0  # below the largest of a pair everything is the darkest colour
_CUT_PERCENT = 1.0  # of a map's values at either end: one bright pixel does not darken the rest

_COSTS = (
    f"Counts and times are at {SIDE}x{SIDE}; ms: median, an 8-bit picture in and out; MiB: the "
    "most activations alive at once, counted. PSNR and SSIM on Y, 8 bits, as many pixels left out "
    "along each edge as the scale; PSNR at one scale says nothing of another."
)

_STYLE = """
h2 { border-top: 1px solid var(--line); padding-top: 1.5rem; }
.panels { display: grid; gap: 1.25rem;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 22rem), 1fr)); }
.panels figure { max-width: 30rem; }
.maps { display: grid; gap: 1rem .75rem;
  grid-template-columns: repeat(auto-fill, minmax(min(45%, 10.5rem), 1fr)); }
figure { margin: 0; min-width: 0; }
figcaption { font-size: .8125rem; color: var(--faint); }
img { display: block; width: 100%; height: auto; }
.maps img, .pair img { border-radius: .25rem; }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: .5rem; align-content: start; }
.block { display: grid; gap: 1rem; margin: 0 0 1.75rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 19rem), 1fr)); align-items: center; }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; padding: 0;
  margin: .5rem 0 1rem; font-size: .875rem; }
.block figure { max-width: 26rem; }
.picture { max-width: 22rem; margin: 1rem 0; }
th { white-space: normal; overflow-wrap: anywhere; min-width: 6.25rem; max-width: 14rem; }
th:first-child { text-align: left; }
table { margin-top: 1rem; }
td.words { text-align: left; white-space: normal; min-width: 9rem; }
"""


def render(findings: Findings) -> str:
    """The page."""
    body = [
        "<h1>What the networks cost and do</h1>",
        _paragraph("; ".join(findings.targets), "faint"),
        *_scatter(findings),
        *_pressure(findings.pressure, findings.targets),
        *_frequency(findings),
        *_features(findings),
        *_conditions(findings),
    ]
    shared = importlib.resources.files("edgesr.benching").joinpath("page.css").read_text()
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>edgesr report</title>\n<style>\n{shared}{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )


def _scatter(findings: Findings) -> list[str]:
    points = findings.points
    if points is None:
        return []
    parts = ["<h2>PSNR against cost</h2>"]
    for scale in sorted({point.scale for point in points}):
        chosen = [index for index, point in enumerate(points) if point.scale == scale]
        group = [points[index] for index in chosen]
        parts += [f"<h3>x{scale}</h3>", _legend([p.name for p in group], chosen)]
        panels = [
            _chart(svg, f"PSNR against {axis.title}, x{scale}")
            for axis in figures.AXES
            if (svg := figures.scatter_panel(group, axis, chosen))
        ]
        parts.append(
            f'<div class="panels">{"".join(panels)}</div>'
            if panels
            else _paragraph("There is no PSNR to draw.", "faint")
        )
        parts.append(_point_table(group))
    parts.append(_paragraph(_COSTS, "faint"))
    notes = [f"{point.name}: {reason}" for point in points for reason in point.missing]
    return [*parts, *(_paragraph(note, "bad") for note in notes)]


def _point_table(points: Sequence[Point]) -> str:
    head = ("PSNR dB", "SSIM", "parameters", "GMACs", "ms", "MiB", "")
    rows = [
        [
            _number(p.psnr_db, 2),
            _number(p.ssim, 4),
            "-" if p.parameters is None else f"{p.parameters:,}",
            _number(None if p.macs is None else p.macs / 1e9, 2),
            _number(p.latency_ms, 1),
            _number(None if p.activation_bytes is None else p.activation_bytes / _MIB, 1),
        ]
        for p in points
    ]
    lines = [
        f'<td class="name">{escape(point.name)}</td>'
        + "".join(f"<td>{cell}</td>" for cell in row)
        + f'<td class="words">{escape(_said_of(point))}</td>'
        for point, row in zip(points, rows, strict=True)
    ]
    return _table(["", *head], lines)


def _said_of(point: Point) -> str:
    timed = f"{point.runs} runs" if point.runs else ""
    known = [point.how, timed, f"PSNR: {point.psnr_of}" if point.psnr_of else ""]
    return "; ".join(part for part in known if part)


def _pressure(pressure: Pressure | None, targets: Sequence[str]) -> list[str]:
    if pressure is None:
        return []
    outcomes = pressure.outcomes
    names = [name for name in targets if any(o.name == name for o in outcomes)]
    charts = figures.pressure_charts(outcomes, names, pressure.limit_bytes)
    panels = "".join(_chart(svg, title, title) for title, svg in charts)
    sides = sorted({outcome.side for outcome in outcomes})
    found = {(o.name, o.side): o for o in outcomes}
    lines = [
        f'<td class="name">{side}x{side}</td>'
        + "".join(f"<td>{_outcome(found[name, side])}</td>" for name in names)
        for side in sides
    ]
    allowed = "any" if pressure.limit_bytes == float("inf") else _mib(pressure.limit_bytes)
    said = (
        f"Each size in a process of its own, CPU threads: {pressure.threads}, memory allowed: "
        f"{allowed}. Time: median of the runs, an 8-bit picture in and out. Memory: the largest "
        "resident size of the whole process; in brackets what libraries and weights took before."
    )
    reasons = dict.fromkeys(
        f"{o.name}, {o.side}x{o.side}: {o.state}: {o.reason}"
        for o in outcomes
        if o.state is not State.MEASURED
    )
    return [
        "<h2>Pressure test</h2>",
        _legend(names, range(len(names))),
        f'<div class="panels">{panels}</div>'
        if panels
        else _paragraph("No size was measured.", "faint"),
        _table(["input", *names], lines),
        _paragraph(said, "faint"),
        *_folded("What was not measured, and why", "\n".join(reasons)),
    ]


def _outcome(outcome: Outcome) -> str:
    if outcome.state is not State.MEASURED:
        return f'<span class="bad">{escape(_unmeasured(outcome))}</span>'
    before = "" if outcome.base_bytes is None else f" ({_mib(outcome.base_bytes)})"
    memory = "-" if outcome.peak_bytes is None else f"{_mib(outcome.peak_bytes)}{before}"
    return f"{_number(outcome.median_ms, 1)} ms<br>{memory}"


def _unmeasured(outcome: Outcome) -> str:
    """In short: the reasons of what does not fit are below the table."""
    if outcome.state is State.NOT_RUN:
        return f"{outcome.state}: {outcome.reason}"
    return outcome.state.value


def _frequency(findings: Findings) -> list[str]:
    if findings.frequency is None:
        return []
    said = (
        "Spectra are of the mean over channels of what a block reads and makes, without its mean "
        "and fading out at the edges; the zero frequency is in the middle, Nyquist's at the edges, "
        f"colours span {_SPECTRUM_SPAN_DB:g} dB."
    )
    title = "<h2>Attention and frequencies</h2>"
    parts = [title, *_picture(findings.picture), _paragraph(said, "faint")]
    for name, found in findings.frequency.items():
        parts.append(f"<h3>{escape(name)}</h3>")
        if isinstance(found, str):
            parts.append(_paragraph(found, "faint"))
            continue
        parts += [_share_table(found), *(_spectra(block) for block in found)]
    return parts


def _share_table(blocks: Sequence[AttentionSpectra]) -> str:
    lines = [
        f'<td class="name">{escape(block.block)}</td>'
        + "".join(
            f"<td>{100 * share:.2f} %</td>"
            for share in (
                block.before.high_share,
                block.after.high_share,
                block.before.channels_high_share,
                block.after.channels_high_share,
            )
        )
        for block in blocks
    ]
    stronger = sum(b.after.high_share > b.before.high_share for b in blocks)
    in_channels = sum(b.after.channels_high_share > b.before.channels_high_share for b in blocks)
    said = (
        "Share of the power above half of Nyquist's frequency. Attention raises it in "
        f"{stronger} of {len(blocks)} blocks for the mean over channels, and in {in_channels} of "
        f"{len(blocks)} for the power of all channels."
    )
    head = ["", "mean, before", "after", "all channels, before", "after"]
    return _paragraph(said) + _table(head, lines)


def _spectra(block: AttentionSpectra) -> str:
    levels = [decibels(side.power_hw) for side in (block.before, block.after)]
    # One scale of colours for both, so that they can be compared.
    high = max(float(level.max()) for level in levels)
    images = [
        f"<figure>{_png(content, f'{block.block}, {word}')}<figcaption>{word}</figcaption></figure>"
        for level, word in zip(levels, ("before", "after"), strict=True)
        for content in [figures.map_png(level, high - _SPECTRUM_SPAN_DB, high)]
    ]
    chart = figures.profile_chart(block.before.profile, block.after.profile)
    label = f"Power over frequency before and after {block.block}"
    return (
        f'<h4>{escape(block.block)}</h4><div class="block"><div class="pair">{"".join(images)}'
        f"</div>{_chart(chart, label)}</div>"
    )


def _features(findings: Findings) -> list[str]:
    if findings.features is None:
        return []
    parts = ["<h2>Average feature maps</h2>"]
    if findings.frequency is None:
        parts += _picture(findings.picture)
    parts.append(
        _paragraph(
            "The mean over channels of what each block makes. Each map has a scale of colours of "
            f"its own, without the {_CUT_PERCENT:g} % of values at either end; "
            "numbers are in the network's own units.",
            "faint",
        )
    )
    for name, found in findings.features.items():
        parts.append(f"<h3>{escape(name)}</h3>")
        if isinstance(found, str):
            parts.append(_paragraph(found, "faint"))
        else:
            parts.append(f'<div class="maps">{"".join(map(_feature, found))}</div>')
    return parts


def _feature(found: FeatureMap) -> str:
    low, high = _ends(found.mean_hw)
    caption = (
        f"<strong>{escape(found.block)}</strong><br>{escape(found.kind)}, {found.channels} "
        f"channels<br>{low:.3g} to {high:.3g}"
    )
    image = _png(figures.map_png(found.mean_hw, low, high), f"Average map of {found.block}")
    return f"<figure>{image}<figcaption>{caption}</figcaption></figure>"


def _ends(map_hw: NDArray[np.floating]) -> tuple[float, float]:
    low, high = np.percentile(map_hw, [_CUT_PERCENT, 100 - _CUT_PERCENT])
    return float(low), float(high)


def _picture(picture: PictureUsed | None) -> list[str]:
    if picture is None:
        return []
    height, width = picture.lr_hwc_u8.shape[:2]
    caption = f"The networks' input: {picture.name}, {height}x{width}"
    image = _png(encode_png(np.ascontiguousarray(picture.lr_hwc_u8)), caption)
    return [
        f'<figure class="picture">{image}<figcaption>{escape(caption)}</figcaption></figure>',
    ]


def _conditions(findings: Findings) -> list[str]:
    entries = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>"
        for name, text in findings.conditions.items()
    )
    return ["<h2>Conditions</h2>", f'<div class="card"><dl>{entries}</dl></div>']


def _legend(names: Sequence[str], styles: Sequence[int]) -> str:
    entries = "".join(
        f'<li><span style="color:{figures.colour(style)}">{figures.glyph(style)}</span> '
        f"{escape(name)}</li>"
        for name, style in zip(names, styles, strict=True)
    )
    return f'<ul class="legend">{entries}</ul>'


def _table(head: Sequence[str], lines: Sequence[str]) -> str:
    names = "".join(f"<th>{escape(name)}</th>" for name in head)
    rows = "".join(f"<tr>{line}</tr>" for line in lines)
    return (
        f'<div class="scroll"><table><thead><tr>{names}</tr></thead><tbody>{rows}</tbody></table>'
        "</div>"
    )


def _chart(svg: str, label: str, title: str = "") -> str:
    data = base64.b64encode(svg.encode()).decode()
    caption = f"<figcaption>{escape(title)}</figcaption>" if title else ""
    return (
        f'<figure>{caption}<img alt="{escape(label)}" src="data:image/svg+xml;base64,{data}">'
        "</figure>"
    )


def _png(content: bytes, label: str) -> str:
    data = base64.b64encode(content).decode()
    return f'<img alt="{escape(label)}" src="data:image/png;base64,{data}">'


def _folded(title: str, text: str) -> list[str]:
    if not text:
        return []
    return [f"<details><summary>{escape(title)}</summary><pre>{escape(text)}</pre></details>"]


def _paragraph(text: str, kind: str = "") -> str:
    attribute = f' class="{kind}"' if kind else ""
    return f"<p{attribute}>{escape(text)}</p>"


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _mib(size: float) -> str:
    return f"{size / _MIB:,.0f} MiB"
