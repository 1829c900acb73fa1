"""What a training is between two steps, and the checkpoint that holds all of it.

A checkpoint is written whole or not at all, and read with `weights_only=True`: it holds tensors and
plain values, nothing that could run. A training that goes on from it ends, on the same machine with
as many threads, with the very weights that it would have had without a break.
"""

import contextlib
import os
import warnings
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from edgesr.common.files import atomic_outputs
from edgesr.errors import CheckpointError
from edgesr.networks.spec import ArchSpec, build
from edgesr.training import optimisers as soap
from edgesr.training.export import read_facts
from edgesr.training.optimisers import Ema, learning_rate
from edgesr.training.recipe import Adam, Recipe, Soap, Stage
from edgesr.weights.checkpoints import load as load_weights

_FORMAT = 1
# The names of the weights are those under which `edgesr.weights.checkpoints` looks for them: the
# averaged ones of a training can be folded and converted straight from its checkpoint.
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


@dataclass(frozen=True)
class FirstWeights:
    """Weights of an earlier training, for one that does not begin with random ones.

    Attributes:
        net: The network that holds them, in the form that is to be trained.
        origin: What they are: digest of the file and what it says of its training.
    """

    net: nn.Module
    origin: dict[str, Any]


def first_weights(path: Path, recipe: Recipe, spec: ArchSpec) -> FirstWeights:
    """Read the weights that a training is to begin with.

    Args:
        path: A file of weights in the form that the recipe trains, such as the
            `model-training.safetensors` or the `checkpoint.pt` of a training.
        recipe: The training's.
        spec: The network.

    Raises:
        CheckpointError: It cannot be used, or is of another network or form.
    """
    loaded = load_weights(path, spec.name, spec.scale)
    training_form = recipe.training_form and spec.has_training_form
    if loaded.spec != spec or loaded.training_form != training_form:
        got, wanted = (
            f"{which.name} x{which.scale} in {'training' if form else 'plain'} form"
            for which, form in ((loaded.spec, loaded.training_form), (spec, training_form))
        )
        raise CheckpointError(
            f"{path}: got {got}, allowed {wanted}; give the model-training.safetensors of a "
            "training of the same network"
        )
    facts = read_facts(path) if path.suffix == ".safetensors" else {}
    origin = {"file": loaded.filename, "sha256": loaded.sha256, "facts": facts}
    return FirstWeights(loaded.net, origin)


def build_net(recipe: Recipe, spec: ArchSpec) -> nn.Module:
    """The network in the form that a recipe trains, with random weights."""
    return build(spec, training_form=recipe.training_form and spec.has_training_form)


def channels_last(net: nn.Module) -> nn.Module:
    """The network with its weights laid out as its images are: faster on CPUs and GPUs alike."""
    # torch's types leave this argument out.
    return net.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


def new_optimizer(net: nn.Module, constants: Adam | Soap, stage: Stage) -> torch.optim.Optimizer:
    """The optimiser for a stage; Adam as one kernel for all weights, not a dozen for each."""
    rate = learning_rate(stage, 0)
    if isinstance(constants, Soap):
        return soap.Soap(net.parameters(), rate, constants)
    return torch.optim.Adam(
        net.parameters(), lr=rate, betas=constants.betas, eps=constants.eps, fused=True
    )


def new_state(
    recipe: Recipe, spec: ArchSpec, device: torch.device, first: FirstWeights | None = None
) -> State:
    """A training at its beginning.

    Without `first` the weights are drawn from torch's random generator.
    """
    net = channels_last(build_net(recipe, spec).to(device))
    if first is not None:
        net.load_state_dict(first.net.state_dict())
    optimizer = new_optimizer(net, recipe.optimizer, recipe.stages[0])
    loss_sum = torch.zeros((), dtype=torch.float64, device=device)
    return State(net, Ema(net, recipe.ema_decay), optimizer, loss_sum)


@contextlib.contextmanager
def numerics(recipe: Recipe, device: torch.device) -> Generator[None]:
    """How CUDA convolves: by the same algorithms every time, in the recipe's precision."""
    if device.type != "cuda":
        yield
        return
    with torch.backends.cudnn.flags(
        enabled=True,
        benchmark=False,
        deterministic=True,
        allow_tf32=recipe.precision != "float32",
    ):
        yield
