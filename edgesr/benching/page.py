"""One HTML page of records: nothing is fetched, nothing runs, and every text is escaped.

What a phone's programs print is nobody's word to trust: besides escaping, the page's own policy
forbids scripts and everything from elsewhere.
"""

import importlib.resources
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from edgesr.benching import svg
from edgesr.benching.measured import Measured

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_SOFTWARE = (
    "A software device is a GPU that a CPU plays: its times say nothing of a GPU's and are not to "
    "be compared with a CPU's. It is in a list of its own."
)


@dataclass(frozen=True)
class Sheet:
    """One record, as the page tells it.

    Attributes:
        title: What it is of.
        facts: How it was made, name -> text.
        results: What was measured.
        devices: Device -> what it is, name -> text.
        failures: What gave no result, and why; with what the tool said, empty without.
        scores: Lines.
    """

    title: str
    facts: Mapping[str, str]
    results: Sequence[Measured]
    devices: Mapping[str, Mapping[str, str]] = field(default_factory=dict[str, Mapping[str, str]])
    failures: Sequence[tuple[str, str]] = ()
    scores: Sequence[str] = ()


def render(sheets: Sequence[Sheet]) -> str:
    """The page.

    Args:
        sheets: The records, at least one.
    """
    results = [result for sheet in sheets for result in sheet.results]
    body = [
        "<h1>Latency of super-resolution files</h1>",
        _paragraph("; ".join(sheet.title for sheet in sheets), "faint"),
        *_numbers(results),
        *_scores(sheets),
        *_failures(sheets),
        *_curves(results),
        *_operators(results),
        *_devices(sheets),
        *_logs(results),
    ]
    style = importlib.resources.files("edgesr.benching").joinpath("page.css").read_text()
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>edgesr bench</title>\n<style>\n{style}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )


def _numbers(results: Sequence[Measured]) -> list[str]:
    """A table and a picture for real devices, and the same apart for those that a CPU plays."""
    real = [r for r in results if r.kind != "software device"]
    played = [r for r in results if r.kind == "software device"]
    parts: list[str] = []
    for title, group in (("Results", real), ("Software devices", played)):
        if not group:
            continue
        parts.append(f"<h2>{title}</h2>")
        if group is played:
            parts.append(_paragraph(_SOFTWARE, "bad"))
        parts += [_table(group), "<h3>Distributions</h3>"]
        what = ", ".join(dict.fromkeys(r.sample for r in group))
        parts.append(
            _paragraph(f"Each stroke is a sample ({what}), the box the middle half.", "faint")
        )
        parts.append(f'<div class="scroll">{svg.distributions(group)}</div>')
        notes = dict.fromkeys(f"{r.name}: {note}" for r in group for note in r.notes)
        parts += _folded("Notes", "\n".join(notes)) if notes else []
    return parts


def _table(results: Sequence[Measured]) -> str:
    columns = list(dict.fromkeys(name for r in results for name in r.facts))
    names = ("file", "setting", "device")
    head = "".join(f'<th class="name">{name}</th>' for name in names)
    head += "".join(f"<th>{svg.escape(name)}</th>" for name in ("ms", "ratio", *columns))
    rows: list[str] = []
    for result in results:
        # Ratios are among what ran on the same device with the same setting.
        first = next(
            r for r in results if (r.device_key, r.setting) == (result.device_key, result.setting)
        )
        cells = [
            *(f'<td class="name">{svg.escape(getattr(result, name))}</td>' for name in names),
            f"<td><strong>{result.latency_ms:.2f}</strong></td>",
            f"<td>{result.latency_ms / first.latency_ms:.2f}</td>",
            *(f"<td>{svg.escape(result.facts.get(name, '-'))}</td>" for name in columns),
        ]
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody>'
        "</table></div>"
        + _paragraph(
            "Milliseconds where nothing else is said; ratio: to the first file of the same device "
            "and setting.",
            "faint",
        )
    )


def _scores(sheets: Sequence[Sheet]) -> list[str]:
    lines = [line for sheet in sheets for line in sheet.scores]
    return ["<h2>Scores</h2>", *map(_paragraph, lines)] if lines else []


def _failures(sheets: Sequence[Sheet]) -> list[str]:
    parts: list[str] = []
    for text, log in itertools.chain.from_iterable(sheet.failures for sheet in sheets):
        parts.append(_paragraph(text, "bad"))
        parts += _folded("What benchmark_model said", log) if log else []
    return ["<h2>What gave no result</h2>", *parts] if parts else []


def _curves(results: Sequence[Measured]) -> list[str]:
    with_curve = [result for result in results if result.curve]
    parts = [
        f"<h3>{svg.escape(result.name)}</h3>"
        f'<div class="scroll">{svg.curve(result.curve, result.name)}</div>'
        for result in with_curve
    ]
    return ["<h2>Back to back, over time</h2>", *parts] if parts else []


def _operators(results: Sequence[Measured]) -> list[str]:
    parts = [
        f"<details><summary>{svg.escape(result.name)}</summary>{_operator_table(result)}</details>"
        for result in results
        if result.operators
    ]
    if not parts:
        return []
    about = "From a run of its own, for timing operators slows them. A delegate may be one of them."
    return ["<h2>What each operator takes</h2>", _paragraph(about, "faint"), *parts]


def _operator_table(result: Measured) -> str:
    head = '<th class="name">operator</th><th class="name">name</th>'
    head += "<th>%</th><th>ms</th><th>calls</th>"
    rows = [
        f'<tr><td class="name">{svg.escape(one.kind)}</td>'
        f'<td class="name">{svg.escape(one.name)}</td>'
        f"<td>{one.percent:.1f}</td><td>{one.mean_ms:.3f}</td><td>{one.calls}</td></tr>"
        for one in sorted(result.operators, key=lambda one: -one.percent)
    ]
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _devices(sheets: Sequence[Sheet]) -> list[str]:
    cards: list[str] = []
    for sheet in sheets:
        cards += [_card(name, facts) for name, facts in sheet.devices.items()]
        cards.append(_card(sheet.title, sheet.facts))
    return ["<h2>Devices and conditions</h2>", f'<div class="devices">{"".join(cards)}</div>']


def _card(title: str, facts: Mapping[str, str]) -> str:
    entries = "".join(
        f"<dt>{svg.escape(name)}</dt><dd>{svg.escape(text)}</dd>" for name, text in facts.items()
    )
    return f'<div class="card"><h3>{svg.escape(title)}</h3><dl>{entries}</dl></div>'


def _logs(results: Sequence[Measured]) -> list[str]:
    parts = [part for r in results if r.log for part in _folded(r.name, r.log)]
    return ["<h2>Raw logs</h2>", *parts] if parts else []


def _folded(title: str, text: str) -> list[str]:
    return [
        f"<details><summary>{svg.escape(title)}</summary><pre>{svg.escape(text)}</pre></details>"
    ]


def _paragraph(text: str, kind: str = "") -> str:
    attribute = f' class="{kind}"' if kind else ""
    return f"<p{attribute}>{svg.escape(text)}</p>"
