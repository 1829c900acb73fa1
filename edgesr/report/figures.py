"""The drawings of the report: charts as SVG that follow light and dark, maps as small PNG.

A chart's file stands alone: its colours are variables that a rule in it sets for light and for dark
ground, so the same file serves a page and a README.
"""

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgesr.analysis.points import SIDE, Point
from edgesr.analysis.spectrum import NYQUIST, RadialProfile, decibels
from edgesr.analysis.stress_test import StressOutcome, StressState

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Told apart by the colour-blind too (Okabe and Ito), and on light and dark ground.
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9")
MARKERS = "osD^vP"
_GLYPHS = "●■◆▲▼✚"  # the same in a line of text

#: Whatever is drawn in these becomes a variable of the file.
_TEXT, _LINE = "#010203", "#040506"
_STYLE = """<style>
svg { --text: #1b1f24; --line: #d8dde3; }
@media (prefers-color-scheme: dark) { svg { --text: #e6e9ec; --line: #454c54; } }
</style>"""
_RC: dict[Any, Any] = {
    "axes.edgecolor": _LINE,
    "axes.labelcolor": _TEXT,
    "axes.titlecolor": _TEXT,
    "axes.titlesize": "medium",
    "font.size": 10,
    "grid.color": _LINE,
    "grid.linewidth": 0.6,
    "legend.labelcolor": _TEXT,
    "svg.hashsalt": "edgesr",
    "svg.fonttype": "path",
    "text.color": _TEXT,
    "xtick.color": _LINE,
    "xtick.labelcolor": _TEXT,
    "ytick.color": _LINE,
    "ytick.labelcolor": _TEXT,
}
_PANEL = (4.2, 3.0)  # inches; a device's width is one panel
_LEAST_SPAN_DB = 0.5  # hundredths of a dB shall not look like a difference
_MIB = 2**20


@dataclass(frozen=True)
class Axis:
    """One thing that PSNR is drawn against.

    Attributes:
        title: What it is, with its unit.
        value: Reads it; None where it is not known.
    """

    title: str
    value: Callable[[Point], float | None]


def _scaled(value: float | None, unit: float) -> float | None:
    return None if value is None else value / unit


#: What the papers draw PSNR against.
AXES = (
    Axis("parameters, thousands", lambda p: _scaled(p.parameters, 1e3)),
    Axis(f"G MACs at {SIDE}x{SIDE}", lambda p: _scaled(p.macs, 1e9)),
    Axis(f"ms at {SIDE}x{SIDE}", lambda p: p.latency_ms),
    Axis(f"MiB of activations at {SIDE}x{SIDE}", lambda p: _scaled(p.activation_bytes, _MIB)),
)


def scatter_panel(points: Sequence[Point], axis: Axis, styles: Sequence[int]) -> str:
    """PSNR against one cost, as SVG; empty where no point has both.

    Args:
        points: Of one scale.
        axis: The cost.
        styles: Which colour and marker each point has.
    """
    if not _drawable(points, axis):
        return ""

    def draw(figure: "Figure") -> None:
        _scatter(figure.subplots(), points, axis, styles)

    return _svg(_PANEL, draw)


def scatter_sheet(points: Sequence[Point]) -> str:
    """All panels of all scales with a legend, as one SVG; empty where nothing can be drawn."""
    scales = [s for s in sorted({p.scale for p in points}) if _any_drawable(points, s)]
    if not scales:
        return ""

    def draw(figure: "Figure") -> None:
        # Room for a panel that cannot be drawn is left, so that all rows are alike.
        grid = figure.subplots(len(scales), len(AXES), squeeze=False)
        for row, scale in zip(grid, scales, strict=True):
            chosen = [i for i, point in enumerate(points) if point.scale == scale]
            for cell, axis in zip(row, AXES, strict=True):
                group = [points[i] for i in chosen]
                if _drawable(group, axis):
                    _scatter(cell, group, axis, chosen)
                else:
                    cell.set_axis_off()
            row[0].set_title(f"x{scale}", loc="left")
        shown = {p.name: i for i, p in enumerate(points) if p.psnr_db is not None}
        handles = [_sample(grid[0][0], index) for index in shown.values()]
        figure.legend(
            handles, list(shown), loc="outside lower center", ncols=4, frameon=False, numpoints=1
        )

    return _svg((3.0 * len(AXES), 2.6 * len(scales) + 0.5), draw)


