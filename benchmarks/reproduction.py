"""docs/reproduction.md: published figures beside measured ones, and why they differ.

Every number in the document is either in PUBLISHED_COSTS or PUBLISHED_QUALITY, or in the record
that benchmarks/tables.py writes. Only the standard library.
"""

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

#: Within these a measurement reproduces a published mean: dB of PSNR, and SSIM.
PSNR_TOLERANCE_DB, SSIM_TOLERANCE = 0.1, 0.002

BICUBIC = "bicubic, MATLAB's imresize (a = -0.5)"
BICUBIC_075 = "bicubic, torch's interpolate (a = -0.75)"
PLAIN_TAIL = "imdn-plus without SiLU behind the last 3x3 of each block"

#: Stands where the record lacks a cell.
NOT_MEASURED = "not measured"

Row = Mapping[str, Any]


class Way(StrEnum):
    """What computes."""

    PYTORCH = "PyTorch"
    FILE = "FP16 file"
    FILE_FP16 = "FP16 file in FP16 arithmetic"
    NO_NETWORK = "no network"


@dataclass(frozen=True)
class Cost:
    """What a table says that a network costs at 256x256.

    Attributes:
        parameters: As printed.
        operations: Likewise, as "FLOPs"; without operations of ReLUs unless `rectified`.
        activations: Likewise; empty where it is not stated.
        convolutions: How many.
        rectified: Whether the operations hold one per number behind a ReLU.
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
    """The document.

    Args:
        record: What benchmarks/tables.py wrote: "costs" and "quality".
    """
    quality = {(r["subject"], r["network"], r["set_name"], r["way"]): r for r in record["quality"]}
    parts = [
        _HEAD,
        _COSTS_HEAD,
        _costs(record["costs"]),
        _COSTS_TEXT.format(explained=_wrapped(" ".join(EXPLAINED_COSTS.values()))),
        _QUALITY_HEAD,
        _quality(record["quality"]),
        _QUALITY_TEXT.format(**_largest(record["quality"])),
        _UNROUNDED_HEAD,
        _unrounded(record["quality"]),
        _UNROUNDED_TEXT,
        _FILES_HEAD,
        _files(record["quality"], quality),
        _BICUBIC_HEAD,
        _bicubic(record["quality"]),
        _BICUBIC_TEXT,
        _NETWORKS_TEXT.format(**_facts(quality)),
        _MISSING_TEXT.format(published=_not_measured(record["costs"])),
        _conditions(record["quality"]),
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def printed_cost(row: Row, *, rectified: bool) -> Cost:
    """A measured cost, in the words of the published table."""
    operations = row["operations"] if rectified else row["macs"]
    return Cost(
        f"{row['parameters'] / 1e3:.0f}K",
        f"{operations / 1e9:.2f}G",
        f"{row['activations'] / 1e6:.2f}M",
        row["convolutions"],
        rectified,
    )


def _costs(rows: Sequence[Row]) -> str:
    head = (
        "network", "checkpoint", "parameters", "operations", "MACs alone", "activations",
        "convolutions", "peak memory, MiB",
    )  # fmt: skip
    return table(head, map(_cost_cells, rows))


def _cost_cells(row: Row) -> list[str]:
    published = PUBLISHED_COSTS.get(row["network"])
    measured = printed_cost(row, rectified=published is None or published.rectified)
    macs = printed_cost(row, rectified=False).operations
    cells = [row["network"], f"`{row['subject']}`"]
    for name in ("parameters", "operations", "activations", "convolutions"):
        value = str(getattr(measured, name))
        said = str(getattr(published, name)) if published else ""
        if name == "operations" and said and not measured.rectified:
            value += " (MACs)"
        cells.append(f"{said} \\| {value}" if said else value)
    cells.insert(4, macs)
    return [*cells, f"{row['peak_bytes'] / 2**20:.1f}"]


def _quality(rows: Sequence[Row]) -> str:
    head = (
        "network", "checkpoint", "set", "published", "PyTorch", "FP16 file", "PyTorch - published",
        "FP16 file - published",
    )  # fmt: skip
    by_place = {_place(row): row for row in rows}
    cells: list[list[str]] = []
    for row in rows:
        if row["way"] == Way.PYTORCH and row["subject"] != PLAIN_TAIL:
            file = by_place.get((*_place(row)[:2], Way.FILE))
            published = PUBLISHED_QUALITY.get(row["network"], {}).get(row["set_name"])
            cells.append(_quality_cells(row, file, published))
    return table(head, cells)


def _quality_cells(row: Row, file: Row | None, published: tuple[float, float] | None) -> list[str]:
    cells = [row["network"], f"`{row['subject']}`", row["set_name"]]
    found = [_scores(row), _scores(file) if file else NOT_MEASURED]
    if published is None:
        return [*cells, "-", *found, "-", "-"]
    said = f"{published[0]:.2f} / {published[1]:.4f}"
    apart = [_apart((r["psnr_db"], r["ssim"]), published) if r else "-" for r in (row, file)]
    return [*cells, said, *found, *apart]


def _largest(rows: Sequence[Row]) -> dict[str, float]:
    """How far means lie from published ones, at most; FP16 arithmetic is told elsewhere."""
    psnr_db, ssim = 0.0, 0.0
    for row in rows:
        published = PUBLISHED_QUALITY.get(row["network"], {}).get(row["set_name"])
        if published and row["way"] != Way.FILE_FP16 and row["subject"] != PLAIN_TAIL:
            psnr_db = max(psnr_db, abs(row["psnr_db"] - published[0]))
            ssim = max(ssim, abs(row["ssim"] - published[1]))
    return {"psnr_db": psnr_db, "ssim": ssim}


def _unrounded(rows: Sequence[Row]) -> str:
    """The networks of the IMDN paper, whose figures are those of Y before rounding."""
    head = ("network", "set", "published", "Y of 8 bits", "Y not rounded", "difference of the last")
    cells: list[list[str]] = []
    for row in rows:
        if row["way"] == Way.PYTORCH and row["network"] in ("imdn x2", "imdn x4", "imdn-plus x4"):
            if row["subject"] == PLAIN_TAIL:
                continue
            published = PUBLISHED_QUALITY[row["network"]][row["set_name"]]
            other = row["unrounded_y"]
            said = f"{published[0]:.2f} / {published[1]:.4f}"
            apart = _apart((other["psnr_db"], other["ssim"]), published)
            place = [row["network"], row["set_name"]]
            cells.append([*place, said, _scores(row), _scores(other), apart])
    return table(head, cells)


def _files(rows: Sequence[Row], quality: Mapping[tuple[str, str, str, str], Row]) -> str:
    head = (
        "network", "checkpoint", "set", "PyTorch", "FP16 file, FP32 arithmetic",
        "FP16 file, FP16 arithmetic", "file - PyTorch", "FP16 arithmetic - PyTorch",
    )  # fmt: skip
    cells: list[list[str]] = []
    for row in rows:
        key = row["subject"], row["network"], row["set_name"]
        if row["way"] == Way.FILE:
            torch, half = quality[*key, Way.PYTORCH], quality.get((*key, Way.FILE_FP16))
            first = torch["psnr_db"], torch["ssim"]
            found = [torch, row, half]
            apart = [_apart((r["psnr_db"], r["ssim"]), first, 3) if r else "-" for r in found[1:]]
            name = [row["network"], f"`{row['subject']}`", row["set_name"]]
            cells.append([*name, *(_scores(r) if r else NOT_MEASURED for r in found), *apart])
    return table(head, cells)


def _bicubic(rows: Sequence[Row]) -> str:
    head = ("what", "scale", "set", "measured")
    return table(
        head,
        [
            [row["subject"], row["network"], row["set_name"], _scores(row)]
            for row in rows
            if row["way"] == Way.NO_NETWORK
        ],
    )


def _not_measured(rows: Sequence[Row]) -> str:
    """Published figures of networks without a checkpoint."""
    measured = {row["network"] for row in rows}
    named = "; ".join(
        f"{name} (published: "
        + ", ".join(f"{psnr:.2f} / {ssim:.4f} on {where}" for where, (psnr, ssim) in sets.items())
        + ")"
        for name, sets in PUBLISHED_QUALITY.items()
        if name not in measured
    )
    return _wrapped(f"{named}: there are no weights at hand to measure.")


def _wrapped(text: str) -> str:
    return textwrap.fill(text, 100)


def _place(row: Row) -> tuple[str, str, str]:
    return row["subject"], row["set_name"], row["way"]


def _scores(row: Row) -> str:
    return f"{row['psnr_db']:.2f} / {row['ssim']:.4f}"


def _apart(one: tuple[float, float], other: tuple[float, float], digits: int = 2) -> str:
    # Adding zero takes the sign off a difference that rounds to it.
    psnr_db, ssim = round(one[0] - other[0], digits) + 0.0, round(one[1] - other[1], 4) + 0.0
    return f"{psnr_db:+.{digits}f} / {ssim:+.4f}"


def _facts(quality: Mapping[tuple[str, str, str, str], Row]) -> dict[str, str]:
    """The measured figures that the explanations name."""

    def psnr(subject: str, network: str) -> str:
        row = quality.get((subject, network, "Set5", Way.PYTORCH))
        return f"{row['psnr_db']:.2f} dB" if row else NOT_MEASURED

    return {
        "plus": psnr("team39_imdn_plus.pth", "imdn-plus x4"),
        "plain_tail": psnr(PLAIN_TAIL, "imdn-plus x4"),
        "fmen": psnr("fmen_test_weights.pt", "fmen-s x4"),
        "fmen_challenge": psnr("team03_fmen.pth", "fmen-s x4"),
    }


def _conditions(rows: Sequence[Row]) -> str:
    """What measured, as the record says; more than one line where rows differ."""
    found = {_condition(row): None for row in rows}
    return "## Conditions\n\n" + "\n".join(f"- {line}" for line in found)


def _condition(row: Row) -> str:
    names = ("python", "torch", "ai-edge-litert", "onnx2tf", "numpy", "scikit-image", "edgesr")
    facts = row["machine"]
    versions = ", ".join(f"{name} {facts[name]}" for name in names)
    return (
        f"{facts['processor']}, {facts['system']}, {row['threads']} thread; {versions}; "
        f"commit {facts['commit']}"
    )


_HEAD = """
# Published figures, measured

