"""Page of records of benchmarks: tables, distributions, curves, operators, logs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from markupsafe import Markup

from edgesr.benchmark.results import Measurement
from edgesr.report import charts
from edgesr.report.page import render_page


@dataclass(frozen=True)
class Sheet:
    """One record, as the page shows it.

    Attributes:
        title: Its name.
        facts: How it was made, name -> text.
        results: Its measurements.
        devices: Device -> its facts, name -> text.
        failures: What gave no result, and why; with the tool's output, empty without.
        scores: Lines.
    """

    title: str
    facts: Mapping[str, str]
    results: Sequence[Measurement]
    devices: Mapping[str, Mapping[str, str]] = field(default_factory=dict[str, Mapping[str, str]])
    failures: Sequence[tuple[str, str]] = ()
    scores: Sequence[str] = ()


def render(sheets: Sequence[Sheet]) -> str:
    """Make one HTML page of benchmark records, its charts inside it.

    Args:
        sheets: The records, at least one.
    """
    results = [result for sheet in sheets for result in sheet.results]
    real = [result for result in results if result.kind != "software device"]
    software = [result for result in results if result.kind == "software device"]
    return render_page(
        "benchmark.html",
        title="Latency of super-resolution files",
        subtitle="; ".join(sheet.title for sheet in sheets),
        groups=[
            _group(title, group)
            for title, group in (("Results", real), ("Software devices", software))
            if group
        ],
        scores=[line for sheet in sheets for line in sheet.scores],
        failures=[failure for sheet in sheets for failure in sheet.failures],
        curves=[(r.name, Markup(charts.curve(r.curve, r.name))) for r in results if r.curve],
        operators=[(r.name, _operators(r)) for r in results if r.operators],
        cards=[
            card
            for sheet in sheets
            for card in (*sheet.devices.items(), (sheet.title, sheet.facts))
        ],
        logs=[(result.name, result.log) for result in results if result.log],
    )


def _group(title: str, results: Sequence[Measurement]) -> dict[str, object]:
    """Values of the template for results of one kind of device."""
    facts = list(dict.fromkeys(name for result in results for name in result.facts))
    notes = dict.fromkeys(f"{r.name}: {note}" for r in results for note in r.notes)
    return {
        "title": title,
        "software": results[0].kind == "software device",
        "columns": ["file", "ms", "ratio", *facts],
        "rows": [_row(result, results, facts) for result in results],
        "samples": ", ".join(dict.fromkeys(result.sample for result in results)),
        "chart": Markup(charts.distributions(results)),
        "notes": "\n".join(notes),
    }


def _row(
    result: Measurement, results: Sequence[Measurement], facts: Sequence[str]
) -> list[str | Markup]:
    # Ratios are among what ran on the same device with the same setting.
    first = next(
        r for r in results if (r.device_key, r.setting) == (result.device_key, result.setting)
    )
    file, where = map(charts.printable, (result.file, f"{result.setting}, {result.device}"))
    return [
        Markup("{}<small>{}</small>").format(file, where),
        Markup("<strong>{}</strong>").format(f"{result.latency_ms:.2f}"),
        f"{result.latency_ms / first.latency_ms:.2f}",
        *(result.facts.get(name, "-") for name in facts),
    ]


def _operators(result: Measurement) -> list[list[str]]:
    return [
        [one.kind, one.name, f"{one.percent:.1f}", f"{one.mean_ms:.3f}", str(one.calls)]
        for one in sorted(result.operators, key=lambda one: -one.percent)
    ]
