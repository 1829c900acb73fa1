"""A checkpoint in training form becomes plain weights, with the proof that they are equal."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from edgesr.checkpoints import LoadedCheckpoint, load, weights_sha256
from edgesr.errors import CheckpointError, ConversionError
from edgesr.fold_equality import FoldEquality, fold_equality
from edgesr.reparam import fold
from edgesr.testcard import draw_test_card
from edgesr.train.export import write_weights

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
        equality: Both forms on a drawn picture.
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
    write_weights([(output, plain)], facts, overwrite=overwrite)
    return folded


def _test_card(value_range: float) -> torch.Tensor:
    card_nhwc = torch.from_numpy(draw_test_card(*_CARD_HW))[None]
    return card_nhwc.permute(0, 3, 1, 2).float() * (value_range / 255)


def _psnr(loaded: LoadedCheckpoint, plain: torch.nn.Module, lr_nchw: torch.Tensor) -> float | None:
    with torch.no_grad():
        mean_square = float((loaded.net(lr_nchw) - plain(lr_nchw)).double().square().mean())
    if mean_square == 0:
        return None
    return float(10 * torch.log10(torch.tensor(loaded.spec.value_range**2 / mean_square)))


def _count(net: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())
