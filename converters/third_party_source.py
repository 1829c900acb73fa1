"""Third-party networks as a `Source`: ONNX files, and PyTorch modules that are exported to ONNX.

Both go through the same passes, which rewrite what exporters leave into operators that the GPU
delegate accepts. A file is compared with the network as it was given: an ONNX file with itself as
onnxruntime runs it, a module with itself as PyTorch runs it.
"""

import importlib.metadata
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from converters.onnx_graph.third_party import OnnxFile
from converters.parity.test_inputs import ReferenceNetwork
from converters.source import CALIBRATION_SIDE, TOOLS, Source
from converters.third_party_checkpoint import ThirdPartyCheckpoint
from edgesr.errors import EdgeSRError, ModuleError, OnnxFileError

if TYPE_CHECKING:
    import onnx
    from torch import nn

    from converters.onnx_graph.graph import Graph

#: The passes that prepare a third-party graph for those of the GPU delegate, in order.
ONNX_PASSES = (
    "clean", "activations", "channels_last", "scatter", "bicubic", "shuffle_patterns",
    "space_to_depth", "prelu", "io_anchors",
)  # fmt: skip
#: How the origin of the weights begins where they come from an ONNX file.
ONNX_ORIGIN = "ONNX file"
#: The same where they come from a module of the caller's.
MODULE_ORIGIN = "PyTorch module"
#: The same where they come from a checkpoint whose network spandrel built.
CHECKPOINT_ORIGIN = "checkpoint"


@dataclass(frozen=True)
class _Network:
    """A third-party network, whatever holds it.

    Attributes:
        label: Its name in messages.
        error: The class of errors about it.
        graph_at: Its graph at a height and width, without what exporters leave.
        height: Rows of its input; None where they are open.
        width: Columns of its input, likewise.
        modules: The module in which each tensor is computed, where that is known.
        is_open: Whether both are.
    """

    label: str
    error: type[EdgeSRError]
    graph_at: "Callable[[int, int], onnx.ModelProto]"
    height: int | None = None
    width: int | None = None
    modules: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def is_open(self) -> bool:
        return self.height is None and self.width is None

    def fixed_size(self, height: int, width: int) -> tuple[int, int]:
        """Its own size where it has one, else the given one."""
        return self.height or height, self.width or width


@dataclass(frozen=True)
class _Analysed:
    """What the graph shows of a network.

    Attributes:
        graph: After the passes for third-party graphs.
        bound: The operator that fits one size only; empty if there is none.
        scale: Upscaling factor.
    """

    graph: "Graph"
    bound: str
    scale: int


def onnx_source(
    file: OnnxFile,
    height: int,
    width: int,
    *,
    value_range: float | None = None,
    allow_refused: bool = False,
) -> Source:
    """A network from an ONNX file.

    Args:
        file: The file.
        height: Rows of the input that its `.tflite` is to have.
        width: Columns of it.
        value_range: The network's own range is [0, value_range]; by default what it shows, or 1.
        allow_refused: Whether operators that the GPU delegate refuses are allowed.

    Raises:
        OnnxFileError: The network does not fit that size, is no super-resolution network, or is
            clearly of another value range than the one given.
        ConversionError: A rewrite cannot be exact.
    """
    from converters.gpu.onnx_check import modules_of

    network = _Network(
        str(file.path),
        OnnxFileError,
        lambda h, w: _cleaned(file, h, w),
        file.height,
        file.width,
        modules_of(file.model),
    )
    version = importlib.metadata.version("onnxruntime")
    return _source(
        network,
        _analysed(network, height, width),
        value_range,
        file.reference,
        name=safe_name(file.path.stem),
        weights_sha256=file.weights_sha256(),
        weights_source=f"{ONNX_ORIGIN} {file.path.name} (sha256 {file.sha256}), by {file.producer}",
        reference_runtime=f"onnxruntime {version}, running {file.path.name} (sha256 {file.sha256})"
        + (", its FP16 operators in FP32" if file.widened else "")
        + (", colours bicubic" if file.of_luma else ""),
        tools=("onnxruntime", *TOOLS),
        must_be_clean=not allow_refused,
    )


