"""Small networks of architectures that spandrel knows, with random weights."""

import importlib
import sys
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

#: Architecture -> its module in spandrel, its class and sizes.
CONVERTED: Mapping[str, tuple[str, str, dict[str, Any]]] = {
    "RealESRGAN Compact": ("Compact", "Compact", {"num_feat": 8, "num_conv": 2, "upscale": 2}),
    "SPAN": (
        "SPAN", "SPAN",
        {"num_in_ch": 3, "num_out_ch": 3, "feature_channels": 16, "upscale": 2, "norm": False},
    ),
    "SAFMN": ("SAFMN", "SAFMN", {"dim": 16, "n_blocks": 1, "upscaling_factor": 2}),
    "Swift-SRGAN": (
        "SwiftSRGAN", "SwiftSRGAN", {"num_channels": 16, "num_blocks": 1, "upscale_factor": 2},
    ),
    "RealCUGAN": ("RealCUGAN", "UpCunet2x_fast", {}),
    "ESRGAN": ("ESRGAN", "ESRGAN", {"num_filters": 8, "num_blocks": 1, "scale": 4}),
    "RealPLKSR": ("PLKSR", "RealPLKSR", {"dim": 16, "n_blocks": 1, "upscaling_factor": 2}),
    "MoSR": ("MoSR", "MoSR", {"n_block": 1, "dim": 16, "upscale": 2}),
    "RCAN": (
        "RCAN", "RCAN",
        {"scale": 2, "n_resgroups": 1, "n_resblocks": 1, "n_feats": 16, "reduction": 4,
         "rgb_range": 1, "norm": False},
    ),
}  # fmt: skip

_WINDOWS = {"embed_dim": 12, "depths": [1], "num_heads": [2], "window_size": 8, "upscale": 2}
#: The same of those that the GPU delegate cannot run, and what it refuses.
REFUSED: Mapping[str, tuple[str, str, dict[str, Any], str]] = {
    "SwinIR": ("SwinIR", "SwinIR", {**_WINDOWS, "upsampler": "pixelshuffledirect"}, "rank 6"),
    "DRCT": ("DRCT", "DRCT", {**_WINDOWS, "upsampler": "pixelshuffle"}, "rank 6"),
    "OmniSR": ("OmniSR", "OmniSR", {"num_feat": 16, "up_scale": 2, "res_num": 1}, "rank 6"),
    "DITN": ("DITN", "DITN", {"dim": 12, "ITL_blocks": 1, "SAL_blocks": 1, "upscale": 2}, "rank 6"),
    "SeemoRe": (
        "SeemoRe", "SeemoRe",
        {"scale": 2, "num_experts": 3, "num_layers": 1, "embedding_dim": 12}, "TopK",
    ),
}  # fmt: skip


def supply_torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    """The names of torchvision that spandrel imports, where no build of it fits this torch."""
    if importlib.util.find_spec("torchvision") is not None:
        return
    functional = types.ModuleType("torchvision.transforms.functional")
    for name in ("InterpolationMode", "rotate", "normalize"):
        setattr(functional, name, types.SimpleNamespace(BILINEAR="bilinear"))
    for name in ("torchvision", "torchvision.transforms"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, functional.__name__, functional)


def build(module: str, name: str, sizes: dict[str, Any]) -> nn.Module:
    """A network of spandrel's with random weights."""
    make: Callable[..., nn.Module] = getattr(
        importlib.import_module(f"spandrel.architectures.{module}"), name
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make(**sizes)


def save(net: nn.Module, path: Path) -> Path:
    torch.save({"params_ema": net.state_dict()}, path)
    return path
