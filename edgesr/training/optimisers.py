"""SOAP: Adam in the eigenbases of the gradients' covariances.

A convolution's gradient is taken as a matrix of output channels x everything else. Its covariances
along both sides are averaged over the steps, their eigenvectors turn it so that its entries hardly
depend on each other, and there Adam scales each entry by itself. Adam alone scales along the
weights' own axes, which filters over correlated channels and neighbouring pixels do not follow.

Source: Vyas et al., "SOAP: Improving and Stabilizing Shampoo using Adam", ICLR 2025, algorithm 3.
The first moment is averaged unturned, so that new eigenbases do not spoil it, and the second one
follows the order of the eigenvectors.
"""

import copy
import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from edgesr.training import recipe
from edgesr.training.recipe import Cosine, Stage

# Eigenbases of fewer gradients than these would mostly be noise. Until then nothing moves.
_FIRST_GRADIENTS = 20


class Soap(torch.optim.Optimizer):
    """The optimiser, for weights of any shape: a vector counts as a matrix of one column.

    Meant for small networks: a side of n entries costs two n x n matrices and, at every refresh, a
    QR decomposition.

    Args:
        parameters: What trains.
        rate: The learning rate, which `param_groups` hold as torch's own optimisers do.
        constants: See `edgesr.training.recipe.Soap`.
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter], rate: float, constants: recipe.Soap
    ) -> None:
        super().__init__(parameters, {"lr": rate})
        self._constants = constants

    @torch.no_grad()
    def step(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, closure: Callable[[], float] | None = None
    ) -> float | None:
        """Move all weights that have a gradient.

        Args:
            closure: As torch's optimisers take it; computes the loss and the gradients anew.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    rows = weight.shape[0] if weight.ndim else 1
                    self._move(weight, weight.grad.reshape(rows, -1), group["lr"])
        return loss

    def _move(self, weight: Tensor, gradient: Tensor, rate: float) -> None:
        constants, state = self._constants, self.state[weight]
        if not state:
            state.update(_fresh(gradient))
        state["step"] += 1
        step, turned_steps = state["step"], state["step"] - _FIRST_GRADIENTS
        first, second = constants.betas
        state["rows"].lerp_(gradient @ gradient.T, 1 - constants.shampoo_beta)
        state["columns"].lerp_(gradient.T @ gradient, 1 - constants.shampoo_beta)
        state["mean"].lerp_(gradient, 1 - first)
        if turned_steps <= 0:
            if turned_steps == 0:
                for side in ("rows", "columns"):
                    state[f"{side}_basis"] = torch.linalg.eigh(state[side])[1].flip(1)
            return
        left, right = state["rows_basis"], state["columns_basis"]
        state["square"].lerp_((left.T @ gradient @ right).square_(), 1 - second)
        deviation = (state["square"] / (1 - second**turned_steps)).sqrt_().add_(constants.eps)
        turned = (left.T @ state["mean"] @ right).div_(deviation)
        moved = (left @ turned @ right.T).reshape(weight.shape)
        weight.sub_(moved, alpha=rate / (1 - first**step))
        if turned_steps % constants.refresh_every == 0:
            _refresh(state)


def _fresh(gradient: Tensor) -> dict[str, Any]:
    rows, columns = gradient.shape
    return {
        "step": 0,
        "rows": gradient.new_zeros(rows, rows),
        "columns": gradient.new_zeros(columns, columns),
        "rows_basis": gradient.new_zeros(rows, rows),
        "columns_basis": gradient.new_zeros(columns, columns),
        "mean": gradient.new_zeros(rows, columns),
        "square": gradient.new_zeros(rows, columns),
    }


def _refresh(state: dict[str, Any]) -> None:
    """Follow the covariances: one step of power iteration from the eigenvectors of before."""
    orders: list[Tensor] = []
    for side in ("rows", "columns"):
        basis: Tensor = state[f"{side}_basis"]
        product = state[side] @ basis
        order = (basis * product).sum(0).argsort(descending=True)
        state[f"{side}_basis"] = torch.linalg.qr(product[:, order])[0]
        orders.append(order)
    state["square"] = state["square"][orders[0]][:, orders[1]]


class Ema:
    """The exponential moving average of a network's parameters and buffers.

    The decay rises with the steps, min(decay, (1 + steps) / (10 + steps)), so that the random first
    weights are forgotten early. Counters (batch norm's) are copied.

    Attributes:
        net: A network of the same form in eval mode that holds the averages.

    Args:
        net: The network that trains.
        decay: How much of the average each step keeps, once many steps have been taken.
    """

    def __init__(self, net: nn.Module, decay: float) -> None:
        self.net = copy.deepcopy(net).eval().requires_grad_(False)
        self._decay = decay
        self._pairs = list(zip(_tensors(self.net), _tensors(net), strict=True))

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the network's weights after a step; steps count from 0."""
        decay = min(self._decay, (1 + step) / (10 + step))
        floats = [(mean, new) for mean, new in self._pairs if mean.is_floating_point()]
        means, news = [mean for mean, _ in floats], [new for _, new in floats]
        get_ema_multi_avg_fn(decay)(means, news, decay)
        for mean, new in self._pairs:
            if not mean.is_floating_point():
                mean.copy_(new)


def _tensors(net: nn.Module) -> list[Tensor]:
    """Parameters and buffers, the tensors themselves."""
    return [tensor.detach() for tensor in net.state_dict(keep_vars=True).values()]


def learning_rate(stage: Stage, step: int) -> float:
    """The rate of a step of a stage.

    Args:
        stage: Its schedule and length.
        step: From 0, within the stage.
    """
    schedule = stage.schedule
    if step < schedule.warm_up:
        return schedule.rate * (step + 1) / (schedule.warm_up + 1)
    if isinstance(schedule, Cosine):
        # From the first step behind the warm-up to the last of the stage.
        span = max(1, stage.steps - 1 - schedule.warm_up)
        wave = (1 + math.cos(math.pi * (step - schedule.warm_up) / span)) / 2
        return schedule.final_rate + (schedule.rate - schedule.final_rate) * wave
    return schedule.rate * 0.5 ** (step // schedule.every)
