"""Average feature maps: what each block of a PyTorch network makes of a picture."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgesr.metrics import Uint8Array

if TYPE_CHECKING:
    from torch import Tensor, nn

Float32Array = NDArray[np.float32]

#: Takes what a part reads and what it makes, N x C x H x W each.
Watcher = Callable[["Tensor", "Tensor"], None]


@dataclass(frozen=True, eq=False)
class FeatureMap:
    """What one block makes.

    Attributes:
        block: Its name in the network.
        kind: Name of its class.
        channels: How many are averaged.
        mean_hw: Their mean, height x width, in the network's own units.
    """

    block: str
    kind: str
    channels: int
    mean_hw: Float32Array


def feature_maps(net: "nn.Module", lr_hwc_u8: Uint8Array, value_range: float) -> list[FeatureMap]:
    """The mean over channels of every block's output, as the papers' figures show it.

    Args:
        net: Plain, in eval mode, on the CPU; it takes RGB in [0, value_range].
        lr_hwc_u8: RGB, height x width x 3, of a size that the network takes.
        value_range: Upper end of the network's own range.

    Returns:
        In the order of execution; a block that runs twice is there twice.
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
    """The parts of a network that a paper draws as boxes: name and module.

    Containers are opened; what is left and holds weights is a block.
    """
    return list(_blocks(net, ""))


def _blocks(part: "nn.Module", prefix: str) -> Iterator[tuple[str, "nn.Module"]]:
    from torch import nn

    from edgesr.archs.distillation import Shortcut

    for name, child in part.named_children():
        if isinstance(child, nn.Sequential | nn.ModuleList | Shortcut):
            yield from _blocks(child, f"{prefix}{name}.")
        elif any(True for _ in child.parameters()):
            yield f"{prefix}{name}", child


def run_watched(
    net: "nn.Module", lr_hwc_u8: Uint8Array, value_range: float, watchers: dict[str, Watcher]
) -> None:
    """Run a network on a picture, and show the watchers what their parts read and make.

    Args:
        net: Plain, in eval mode, on the CPU; it takes RGB in [0, value_range].
        lr_hwc_u8: RGB, height x width x 3, of a size that the network takes.
        value_range: Upper end of the network's own range.
        watchers: Name of a part -> who looks.
    """
    import torch

    from edgesr.quality import by_network

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
