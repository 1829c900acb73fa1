"""Checkpoints of networks that edgesr does not know and spandrel does.

spandrel detects an architecture by the names of its weights and builds it; here it gets tensors
alone, which edgesr has read without executing anything.
"""

import hashlib
import importlib.metadata
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgesr.common.text import printable
from edgesr.errors import UnsupportedCheckpointError
from edgesr.weights.checkpoint_file import read_container, state_dicts
from edgesr.weights.checkpoints import as_float32

if TYPE_CHECKING:
    from spandrel import ModelDescriptor
    from torch import Tensor, nn

_COLOURS = (1, 3)
_PURPOSES = ("SR", "Restoration")
_EXPORT = "export the network with torch.onnx.export and convert that file: --onnx FILE"


@dataclass(frozen=True)
class ThirdPartyCheckpoint:
    """A network that spandrel built from a checkpoint.

    Attributes:
        path: The checkpoint.
        sha256: Digest of the file.
        architecture: spandrel's name of the architecture.
        builder: spandrel with its version.
        net: Maps N x C x H x W to N x C x (scale H) x (scale W), both in [0, 1]; C is 1 or 3.
            In eval mode, float32, on the CPU; re-parameterised blocks are merged.
        scale: Upscaling factor.
    """

    path: Path
    sha256: str
    architecture: str
    builder: str
    net: "nn.Module"
    scale: int


def read_third_party(path: Path, unknown: UnsupportedCheckpointError) -> ThirdPartyCheckpoint:
    """Let spandrel build the network of a checkpoint.

    Args:
        path: The checkpoint.
        unknown: Why it is of no network of edgesr's.

    Raises:
        CheckpointError: The file cannot be read, or its weights are not finite.
        UnsupportedCheckpointError: spandrel does not know it either, or is not installed; or its
            network makes no larger or equally large image of one image.
    """
    try:
        import spandrel
    except ImportError as error:
        raise UnsupportedCheckpointError(
            f"{unknown}. About 40 other architectures are read with the extra spandrel "
            f"({error.name} is not installed): pip install 'edgesr[spandrel]'; or {_EXPORT}"
        ) from unknown
    loaded, content = read_container(path)
    for _, weights in state_dicts(path, loaded):
        state = {name: _finite(path, name, tensor) for name, tensor in weights.items()}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of torch about spandrel's code
                described = spandrel.MAIN_REGISTRY.load(state)
        except spandrel.UnsupportedModelError:
            continue
        except Exception as error:  # whatever the shapes lead its builders to
            raise UnsupportedCheckpointError(
                f"{path}: spandrel takes it for a network that it cannot build: "
                f"{printable(str(error).strip().splitlines()[0] or type(error).__name__)[:200]}; "
                f"{_EXPORT}"
            ) from error
        return ThirdPartyCheckpoint(
            path=path,
            sha256=hashlib.sha256(content).hexdigest(),
            architecture=described.architecture.name,
            builder=f"spandrel {importlib.metadata.version('spandrel')}",
            net=_image_network(path, described),
            scale=described.scale,
        )
    raise UnsupportedCheckpointError(
        f"{path}: neither edgesr nor spandrel knows a network with these parameters; {_EXPORT}"
    ) from unknown


def _finite(path: Path, name: str, tensor: "Tensor") -> "Tensor":
    """A weight in float32, checked; tables of indices stay as they are."""
    return as_float32(path, name, tensor) if tensor.is_floating_point() else tensor


def _image_network(path: Path, described: "ModelDescriptor") -> "nn.Module":
    """The network alone, as a module that takes and gives one image.

    Raises:
        UnsupportedCheckpointError: It takes a mask too, or gives another number of channels.
    """
    what = f"{path}: the network is {described.architecture.name} by spandrel's names"
    if described.purpose not in _PURPOSES:
        raise UnsupportedCheckpointError(
            f"{what}, made for {described.purpose}, allowed super-resolution and restoration"
        )
    channels = described.input_channels, described.output_channels
    if channels[0] != channels[1] or channels[0] not in _COLOURS:
        raise UnsupportedCheckpointError(
            f"{what}, which takes {channels[0]} channels and gives {channels[1]}, allowed 3 of "
            "each (RGB) or 1 (luma)"
        )
    net = described.model.float().eval().requires_grad_(False)
    _merge(net)
    return _called(net, vars(described)["_call_fn"])  # it has no public name


def _merge(net: "nn.Module") -> None:
    """Merge re-parameterised blocks once, where they would merge anew in every run.

    So is SPAN: `update_params` computes the weights of `eval_conv`, which alone runs in eval mode.
    """
    for block in net.modules():
        update = getattr(block, "update_params", None)
        if callable(update) and hasattr(block, "eval_conv"):
            update()
            vars(block)["update_params"] = _nothing


def _nothing() -> None:
    """Takes the place of a merge that was done."""


def _called(net: "nn.Module", call: "Callable[[nn.Module, Tensor], Tensor]") -> "nn.Module":
    """The network as spandrel calls it: some give a tuple, or want another range."""
    from torch import nn

    class Called(nn.Module):
        """A network and the function that runs it on an image."""

        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, lr_nchw: "Tensor") -> "Tensor":
            return call(self.net, lr_nchw)

    return Called()
