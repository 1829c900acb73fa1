"""What a training begins with: network, optimiser, averages, and how a device computes."""

import contextlib
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from edgesr.checkpoints import load
from edgesr.errors import CheckpointError
from edgesr.registry import ArchSpec, build
from edgesr.train import soap
from edgesr.train.ema import Ema
from edgesr.train.export import read_facts
from edgesr.train.recipe import Adam, Recipe, Soap, Stage
from edgesr.train.schedule import learning_rate
from edgesr.train.state import State


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
    loaded = load(path, spec.name, spec.scale)
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
    """The network with its weights laid out as its pictures are: faster on CPUs and GPUs alike."""
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