def _any_drawable(points: Sequence[Point], scale: int) -> bool:
    return any(_drawable([p for p in points if p.scale == scale], axis) for axis in AXES)


def _drawable(points: Sequence[Point], axis: Axis) -> bool:
    return any(p.psnr_db is not None and axis.value(p) is not None for p in points)


def _scatter(axes: "Axes", points: Sequence[Point], axis: Axis, styles: Sequence[int]) -> None:
    drawn: list[tuple[float, float]] = []
    for point, style in zip(points, styles, strict=True):
        value = axis.value(point)
        if value is not None and point.psnr_db is not None:
            drawn.append((value, point.psnr_db))
            axes.plot(*drawn[-1], markersize=9, **_look(style), linestyle="none")
    costs, psnrs = zip(*drawn, strict=True)
    middle = (min(psnrs) + max(psnrs)) / 2
    half = max(_LEAST_SPAN_DB, 1.4 * (max(psnrs) - min(psnrs))) / 2
    axes.set(xlabel=axis.title, ylabel="PSNR on Y, dB")
    axes.set(xlim=(0, 1.15 * max(costs)), ylim=(middle - half, middle + half))
    axes.ticklabel_format(useOffset=False)
    _tidy(axes)


def stress_charts(
    outcomes: Sequence[StressOutcome], names: Sequence[str], limit_bytes: float
) -> list[tuple[str, str]]:
    """Time and memory over the size: title and SVG of each; empty where nothing was measured.

    Args:
        outcomes: Of all targets.
        names: The targets, in the order of their colours.
        limit_bytes: Memory that was allowed.
    """
    if not any(outcome.state is StressState.MEASURED for outcome in outcomes):
        return []

    def seconds(figure: "Figure") -> None:
        axes = figure.subplots()
        _curves(axes, outcomes, names, lambda o: _scaled(o.median_ms, 1e3))
        axes.set(ylabel="seconds", yscale="log")
        axes.yaxis.set_major_formatter("{x:g}")

    def memory(figure: "Figure") -> None:
        axes = figure.subplots()
        _curves(axes, outcomes, names, lambda o: _scaled(o.peak_bytes, _MIB))
        axes.set(ylabel="MiB")
        top = axes.get_ylim()[1]
        axes.set_ylim(0, top * 1.1)
        if limit_bytes / _MIB < 2 * top:
            axes.set_ylim(0, limit_bytes / _MIB * 1.15)
            axes.axhline(limit_bytes / _MIB, color=_TEXT, linestyle="--", linewidth=1)
        _mark_too_large(axes, outcomes, names)

    return [
        ("Time of one image", _svg(_PANEL, seconds)),
        (
            "Peak memory of the process; dashed: allowed; a cross: does not fit",
            _svg(_PANEL, memory),
        ),
    ]


def _curves(
    axes: "Axes",
    outcomes: Sequence[StressOutcome],
    names: Sequence[str],
    value: Callable[[StressOutcome], float | None],
) -> None:
    for index, name in enumerate(names):
        drawn = [(o.side, v) for o in outcomes if o.name == name and (v := value(o)) is not None]
        if drawn:
            axes.plot(*zip(*drawn, strict=True), markersize=6, **_look(index))
    sides = sorted({outcome.side for outcome in outcomes})
    axes.set_xticks(sides, [str(side) for side in sides])
    axes.set(xlabel="rows and columns of the input", xlim=(0, max(sides) * 1.05))
    if len(sides) > 5:
        axes.tick_params(axis="x", labelsize="small")
    _tidy(axes)


