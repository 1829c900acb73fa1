"""What a training is between two steps, and the checkpoint that holds all of it.

A checkpoint is written whole or not at all, and read with `weights_only=True`: it holds tensors and
plain values, nothing that could run. A training that goes on from it ends, on the same machine with
as many threads, with the very weights that it would have had without a break.
"""

import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from edgesr.errors import CheckpointError
from edgesr.files import atomic_outputs
from edgesr.train.ema import Ema

_FORMAT = 1
# The names of the weights are those under which `edgesr.checkpoints` looks for them: the averaged
# ones of a training can be folded and converted straight from its checkpoint.
_NET, _EMA = "params", "params_ema"
_KEYS = {
    "format", "identity", "step", _NET, _EMA, "optimizer", "random", "loss_sum", "loss_count",
    "best_psnr", "best_step", "best", "seconds", "threads",
}  # fmt: skip


class ResumeError(CheckpointError):
    """A checkpoint does not belong to the training that is to go on from it."""


@dataclass
class State:
    """A training between two steps.

    Attributes:
        net: The network that trains.
        ema: The average of its weights.
        optimizer: Of the present stage.
        step: Steps done.
        loss_sum: Sum of the losses since the last row of the log, this process's share.
        loss_count: How many losses that are.
        best_psnr: The highest mean PSNR in dB so far; None before the first measurement.
        best_step: The steps done then.
        best: The averaged weights then.
        seconds: Time spent training and validating, over all resumptions.
    """

    net: nn.Module
    ema: Ema
    optimizer: torch.optim.Optimizer
    loss_sum: Tensor
    step: int = 0
    loss_count: int = 0
    best_psnr: float | None = None
    best_step: int = 0
    best: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    seconds: float = 0.0


def save(
    path: Path, state: State, identity: Mapping[str, Any], random: list[Any], loss_sum: Tensor
) -> None:
    """Write a checkpoint in place of the one before.

    Args:
        path: The file.
        state: The training.
        identity: What makes it this training and no other: plain values.
        random: `random_state` of every process.
        loss_sum: The sum over all processes.

    Raises:
        OutputError: The file cannot be written; the one before is as it was.
    """
    content = {
        "format": _FORMAT,
        "identity": dict(identity),
        "step": state.step,
        _NET: state.net.state_dict(),
        _EMA: state.ema.net.state_dict(),
        "optimizer": state.optimizer.state_dict(),
        "random": random,
        "loss_sum": loss_sum,
        "loss_count": state.loss_count,
        "best_psnr": state.best_psnr,
        "best_step": state.best_step,
        "best": state.best,
        "seconds": state.seconds,
        "threads": torch.get_num_threads(),
    }
    with atomic_outputs([path], overwrite=True) as (temporary,), temporary.open("wb") as file:
        torch.save(content, file)
        # Without this a power failure could leave the new name on an empty file.
        file.flush()
        os.fsync(file.fileno())


def load(path: Path) -> dict[str, Any]:
    """Read what `save` wrote, onto the CPU.

    Raises:
        ResumeError: The file is damaged, of another kind, or of another version.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickle protocols, before it is refused
            content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise ResumeError(f"cannot read {path}: {error.strerror or error}") from error
    except MemoryError:
        raise
    # A damaged file makes torch raise nearly anything: KeyError, EOFError, IndexError, ...
    except Exception as error:
        raise ResumeError(
            f"{path} is damaged or no training checkpoint; train into another folder"
        ) from error
    if not isinstance(content, dict) or set(content) != _KEYS or content["format"] != _FORMAT:
        raise ResumeError(
            f"{path} is no training checkpoint of this version of edgesr; train into another folder"
        )
    return content


def check_identity(
    path: Path, saved: Mapping[str, Any], wanted: Mapping[str, Any], *, prefix: str = ""
) -> None:
    """Refuse a checkpoint of another training, and say in what it differs.

    Raises:
        ResumeError: An entry differs.
    """
    for key in sorted(saved.keys() | wanted.keys()):
        before, now = saved.get(key), wanted.get(key)
        if isinstance(before, Mapping) and isinstance(now, Mapping):
            check_identity(path, before, now, prefix=f"{prefix}{key}.")
        elif before != now:
            raise ResumeError(
                f"{path} is of another training: {prefix}{key} was {before!r}, now {now!r}; "
                "give the same recipe and data, or train into another folder"
            )


def restore(state: State, content: Mapping[str, Any], *, first: bool) -> None:
    """Put a checkpoint's values into a training of the same network.

    Args:
        state: As it is at its beginning, with the optimiser of the stage of the checkpoint's step.
        content: What `load` gave.
        first: Whether this is the first process, which takes over the sum of the losses.

    Raises:
        ResumeError: The network's parameters are others than they were.
    """
    try:
        state.net.load_state_dict(content[_NET])
        state.ema.net.load_state_dict(content[_EMA])
        state.optimizer.load_state_dict(content["optimizer"])
    except (RuntimeError, ValueError) as error:
        raise ResumeError(
            "the checkpoint's network has other parameters than the one of this version of "
            "edgesr; go on with the version that began, or train into another folder"
        ) from error
    state.step = content["step"]
    if first:
        state.loss_sum.copy_(content["loss_sum"])
    state.loss_count = content["loss_count"]
    state.best_psnr, state.best_step = content["best_psnr"], content["best_step"]
    state.best = content["best"]
    state.seconds = content["seconds"]


def random_state(device: torch.device) -> dict[str, Tensor]:
    """The state of this process's random generators."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def set_random_state(states: Mapping[str, Tensor], device: torch.device) -> None:
    """Go on drawing where `random_state` was taken."""
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)
