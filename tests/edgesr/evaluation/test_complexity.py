"""Counting a network: the challenge's figures, from PyTorch and from the ONNX graph; liveness."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from converters.memory import activation_bytes_per_pixel
from converters.onnx_graph.complexity import onnx_complexity, sized_graph
from converters.onnx_graph.export import export
from edgesr.evaluation.complexity import Complexity, Kind, Layer, peak_activations
from edgesr.evaluation.torch_cost import torch_complexity
from edgesr.networks.spec import all_specs, build, find_spec

pytestmark = pytest.mark.usefixtures("one_torch_thread")

# Li et al., CVPRW 2022, table 2, at 256x256: parameters, FLOPs, activations, convolutions. The
# FLOPs hold the activations' operations where their counter saw them. imdn-clb's 38 convolutions
# are those of the published checkpoint, whose every rank-4 weight is one; the report says 37.
PUBLISHED = {
    "imdn-baseline": ("894K", "58.53G", "154.14M", 43),
    "imdn-plus": ("276K", "17.98G", "92.80M", 59),
    "fmen-s": ("341K", "22.28G", "72.09M", 34),
    "imdn-clb": ("790K", "51.76G", "136.31M", 38),
}


def on_meta(name: str, *, training_form: bool = False) -> nn.Module:
    with torch.device("meta"):
        return build(find_spec(name), training_form=training_form)


def printed(name: str, cost: Complexity) -> tuple[str, str, str, int]:
    """As the tables print it."""
    operations = cost.macs if name == "fmen-s" else cost.operations
    return (
        f"{cost.parameters / 1e3:.0f}K",
        f"{operations / 1e9:.2f}G",
        f"{cost.activations / 1e6:.2f}M",
        cost.convolutions,
    )


@pytest.mark.parametrize("name", PUBLISHED)
def test_pytorch_counts_as_published(name: str) -> None:
    assert printed(name, torch_complexity(on_meta(name), 256, 256)) == PUBLISHED[name]


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_onnx_graph_counts_as_published(name: str) -> None:
    model = export(build(find_spec(name)).eval(), 32, 32)
    assert printed(name, onnx_complexity(sized_graph(model, 256, 256))) == PUBLISHED[name]


@pytest.mark.parametrize(
    "name", [pytest.param(s.name, id=s.name) for s in all_specs() if s.scale == 4 or s.scale < 3]
)
def test_every_network_holds_the_parameters_that_the_list_states(name: str) -> None:
    spec = next(spec for spec in all_specs() if spec.name == name)
    with torch.device("meta"):
        net = build(spec)
    assert torch_complexity(net, 64, 64).parameters == spec.parameters


def test_parts_match_what_forward_hooks_see() -> None:
    net = on_meta("imdn-rtc").eval()
    seen = {"macs": 0, "activations": 0, "convolutions": 0}

    def hook(part: nn.Conv2d, _: object, made: Tensor) -> None:
        seen["macs"] += made.numel() * part.weight[0].numel()
        seen["activations"] += made.numel()
        seen["convolutions"] += 1

    for part in net.modules():
        if isinstance(part, nn.Conv2d):
            part.register_forward_hook(hook)
    with torch.no_grad():
        net(torch.empty(1, 3, 48, 32, device="meta"))
    cost = torch_complexity(on_meta("imdn-rtc"), 48, 32)
    assert {key: getattr(cost, key) for key in seen} == seen


def test_fmen_keeps_four_feature_maps_as_its_authors_count() -> None:
    peak = torch_complexity(on_meta("fmen-s"), 256, 256).peak
    assert peak.bytes == 4 * 50 * 256 * 256 * 4
    assert peak.layer == "warmup.1"
    graph = sized_graph(export(build(find_spec("fmen-s")).eval(), 32, 32), 256, 256)
    assert onnx_complexity(graph).peak.bytes == peak.bytes


@pytest.mark.parametrize("name", ["imdn-rtc", "imdn-plus"])
def test_the_onnx_peak_is_what_the_converter_reckons_with(name: str) -> None:
    graph = sized_graph(export(build(find_spec(name)).eval(), 32, 32), 64, 48)
    assert onnx_complexity(graph).peak.bytes == 64 * 48 * activation_bytes_per_pixel(graph)


def test_the_training_form_costs_more_and_is_counted_layer_by_layer() -> None:
    plain = torch_complexity(on_meta("fmen-s"), 64, 64)
    training = torch_complexity(on_meta("fmen-s", training_form=True), 64, 64)
    assert training.convolutions > plain.convolutions
    assert training.parameters == sum(
        p.numel() for p in on_meta("fmen-s", training_form=True).parameters()
    )
    assert sum(layer.macs for layer in training.layers) == training.macs > plain.macs


class Oddities(nn.Module):
    """Views, in-place operators, grouped and transposed convolutions, a product of weights."""

    def __init__(self) -> None:
        super().__init__()
        self.grouped = nn.Conv2d(4, 8, 3, stride=2, padding=1, groups=4)
        self.up = nn.ConvTranspose2d(4, 2, 2, stride=2)
        self.factor = nn.Parameter(torch.ones(2, 1, 1))

    def forward(self, lr_nchw: Tensor) -> Tensor:
        first = F.relu_(self.grouped(F.pad(lr_nchw, (0, 0, 0, 0, 0, 1))))
        left, _ = first.split(4, dim=1)
        return self.up(left) * (self.factor * self.factor)


def test_views_and_in_place_operators_take_no_memory_and_weights_are_no_activations() -> None:
    cost = torch_complexity(Oddities(), 8, 6)
    ops = [layer.op for layer in cost.layers]
    assert ops == ["constant_pad_nd", "convolution", "relu", "convolution", "mul"]
    first = 8 * 4 * 3
    assert cost.layers[1].macs == first * 9  # four groups: one input channel each
    assert cost.layers[3].macs == 4 * 4 * 3 * 2 * 4  # a transposed one spreads what it is fed
    assert (cost.activations, cost.rectified) == (first + 2 * 8 * 6, first)
    # The padded input and what the convolution makes; at the end two results of 2 x 8 x 6.
    assert cost.peak.bytes == 4 * max(4 * 48 + first, 3 * 48 + 4 * 48, first + 96, 2 * 96)


def test_a_peak_counts_what_is_read_later_and_the_output_to_the_end() -> None:
    def layer(name: str, *reads: str) -> Layer:
        return Layer(name, "op", Kind.OTHER, (1,), inputs=reads, outputs=(name,))

    layers = [layer("a", "in"), layer("b", "a"), layer("out", "b", "a"), layer("unused", "out")]
    sizes = {"in": 1, "a": 10, "b": 100, "out": 1000, "unused": 5}
    found = peak_activations(layers, sizes, "in", "out")
    assert (found.bytes, found.layer) == (1110, "out")
