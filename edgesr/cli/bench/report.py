"""`edgesr bench report`: records as one HTML page."""

from pathlib import Path

import click

from edgesr.cli.support.lines import print_line


@click.command(
    epilog="""\b
Examples:
  edgesr bench report device.json -o device.html
  edgesr bench report pixel.json galaxy.json host.json -o all.html
"""
)
@click.argument(
    "records", nargs=-1, required=True, metavar="RECORD.json...", type=click.Path(path_type=Path)
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    help="The page; it needs no other file and fetches nothing.",
)
@click.option("--force", is_flag=True, help="Replace a file that exists.")
def command(*, records: tuple[Path, ...], output: Path, force: bool) -> None:
    """Make one self-contained HTML page of records, side by side."""
    from edgesr.common.files import atomic_outputs, check_writable
    from edgesr.report.benchmark_page import render
    from edgesr.report.benchmark_sheets import read_sheet

    check_writable(output, overwrite=force, inputs=records)
    page = render([read_sheet(path) for path in records])
    with atomic_outputs([output], overwrite=force, inputs=records) as (part,):
        part.write_text(page, encoding="utf-8", errors="replace")
    print_line(output)
