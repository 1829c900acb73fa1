"""From a source to the integer file: the passes for integers, calibration, writing."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from converters.file_metadata import build_facts
from converters.int8.graph import read_graph
from converters.int8.images import calibration_images
from converters.int8.quantise import STEPS, quantise
from converters.int8.write import write_integers
from converters.source import Source
from converters.spec import ConversionSpec, Precision
from edgesr.common.progress import ProgressCallback, one_step
from edgesr.tflite.facts import FACTS_ENTRY, seal
from edgesr.tflite.model import view

if TYPE_CHECKING:
    import onnx

    from converters.tflite.backend import Onnx2tf

#: Side of the calibration images, for networks that fit any size.
_SIDE = 64


@dataclass(frozen=True)
class IntegerRewritten:
    """A graph after the exact passes for integers, and their names."""

    model: "onnx.ModelProto"
    passes: tuple[str, ...]


def rewrite_for_integers(exported: "onnx.ModelProto", value_range: float) -> IntegerRewritten:
    """Run the exact passes for integer files.

    Sums of convolutions and merged chains, which the GPU likes, are left out: every term of a sum
    is rounded to 8 bits.

    Args:
        exported: The plain network, in its own value range.
        value_range: Upper end of that range.
    """
    from converters.passes.depth_to_space import depth_to_space
    from converters.passes.edge_pad import edge_pad, has_edge_pad
    from converters.passes.io_scale import io_scale
    from converters.passes.split_free import split_free

    names = ["io_scale", "split_free", "depth_to_space"]
    model = depth_to_space(split_free(io_scale(exported, value_range), sums=False))
    if has_edge_pad(exported):
        model = edge_pad(model)
        names.append("edge_pad")
    return IntegerRewritten(model, tuple(names))


def integer_file(
    worker: "Onnx2tf",
    source: Source,
    spec: ConversionSpec,
    images: Path | None,
    progress: ProgressCallback,
    check: Callable[[bytes], None],
) -> bytes:
    """Make the integer file of a source, without judging it.

    Args:
        worker: Converts once.
        source: The network.
        spec: Size of the file, type of its input and output.
        images: Folder of photographs for calibration; None for synthetic scenes.
        progress: Called for every stage.
        check: Called with the float32 file; raises where it would be refused.

    Raises:
        ConversionError: An operator has no integer form, or a tensor's range collapses.
        ImageError: The images cannot calibrate.
    """
    from converters.tflite.backend import converted, embed

    height, width = source.calibration_size(spec.height, spec.width)
    with one_step(progress, "rewrite"):
        rewritten = rewrite_for_integers(source.export(height, width), source.value_range)
    with one_step(progress, "convert"):
        content = converted(
            worker, rewritten.model, spec.height, spec.width, half=False, check=check
        )
    with one_step(progress, "quantise"):
        graph = read_graph(view(content))
        size = (_SIDE, _SIDE) if source.any_size else (height, width)
        made = quantise(graph, calibration_images(*size, images))
        integers = write_integers(content, made.graph, made.grids, made.weights, spec.io)
    facts = build_facts((*source.passes, *rewritten.passes, *STEPS), source, spec, Precision.INT8)
    facts = facts.model_copy(update={"dtype": "uint8" if spec.io == "uint8" else "float32"})
    unsealed = embed(
        integers,
        input_name=facts.input_name,
        output_name=facts.output_name,
        description=f"{facts.model} x{facts.scale} super-resolution in integers, made by edgesr",
        metadata={FACTS_ENTRY: facts.model_dump_json()},
    )
    return seal(unsealed)
