"""Render docs/reproduction.md: published figures beside measured ones, and why they differ.

Every number in the document is in PUBLISHED_COSTS or PUBLISHED_QUALITY, or in the record that
benchmarks/tables.py writes; the text around them is reproduction_template.md. Only the standard
library.
"""

import itertools
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

#: Within these a measurement reproduces a published mean: dB of PSNR, and SSIM.
PSNR_TOLERANCE_DB, SSIM_TOLERANCE = 0.1, 0.002

BICUBIC = "bicubic, MATLAB's imresize (a = -0.5)"
BICUBIC_075 = "bicubic, torch's interpolate (a = -0.75)"
PLAIN_TAIL = "imdn-plus without SiLU behind the last 3x3 of each block"

#: Stands where the record lacks a cell.
NOT_MEASURED = "not measured"

_SETS = ("Set5", "Set14", "B100")
_TEMPLATE = Path(__file__).with_name("reproduction_template.md")

Row = Mapping[str, Any]


class Way(StrEnum):
    """Backend and arithmetic of a measurement."""

    PYTORCH = "PyTorch"
    FILE = "FP16 file"
    FILE_FP16 = "FP16 file in FP16 arithmetic"
    NO_NETWORK = "no network"


@dataclass(frozen=True)
class Cost:
    """Published cost of a network at 256x256.

    Attributes:
        parameters: As printed.
        operations: Likewise, as "FLOPs"; without operations of ReLUs unless `rectified`.
        activations: Likewise; empty where it is not stated.
        convolutions: Number of convolutions.
        rectified: Whether the operations include one per number behind a ReLU.
    """

    parameters: str
    operations: str
    activations: str
    convolutions: int
    rectified: bool = True


#: Network -> Li et al., "NTIRE 2022 Challenge on Efficient Super-Resolution", CVPRW 2022, table 2.
PUBLISHED_COSTS: Mapping[str, Cost] = {
    "imdn-baseline x4": Cost("894K", "58.53G", "154.14M", 43),
    "imdn-plus x4": Cost("276K", "17.98G", "92.80M", 59),
    "fmen-s x4": Cost("341K", "22.28G", "72.09M", 34, rectified=False),
    "imdn-clb x4": Cost("790K", "51.76G", "", 37),
}

#: Network -> set -> PSNR in dB and SSIM, as their authors publish them.
PUBLISHED_QUALITY: Mapping[str, Mapping[str, tuple[float, float]]] = {
    "imdn x2": {"Set5": (38.00, 0.9605), "Set14": (33.63, 0.9177), "B100": (32.19, 0.8996)},
    "imdn x4": {"Set5": (32.21, 0.8948), "Set14": (28.58, 0.7811), "B100": (27.56, 0.7353)},
    "imdn-plus x4": {"Set5": (32.11, 0.8934), "Set14": (28.63, 0.7823), "B100": (27.58, 0.7358)},
    "fmen x4": {"Set5": (32.24, 0.8955), "Set14": (28.70, 0.7839), "B100": (27.63, 0.7379)},
}

#: (network, column of the cost table) -> why it differs; its text is in the document.
EXPLAINED_COSTS: Mapping[tuple[str, str], str] = {
    ("imdn-clb x4", "convolutions"): (
        "The report counts 37 convolutions in imdn-clb, its authors' own checkpoint holds 38 "
        "weights of rank 4: the head, five in each of the seven blocks, the one behind the blocks "
        "and the tail. Parameters and operations of the same checkpoint agree with the report."
    ),
}


def render(record: Mapping[str, Sequence[Row]]) -> str:
    """Render the document.

    Args:
        record: From benchmarks/tables.py: "costs" and "quality".
    """
    costs, cells = record["costs"], _Cells(record["quality"])
    return _TEMPLATE.read_text().format(
        costs=_costs(costs),
        explained_costs=_wrapped(" ".join(EXPLAINED_COSTS.values())),
        quality=_quality(costs, cells),
        largest=_largest(record["quality"]),
        unrounded=_unrounded(costs, cells),
        files=_files(costs, cells),
        bicubic=_bicubic(record["quality"]),
        plus=cells.psnr("team39_imdn_plus.pth"),
        plain_tail=cells.psnr(PLAIN_TAIL),
        fmen=cells.psnr("fmen_test_weights.pt"),
        fmen_challenge=cells.psnr("team03_fmen.pth"),
        not_measured=_not_measured(costs),
        conditions=_conditions(record["quality"]),
    )


