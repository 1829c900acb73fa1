"""Whose weights a `.tflite` was made from."""

from pathlib import Path
from typing import TYPE_CHECKING

from edgesr.errors import CheckpointError
from edgesr.weights.sources import Weights

if TYPE_CHECKING:
    from edgesr.tflite.facts import Facts


def weights_of_file(file: Path, facts: "Facts") -> Weights:
    """The weights that a `.tflite` was made from, by its facts.

    Raises:
        ArchitectureError: It is of a network that edgesr does not know.
        CheckpointError: It was made from neither the bundled nor the published weights.
    """
    from edgesr.networks.spec import find_spec
    from edgesr.weights.bundled import bundled_weights

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
