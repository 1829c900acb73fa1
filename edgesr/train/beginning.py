"""What a training begins with: network, optimiser, averages, and how a device computes."""

import contextlib
from collections.abc import Generator

import torch
from torch import nn

from edgesr.registry import ArchSpec, build
from edgesr.train.ema import Ema
from edgesr.train.recipe import Adam, Recipe, Stage
from edgesr.train.schedule import learning_rate
from edgesr.train.state import State


def build_net(recipe: Recipe, spec: ArchSpec) -> nn.Module:
    """The network in the form that a recipe trains, with random weights."""
    return build(spec, training_form=recipe.training_form and spec.has_training_form)


def channels_last(net: nn.Module) -> nn.Module:
    """The network with its weights laid out as its pictures are: faster on CPUs and GPUs alike."""
    # torch's types leave this argument out.
    return net.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


def new_optimizer(net: nn.Module, constants: Adam, stage: Stage) -> torch.optim.Adam:
    """Adam for a stage; one kernel for all weights rather than a dozen for each."""
    return torch.optim.Adam(
        net.parameters(),
        lr=learning_rate(stage, 0),
        betas=constants.betas,
        eps=constants.eps,
        fused=True,
    )


def new_state(recipe: Recipe, spec: ArchSpec, device: torch.device) -> State:
    """A training at its beginning. Draws the first weights from torch's random generator."""
    net = channels_last(build_net(recipe, spec).to(device))
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
