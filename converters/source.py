"""The one type that the pipeline converts: `Source`, and how a checkpoint becomes one."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from converters.manifest import PYTORCH
from converters.parity.test_inputs import ReferenceNetwork
from converters.spec import check_multiple
from edgesr.common.progress import ProgressCallback, one_step, silent
from edgesr.errors import CheckpointError
from edgesr.weights.checkpoints import LoadedCheckpoint, weights_sha256

if TYPE_CHECKING:
    import onnx

#: The side at which networks that fit any size are rewritten and calibrated: it costs a fraction
#: of the final size.
CALIBRATION_SIDE = 128
#: Packages whose versions every file records.
TOOLS = ("onnx", "onnx2tf", "tensorflow", "ai-edge-litert", "numpy", "edgesr")

_COST_SIDE = 32

#: Takes height and width; returns a plain graph with input `lr` and output `hr`, in its own range.
Export = Callable[[int, int], "onnx.ModelProto"]


@dataclass(frozen=True)
class Source:
    """A network that can be exported at a size, and the facts that its files record.

    Attributes:
        name: Its name.
        label: Its name in messages: that of its file, or of its class.
        scale: Upscaling factor.
        value_range: Its own range is [0, value_range].
        receptive_radius: Pixels by which tiles must overlap; None where it is not known.
        size_multiple: What tiles must begin at multiples of.
        whole_image: Whether tiles only approximate the result on the whole image.
        weights_sha256: Digest of the weights.
        weights_source: Where they come from.
        weights_licence: Their licence.
        export: Exports the graph at a size.
        reference: The network before anything was rewritten, which a file must equal.
        reference_runtime: The runtime of the reference, and the model that it runs.
        bytes_per_pixel: Computes the peak live activations, in bytes per pixel of the input.
        tools: Packages whose versions the files record.
        passes: Rewrites that `export` did already.
        any_size: Whether a graph of one size fits every other size too.
        must_be_clean: Whether a file that breaks a rule of the GPU delegate is an error.
        range_evidence: What speaks for the value range; empty where nothing does.
    """

    name: str
    label: str
    scale: int
    value_range: float
    receptive_radius: int | None
    size_multiple: int
    whole_image: bool
    weights_sha256: str
    weights_source: str
    weights_licence: str
    export: Export
    reference: ReferenceNetwork
    reference_runtime: str
    bytes_per_pixel: Callable[[], float]
    tools: tuple[str, ...]
    passes: tuple[str, ...] = ()
    any_size: bool = True
    must_be_clean: bool = False
    range_evidence: str = ""

    def calibration_size(self, height: int, width: int) -> tuple[int, int]:
        """The size at which the graph for a final size is rewritten."""
        if not self.any_size:
            return height, width
        return min(height, CALIBRATION_SIDE), min(width, CALIBRATION_SIDE)


def checkpoint_source(
    checkpoint: LoadedCheckpoint,
    height: int,
    width: int,
    *,
    value_range: float | None = None,
    progress: ProgressCallback = silent,
) -> Source:
    """A checkpoint of one of edgesr's networks; the training form is folded.

    Args:
        checkpoint: The checkpoint.
        height: Rows of the input that its file is to have.
        width: Columns of it.
        value_range: The weights' own range is [0, value_range]; by default what they show, or that
            of the architecture.
        progress: Called with the stages "fold" and "range".

    Raises:
        SizeError: A side is no multiple of what the network requires.
        ConversionError: The network cannot be folded.
        CheckpointError: The weights are clearly of another value range than the one given.
    """
    from converters.parity.value_range import find_value_range
    from converters.parity.verify import torch_reference
    from edgesr.networks.reparam import fold

    spec = checkpoint.spec
    check_multiple(height, width, spec)
    with one_step(progress, "fold"):
        plain = fold(checkpoint.net)
    with one_step(progress, "range"):
        found = find_value_range(
            lambda n: torch_reference(plain, n),
            spec.scale,
            given=value_range,
            default=spec.value_range,
            label=f"checkpoint {checkpoint.filename}",
            error=CheckpointError,
        )

    def export_at(height: int, width: int) -> "onnx.ModelProto":
        from converters.onnx_graph.export import export

        return export(plain, height, width)

    def bytes_per_pixel() -> float:
        from converters.memory import activation_bytes_per_pixel
        from converters.onnx_graph.graph import Graph

        return activation_bytes_per_pixel(Graph(export_at(_COST_SIDE, _COST_SIDE)))

    return Source(
        name=spec.name,
        label=f"{spec.name} x{spec.scale} from {checkpoint.filename}",
        scale=spec.scale,
        value_range=found.value_range,
        receptive_radius=spec.receptive_radius,
        size_multiple=spec.size_multiple,
        whole_image=spec.whole_image,
        weights_sha256=weights_sha256(checkpoint.net),
        weights_source=checkpoint.source,
        weights_licence=checkpoint.licence,
        export=export_at,
        reference=torch_reference(checkpoint.net, found.value_range),
        reference_runtime=PYTORCH,
        bytes_per_pixel=bytes_per_pixel,
        tools=("torch", *TOOLS),
        range_evidence=found.evidence,
    )
