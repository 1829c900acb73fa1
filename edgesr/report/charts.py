"""Small images for reports: distributions of latencies, and curves over time.

Their colours are the page's (CSS classes), so that light and dark are one image; they scale with
its width.
"""

import html
import math
from collections.abc import Sequence

from edgesr.benchmark.results import Measurement, Moment

_WIDTH = 640.0
_LEFT, _RIGHT = 12.0, 28.0
_ROW = 56.0
_AXIS = 26.0
_CURVE_HEIGHT = 220.0
_CURVE_TOP = 40.0  # the names are above it
_TICKS = 5
_DIGITS = 2


def printable(text: str) -> str:
    """Replace what controls a terminal or the direction of text by a sign."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in text)


def _escape(text: str) -> str:
    return html.escape(printable(text))


def distributions(results: Sequence[Measurement]) -> str:
    """Chart of one row per result: samples as strokes, middle half a box.

    Args:
        results: At least one, each with at least one sample.
    """
    most = max(max(r.samples_ms) for r in results) * 1.03
    height = _ROW * len(results) + _AXIS
    rows = [_row(result, index * _ROW, most) for index, result in enumerate(results)]
    bottom = _ROW * len(results)
    return _svg(
        height, "Latency of every sample, in milliseconds", [*_axis(most, bottom, "ms"), *rows]
    )


def curve(moments: Sequence[Moment], name: str) -> str:
    """Chart of latency over time, and of the battery's temperature if known.

    Args:
        moments: At least one.
        name: What was measured.
    """
    end = max(moments[-1].at_s, 1.0)
    top = max(m.latency_ms for m in moments) * 1.1
    parts = _axis(end, _CURVE_HEIGHT, "s")
    latencies = [(m.at_s / end, m.latency_ms / top) for m in moments]
    parts.append(_line(latencies, "latency"))
    parts.append(_text(_LEFT, 12, f"latency, 0 to {top:.1f} ms", "latency-name"))
    warm = [m for m in moments if m.celsius is not None]
    temperatures = [m.celsius for m in warm if m.celsius is not None]
    if temperatures:
        low, high = math.floor(min(temperatures)) - 1, math.ceil(max(temperatures)) + 1
        points = [
            (m.at_s / end, (t - low) / (high - low))
            for m, t in zip(warm, temperatures, strict=True)
        ]
        parts.append(_line(points, "heat"))
        parts.append(_text(_LEFT, 28, f"battery, {low} to {high} C", "heat-name"))
    return _svg(_CURVE_HEIGHT + _AXIS, f"{name} over time", parts)


def _row(result: Measurement, top: float, most: float) -> str:
    samples = sorted(result.samples_ms)
    middle = top + 36

    def quantile(share: float) -> float:
        return _x(samples[min(len(samples) - 1, int(share * len(samples)))] / most)

    low, high = quantile(0.25), quantile(0.75)
    strokes = "".join(
        f'<line class="sample" x1="{_n(_x(s / most))}" x2="{_n(_x(s / most))}" '
        f'y1="{_n(middle - 9)}" y2="{_n(middle + 9)}"/>'
        for s in samples
    )
    at = _n(_x(result.latency_ms / most))
    return (
        _text(_LEFT, top + 18, f"{result.file}, {result.setting}, {result.device}", "row-name")
        + f'<rect class="half" x="{_n(low)}" width="{_n(max(1.0, high - low))}" '
        f'y="{_n(middle - 9)}" height="18"/>{strokes}'
        f'<line class="median" x1="{at}" x2="{at}" y1="{_n(middle - 13)}" y2="{_n(middle + 13)}"/>'
    )


def _axis(most: float, bottom: float, unit: str) -> list[str]:
    """A line with numbers below everything, and thin ones upwards."""
    step = _step(most)
    parts: list[str] = []
    count = int(most / step)
    for index in range(count + 1):
        x = _x(index * step / most)
        last = index == count
        parts.append(
            f'<line class="grid" x1="{_n(x)}" x2="{_n(x)}" y1="0" y2="{_n(bottom)}"/>'
            + _text(x, bottom + 17, f"{index * step:g}{f' {unit}' if last else ''}", "tick")
        )
    return parts


def _step(most: float) -> float:
    """Choose a step of 1, 2 or 5 times a power of ten."""
    rough = most / _TICKS
    power = 10 ** math.floor(math.log10(rough))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= rough)


def _line(points: Sequence[tuple[float, float]], kind: str) -> str:
    places = " ".join(
        f"{_n(_x(x))},{_n(_CURVE_HEIGHT - y * (_CURVE_HEIGHT - _CURVE_TOP))}" for x, y in points
    )
    if len(points) == 1:
        x, y = places.split(",")
        return f'<circle class="{kind}" cx="{x}" cy="{y}" r="3"/>'
    return f'<polyline class="{kind}" points="{places}"/>'


def _svg(height: float, label: str, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {_n(_WIDTH)} {_n(height)}" role="img" '
        f'aria-label="{_escape(label)}">{"".join(parts)}</svg>'
    )


def _text(x: float, y: float, text: str, kind: str) -> str:
    return f'<text class="{kind}" x="{_n(x)}" y="{_n(y)}">{_escape(text)}</text>'


def _x(share: float) -> float:
    return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)


def _n(value: float) -> str:
    return f"{round(value, _DIGITS):g}"