def _mark_too_large(axes: "Axes", outcomes: Sequence[StressOutcome], names: Sequence[str]) -> None:
    """Crosses below the upper edge, one row per target."""
    top = axes.get_ylim()[1]
    for outcome in outcomes:
        if outcome.state is StressState.TOO_LARGE:
            index = names.index(outcome.name)
            axes.plot(
                outcome.side,
                top * (0.97 - 0.06 * index),
                marker="x",
                markersize=8,
                markeredgewidth=2,
                color=colour(index),
                clip_on=False,
            )


def profile_chart(before: RadialProfile, after: RadialProfile) -> str:
    """Power over frequency before and after a block, each relative to its own lowest ring."""

    def draw(figure: "Figure") -> None:
        axes = figure.subplots()
        for index, (name, profile) in enumerate({"before": before, "after": after}.items()):
            known = np.isfinite(profile.power)
            level = decibels(profile.power[known])
            axes.plot(
                profile.frequency[known],
                level - level[0],
                color=COLOURS[index],
                linestyle="-" if index else "--",
                label=name,
            )
        axes.axvline(NYQUIST / 2, color=_LINE, linewidth=1)
        axes.set(xlabel="cycles per pixel", ylabel="dB to the lowest ring", xlim=(0, NYQUIST))
        axes.legend(frameon=False)
        _tidy(axes)

    return _svg(_PANEL, draw)


def map_png(map_hw: NDArray[np.floating], low: float, high: float) -> bytes:
    """A map in viridis as a PNG of one byte per pixel.

    Args:
        map_hw: Height x width.
        low: What gets the darkest colour.
        high: What gets the brightest one.
    """
    from matplotlib import colormaps
    from PIL import Image

    share = (map_hw - low) / max(high - low, np.finfo(np.float32).tiny)
    levels = np.rint(share.clip(0, 1) * 255).astype(np.uint8)
    image = Image.frombytes("P", levels.shape[::-1], levels.tobytes())
    colours = colormaps["viridis"](np.arange(256), bytes=True)[:, :3]
    image.putpalette(np.ascontiguousarray(colours).tobytes())
    stream = io.BytesIO()
    image.save(stream, "PNG", optimize=True)
    return stream.getvalue()


def colour(index: int) -> str:
    """What a target is drawn in."""
    return COLOURS[index % len(COLOURS)]


def glyph(index: int) -> str:
    """A target's marker as a letter."""
    return _GLYPHS[_marker(index)]


def _marker(index: int) -> int:
    return (index + index // len(COLOURS)) % len(MARKERS)


def _look(index: int) -> dict[str, Any]:
    return {
        "color": colour(index),
        "marker": MARKERS[_marker(index)],
        "markeredgecolor": "none",
    }


def _sample(axes: "Axes", index: int) -> Any:  # noqa: ANN401 - matplotlib's own kind of line
    """What stands for a style in a legend."""
    (line,) = axes.plot([], [], markersize=9, linestyle="none", **_look(index))
    return line


def _tidy(axes: "Axes") -> None:
    axes.grid(visible=True)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _svg(inches: tuple[float, float], draw: "Callable[[Figure], None]") -> str:
    """Draw, and give the file."""
    from matplotlib import rc_context

    # Not pyplot, which keeps every figure and chooses a window system.
    from matplotlib.figure import Figure

    stream = io.StringIO()
    with rc_context(_RC):
        figure = Figure(figsize=inches, layout="constrained")
        draw(figure)
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None})
    text = stream.getvalue().replace(_TEXT, "var(--text)").replace(_LINE, "var(--line)")
    # These name web addresses.
    text = re.sub(r"<metadata>.*?</metadata>|<!DOCTYPE.*?>", "", text, flags=re.DOTALL)
    return re.sub(r"(<svg [^>]*>)", rf"\1{_STYLE}", text, count=1, flags=re.DOTALL)