def module_source(
    module: "nn.Module",
    height: int,
    width: int,
    *,
    name: str | None = None,
    scale: int | None = None,
    value_range: float | None = None,
    allow_refused: bool = False,
) -> Source:
    """A network from a PyTorch module, which is copied and left as it is.

    Args:
        module: Maps N x 3 x H x W to N x 3 x (scale H) x (scale W), RGB, both in
            [0, value range]. Any mode, device and floating-point type: the copy is evaluated in
            eval mode, in float32, on the CPU.
        height: Rows of the input that its `.tflite` is to have.
        width: Columns of it.
        name: Its name in files; by default the name of its class.
        scale: The upscaling factor that it must have; by default whatever it has.
        value_range: The network's own range is [0, value_range]; by default what it shows, or 1.
        allow_refused: Whether operators that the GPU delegate refuses are allowed.

    Raises:
        ModuleError: The module cannot be copied, run or exported at that size, is no
            super-resolution network of that scale, or is clearly of another value range than the
            one given.
        ConversionError: A rewrite cannot be exact.
    """
    from converters.onnx_graph.module import copy_module

    net = copy_module(module)
    kind = type(net)
    return _module_source(
        net,
        (height, width),
        label=f"module {kind.__name__}",
        name=name or kind.__name__,
        origin=f"{MODULE_ORIGIN} {kind.__module__}.{kind.__qualname__}, given by the caller",
        scale=scale,
        value_range=value_range,
        allow_refused=allow_refused,
    )


def third_party_checkpoint_source(
    checkpoint: ThirdPartyCheckpoint,
    height: int,
    width: int,
    *,
    scale: int | None = None,
    value_range: float | None = None,
    allow_refused: bool = False,
) -> Source:
    """A network that spandrel built from a checkpoint.

    Args:
        checkpoint: The checkpoint.
        height: Rows of the input that its `.tflite` is to have.
        width: Columns of it.
        scale: The upscaling factor that it must have; by default whatever it has.
        value_range: The network's own range is [0, value_range]; by default 1, as spandrel has it.
        allow_refused: Whether operators that the GPU delegate refuses are allowed.

    Raises:
        ModuleError: The network cannot be run or exported at that size, or is no super-resolution
            network of that scale.
        ConversionError: A rewrite cannot be exact.
    """
    return _module_source(
        checkpoint.net,
        (height, width),
        label=f"{checkpoint.architecture} x{checkpoint.scale} from {checkpoint.path.name}",
        name=checkpoint.path.stem,
        origin=f"{CHECKPOINT_ORIGIN} {checkpoint.path.name} (sha256 {checkpoint.sha256}), "
        f"{checkpoint.architecture}, built by {checkpoint.builder}",
        scale=scale,
        value_range=1.0 if value_range is None else value_range,
        allow_refused=allow_refused,
    )


def _module_source(
    net: "nn.Module",
    size: tuple[int, int],
    *,
    label: str,
    name: str,
    origin: str,
    scale: int | None,
    value_range: float | None,
    allow_refused: bool,
) -> Source:
    """The source of a module in eval mode, float32, on the CPU."""
    from converters.onnx_graph.module import export_module, with_colour
    from converters.parity.verify import torch_reference
    from edgesr.weights.checkpoints import weights_sha256

    net = with_colour(net, *size)
    network = _Network(label, ModuleError, lambda h, w: export_module(net, label, h, w))
    analysed = _analysed(network, *size)
    if scale not in (None, analysed.scale):
        raise ModuleError(
            f"{label} upscales x{analysed.scale}, got scale {scale}; leave the scale out, or give "
            f"{analysed.scale}"
        )
    version = importlib.metadata.version("torch")
    return _source(
        network,
        analysed,
        value_range,
        lambda n: torch_reference(net, n),
        name=safe_name(name),
        weights_sha256=weights_sha256(net),
        weights_source=origin,
        reference_runtime=f"PyTorch {version}, running {label} in eval mode",
        tools=("torch", "onnxruntime", *TOOLS),
        must_be_clean=not allow_refused,
    )


