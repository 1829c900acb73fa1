"""`edgesr models`: the networks that can be converted."""

import sys
from typing import TYPE_CHECKING, Any

import click

from edgesr.registry import ArchSpec, all_specs

if TYPE_CHECKING:
    from rich.table import Table

_PIPE_WIDTH = 160
_NOTES = """\
Receptive field: in pixels of the low-resolution picture; "whole" where all enter every pixel.
Tiles: "exact" where they equal the picture in one piece, else their PSNR to it on Y in dB
({tiled}); `edgesr upscale --whole` makes none.
Set5: mean PSNR on Y in PyTorch.
`edgesr convert --model NAME` takes a network's first weights here, `--weights published` fetches
those of its authors, `--checkpoint FILE` takes yours.
Where no licence is stated, ask the authors before you pass weights or converted files on."""
_MEASURED_ON = "Set5"


@click.command("models", epilog="Example: edgesr models --json")
@click.option("--json", "as_json", is_flag=True, help="Print the list as JSON, with addresses.")
def command(as_json: bool) -> None:
    """List the networks that can be converted.

    With each: its scale, its parameters in the plain (folded) form, its receptive field in pixels
    of the low-resolution picture, and whose weights there are, under which licence and how good.
    Bundled ones come with edgesr, those of the network's authors are downloaded.
    """
    if as_json:
        from edgesr.cli import report

        report.as_json({"models": [_as_dict(spec) for spec in all_specs()]})
        return
    from rich.console import Console

    # A pipe has no width: there the rows shall not wrap.
    console = Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH)
    console.print(_table(all_specs()))
    click.echo(_NOTES.format(tiled=_tiles_measured()))


def _table(specs: tuple[ArchSpec, ...]) -> "Table":
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 1))
    table.add_column("model (alias)", no_wrap=True)
    table.add_column("scale")
    table.add_column("params", justify="right")
    table.add_column("receptive\nfield", justify="right")
    table.add_column("tiles", justify="right")
    table.add_column("weights", overflow="fold", ratio=1)
    table.add_column("licence", overflow="fold", ratio=1)
    table.add_column(f"{_MEASURED_ON}\ndB", justify="right")
    for spec in specs:
        aliases = f" ({', '.join(spec.aliases)})" if spec.aliases else ""
        facts = (
            spec.name + aliases,
            f"x{spec.scale}",
            f"{spec.parameters:,}",
            "whole" if spec.whole_picture else f"{_receptive_field(spec)}x{_receptive_field(spec)}",
            _tiles(spec),
        )
        first, *others = _weights(spec) or [("none", "", "")]
        table.add_row(*facts, *first)
        for row in others:
            table.add_row(*[""] * len(facts), *row)
    return table


def _weights(spec: ArchSpec) -> list[tuple[str, str, str]]:
    """Source, licence and quality of the weights that a network can be had with, best first."""
    from edgesr.bundled import bundled_weights, published_psnr

    rows: list[tuple[str, str, str]] = []
    if bundled := bundled_weights(spec):
        rows.append(("bundled", bundled.licence, _decibels(bundled.psnr_db)))
    if published := spec.published:
        psnr_db = _decibels(published_psnr(published.sha256))
        rows.append((f"published by {published.project}", published.licence, psnr_db))
    return rows


def _decibels(psnr_db: dict[str, float]) -> str:
    return f"{psnr_db[_MEASURED_ON]:.2f}" if _MEASURED_ON in psnr_db else "-"


def _tiles(spec: ArchSpec) -> str:
    """How near tiles come to the picture in one piece."""
    from edgesr.bundled import tiled_quality

    if not spec.whole_picture:
        return "exact"
    found = tiled_quality(spec.name, spec.scale)
    return f"{found.psnr_db:.1f}" if found else "-"


def _tiles_measured() -> str:
    """With which tiles, and on which pictures."""
    from edgesr.bundled import tiled_quality

    found = next((f for s in all_specs() if (f := tiled_quality(s.name, s.scale))), None)
    if found is None:
        return "not measured"
    return f"{found.height}x{found.width}, {found.set_name} at half size"


def _receptive_field(spec: ArchSpec) -> int:
    """Side of the square of LR pixels that an output pixel depends on."""
    return 2 * spec.receptive_radius + 1


def _as_dict(spec: ArchSpec) -> dict[str, Any]:
    import dataclasses

    from edgesr.bundled import bundled_weights, published_psnr, tiled_quality

    bundled, tiled = bundled_weights(spec), tiled_quality(spec.name, spec.scale)
    return {
        "name": spec.name,
        "aliases": list(spec.aliases),
        "description": spec.description,
        "scale": spec.scale,
        "parameters": spec.parameters,
        "receptive_field": _receptive_field(spec),
        "whole_picture": spec.whole_picture,
        "size_multiple": spec.size_multiple,
        "tiled": dataclasses.asdict(tiled) if tiled else None,
        "value_range": spec.value_range,
        "has_training_form": spec.has_training_form,
        "bundled": None
        if bundled is None
        else {**dataclasses.asdict(bundled), "path": str(bundled.path), "source": bundled.source},
        "published": [
            {**dataclasses.asdict(weights), "psnr_db": published_psnr(weights.sha256)}
            for weights in spec.all_published
        ],
    }
