"""The option --threads of every command that computes on the CPU."""

import click

from edgesr._api.options import MOST_THREADS

threads_option = click.option(
    "--threads", type=click.IntRange(1, MOST_THREADS), help="CPU threads. Default: all."
)
