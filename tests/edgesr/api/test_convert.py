"""`edgesr.convert` and `edgesr.verify`: names, files and modules become verified files."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import edgesr
from converters.gpu.refusal import NotCleanError
from edgesr import errors
from helpers.third_party_nets import built, conv, exported

pytestmark = pytest.mark.usefixtures("one_torch_thread", "here")

_SIZE = (32, 24)


class Tiny(nn.Module):
    """ESPCN-like, of 255 levels: batch norm and PReLU."""

    def __init__(self, white: float = 255.0) -> None:
        super().__init__()
        self.head, self.norm, self.act = conv(3, 8), nn.BatchNorm2d(8), nn.PReLU(8)
        self.tail = nn.Sequential(conv(8, 12), nn.PixelShuffle(2))
        self.white = white

    def forward(self, lr_nchw: Tensor) -> Tensor:
        return self.white * self.tail(self.act(self.norm(self.head(lr_nchw / self.white))))


class Attentive(nn.Module):
    """Channel attention over statistics of the whole image."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.tail = conv(3, 12), nn.PixelShuffle(2)
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), conv(12, 12, 1), nn.Sigmoid())

    def forward(self, lr_nchw: Tensor) -> Tensor:
        features = self.head(lr_nchw)
        return self.tail(features * self.gate(features))


class Transposing(nn.Module):
    """Transposes patches of 4x4, by tensors of rank 6, which the GPU delegate does not have."""

    def __init__(self) -> None:
        super().__init__()
        self.head = conv(3, 12)

    def forward(self, lr_nchw: Tensor) -> Tensor:
        features = self.head(lr_nchw)
        n, c, h, w = features.shape
        patches = features.reshape(n, c, h // 4, 4, w // 4, 4).permute(0, 1, 2, 5, 4, 3)
        return nn.functional.pixel_shuffle(patches.reshape(n, c, h, w), 2)


@pytest.mark.slow
def test_a_module_in_train_mode_becomes_verified_files_of_both_precisions() -> None:
    net = built(Tiny).train()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    half, full = edgesr.convert(
        net, size=_SIZE, precision=("fp16", "fp32"), scale=2, value_range=255
    )
    assert [half.path.name, full.path.name] == [
        "Tiny_x2_32x24_fp16.tflite",
        "Tiny_x2_32x24_fp32.tflite",
    ]
    for file in (half, full):
        assert file.path.with_suffix(".json").is_file()
        assert file.manifest.gpu.rules_passed
        assert "PyTorch" in file.manifest.reference
        assert file.manifest.facts.weights_licence == "unknown"
        assert not [text for parity in file.manifest.parity for text in parity.failures]
    assert net.training
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())
    report = edgesr.verify(full.path, net, value_range=255)
    assert report.failures == []
    with pytest.raises(errors.CheckpointError, match=r"PyTorch module .*Tiny.* name that module"):
        edgesr.verify(full.path)
    with pytest.raises(errors.ParityError, match="not equal to PyTorch"):
        edgesr.verify(full.path, built(Tiny, seed=1), value_range=255)


@pytest.mark.slow
def test_a_module_with_attention_is_upscaled_by_its_file() -> None:
    torch.manual_seed(0)
    (file,) = edgesr.convert(Attentive(), size=_SIZE, name="mine", output="a.tflite")
    assert file.path == Path("a.tflite")
    facts = file.manifest.facts
    assert (facts.model, facts.whole_image) == ("mine", True)
    with edgesr.load_model("a.tflite") as model:
        assert model.scale == 2


@pytest.mark.slow
def test_operators_that_the_gpu_refuses_are_an_error_unless_allowed() -> None:
    torch.manual_seed(0)
    net = Transposing()
    with pytest.raises(NotCleanError, match="rank 6"):
        edgesr.convert(net, size=_SIZE, precision="fp32", output="a.tflite")
    assert list(Path().iterdir()) == []
    (file,) = edgesr.convert(
        net, size=_SIZE, precision="fp32", output="a.tflite", allow_cpu_operators=True
    )
    assert not file.manifest.gpu.rules_passed
    assert edgesr.inspect(file.path).refused


@pytest.mark.slow
def test_a_module_and_its_onnx_file_become_the_same_network() -> None:
    net = built(lambda: Tiny(1.0))
    Path("Tiny.onnx").write_bytes(exported(net).SerializeToString())
    (of_file,) = edgesr.convert("Tiny.onnx", size=_SIZE, output="a.tflite", precision="fp32")
    assert edgesr.verify(of_file.path, net).failures == []
    (of_module,) = edgesr.convert(net, size=_SIZE, output="b.tflite", precision="fp32")
    assert of_module.manifest.operators == of_file.manifest.operators
    assert edgesr.verify(of_module.path, "Tiny.onnx").failures == []


