"""Files that convert makes run at other sizes too, and give what PyTorch gives there."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from converters import pipeline
from converters.spec import ConversionSpec, Precision
from edgesr.archs.imdn import IMDN, imdn_as
from edgesr.archs.imdn_rte import imdn_rte
from edgesr.checkpoints import LoadedCheckpoint
from edgesr.overlap import stated_facts
from edgesr.registry import find_spec
from edgesr.runtime import open_model

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
    pipeline.convert(checkpoint, ConversionSpec(32, 48, (Precision.FP32,)), {Precision.FP32: path})
    facts = stated_facts(path)
    assert facts is not None
    assert (facts.size_multiple, facts.whole_picture) == (arch.size_multiple, arch.whole_picture)
    lr_nhwc = np.random.RandomState(1).rand(1, 44, 20, 3).astype(np.float32)
    with torch.no_grad():
        expected = net(torch.from_numpy(lr_nhwc).permute(0, 3, 1, 2)).permute(0, 2, 3, 1).numpy()
    got = open_model(path, threads=1, size=(44, 20)).run(lr_nhwc)
    difference = np.abs(got - expected)
    assert difference.max() < 1e-4, f"off by {difference.max():.3g} at {difference.argmax()}"