Written by `python benchmarks/tables.py` from `benchmarks/results/tables.json`; no number is set by
hand. Published figures are those of the networks' authors and of the challenge's report; measured
are the checkpoints that the authors published, on the pictures in `EDGESR_SHARED`. The command
measures what the record lacks and goes on where it was broken off; `--only NAME` measures one
network, `--render` writes this page anew. A test holds that this page is what the record says, that
every published checkpoint is in it, and that a difference beyond 0.1 dB or 0.002 is explained here.

PSNR in dB and SSIM are means over a set, on the Y channel (BT.601), rounded to 8 bits unless said
otherwise, with as many pixels left out along each edge as the scale; LR pictures are by MATLAB's
bicubic. PyTorch and files take each picture in one piece. An FP16 file has FP16 weights; it
computes in FP32 on the CPU unless said otherwise. `edgesr eval --whole` measures the same way.
"""

_COSTS_HEAD = """
## What networks cost

At 256x256, as `edgesr info` counts; published | measured where the challenge's report has a figure:
"""

_COSTS_TEXT = """
Operations are what the report calls FLOPs: multiply-accumulates, and one operation for each number
behind a layer of the ReLU kind, where the report's counter saw that layer. It saw those of
imdn-baseline and imdn-clb; FMEN's one activation is a variable outside the network, and SiLU is not
of that kind. So FMEN-S's 22.28G are MACs alone, and `edgesr info` prints both counts.