@pytest.mark.slow
def test_a_checkpoint_is_converted_by_path_and_once_loaded(checkpoint: Path) -> None:
    (first,) = edgesr.convert(checkpoint, size=_SIZE)
    with pytest.raises(errors.OutputError, match="exists"):
        edgesr.convert(checkpoint, size=_SIZE)
    loaded = edgesr.load_checkpoint(checkpoint, model="rtc")
    (again,) = edgesr.convert(loaded, size=_SIZE, overwrite=True)
    assert (first.path, first.manifest) == (again.path, again.manifest)
    assert edgesr.verify(first.path, checkpoint).failures == []


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"precision": "int4"}, errors.OptionError, "got precision 'int4', allowed fp16, fp32"),
        ({"precision": ()}, errors.OptionError, "allowed fp16, fp32"),
        ({"gate": "tpu"}, errors.OptionError, "got gate 'tpu', allowed cpu, gpu"),
        ({"weights": "mine"}, errors.OptionError, "allowed bundled, published"),
        ({"value_range": 255}, errors.CheckpointError, r"is not of the value range \[0, 255\]"),
        ({"value_range": 0}, errors.OptionError, "allowed a positive number"),
        ({"name": "mine"}, errors.OptionError, "name belongs to modules"),
        ({"allow_cpu_operators": True}, errors.OptionError, "no operator that the GPU delegate"),
        ({"size": (8, 8)}, errors.SizeError, "allowed 16 to 16384"),
        ({"output": "a.onnx"}, errors.OutputError, "ending in .tflite"),
        ({"output": "a.tflite", "precision": ("fp16", "fp32")}, errors.OutputError, "two files"),
        ({"scale": 7}, errors.ArchitectureError, "scale 7"),
    ],
)
def test_a_bad_argument_is_one_of_our_errors(
    arguments: dict[str, object], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        edgesr.convert("rtc", **arguments)  # type: ignore
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize(
    ("network", "error", "words"),
    [
        ("no-such-network", errors.ArchitectureError, "unknown model 'no-such-network'"),
        ("missing.pth", errors.CheckpointError, "missing.pth"),
        ("missing.onnx", errors.OnnxFileError, "missing.onnx"),
        (Path("rtc"), errors.CheckpointError, "rtc"),
    ],
)
def test_a_network_that_is_not_there_is_one_of_our_errors(
    network: str | Path, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        edgesr.convert(network, size=_SIZE)


def test_weights_belong_to_names(checkpoint: Path) -> None:
    with pytest.raises(errors.OptionError, match="got weights 'bundled' for the file"):
        edgesr.convert(checkpoint, weights="bundled")
    with pytest.raises(errors.OptionError, match="got weights 'bundled', allowed for a network's"):
        edgesr.convert(Tiny(), weights="bundled")
    with pytest.raises(errors.OptionError, match="got model 'rtc' for the network rtc"):
        edgesr.load_checkpoint("rtc", model="rtc")


def test_another_scale_than_the_checkpoints_is_refused(checkpoint: Path) -> None:
    with pytest.raises(errors.OptionError, match="imdn-rtc upscales x2, got scale 3"):
        edgesr.convert(edgesr.load_checkpoint(checkpoint), scale=3, size=_SIZE)


def test_a_file_that_names_no_network_needs_one(tmp_path: Path) -> None:
    from helpers.upscale_command import NET

    file = tmp_path / "other.tflite"
    file.write_bytes(NET.tflite(16, 24, facts=False))
    with pytest.raises(errors.OptionError, match="names no network; give a name"):
        edgesr.verify(file)
    with pytest.raises(errors.OptionError, match="got backend 'tpu'"):
        edgesr.verify(file, "rtc", backend="tpu")


def test_folding_is_exact_and_leaves_the_network_as_it_is() -> None:
    from edgesr.networks.spec import build, find_spec

    torch.manual_seed(0)
    net = build(find_spec("fmen-s"), training_form=True).eval()
    count = sum(p.numel() for p in net.parameters())
    plain = edgesr.fold(net)
    lr_nchw = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(plain(lr_nchw), net(lr_nchw), rtol=1e-3, atol=1e-4)
    assert sum(p.numel() for p in plain.parameters()) < count
    assert sum(p.numel() for p in net.parameters()) == count


def test_folding_a_checkpoint_needs_a_name_for_safetensors(checkpoint: Path) -> None:
    with pytest.raises(errors.OutputError, match="name ending in"):
        edgesr.fold_checkpoint(checkpoint, "plain.pth")
    with pytest.raises(errors.CheckpointError, match="plain already"):
        edgesr.fold_checkpoint(checkpoint, "plain.safetensors")