def safe_name(text: str) -> str:
    """A network's name that is fit for file names: letters, digits, dot, underscore, hyphen."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text)


def _source(
    network: _Network,
    analysed: _Analysed,
    given_range: float | None,
    reference_in: Callable[[float], ReferenceNetwork],
    *,
    name: str,
    weights_sha256: str,
    weights_source: str,
    reference_runtime: str,
    tools: tuple[str, ...],
    must_be_clean: bool,
) -> Source:
    """The source of an analysed network.

    Raises:
        ConversionError: It cannot be converted, or the GPU would refuse operators of it.
    """
    from converters.gpu.onnx_check import check_graph
    from converters.memory import activation_bytes_per_pixel
    from converters.onnx_graph.receptive_field import reach
    from converters.parity.value_range import find_value_range

    check_graph(analysed.graph, network.modules, allow_refused=not must_be_clean)
    found = reach(analysed.graph)
    _, _, rows, columns = analysed.graph.shape(analysed.graph.input)
    value_range, evidence = find_value_range(
        reference_in,
        analysed.scale,
        given=given_range,
        default=1.0,
        label=network.label,
        error=network.error,
        size=(rows, columns),
    )
    return Source(
        name=name,
        label=network.label,
        scale=analysed.scale,
        value_range=value_range,
        receptive_radius=found.radius,
        size_multiple=found.size_multiple,
        whole_image=found.whole_image,
        weights_sha256=weights_sha256,
        weights_source=weights_source,
        weights_licence="unknown",
        export=lambda height, width: _prepared(network, height, width, value_range),
        reference=reference_in(value_range),
        reference_runtime=reference_runtime,
        bytes_per_pixel=lambda: activation_bytes_per_pixel(analysed.graph),
        tools=tools,
        passes=ONNX_PASSES if value_range != 1.0 else ONNX_PASSES[:-1],
        any_size=not analysed.bound,
        must_be_clean=must_be_clean,
        range_evidence=evidence,
    )


def _analysed(network: _Network, height: int, width: int) -> _Analysed:
    """Analyse a network for a size.

    Raises:
        EdgeSRError: Of the network's class: it does not fit that size, or is no super-resolution
            network.
    """
    from converters.onnx_graph.native import named_errors

    with named_errors(f"{network.label} at {height}x{width}", network.error):
        graph, bound = _graph_and_bound(network, height, width)
    if all(node.op == "Identity" for node in graph.nodes):
        raise network.error(f"{network.label} is no network: it gives back the image it takes")
    fixed = network.fixed_size(height, width)
    if bound and fixed != (height, width):
        raise network.error(
            f"{network.label} is made for {fixed[0]}x{fixed[1]}, and its {bound} fits no other "
            f"size: got {height}x{width}, allowed {fixed[0]}x{fixed[1]}; take that size, or export "
            "it with open height and width"
        )
    with named_errors(f"{network.label} at {height}x{width}", network.error):
        return _Analysed(graph, bound, _scale(network, graph))


def _graph_and_bound(network: _Network, height: int, width: int) -> tuple["Graph", str]:
    """The graph at a small size if it fits every other, and the operator that binds it otherwise.

    A graph that fits one size only comes at the network's own size or at the final one.
    """
    from converters.onnx_graph.analysis import size_bound
    from converters.onnx_graph.graph import Graph

    if network.is_open:
        small = min(height, CALIBRATION_SIDE), min(width, CALIBRATION_SIDE)
        try:
            graph = Graph(_prepared(network, *small, 1.0))
            if size_bound(graph) is None:
                return graph, ""
        except EdgeSRError:
            if small == (height, width):
                raise
    own = network.fixed_size(height, width)
    graph = Graph(_prepared(network, *own, 1.0))
    bound = size_bound(graph)
    if bound is None and not network.is_open:
        # The reference is the file as it is, so it too must fit: its passes may have freed the
        # graph.
        bound = size_bound(Graph(network.graph_at(*own)))
    return graph, bound.op if bound else ""


def _cleaned(file: OnnxFile, height: int, width: int) -> "onnx.ModelProto":
    """The file at one size, without what exporters leave."""
    from converters.onnx_graph.export import INPUT_NAME, OUTPUT_NAME
    from converters.passes.clean import clean

    with file.errors(height, width):
        return clean(file.model, height, width, INPUT_NAME, OUTPUT_NAME)


def _prepared(network: _Network, height: int, width: int, value_range: float) -> "onnx.ModelProto":
    """The graph at one size, after the passes for third-party graphs."""
    from converters.onnx_graph.native import named_errors
    from converters.passes.third_party.activations import activations
    from converters.passes.third_party.bicubic import bicubic
    from converters.passes.third_party.channels_last import channels_last
    from converters.passes.third_party.io_anchors import io_anchors
    from converters.passes.third_party.prelu import prelu
    from converters.passes.third_party.scatter import scatter
    from converters.passes.third_party.shuffle_patterns import shuffle_patterns
    from converters.passes.third_party.space_to_depth import space_to_depth

    with named_errors(f"{network.label} at {height}x{width}", network.error):
        model = channels_last(activations(network.graph_at(height, width)))
        model = shuffle_patterns(bicubic(scatter(model)))
        model = prelu(space_to_depth(model))
        return model if value_range == 1.0 else io_anchors(model)


def _scale(network: _Network, graph: "Graph") -> int:
    """The upscaling factor.

    Raises:
        EdgeSRError: Of the network's class: the output is no RGB image that is a whole multiple of
            the input.
    """
    before, after = graph.shape(graph.input), graph.shape(graph.output)
    scale = after[2] // before[2] if len(after) == 4 else 0
    if scale < 1 or after != (1, 3, scale * before[2], scale * before[3]):
        raise network.error(
            f"{network.label} is no super-resolution network: it makes {list(after)} of "
            f"{list(before)}, allowed [1, 3, scale x height, scale x width]"
        )
    return scale
