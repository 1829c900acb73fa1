"""`edgesr models`: the networks that can be converted."""

import sys
from typing import TYPE_CHECKING, Any

import click

from edgesr.registry import ArchSpec, all_specs

if TYPE_CHECKING:
    from rich.table import Table

_PIPE_WIDTH = 160
_NOTES = """\
Receptive field: in pixels of the low-resolution picture.
`edgesr convert --model NAME` fetches the published weights; `--checkpoint FILE` takes yours.
Where no licence is stated, ask the authors before you pass weights or converted files on."""


@click.command("models", epilog="Example: edgesr models --json")
@click.option("--json", "as_json", is_flag=True, help="Print the list as JSON, with addresses.")
def command(as_json: bool) -> None:
    """List the networks that can be converted.

    With each: its scale, its parameters in the plain (folded) form, its receptive field in pixels
    of the low-resolution picture, and where published weights come from under which licence.
    """
    if as_json:
        import json

        click.echo(json.dumps({"models": [_as_dict(spec) for spec in all_specs()]}, indent=2))
        return
    from rich.console import Console

    # A pipe has no width: there the rows shall not wrap.
    console = Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH)
    console.print(_table(all_specs()))
    click.echo(_NOTES)


def _table(specs: tuple[ArchSpec, ...]) -> "Table":
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 1))
    table.add_column("model (alias)", no_wrap=True)
    table.add_column("scale")
    table.add_column("params", justify="right")
    table.add_column("receptive\nfield", justify="right")
    table.add_column("published weights", overflow="fold", ratio=1)
    table.add_column("licence")
    for spec in specs:
        aliases = f" ({', '.join(spec.aliases)})" if spec.aliases else ""
        table.add_row(
            spec.name + aliases,
            f"x{spec.scale}",
            f"{spec.parameters:,}",
            f"{_receptive_field(spec)}x{_receptive_field(spec)}",
            spec.published.project if spec.published else "none",
            spec.published.licence if spec.published else "",
        )
    return table


def _receptive_field(spec: ArchSpec) -> int:
    """Side of the square of LR pixels that an output pixel depends on."""
    return 2 * spec.receptive_radius + 1


def _as_dict(spec: ArchSpec) -> dict[str, Any]:
    import dataclasses

    return {
        "name": spec.name,
        "aliases": list(spec.aliases),
        "description": spec.description,
        "scale": spec.scale,
        "parameters": spec.parameters,
        "receptive_field": _receptive_field(spec),
        "value_range": spec.value_range,
        "has_training_form": spec.has_training_form,
        "published": [dataclasses.asdict(weights) for weights in spec.all_published],
    }
