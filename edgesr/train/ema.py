"""The moving average of the weights: what is validated and shipped."""

import copy

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


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
