"""`edgesr doctor`: state of this machine, and remedies for what is missing."""

import importlib.util
from typing import TYPE_CHECKING, Any

import click

from edgesr.cli.support.lines import print_line
from edgesr.errors import MissingDependencyError

if TYPE_CHECKING:
    from edgesr.doctor import Diagnosis

# On narrower terminals what to do goes below what was found.
_TWO_COLUMNS = 120
_COLOURS = {"ok": "green", "missing": "yellow", "broken": "red", "unchecked": "dim"}


@click.command(
    epilog="""\b
Examples:
  edgesr doctor
  edgesr doctor --quick --json
"""
)
@click.option("--quick", is_flag=True, help="Do not import the packages to see that they work.")
@click.option(
    "--devices", is_flag=True, help="Start an adb server to ask for devices, if none is running."
)
@click.option("--json", "as_json", is_flag=True, help="Print everything found as JSON.")
@click.pass_context
def command(context: click.Context, *, quick: bool, devices: bool, as_json: bool) -> None:
    """Show the state of this machine for edgesr, with remedies.

    The exit status is 0 if the main job can run here: converting a checkpoint, and running the
    file on the CPU. A GPU, a Vulkan driver, adb or a device that is missing does not change it.
    """
    if importlib.util.find_spec("packaging") is None:  # all others it can do without
        raise MissingDependencyError("edgesr doctor needs packaging: pip install packaging")
    from edgesr.cli.support import printing as report
    from edgesr.cli.support.progress_bar import progress_bar
    from edgesr.doctor import examine

    with progress_bar() as progress:
        diagnosis = examine(quick=quick, ask_devices=devices, progress=progress)
    if as_json:
        report.as_json(_as_dict(diagnosis))
    else:
        _show(diagnosis)
    context.exit(0 if diagnosis.main_job.can_run else 1)


def _show(diagnosis: "Diagnosis") -> None:
    from rich.text import Text

    from edgesr.cli.support.tables import make_console, make_table, print_table
    from edgesr.common.text import printable

    table = make_table()
    table.add_column("", style="bold", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column("found", overflow="fold", ratio=3)
    wide = make_console().width >= _TWO_COLUMNS
    if wide:
        table.add_column("what to do", overflow="fold", ratio=2)
    area = None
    for check in diagnosis.checks:
        first = area != check.area
        if first and area is not None:
            table.add_section()
        area = check.area
        state = Text(check.state, style=_COLOURS[check.state])
        texts = [printable(check.found), printable(check.remedy)]
        cells = texts if wide else [Text("\n-> ".join(filter(None, texts)))]
        table.add_row(check.area if first else "", check.name, state, *cells)
    print_table(table)
    for job in diagnosis.jobs:
        print_line(f"{job.name}: {job.text}")


def _as_dict(diagnosis: "Diagnosis") -> dict[str, Any]:
    import dataclasses

    return {
        "main_job_can_run": diagnosis.main_job.can_run,
        "jobs": [dataclasses.asdict(job) for job in diagnosis.jobs],
        "checks": [dataclasses.asdict(check) for check in diagnosis.checks],
        "packages": [dataclasses.asdict(package) for package in diagnosis.packages],
    }
