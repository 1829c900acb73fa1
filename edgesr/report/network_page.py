"""Page of a network report: cost, stress test, frequencies, feature maps."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from edgesr.analysis.features import FeatureMap
from edgesr.analysis.findings import Findings, ImageUsed, StressTest
from edgesr.analysis.frequency import AttentionSpectra
from edgesr.analysis.points import SIDE, Point
from edgesr.analysis.spectrum import decibels
from edgesr.analysis.stress_test import StressOutcome, StressState
from edgesr.images.png import encode_png
from edgesr.report import figures
from edgesr.report.page import image, render_page, short_names

_MIB = 2**20
_SPECTRUM_SPAN_DB = 90.0  # below the largest of a pair everything is the darkest colour
_CUT_PERCENT = 1.0  # of a map's values at either end: one bright pixel does not darken the rest

_COSTS = (
    f"Counts and times are at {SIDE}x{SIDE}; ms: median, an 8-bit image in and out; MiB: the "
    "peak of live activations, counted. PSNR and SSIM on Y, 8 bits, as many pixels left out "
    "along each edge as the scale; PSNR at one scale says nothing of another."
)
#: Values of one part of the template.
_Values = dict[str, object]
_T = TypeVar("_T")


def render(findings: Findings) -> str:
    """Make one HTML page on a network, its charts inside it."""
    short = short_names(findings.targets)

    def name(target: str) -> str:
        return short.get(target, target)

    frequency, features = findings.frequency, findings.features
    return render_page(
        "network.html",
        title="Cost and behaviour of networks",
        subtitle="; ".join(map(name, findings.targets)),
        scales=None if findings.points is None else _scales(findings.points, name),
        costs=_COSTS,
        missing=[f"{name(p.name)}: {why}" for p in findings.points or () for why in p.missing],
        stress=None
        if findings.stress is None
        else _stress(findings.stress, findings.targets, name),
        frequency=None if frequency is None else _named(frequency, name, _blocks),
        features=None if features is None else _named(features, name, _maps),
        image=None if findings.image is None else _input_image(findings.image),
        span_db=f"{_SPECTRUM_SPAN_DB:g}",
        cut_percent=f"{_CUT_PERCENT:g}",
        conditions=findings.conditions,
    )


def _named(
    found: Mapping[str, Sequence[_T] | str],
    name: Callable[[str], str],
    values: Callable[[Sequence[_T]], object],
) -> list[tuple[str, object]]:
    """Target -> its values for the template, or the text of why it has none."""
    return [
        (name(target), entry if isinstance(entry, str) else values(entry))
        for target, entry in found.items()
    ]


def _scales(points: Sequence[Point], name: Callable[[str], str]) -> list[_Values]:
    """Charts and table of each scale."""
    made: list[_Values] = []
    for scale in sorted({point.scale for point in points}):
        styles = [index for index, point in enumerate(points) if point.scale == scale]
        group = [points[index] for index in styles]
        charts = [
            _chart(svg, f"PSNR against {axis.title}, x{scale}")
            for axis in figures.AXES
            if (svg := figures.scatter_panel(group, axis, styles))
        ]
        made.append(
            {
                "scale": scale,
                "legend": _legend([name(point.name) for point in group], styles),
                "charts": charts,
                "rows": [[name(point.name), *_point_cells(point)] for point in group],
            }
        )
    return made


def _point_cells(point: Point) -> list[str]:
    activations = None if point.activation_bytes is None else point.activation_bytes / _MIB
    timed = f"{point.runs} runs" if point.runs else ""
    known = [point.how, timed, f"PSNR: {point.psnr_of}" if point.psnr_of else ""]
    return [
        _number(point.psnr_db, 2),
        _number(point.ssim, 4),
        "-" if point.parameters is None else f"{point.parameters:,}",
        _number(None if point.macs is None else point.macs / 1e9, 2),
        _number(point.latency_ms, 1),
        _number(activations, 1),
        "; ".join(part for part in known if part),
    ]


def _stress(stress: StressTest, targets: Sequence[str], name: Callable[[str], str]) -> _Values:
    outcomes = stress.outcomes
    names = [target for target in targets if any(o.name == target for o in outcomes)]
    charts = figures.stress_charts(outcomes, names, stress.limit_bytes)
    found = {(o.name, o.side): o for o in outcomes}
    allowed = "any" if stress.limit_bytes == float("inf") else _mib(stress.limit_bytes)
    reasons = dict.fromkeys(
        f"{name(o.name)}, {o.side}x{o.side}: {o.state}: {o.reason}"
        for o in outcomes
        if o.state is not StressState.MEASURED
    )
    return {
        "legend": _legend([name(target) for target in names], range(len(names))),
        "charts": [(title, _chart(svg, title)) for title, svg in charts],
        "columns": ["input", *map(name, names)],
        "rows": [
            [f"{side}x{side}", *(_outcome(found[target, side]) for target in names)]
            for side in sorted({outcome.side for outcome in outcomes})
        ],
        "about": f"Each size in a process of its own, CPU threads: {stress.threads}, memory "
        f"allowed: {allowed}. Time: median of the runs, an 8-bit image in and out. Memory: the "
        "largest resident size of the whole process; in brackets what libraries and weights "
        "occupied before.",
        "reasons": "\n".join(reasons),
    }


def _outcome(outcome: StressOutcome) -> Markup:
    if outcome.state is not StressState.MEASURED:
        # The reason of what does not fit is below the table.
        reason = f": {outcome.reason}" if outcome.state is StressState.NOT_RUN else ""
        return Markup('<span class="bad">{}{}</span>').format(outcome.state.value, reason)
    before = "" if outcome.base_bytes is None else f" ({_mib(outcome.base_bytes)})"
    memory = "-" if outcome.peak_bytes is None else f"{_mib(outcome.peak_bytes)}{before}"
    return Markup("<span>{} ms<br>{}</span>").format(_number(outcome.median_ms, 1), memory)


def _blocks(blocks: Sequence[AttentionSpectra]) -> _Values:
    """Spectra of a network's attention blocks."""
    stronger = sum(b.after.high_share > b.before.high_share for b in blocks)
    in_channels = sum(b.after.channels_high_share > b.before.channels_high_share for b in blocks)
    return {
        "about": "Share of the power above half of Nyquist's frequency. Attention raises it in "
        f"{stronger} of {len(blocks)} blocks for the mean over channels, and in {in_channels} of "
        f"{len(blocks)} for the power of all channels.",
        "shares": [
            [
                block.block,
                *(
                    f"{100 * share:.2f} %"
                    for share in (
                        block.before.high_share,
                        block.after.high_share,
                        block.before.channels_high_share,
                        block.after.channels_high_share,
                    )
                ),
            ]
            for block in blocks
        ],
        "blocks": [_spectra(block) for block in blocks],
    }


