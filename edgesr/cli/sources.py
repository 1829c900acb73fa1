"""Where a command's network comes from: a file of the user's, or the published weights."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgesr.progress import ProgressCallback

if TYPE_CHECKING:
    from edgesr.checkpoints import LoadedCheckpoint


def load_checkpoint(
    model: str | None, checkpoint: Path | None, progress: ProgressCallback
) -> "LoadedCheckpoint":
    """Load `checkpoint`, or else the published weights of `model`.

    Raises:
        ClickException: Neither was given.
        EdgeSRError: The network is unknown, or its weights cannot be had or read.
    """
    from edgesr.checkpoints import load
    from edgesr.download import published_checkpoint
    from edgesr.registry import find_spec

    if checkpoint is not None:
        return load(checkpoint, model)
    if model is None:
        raise click.UsageError("give --model NAME (see `edgesr models`) or --checkpoint FILE")
    return load(published_checkpoint(find_spec(model), progress), model)
