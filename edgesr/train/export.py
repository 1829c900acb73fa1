"""Weights as safetensors: under the published names, with what they are in the file's metadata."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from edgesr.files import atomic_outputs

#: The metadata entry, JSON. One entry, because safetensors writes several in changing order, and
#: the same weights shall be the same file.
METADATA_KEY = "edgesr"


def write_weights(
    outputs: Sequence[tuple[Path, nn.Module]], facts: Mapping[str, Any], *, overwrite: bool
) -> None:
    """Write networks' weights together, as float32.

    Args:
        outputs: Files, each with its network.
        facts: Plain values for the metadata.
        overwrite: Whether files that exist may be replaced.

    Raises:
        OutputError: A file exists or cannot be written.
    """
    import safetensors.torch

    paths = [path for path, _ in outputs]
    metadata = {METADATA_KEY: json.dumps(dict(facts), sort_keys=True)}
    with atomic_outputs(paths, overwrite=overwrite) as temporary:
        for path, (_, net) in zip(temporary, outputs, strict=True):
            # Contiguous: safetensors refuses weights that lie channels-last.
            weights = {
                name: tensor.detach().cpu().contiguous()
                for name, tensor in net.state_dict().items()
            }
            # Not save_file, which makes a file that nobody else may read.
            path.write_bytes(safetensors.torch.save(weights, metadata))


def read_facts(path: Path) -> dict[str, Any]:
    """The metadata that `write_weights` put into a file; empty where there is none."""
    import safetensors

    with safetensors.safe_open(path, "pt") as file:
        metadata = file.metadata() or {}
    return json.loads(metadata.get(METADATA_KEY, "{}"))
