"""`edgesr models`: the networks that can be converted."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.table import Table

    from edgesr import ModelInfo

_NOTES = """\
Receptive field: in pixels of the low-resolution image; "whole" where all enter every pixel.
Tiles: "exact" where they equal the untiled image, else their PSNR to it on Y in dB
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
    of the low-resolution image, and whose weights there are, under which licence and how good.
    Bundled ones come with edgesr, those of the network's authors are downloaded.
    """
    import edgesr

    models = edgesr.list_models()
    if as_json:
        from edgesr.cli.support import printing as report

        report.as_json({"models": [_as_dict(model) for model in models]})
        return
    from edgesr.cli.support.tables import print_table

    print_table(_table(models))
    click.echo(_NOTES.format(tiled=_tiles_measured(models)))


def _table(models: "Sequence[ModelInfo]") -> "Table":
    from edgesr.cli.support.tables import make_table

    table = make_table(lines=False)
    table.add_column("model (alias)", no_wrap=True)
    table.add_column("scale")
    table.add_column("params", justify="right")
    table.add_column("receptive\nfield", justify="right")
    table.add_column("tiles", justify="right")
    table.add_column("weights", overflow="fold", ratio=1)
    table.add_column("licence", overflow="fold", ratio=1)
    table.add_column(f"{_MEASURED_ON}\ndB", justify="right")
    for model in models:
        aliases = f" ({', '.join(model.aliases)})" if model.aliases else ""
        facts = (
            model.name + aliases,
            f"x{model.scale}",
            f"{model.parameters:,}",
            "whole" if model.whole_image else f"{model.receptive_field}x{model.receptive_field}",
            _tiles(model),
        )
        first, *others = _weights(model) or [("none", "", "")]
        table.add_row(*facts, *first)
        for row in others:
            table.add_row(*[""] * len(facts), *row)
    return table


def _weights(model: "ModelInfo") -> list[tuple[str, str, str]]:
    """Source, licence and quality of the weights that a network can be had with, best first."""
    rows: list[tuple[str, str, str]] = []
    if model.bundled:
        rows.append(("bundled", model.bundled.licence, _decibels(model.bundled.psnr_db)))
    if model.published:
        first, psnr_db = model.published[0], model.published_psnr_db[0]
        rows.append((f"published by {first.project}", first.licence, _decibels(psnr_db)))
    return rows


def _decibels(psnr_db: dict[str, float]) -> str:
    return f"{psnr_db[_MEASURED_ON]:.2f}" if _MEASURED_ON in psnr_db else "-"


def _tiles(model: "ModelInfo") -> str:
    """PSNR of tiles against the untiled image."""
    if not model.whole_image:
        return "exact"
    return f"{model.tiled.psnr_db:.1f}" if model.tiled else "-"


def _tiles_measured(models: "Sequence[ModelInfo]") -> str:
    """The tiles and the images that the PSNR of tiles was measured on."""
    found = next((model.tiled for model in models if model.tiled), None)
    if found is None:
        return "not measured"
    return f"{found.height}x{found.width}, {found.set_name} at half size"


def _as_dict(model: "ModelInfo") -> dict[str, Any]:
    import dataclasses

    bundled = model.bundled
    return {
        "name": model.name,
        "aliases": list(model.aliases),
        "description": model.description,
        "scale": model.scale,
        "parameters": model.parameters,
        "receptive_field": model.receptive_field,
        "whole_image": model.whole_image,
        "size_multiple": model.size_multiple,
        "tiled": dataclasses.asdict(model.tiled) if model.tiled else None,
        "value_range": model.value_range,
        "has_training_form": model.has_training_form,
        "bundled": None
        if bundled is None
        else {**dataclasses.asdict(bundled), "path": str(bundled.path), "source": bundled.source},
        "published": [
            {**dataclasses.asdict(weights), "psnr_db": psnr_db}
            for weights, psnr_db in zip(model.published, model.published_psnr_db, strict=True)
        ],
    }
