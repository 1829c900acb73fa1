"""Converted files run at other sizes too, with PyTorch's outputs."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from converters import pipeline
from converters.source import checkpoint_source
from converters.spec import ConversionSpec, Precision
from edgesr.networks.architectures.imdn import IMDN, imdn_as
from edgesr.networks.architectures.imdn_rte import imdn_rte
from edgesr.networks.spec import find_spec
from edgesr.runtime.session import open_model
from edgesr.tflite.facts import read_facts
from edgesr.weights.checkpoints import LoadedCheckpoint

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_torch_thread")]


def _narrow_imdn() -> nn.Module:
    """IMDN with 16 channels in place of 64: the same operators at a fraction of the time."""
    return IMDN(nn.Conv2d(3, 16, 3, padding=1), 2, num_feat=16)


@pytest.mark.parametrize(
    ("name", "build"),
    [("imdn", _narrow_imdn), ("imdn-as", imdn_as), ("imdn-rte", imdn_rte)],
    ids=["attention", "strides and attention", "strides"],
)
def test_a_converted_file_runs_at_another_size(
    tmp_path: Path, name: str, build: Callable[[], nn.Module]
) -> None:
    torch.manual_seed(0)
    arch = find_spec(name, 2 if name == "imdn" else None)
    net = build().eval()
    checkpoint = LoadedCheckpoint(arch, False, net, "0" * 64, "net.pth", "ours", "a test")
    path = tmp_path / "net.tflite"
    source = checkpoint_source(checkpoint, 32, 48)
    pipeline.convert(source, ConversionSpec(32, 48, (Precision.FP32,)), {Precision.FP32: path})
    facts = read_facts(path)
    assert facts is not None
    assert (facts.size_multiple, facts.whole_image) == (arch.size_multiple, arch.whole_image)
    lr_nhwc = np.random.RandomState(1).rand(1, 44, 20, 3).astype(np.float32)
    with torch.no_grad():
        lr_nchw = arch.value_range * torch.from_numpy(lr_nhwc).permute(0, 3, 1, 2)
        expected = (net(lr_nchw) / arch.value_range).permute(0, 2, 3, 1).numpy()
    got = open_model(path, threads=1, size=(44, 20)).run(lr_nhwc)
    difference = np.abs(got - expected)
    assert difference.max() < 1e-4, f"off by {difference.max():.3g} at {difference.argmax()}"
