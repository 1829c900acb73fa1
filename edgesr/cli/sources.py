"""Where a command's network comes from: a file of the user's, or bundled or published weights."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from edgesr.errors import CheckpointError
from edgesr.progress import ProgressCallback

if TYPE_CHECKING:
    from converters.manifest import Facts
    from edgesr.checkpoints import LoadedCheckpoint

#: "bundled": trained by edgesr's authors; "published": by the network's.
Weights = Literal["bundled", "published"]

weights_option = click.option(
    "--weights",
    type=click.Choice(["bundled", "published"]),
    help="Whose weights: bundled are edgesr's own, which come with it; published are those of the "
    "network's authors, downloaded once. Default: bundled where there are any.",
)

value_range_option = click.option(
    "--value-range",
    type=click.IntRange(1, 65535),
    help="With --onnx: the network's pictures lie in [0, N]. Default: 1.",
)


def check_onnx(
    onnx: Path | None, belonging: Mapping[str, object], excluded: Mapping[str, object]
) -> None:
    """Refuse options that do not go with an ONNX file, or only with one.

    Args:
        onnx: The file, if one was given.
        belonging: Option -> value of those that make sense with a file alone.
        excluded: Likewise of those that a file leaves nothing to say for.

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


def check_choice(checkpoint: Path | None, weights: Weights | None) -> None:
    """Refuse two answers to whose weights to take.

    Raises:
        UsageError: Both were given.
    """
    if checkpoint is not None and weights is not None:
        raise click.UsageError("--checkpoint FILE names the weights already: leave out --weights")


def load_checkpoint(
    model: str | None,
    checkpoint: Path | None,
    weights: Weights | None,
    progress: ProgressCallback,
    scale: int | None = None,
) -> "LoadedCheckpoint":
    """Load `checkpoint`, or else the bundled or published weights of `model`.

    Raises:
        UsageError: Neither was given.
        EdgeSRError: The network is unknown, or its weights cannot be had or read.
    """
    from edgesr.bundled import bundled_checkpoint, bundled_weights
    from edgesr.checkpoints import load
    from edgesr.download import published_checkpoint
    from edgesr.registry import find_spec

    if checkpoint is not None:
        return load(checkpoint, model, scale)
    if model is None:
        raise click.UsageError("give --model NAME (see `edgesr models`) or --checkpoint FILE")
    spec = find_spec(model, scale)
    if weights == "bundled" or (weights is None and bundled_weights(spec)):
        return load(bundled_checkpoint(spec), spec.name, spec.scale)
    return load(published_checkpoint(spec, progress), spec.name, spec.scale)


def weights_of_file(file: Path, facts: "Facts") -> Weights:
    """Whose weights a `.tflite` was made from, by what it says of itself.

    Raises:
        ArchitectureError: It is of a network that edgesr does not know.
        CheckpointError: It was made from neither the bundled nor the published weights.
    """
    from edgesr.bundled import bundled_weights
    from edgesr.registry import find_spec

    spec = find_spec(facts.model, facts.scale)
    bundled = bundled_weights(spec)
    if bundled is not None and bundled.weights_sha256 == facts.weights_sha256:
        return "bundled"
    if spec.published is not None and spec.published.url in facts.weights_source:
        return "published"
    raise CheckpointError(
        f"{file} was made from weights that are neither the bundled nor the published ones of "
        f"{spec.name} (it says: {facts.weights_source}); name them with --checkpoint FILE, or "
        "choose others with --weights"
    )
