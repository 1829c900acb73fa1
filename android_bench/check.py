"""Whether the phone computes what this host computes: real pictures through both.

That a delegate runs the whole graph does not make its output right. The stock benchmark_model
reads an input from a file and writes the output into one, so it can be compared, on the phone and
with the delegate and precision that are measured.
"""

import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from android_bench.command import Load, Precision, Run, Setting, TensorFiles
from android_bench.errors import ToolError
from android_bench.invoke import Session, invoke
from android_bench.record import Fidelity, Invocation
from android_bench.workspace import WORKSPACE, put
from edgesr.errors import PictureError
from edgesr.images import read_picture
from edgesr.runtime import ModelShape, open_model, read_model_bytes
from edgesr.testcard import draw_test_card
from edgesr.tflite_schema import parse_model, tensor_name

Float32Array = NDArray[np.float32]

_OUTPUT = f"{WORKSPACE}/output.bin"
# The gates of edgesr's conversions against PyTorch, for the same arithmetic on a GPU.
_LEAST_PSNR_DB = 55.0
_MOST_ABS = 1e-4


@dataclass(frozen=True, eq=False)
class Sample:
    """A picture and what this host's CPU makes of it.

    Attributes:
        name: For reports.
        lr_nhwc: RGB, 1 x height x width x 3, float32 in [0, 1].
        hr_nhwc: The file's output in FP32 arithmetic.
    """

    name: str
    lr_nhwc: Float32Array
    hr_nhwc: Float32Array


@dataclass(frozen=True, eq=False)
class Expected:
    """What a file gives on this host.

    Attributes:
        input_name: Name of its input tensor.
        shape: Its sizes.
        samples: Pictures with their results.
    """

    input_name: str
    shape: ModelShape
    samples: tuple[Sample, ...]


def expect(path: Path, pictures: Sequence[Path]) -> Expected:
    """Run a file on this host's CPU.

    Args:
        path: A super-resolution `.tflite`.
        pictures: Pictures, of which the middle is used; none for the drawn test card.

    Raises:
        ModelFileError: The file is none that edgesr runs.
        PictureError: A picture cannot be read, or is smaller than the file's input.
    """
    runner = open_model(path)
    graph = parse_model(read_model_bytes(path), str(path))["subgraphs"][0]
    name = tensor_name(graph["tensors"][graph["inputs"][0]])
    shape = runner.shape
    inputs = [(picture.name, _crop(picture, shape)) for picture in pictures]
    if not inputs:
        inputs = [("test card", draw_test_card(shape.height, shape.width))]
    samples: list[Sample] = []
    for called, hwc_u8 in inputs:
        lr_nhwc = (hwc_u8.astype(np.float32) / np.float32(255))[np.newaxis]
        samples.append(Sample(called, lr_nhwc, runner.run(lr_nhwc).copy()))
    return Expected(name, shape, tuple(samples))


def check_fidelity(
    session: Session, setting: Setting, model_path: str, expected: Expected, cpu_mask: str | None
) -> tuple[list[Fidelity], list[Invocation]]:
    """Run every picture on the phone and compare.

    Raises:
        ToolError: As `invoke`, or the output has another size.
        AdbError: An input or an output did not arrive.
    """
    results: list[Fidelity] = []
    invocations: list[Invocation] = []
    with tempfile.TemporaryDirectory() as folder:
        given, got = Path(folder, "input.bin"), Path(folder, "output.bin")
        for sample in expected.samples:
            given.write_bytes(sample.lr_nhwc.astype("<f4").tobytes())
            tensors = TensorFiles(
                expected.input_name, expected.shape.lr_nhwc, put(session.phone, given, given.name),
                _OUTPUT,
            )  # fmt: skip
            run = Run(setting, Load(runs=1, warm_up_runs=0), model_path, tensors=tensors)
            invocations.append(invoke(session, run, "check", cpu_mask=cpu_mask, cool=False))
            # Removed there: the next run shall not be judged by it.
            session.phone.take(_OUTPUT, got, sample.hr_nhwc.nbytes)
            hr_nhwc = _read_output(got, expected.shape, invocations[-1].log)
            results.append(compare(sample, hr_nhwc, setting.precision))
    return results, invocations


def compare(sample: Sample, got: Float32Array, precision: Precision) -> Fidelity:
    """How far an output is from this host's, and whether that is near enough."""
    finite = bool(np.isfinite(got).all())
    half = precision is Precision.FP16
    gate = f"PSNR >= {_LEAST_PSNR_DB:g} dB" if half else f"max abs <= {_MOST_ABS:g}"
    if not finite:
        return Fidelity(
            picture=sample.name, psnr_db=None, max_abs=None, finite=False, gate=gate, passed=False
        )
    difference = np.abs(got - sample.hr_nhwc)
    largest = float(difference.max())
    mse = float(np.mean(np.square(difference), dtype=np.float64))
    psnr_db = None if mse == 0.0 else -10 * math.log10(mse)
    near = psnr_db is None or psnr_db >= _LEAST_PSNR_DB if half else largest <= _MOST_ABS
    return Fidelity(
        picture=sample.name, psnr_db=psnr_db, max_abs=largest, finite=True, gate=gate, passed=near
    )


def _read_output(path: Path, shape: ModelShape, log: str) -> Float32Array:
    values = np.fromfile(path, dtype="<f4")
    wanted = math.prod(shape.hr_nhwc)
    if values.size != wanted or path.stat().st_size != 4 * wanted:
        raise ToolError(
            f"benchmark_model wrote {path.stat().st_size} bytes of output, {4 * wanted} belong to "
            f"{list(shape.hr_nhwc)}",
            log,
        )
    return values.reshape(shape.hr_nhwc)


def _crop(path: Path, shape: ModelShape) -> NDArray[np.uint8]:
    """The middle of a picture, RGB."""
    pixels_hwc = read_picture(path).pixels_hwc
    height, width, channels = pixels_hwc.shape
    if height < shape.height or width < shape.width:
        raise PictureError(
            f"{path} is {height}x{width}, allowed {shape.height}x{shape.width} and more; choose "
            "larger pictures"
        )
    if pixels_hwc.dtype == np.uint16:
        pixels_hwc = (pixels_hwc >> 8).astype(np.uint8)
    colours = pixels_hwc[:, :, :3] if channels >= 3 else np.repeat(pixels_hwc[:, :, :1], 3, axis=2)
    top, left = (height - shape.height) // 2, (width - shape.width) // 2
    return colours[top : top + shape.height, left : left + shape.width].astype(np.uint8)
