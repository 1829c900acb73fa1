"""Tables on a terminal: clean text, and numbers that are never cut.

Importing this module imports rich: commands import it where they print.
"""

import sys

from rich import box
from rich.console import Console, RenderableType
from rich.measure import Measurement
from rich.style import StyleType
from rich.table import Column, Table
from rich.text import Text

from edgesr.common.text import printable

#: A pipe has no width: there the rows must not wrap.
_PIPE_WIDTH = 160
#: A terminal narrower than this, or one that states no width, wraps lines by itself.
_LEAST_WIDTH = 40
#: So much of a column that may wrap is left beside the numbers.
_LEAST_COLUMN = 8


class CleanTable(Table):
    """A table whose strings are shown as they are, without markup and control characters.

    Cells of type `Text` hold the program's own words.
    """

    def add_row(
        self,
        *renderables: RenderableType | None,
        style: StyleType | None = None,
        end_section: bool = False,
    ) -> None:
        """Add a row, its strings cleaned."""
        cells = [Text(printable(r)) if isinstance(r, str) else r for r in renderables]
        super().add_row(*cells, style=style, end_section=end_section)


def make_table(*, lines: bool = True, padding: int = 1, title: str | None = None) -> CleanTable:
    """Make an empty table without a frame.

    Args:
        lines: Whether lines separate the head and the sections.
        padding: Spaces on each side of a column.
        title: Shown above, to the left.
    """
    return CleanTable(
        title=None if title is None else Text(printable(title)),
        title_justify="left",
        box=box.SIMPLE_HEAD if lines else None,
        pad_edge=False,
        padding=(0, padding),
    )


def make_console(*, err: bool = False) -> Console:
    """Make a console as wide as the terminal, within reason, or as a pipe."""
    stream = sys.stderr if err else sys.stdout
    if not stream.isatty():
        return Console(stderr=err, width=_PIPE_WIDTH)
    console = Console(stderr=err)
    return console if console.width >= _LEAST_WIDTH else Console(stderr=err, width=_LEAST_WIDTH)


def print_table(table: Table, *, err: bool = False) -> None:
    """Print a table; on a narrow terminal its lines run over rather than lose digits."""
    console = make_console(err=err)
    for column in table.columns:
        if isinstance(column.header, str):
            column.header = Text("\n".join(map(printable, column.header.split("\n"))))
        column.min_width = _least_width(console, column)
    console.print(table, crop=False)


def _least_width(console: Console, column: Column) -> int:
    """The whole width of a column of numbers, and a little of one that may wrap."""
    wide = console.options.update(width=10_000)
    widths = [Measurement.get(console, wide, cell).maximum for cell in column.cells]
    if column.no_wrap:
        widths.append(Measurement.get(console, wide, column.header).maximum)
    needed = max(widths, default=0)
    if not column.no_wrap and column.justify != "right":
        needed = min(needed, _LEAST_COLUMN)
    return needed if column.max_width is None else min(needed, column.max_width)