class _Cells:
    """Measurements by subject, set and way."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = {(row["subject"], row["set_name"], row["way"]): row for row in rows}

    def find(self, subject: str, set_name: str, way: Way) -> Row | None:
        """Find one row; None if it was not measured."""
        return self._rows.get((subject, set_name, way))

    def psnr(self, subject: str) -> str:
        """PSNR of a subject in PyTorch on Set5, for the text."""
        row = self.find(subject, "Set5", Way.PYTORCH)
        return f"{row['psnr_db']:.2f} dB" if row else NOT_MEASURED


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Format a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _costs(rows: Sequence[Row]) -> str:
    head = (
        "network", "checkpoint", "parameters", "operations", "MACs alone", "activations",
        "convolutions", "peak memory, MiB",
    )  # fmt: skip
    return table(head, map(_cost_cells, rows))


def _cost_cells(row: Row) -> list[str]:
    published = PUBLISHED_COSTS.get(row["network"])
    rectified = published is None or published.rectified
    operations, macs = (f"{row[name] / 1e9:.2f}G" for name in ("operations", "macs"))
    measured = {
        "parameters": f"{row['parameters'] / 1e3:.0f}K",
        "operations": operations if rectified else macs,
        "activations": f"{row['activations'] / 1e6:.2f}M",
        "convolutions": str(row["convolutions"]),
    }
    stated = {name: getattr(published, name, "") for name in measured}
    cells = [f"{stated[n]} \\| {value}" if stated[n] else value for n, value in measured.items()]
    name = [row["network"], f"`{row['subject']}`"]
    return [*name, *cells[:2], macs, *cells[2:], f"{row['peak_bytes'] / 2**20:.1f}"]


def _quality(costs: Sequence[Row], cells: _Cells) -> str:
    head = (
        "network", "checkpoint", "set", "published", "PyTorch", "FP16 file", "PyTorch - published",
        "FP16 file - published",
    )  # fmt: skip
    lines: list[list[str]] = []
    for cost, set_name in itertools.product(costs, _SETS):
        found = [cells.find(cost["subject"], set_name, way) for way in (Way.PYTORCH, Way.FILE)]
        published = _published(cost["network"], set_name)
        name = [cost["network"], f"`{cost['subject']}`", set_name]
        stated = _scores(published) if published else "-"
        apart = [_apart(row, published) for row in found]
        lines.append([*name, stated, *map(_scores, found), *apart])
    return table(head, lines)


def _unrounded(costs: Sequence[Row], cells: _Cells) -> str:
    head = ("network", "set", "published", "Y of 8 bits", "Y not rounded", "difference of the last")
    lines: list[list[str]] = []
    for cost, set_name in itertools.product(costs, _SETS):
        published = _published(cost["network"], set_name)
        if published:
            row = cells.find(cost["subject"], set_name, Way.PYTORCH)
            other = row["unrounded_y"] if row else None
            name = [cost["network"], set_name]
            lines.append([*name, *map(_scores, (published, row, other)), _apart(other, published)])
    return table(head, lines)


def _files(costs: Sequence[Row], cells: _Cells) -> str:
    head = (
        "network", "checkpoint", "set", "PyTorch", "FP16 file, FP32 arithmetic",
        "FP16 file, FP16 arithmetic", "file - PyTorch", "FP16 arithmetic - PyTorch",
    )  # fmt: skip
    ways = (Way.PYTORCH, Way.FILE, Way.FILE_FP16)
    lines: list[list[str]] = []
    for cost, set_name in itertools.product(costs, _SETS):
        torch, *files = (cells.find(cost["subject"], set_name, way) for way in ways)
        name = [cost["network"], f"`{cost['subject']}`", set_name]
        apart = [_apart(file, torch, 3) for file in files]
        lines.append([*name, *map(_scores, (torch, *files)), *apart])
    return table(head, lines)


def _bicubic(rows: Sequence[Row]) -> str:
    found = [row for row in rows if row["way"] == Way.NO_NETWORK]
    lines = [[row["subject"], row["network"], row["set_name"], _scores(row)] for row in found]
    return table(("kernel", "scale", "set", "measured"), lines)


def _published(network: str, set_name: str) -> Row | None:
    """Published figures of a network, as a row of the record; None without any."""
    found = PUBLISHED_QUALITY.get(network)
    return dict(zip(("psnr_db", "ssim"), found[set_name], strict=True)) if found else None


def _scores(row: Row | None) -> str:
    return f"{row['psnr_db']:.2f} / {row['ssim']:.4f}" if row else NOT_MEASURED


def _apart(row: Row | None, other: Row | None, digits: int = 2) -> str:
    """PSNR and SSIM of the first row above those of the other."""
    if row is None or other is None:
        return "-"
    # Adding zero takes the sign off a difference that rounds to it.
    psnr_db = round(row["psnr_db"] - other["psnr_db"], digits) + 0.0
    return f"{psnr_db:+.{digits}f} / {round(row['ssim'] - other['ssim'], 4) + 0.0:+.4f}"


def _largest(rows: Sequence[Row]) -> str:
    """Largest difference of a mean from the published one, without FP16 arithmetic."""
    psnr_db, ssim = 0.0, 0.0
    for row in rows:
        published = _published(row["network"], row["set_name"])
        if published and row["way"] != Way.FILE_FP16 and row["subject"] != PLAIN_TAIL:
            psnr_db = max(psnr_db, abs(row["psnr_db"] - published["psnr_db"]))
            ssim = max(ssim, abs(row["ssim"] - published["ssim"]))
    return f"{psnr_db:.3f} dB and {ssim:.4f}"


def _not_measured(costs: Sequence[Row]) -> str:
    """Published figures of networks without a checkpoint."""
    measured = {row["network"] for row in costs}
    named = "; ".join(
        f"{name} (published: "
        + ", ".join(f"{psnr:.2f} / {ssim:.4f} on {where}" for where, (psnr, ssim) in sets.items())
        + ")"
        for name, sets in PUBLISHED_QUALITY.items()
        if name not in measured
    )
    return _wrapped(f"{named}: no weights are available to measure.")


def _wrapped(text: str) -> str:
    return textwrap.fill(text, 100)


def _conditions(rows: Sequence[Row]) -> str:
    """Conditions of the measurements; more than one line where rows differ."""
    return "\n".join(dict.fromkeys(_wrapped(f"- {_condition(row)}") for row in rows))


def _condition(row: Row) -> str:
    names = ("python", "torch", "ai-edge-litert", "onnx2tf", "numpy", "scikit-image", "edgesr")
    facts = row["machine"]
    versions = ", ".join(f"{name} {facts[name]}" for name in names)
    return (
        f"{facts['processor']}, {facts['system']}, {row['threads']} CPU thread; {versions}; "
        f"commit {facts['commit']}"
    )
