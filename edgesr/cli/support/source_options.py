"""Options that choose the network a command works on."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import click

from edgesr.weights.sources import Weights

weights_option = click.option(
    "--weights",
    type=click.Choice(["bundled", "published"]),
    help="Whose weights: bundled are edgesr's own, which come with it; published are those of the "
    "network's authors, downloaded once. Default: bundled where there are any.",
)
value_range_option = click.option(
    "--value-range",
    type=click.IntRange(1, 65535),
    help="The network's own images lie in [0, N]. Default: 1 or 255, by what the network shows.",
)


def check_onnx(
    onnx: Path | None, belonging: Mapping[str, object], excluded: Mapping[str, object]
) -> None:
    """Refuse options that do not go with an ONNX file, or only with one.

    Args:
        onnx: The file, if one was given.
        belonging: Option -> value of those that are valid only with a file.
        excluded: Option -> value of those that are invalid with a file.

    Raises:
        UsageError: One of them was given nevertheless.
    """
    if onnx is None and any(belonging.values()):
        verb = "belong" if len(belonging) > 1 else "belongs"
        raise click.UsageError(f"{_listed(belonging)} {verb} to --onnx FILE")
    if onnx is not None and any(excluded.values()):
        raise click.UsageError(
            f"--onnx FILE holds network and weights: leave out {_listed(excluded)}"
        )


def _listed(options: Iterable[str]) -> str:
    *first, last = options
    return f"{', '.join(first)} and {last}" if first else last


def check_named(model: str | None, checkpoint: Path | None) -> None:
    """Refuse a command that names no network.

    Raises:
        UsageError: Neither was given.
    """
    if model is None and checkpoint is None:
        raise click.UsageError("give --model NAME (see `edgesr models`) or --checkpoint FILE")


def check_choice(checkpoint: Path | None, weights: Weights | None) -> None:
    """Refuse both a checkpoint and a choice of weights.

    Raises:
        UsageError: Both were given.
    """
    if checkpoint is not None and weights is not None:
        raise click.UsageError("--checkpoint FILE names the weights already: leave out --weights")
