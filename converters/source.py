"""What is converted: a checkpoint of our networks, or an ONNX file of anybody's."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from converters.manifest import PYTORCH
from converters.onnx_file import OnnxFile
from converters.probes import Reference
from edgesr.checkpoints import LoadedCheckpoint, weights_sha256
from edgesr.errors import ConversionError, EdgeSRError, OnnxFileError

if TYPE_CHECKING:
    import onnx

    from converters.graph import Graph

#: Whatever the final size is, networks that fit any are rewritten and calibrated on crops of this
#: size: it costs a fraction.
CALIBRATION_SIDE = 128
#: What makes an ONNX file of anybody's fit for the passes for the GPU, in order.
ONNX_PASSES = ("clean", "shuffle_patterns", "prelu", "io_anchors")
#: What the origin of the weights begins with where they come from an ONNX file.
ONNX_ORIGIN = "ONNX file"

_PROBE_SIDE = 32
_TOOLS = ("onnx", "onnx2tf", "tensorflow", "ai-edge-litert", "numpy", "edgesr")

#: Takes height and width, gives a plain graph with input `lr` and output `hr`, in its own range.
Export = Callable[[int, int], "onnx.ModelProto"]


@dataclass(frozen=True)
class Original:
    """What a `.tflite` must equal.

    Attributes:
        name: The network's name.
        scale: Upscaling factor.
        reference: The network as a function.
        referee: Who computes it.
        options: How the user names another one.
        any_size: Whether it takes pictures of every size.
    """

    name: str
    scale: int
    reference: Reference
    referee: str
    options: str
    any_size: bool = True


@dataclass(frozen=True)
class Source:
    """A network that can be exported at a size, and what a file made from it must say of it.

    Attributes:
        name: Its name.
        scale: Upscaling factor.
        value_range: Its own range is [0, value_range].
        receptive_radius: Pixels by which tiles must overlap; None where it is not known.
        size_multiple: What tiles must begin at multiples of.
        whole_picture: Whether tiles only come near the result on the whole picture.
        weights_sha256: Digest of the weights.
        weights_source: Where they come from.
        weights_licence: Their licence.
        export: Gives the graph.
        reference: What a file must equal.
        referee: Who computes the reference.
        bytes_per_pixel: Activations alive at once.
        tools: Packages whose versions matter.
        passes: Rewrites that `export` did already.
        any_size: Whether a graph of one size fits every other size too.
        must_be_clean: Whether a file that breaks a rule of the GPU's is an error.
    """

    name: str
    scale: int
    value_range: float
    receptive_radius: int | None
    size_multiple: int
    whole_picture: bool
    weights_sha256: str
    weights_source: str
    weights_licence: str
    export: Export
    reference: Reference
    referee: str
    bytes_per_pixel: float
    tools: tuple[str, ...]
    passes: tuple[str, ...] = ()
    any_size: bool = True
    must_be_clean: bool = False

    def calibration_size(self, height: int, width: int) -> tuple[int, int]:
        """The size at which the graph for a final size is rewritten."""
        if not self.any_size:
            return height, width
        return min(height, CALIBRATION_SIDE), min(width, CALIBRATION_SIDE)


def original(network: LoadedCheckpoint | Source) -> Original:
    """What a file made from a network must equal: the network before anything was rewritten."""
    from converters.verify import torch_reference

    if isinstance(network, Source):
        return Original(
            name=network.name,
            scale=network.scale,
            reference=network.reference,
            referee=network.referee,
            options="--onnx",
            any_size=network.any_size,
        )
    spec = network.spec
    reference = torch_reference(network.net, spec.value_range)
    return Original(spec.name, spec.scale, reference, PYTORCH, "--model and --checkpoint")


def checkpoint_source(checkpoint: LoadedCheckpoint) -> Source:
    """A checkpoint of one of our networks; the training form is folded."""
    from converters.graph import Graph
    from converters.memory import activation_bytes_per_pixel
    from converters.onnx_export import export
    from converters.verify import torch_reference
    from edgesr.reparam import fold

    plain, spec = fold(checkpoint.net), checkpoint.spec
    probe = Graph(export(plain, _PROBE_SIDE, _PROBE_SIDE))
    return Source(
        name=spec.name,
        scale=spec.scale,
        value_range=spec.value_range,
        receptive_radius=spec.receptive_radius,
        size_multiple=spec.size_multiple,
        whole_picture=spec.whole_picture,
        weights_sha256=weights_sha256(checkpoint.net),
        weights_source=checkpoint.source,
        weights_licence=checkpoint.licence,
        export=lambda height, width: export(plain, height, width),
        reference=torch_reference(checkpoint.net, spec.value_range),
        referee=PYTORCH,
        bytes_per_pixel=activation_bytes_per_pixel(probe),
        tools=("torch", *_TOOLS),
    )


def onnx_source(
    file: OnnxFile,
    height: int,
    width: int,
    *,
    value_range: float = 1.0,
    allow_refused: bool = False,
) -> Source:
    """A network from an ONNX file.

    Args:
        file: The file.
        height: Rows of the input that is wanted.
        width: Columns of it.
        value_range: The network's own range is [0, value_range].
        allow_refused: Whether operators that the GPU refuses are no error.

    Raises:
        OnnxFileError: The network does not fit that size, or is no super-resolution network.
        ConversionError: A rewrite cannot be exact.
    """
    import importlib.metadata

    from converters.memory import activation_bytes_per_pixel
    from converters.traits import reach

    graph, bound = _probe(file, height, width)
    if all(node.op == "Identity" for node in graph.nodes):
        raise OnnxFileError(f"{file.path} is no network: it gives back the picture it takes")
    fixed = (file.height or height, file.width or width)
    if bound and fixed != (height, width):
        raise OnnxFileError(
            f"{file.path} is made for {fixed[0]}x{fixed[1]}, and its {bound} fits no other size: "
            f"got {height}x{width}, allowed {fixed[0]}x{fixed[1]}; take that size, or export it "
            "with open height and width"
        )
    found = reach(graph)
    version = importlib.metadata.version("onnxruntime")
    return Source(
        name=re.sub(r"[^A-Za-z0-9._-]+", "-", file.path.stem),
        scale=_scale(file, graph),
        value_range=value_range,
        receptive_radius=found.radius,
        size_multiple=found.size_multiple,
        whole_picture=found.whole_picture,
        weights_sha256=file.weights_sha256(),
        weights_source=f"{ONNX_ORIGIN} {file.path.name} (sha256 {file.sha256}), by {file.producer}",
        weights_licence="unknown",
        export=lambda height, width: _fit_for_gpu(file, height, width, value_range),
        reference=file.reference(value_range),
        referee=f"onnxruntime {version}, running {file.path.name} (sha256 {file.sha256})",
        bytes_per_pixel=activation_bytes_per_pixel(graph),
        tools=("onnxruntime", *_TOOLS),
        passes=ONNX_PASSES if value_range != 1.0 else ONNX_PASSES[:-1],
        any_size=not bound,
        must_be_clean=not allow_refused,
    )


def _probe(file: OnnxFile, height: int, width: int) -> tuple["Graph", str]:
    """The graph at a small size if it fits every other, and the operator that keeps it from that.

    A graph that fits one size only comes at the file's own size or at the one that is wanted.
    """
    from converters.graph import Graph
    from converters.traits import size_bound

    if file.is_open:
        small = min(height, CALIBRATION_SIDE), min(width, CALIBRATION_SIDE)
        try:
            graph = Graph(_fit_for_gpu(file, *small, 1.0))
            if size_bound(graph) is None:
                return graph, ""
        except EdgeSRError:
            if small == (height, width):
                raise
    own = file.height or height, file.width or width
    graph = Graph(_fit_for_gpu(file, *own, 1.0))
    # The reference is the file as it is, so it too must fit: its passes may have freed the graph.
    bound = size_bound(graph) or (None if file.is_open else size_bound(Graph(_cleaned(file, *own))))
    return graph, bound.op if bound else ""


def _cleaned(file: OnnxFile, height: int, width: int) -> "onnx.ModelProto":
    """The file at one size, without what exporters leave."""
    from converters.onnx_export import INPUT_NAME, OUTPUT_NAME
    from converters.passes.clean import clean

    try:
        return clean(file.model, height, width, INPUT_NAME, OUTPUT_NAME)
    except (ConversionError, OnnxFileError) as error:
        raise OnnxFileError(f"{file.path} at {height}x{width}: {error}") from error


def _fit_for_gpu(file: OnnxFile, height: int, width: int, value_range: float) -> "onnx.ModelProto":
    """The file at one size, after its own passes."""
    from converters.passes.io_anchors import io_anchors
    from converters.passes.prelu import prelu
    from converters.passes.shuffle_patterns import shuffle_patterns

    model = prelu(shuffle_patterns(_cleaned(file, height, width)))
    return model if value_range == 1.0 else io_anchors(model)


def _scale(file: OnnxFile, graph: "Graph") -> int:
    """By how much the network enlarges.

    Raises:
        OnnxFileError: It gives no RGB picture that is a whole multiple of what it takes.
    """
    before, after = graph.shape(graph.input), graph.shape(graph.output)
    scale = after[2] // before[2] if len(after) == 4 else 0
    if scale < 1 or after != (1, 3, scale * before[2], scale * before[3]):
        raise OnnxFileError(
            f"{file.path} is no super-resolution network: it makes {list(after)} of "
            f"{list(before)}, allowed [1, 3, scale x height, scale x width]"
        )
    return scale
