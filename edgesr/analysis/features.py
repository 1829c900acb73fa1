"""Average feature maps of a PyTorch network's blocks."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgesr.images.metrics import Uint8Array

if TYPE_CHECKING:
    from torch import Tensor, nn

Float32Array = NDArray[np.float32]

#: Receives a module's input and output, N x C x H x W each.
Watcher = Callable[["Tensor", "Tensor"], None]


@dataclass(frozen=True, eq=False)
class FeatureMap:
    """Mean output of one block.

    Attributes:
        block: Its name in the network.
        kind: Name of its class.
        channels: Number of channels averaged.
        mean_hw: Their mean, float32, height x width, in the network's value range.
    """

    block: str
    kind: str
    channels: int
    mean_hw: Float32Array


def feature_maps(net: "nn.Module", lr_hwc_u8: Uint8Array, value_range: float) -> list[FeatureMap]:
    """Mean over channels of every block's output, as papers show it.

    Args:
        net: Plain, in eval mode, on the CPU; its input is RGB in [0, value_range].
        lr_hwc_u8: RGB, height x width x 3, of a size that the network accepts.
        value_range: Upper end of the network's value range.

    Returns:
        In the order of execution; a block that runs twice has two entries.
    """
    found: list[FeatureMap] = []

    def watch(name: str, kind: str) -> Watcher:
        def keep(_: "Tensor", made: "Tensor") -> None:
            found.append(FeatureMap(name, kind, made.shape[1], made[0].mean(0).numpy()))

        return keep

    watchers = {name: watch(name, type(part).__name__) for name, part in blocks(net)}
    run_watched(net, lr_hwc_u8, value_range, watchers)
    return found


def blocks(net: "nn.Module") -> list[tuple[str, "nn.Module"]]:
    """Names and modules of a network's blocks, as a paper draws them.

    Containers are entered; every other module with weights is a block.
    """
    return list(_blocks(net, ""))


def _blocks(part: "nn.Module", prefix: str) -> Iterator[tuple[str, "nn.Module"]]:
    from torch import nn

    from edgesr.networks.architectures.distillation import Shortcut

    for name, child in part.named_children():
        if isinstance(child, nn.Sequential | nn.ModuleList | Shortcut):
            yield from _blocks(child, f"{prefix}{name}.")
        elif any(True for _ in child.parameters()):
            yield f"{prefix}{name}", child


def run_watched(
    net: "nn.Module", lr_hwc_u8: Uint8Array, value_range: float, watchers: dict[str, Watcher]
) -> None:
    """Run a network on an image and pass modules' inputs and outputs to watchers.

    Args:
        net: Plain, in eval mode, on the CPU; its input is RGB in [0, value_range].
        lr_hwc_u8: RGB, height x width x 3, of a size that the network accepts.
        value_range: Upper end of the network's value range.
        watchers: Module's name -> its watcher.
    """
    import torch

    from edgesr.evaluation.benchmark_sets import by_network

    def hook(watcher: Watcher) -> Callable[..., None]:
        def show(_: "nn.Module", read: "Sequence[Tensor]", made: "Tensor") -> None:
            watcher(read[0], made)

        return show

    parts = dict(net.named_modules())
    handles = [parts[name].register_forward_hook(hook(w)) for name, w in watchers.items()]
    try:
        with torch.no_grad():
            by_network(net, value_range)(lr_hwc_u8)
    finally:
        for handle in handles:
            handle.remove()
