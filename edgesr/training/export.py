"""Weights as safetensors: under the published names, with what they are in the file's metadata."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from edgesr.common.files import atomic_outputs
from edgesr.errors import CheckpointError, ConversionError
from edgesr.images.metrics import psnr_of_mse
from edgesr.images.test_card import draw_test_card
from edgesr.networks.reparam import FoldEquality, fold, fold_equality
from edgesr.weights.checkpoints import LoadedCheckpoint, load, weights_sha256

#: The metadata entry, JSON. One entry, because safetensors writes several in changing order, and
#: the same weights shall be the same file.
METADATA_KEY = "edgesr"


def write_weights(
    outputs: Sequence[tuple[Path, nn.Module]],
    facts: Mapping[str, Any],
    *,
    overwrite: bool,
    inputs: Sequence[Path] = (),
) -> None:
    """Write networks' weights together, as float32.

    Args:
        outputs: Files, each with its network.
        facts: Plain values for the metadata.
        overwrite: Whether files that exist may be replaced.
        inputs: What was read; none of it is replaced.

    Raises:
        OutputError: A file exists or cannot be written.
    """
    import safetensors.torch

    paths = [path for path, _ in outputs]
    metadata = {METADATA_KEY: json.dumps(dict(facts), sort_keys=True)}
    with atomic_outputs(paths, overwrite=overwrite, inputs=inputs) as temporary:
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


# Larger than twice the radius of most networks, so that pixels that no border reaches are compared
# as well as those in it.
_CARD_HW = (96, 96)


@dataclass(frozen=True)
class Folded:
    """What was folded, and how equal the result is.

    Attributes:
        model: The network.
        scale: Its upscaling factor.
        output: The file with the plain weights.
        parameters_before: Of the training form.
        parameters: Of the plain form.
        equality: Both forms on a synthetic image.
        psnr_db: The plain form against the training form, both in float32; peak is the value range.
            None where they are equal to the bit.
    """

    model: str
    scale: int
    output: Path
    parameters_before: int
    parameters: int
    equality: FoldEquality
    psnr_db: float | None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self) | {"output": str(self.output)}


def fold_file(checkpoint: Path, output: Path, *, overwrite: bool = False) -> Folded:
    """Fold a checkpoint in training form, prove the result equal, write it as safetensors.

    Args:
        checkpoint: PyTorch or safetensors, also the `checkpoint.pt` of a training, of which the
            averaged weights are taken.
        output: The file to write; the parameters have the published names.
        overwrite: Whether it may replace a file.

    Raises:
        CheckpointError: The checkpoint cannot be used, or is plain already.
        ConversionError: The two forms do not compute the same.
        OutputError: The output exists or cannot be written.
    """
    loaded = load(checkpoint)
    if not loaded.training_form:
        raise CheckpointError(
            f"{checkpoint} is plain already ({loaded.spec.name} x{loaded.spec.scale}): there is "
            "nothing to fold; use it as it is"
        )
    lr_nchw = _test_card(loaded.spec.value_range)
    equality = fold_equality(loaded.net, lr_nchw)
    if not equality.holds:
        raise ConversionError(
            f"{checkpoint}: the folded form differs by {equality.max_abs_float32:.2e} of an output "
            f"range of {equality.output_range:.3g}; nothing was written: its weights are beyond "
            "what float32 can fold"
        )
    plain = fold(loaded.net)
    folded = Folded(
        model=loaded.spec.name,
        scale=loaded.spec.scale,
        output=output,
        parameters_before=_count(loaded.net),
        parameters=_count(plain),
        equality=equality,
        psnr_db=_psnr(loaded, plain, lr_nchw),
    )
    facts = {
        "model": folded.model,
        "scale": folded.scale,
        "folded_from": loaded.filename,
        "folded_from_sha256": loaded.sha256,
        "weights_sha256": weights_sha256(plain),
    }
    write_weights([(output, plain)], facts, overwrite=overwrite, inputs=[checkpoint])
    return folded


def _test_card(value_range: float) -> torch.Tensor:
    card_nhwc = torch.from_numpy(draw_test_card(*_CARD_HW))[None]
    return card_nhwc.permute(0, 3, 1, 2).float() * (value_range / 255)


def _psnr(loaded: LoadedCheckpoint, plain: torch.nn.Module, lr_nchw: torch.Tensor) -> float | None:
    with torch.no_grad():
        mean_square = float((loaded.net(lr_nchw) - plain(lr_nchw)).double().square().mean())
    return None if mean_square == 0 else psnr_of_mse(mean_square, loaded.spec.value_range)


def _count(net: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())