{explained}

Peak memory is that of float32 activations alive at once. For FMEN-S it is four feature maps of 50
channels, as its authors say of it.
"""

_QUALITY_HEAD = """
## PSNR and SSIM
"""

_QUALITY_TEXT = """
The largest difference to a published figure is {psnr_db:.2f} dB and {ssim:.4f}. "-": no published
figure is at hand.
"""

_UNROUNDED_HEAD = """
### Where the differences to IMDN's paper come from

The paper's figures are those of Y that is not rounded to 8 bits; edgesr rounds, as MATLAB's
rgb2ycbcr does for 8-bit pictures. Without rounding, with scikit-image's Y, PSNR and SSIM, the same
pictures in PyTorch give:
"""

_UNROUNDED_TEXT = """
Rounding two pictures adds their rounding errors to the difference between them, which shows the
more the smaller that difference is. IMDN+'s figures are those of rounded Y.
"""

_FILES_HEAD = """
## What the FP16 file and FP16 arithmetic change

FP16 arithmetic is XNNPACK's FORCE_FP16 on the CPU, every operator in FP16, as a phone's GPU does:
"""

_BICUBIC_HEAD = """
## Bicubic
"""

_BICUBIC_TEXT = """
Two kernels are called bicubic. MATLAB's, by which LR pictures are made and which edgesr takes, has
a = -0.5; torch's has a = -0.75, which is sharper. An earlier text of this project gave 33.94 /
0.9319 for Set5 x2 and 30.54 / 0.8742 for Set14 x2: those are torch's.
"""

_NETWORKS_TEXT = """
## Of single networks

- imdn-plus: its published checkpoint has SiLU behind all six 3x3 convolutions of a block. One
  description leaves the last one without: that gives {plain_tail} on Set5 instead of {plus}.
- fmen-s: two trainings are published. Its authors' repository has the better one on Set5
  ({fmen}), the challenge's has {fmen_challenge}. They are two sets of weights, and both are
  converted and measured here.
"""

_MISSING_TEXT = """
## What cannot be measured here

{published}

Nor are there any of fmen x2 and x3, imdn x3, imdn-rte and imdn-as. For imdn-baseline, imdn-clb,
imdn-rtc and fmen-s there are weights, but no published figures on these sets at hand to compare
with.
"""