def _spectra(block: AttentionSpectra) -> _Values:
    levels = [decibels(side.power_hw) for side in (block.before, block.after)]
    # One scale of colours for both, so that they can be compared.
    high = max(float(level.max()) for level in levels)
    before, after = (
        image(
            figures.map_png(level, high - _SPECTRUM_SPAN_DB, high), "png", f"{block.block}, {word}"
        )
        for level, word in zip(levels, ("before", "after"), strict=True)
    )
    chart = figures.profile_chart(block.before.profile, block.after.profile)
    label = f"Power over frequency before and after {block.block}"
    return {
        "name": block.block,
        "before": before,
        "after": after,
        "chart": _chart(chart, label),
    }


def _maps(found: Sequence[FeatureMap]) -> list[_Values]:
    """Average maps of a network's blocks."""
    made: list[_Values] = []
    for one in found:
        low, high = _ends(one.mean_hw)
        content = figures.map_png(one.mean_hw, low, high)
        made.append(
            {
                "image": image(content, "png", f"Average map of {one.block}"),
                "block": one.block,
                "kind": one.kind,
                "channels": one.channels,
                "ends": f"{low:.3g} to {high:.3g}",
            }
        )
    return made


def _ends(map_hw: NDArray[np.floating]) -> tuple[float, float]:
    low, high = np.percentile(map_hw, [_CUT_PERCENT, 100 - _CUT_PERCENT])
    return float(low), float(high)


def _input_image(used: ImageUsed) -> _Values:
    height, width = used.lr_hwc_u8.shape[:2]
    caption = f"The networks' input: {used.name}, {height}x{width}"
    content = encode_png(np.ascontiguousarray(used.lr_hwc_u8))
    return {"element": image(content, "png", caption), "caption": caption}


def _legend(names: Sequence[str], styles: Sequence[int]) -> list[tuple[str, str, str]]:
    """Colour, glyph and name of each entry."""
    return [
        (figures.colour(style), figures.glyph(style), name)
        for name, style in zip(names, styles, strict=True)
    ]


def _chart(svg: str, label: str) -> Markup:
    return image(svg.encode(), "svg+xml", label)


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _mib(size: float) -> str:
    return f"{size / _MIB:,.0f} MiB"
