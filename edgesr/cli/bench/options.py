"""Options that `edgesr bench host` and `edgesr bench android` share."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from edgesr._api.options import MOST_THREADS

_Decorated = TypeVar("_Decorated", bound=Callable[..., Any])


def _threads(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> tuple[int, ...] | None:
    """Numbers with commas between them."""
    if value is None:
        return None
    words = value.split(",")
    fit = [re.fullmatch(r"[1-9]\d{0,2}", word) and int(word) <= MOST_THREADS for word in words]
    if not all(fit):
        raise click.BadParameter(
            f"got {value[:40]!r}, allowed numbers from 1 to {MOST_THREADS}, e.g. 1,4"
        )
    return tuple(dict.fromkeys(map(int, words)))


def files_argument(command: _Decorated) -> _Decorated:
    """Add FILE..., the `.tflite` files to measure."""
    return click.argument(
        "files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path)
    )(command)


def run_options(threads_default: str) -> Callable[[_Decorated], _Decorated]:
    """Make a decorator that adds --threads, --runs and --warm-up.

    Args:
        threads_default: The default of --threads in words.
    """
    options = (
        click.option(
            "--threads",
            metavar="N,...",
            callback=_threads,
            help=f"CPU threads, e.g. 1,4. Default: {threads_default}.",
        ),
        click.option(
            "--runs", type=click.IntRange(1), default=50, show_default=True, help="Timed runs."
        ),
        click.option(
            "--warm-up",
            type=click.IntRange(0),
            default=5,
            show_default=True,
            help="Runs before these.",
        ),
    )
    return lambda command: _with(command, options)


def output_options(command: _Decorated) -> _Decorated:
    """Add --json, --output and --force."""
    return _with(
        command,
        (
            click.option(
                "--json", "as_json", is_flag=True, help="Print the record as JSON on stdout."
            ),
            click.option(
                "-o",
                "--output",
                type=click.Path(path_type=Path),
                help="Write the record to this file.",
            ),
            click.option("--force", is_flag=True, help="Replace a file that exists."),
        ),
    )


def _with(command: _Decorated, options: tuple[Callable[[Any], Any], ...]) -> _Decorated:
    for option in reversed(options):
        command = option(command)
    return command
