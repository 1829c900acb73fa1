"""Any PyTorch module as a source: what is accepted, what is refused, and that nothing changes."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from converters.third_party_source import module_source, safe_name
from edgesr.errors import ModuleError
from helpers.third_party_nets import NETS, built, conv

pytestmark = pytest.mark.usefixtures("one_torch_thread")

_SIZE = (24, 40)


class _Net(nn.Module):
    """Two convolutions around batch norm and dropout, which differ between the modes, and PReLU."""

    def __init__(self, scale: int = 2) -> None:
        super().__init__()
        self.head, self.norm = conv(3, 8), nn.BatchNorm2d(8)
        self.act, self.drop = nn.PReLU(8), nn.Dropout(0.5)
        self.tail = nn.Sequential(conv(8, 3 * scale**2), nn.PixelShuffle(scale))

    def forward(self, lr_nchw: Tensor) -> Tensor:
        return self.tail(self.drop(self.act(self.norm(self.head(lr_nchw)))))


class _Forward(nn.Module):
    """A module that does what a function says, with one weight."""

    def __init__(self, function: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.function = function

    def forward(self, lr_nchw: Tensor) -> object:
        return self.function(lr_nchw * self.weight)


@pytest.mark.parametrize("name", NETS)
def test_known_networks_are_exported_and_their_scale_is_found(name: str) -> None:
    make, scale, value_range = NETS[name]
    net = built(make)
    source = module_source(net, *_SIZE, value_range=value_range)
    assert (source.scale, source.name, source.value_range) == (
        scale, type(net).__name__, value_range
    )  # fmt: skip
    assert source.weights_licence == "unknown"
    assert source.weights_source.startswith("PyTorch module helpers.third_party_nets.")
    graph = source.export(*source.calibration_size(*_SIZE)).graph
    assert (graph.input[0].name, graph.output[0].name) == ("lr", "hr")


def test_the_reference_is_the_module_in_eval_mode() -> None:
    net = _Net().train()
    source = module_source(net, *_SIZE)
    lr_nhwc = np.random.default_rng(0).random((1, *_SIZE, 3), np.float32)
    with torch.no_grad():
        wanted = net.eval()(torch.from_numpy(lr_nhwc).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    # The memory layouts differ, and with them the order of sums.
    np.testing.assert_allclose(source.reference(lr_nhwc), wanted.numpy(), atol=1e-6)
    assert "eval mode" in source.reference_runtime


def test_the_callers_module_is_left_as_it_is() -> None:
    net = _Net().train().double()
    net.head.weight.grad = torch.ones_like(net.head.weight)
    net.norm.eval()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    random_before = torch.get_rng_state()
    source = module_source(net, *_SIZE)
    source.export(*_SIZE)
    assert (net.training, net.norm.training, net.drop.training) == (True, False, True)
    assert all(p.requires_grad and p.dtype == torch.float64 for p in net.parameters())
    assert torch.equal(net.head.weight.grad, torch.ones_like(net.head.weight))
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())
    assert torch.equal(random_before, torch.get_rng_state())


def test_a_change_of_the_module_afterwards_does_not_reach_the_source() -> None:
    net = _Net()
    source = module_source(net, *_SIZE)
    lr_nhwc = np.ones((1, *_SIZE, 3), np.float32)
    before = source.reference(lr_nhwc)
    with torch.no_grad():
        net.head.weight.zero_()
    np.testing.assert_array_equal(source.reference(lr_nhwc), before)


@pytest.mark.parametrize("wrap", [nn.DataParallel, torch.compile], ids=["parallel", "compiled"])
def test_wrappers_are_left_out(wrap: Callable[[nn.Module], nn.Module]) -> None:
    net = _Net()
    source = module_source(wrap(net), *_SIZE)
    assert source.name == "_Net"
    assert source.weights_sha256 == module_source(net, *_SIZE).weights_sha256


def test_the_name_is_the_callers_made_safe() -> None:
    assert module_source(_Net(), *_SIZE, name="my net/v2").name == "my-net-v2"
    assert safe_name("a.b_c-1") == "a.b_c-1"


class _Attention(nn.Module):
    """Channel attention: every output pixel depends on all of the image."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.tail = conv(3, 12), nn.PixelShuffle(2)
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), conv(12, 12, 1), nn.Sigmoid())

    def forward(self, lr_nchw: Tensor) -> Tensor:
        features = self.head(lr_nchw)
        return self.tail(features * self.gate(features))


def test_a_global_receptive_field_is_found() -> None:
    source = module_source(_Attention(), *_SIZE)
    assert source.whole_image
    assert source.any_size


def test_a_module_of_one_size_is_calibrated_at_it() -> None:
    class OneSize(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head, self.position = conv(3, 12), nn.Parameter(torch.rand(1, 12, *_SIZE))

        def forward(self, lr_nchw: Tensor) -> Tensor:
            return nn.functional.pixel_shuffle(self.head(lr_nchw) + self.position, 2)

    source = module_source(OneSize(), *_SIZE)
    assert source.calibration_size(*_SIZE) == _SIZE
    with pytest.raises(ModuleError, match="does not run on 1 x 3 x 48 x 40"):
        module_source(OneSize(), 48, 40)


def _upscaled(lr_nchw: Tensor) -> Tensor:
    return nn.functional.interpolate(lr_nchw, scale_factor=2)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda x: (_upscaled(x), x), "returns tuple, allowed one tensor; wrap it"),
        (lambda x: {"hr": _upscaled(x)}, "returns dict"),
        (lambda x: _upscaled(x).mean(1, keepdim=True), r"makes \[1, 1, 48, 80\]"),
        (lambda x: _upscaled(x)[..., :-1], r"makes \[1, 3, 48, 79\]"),
        (lambda x: x[..., ::2, ::2], r"makes \[1, 3, 12, 20\]"),
        (lambda x: x.mean((1, 2, 3)), r"makes \[1\]"),
        (lambda x: (_upscaled(x) * 255).to(torch.uint8), "torch.uint8"),
        (lambda x: x.reshape(7, -1), "does not run on 1 x 3 x 24 x 40: shape '.*' is invalid"),
        (lambda x: torch.fft.ifft2(torch.fft.fft2(_upscaled(x))).real, "cannot export module"),
    ],
    ids=["tuple", "dict", "grey", "odd", "smaller", "number", "uint8", "raises", "fft"],
)
def test_what_is_no_super_resolution_network_is_one_clear_error(
    function: Callable[[Tensor], object], words: str
) -> None:
    with pytest.raises(ModuleError, match=words) as caught:
        module_source(_Forward(function), *_SIZE)
    assert "\n" not in str(caught.value)


def test_a_module_without_operators_is_an_error() -> None:
    with pytest.raises(ModuleError, match="is no network: it gives back the image"):
        module_source(nn.Identity(), *_SIZE)


def test_another_scale_than_wanted_is_an_error() -> None:
    assert module_source(_Net(3), *_SIZE, scale=3).scale == 3
    with pytest.raises(ModuleError, match="module _Net upscales x3, got scale 2"):
        module_source(_Net(3), *_SIZE, scale=2)


def test_what_cannot_be_copied_is_an_error() -> None:
    with torch.device("meta"):
        net = _Net()
    with pytest.raises(ModuleError, match="module _Net cannot be copied to the CPU"):
        module_source(net, *_SIZE)
    net = _Net()
    net.cache = net.head.weight * 2  # pyright: ignore - no leaf: torch refuses to copy it
    with pytest.raises(ModuleError, match="keep nothing but parameters and buffers"):
        module_source(net, *_SIZE)
