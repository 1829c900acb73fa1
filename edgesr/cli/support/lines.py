"""Lines of text for people, clean of what a terminal would obey."""

import click

from edgesr.common.text import printable


def print_line(text: object = "", *, err: bool = False) -> None:
    """Print one line; text out of files may be in it.

    Args:
        text: The line. Line breaks in it are escaped like every other control character.
        err: Whether to print on stderr.
    """
    click.echo(printable(str(text)), err=err)
