"""Measure the published weights on the benchmark sets, for `edgesr models`.

    python -m tools.release.published_quality

The checkpoints and the benchmark sets are those under EDGESR_SHARED.
"""

import json
import os
from pathlib import Path

import click

from edgesr.common.files import atomic_outputs
from edgesr.errors import DownloadError
from edgesr.evaluation.benchmark_sets import by_network
from edgesr.networks.spec import ArchSpec, PublishedWeights, all_specs
from edgesr.weights.bundled import PUBLISHED_QUALITY, WEIGHTS_FOLDER
from edgesr.weights.checkpoints import load
from tools.release.weights import benchmarks_folder, on_all_sets


def published_quality(spec: ArchSpec, weights: PublishedWeights) -> dict[str, object]:
    """Measure PSNR and SSIM of one published checkpoint in PyTorch.

    Raises:
        DownloadError: The file under EDGESR_SHARED is missing or a different one.
        ImageError: A benchmark set is not available.
    """
    path = Path(os.environ.get("EDGESR_SHARED", ""), "reference", weights.filename)
    checkpoint = load(path, spec.name, spec.scale)
    if checkpoint.sha256 != weights.sha256:
        raise DownloadError(
            f"{path} is not the published file: its sha256 differs; download it again"
        )
    upscale = by_network(checkpoint.net, spec.value_range)
    measured = on_all_sets(upscale, benchmarks_folder(), spec.scale)
    return {
        "model": spec.name,
        "scale": spec.scale,
        "filename": weights.filename,
        "pytorch": [entry.model_dump() for entry in measured],
    }


@click.command()
def command() -> None:
    """Measure every published checkpoint."""
    found = {
        weights.sha256: published_quality(spec, weights)
        for spec in all_specs()
        for weights in spec.all_published
    }
    with atomic_outputs([WEIGHTS_FOLDER / PUBLISHED_QUALITY], overwrite=True) as (path,):
        path.write_text(json.dumps(found, indent=2) + "\n")
    click.echo(f"{len(found)} checkpoints measured")


if __name__ == "__main__":
    command()
