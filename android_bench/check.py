"""Whether the phone computes what this host and PyTorch compute: real pictures through all.

That a delegate runs the whole graph does not make its output right. The stock benchmark_model
reads an input from a file and writes the output into one, so it can be compared, on the phone and
with the delegate and precision that are measured.
"""

import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from android_bench.command import Load, Precision, Run, Setting, TensorFiles
from android_bench.errors import ToolError
from android_bench.invoke import Session, invoke
from android_bench.record import Fidelity, Invocation, Reference
from android_bench.workspace import WORKSPACE, put
from edgesr.bounds import Bounds
from edgesr.errors import ModelFileError, PictureError
from edgesr.images import read_picture
from edgesr.runtime import ModelShape, open_model, read_model_bytes
from edgesr.testcard import draw_test_card
from edgesr.tflite_schema import parse_model, tensor_name

Float32Array = NDArray[np.float32]

_OUTPUT = f"{WORKSPACE}/output.bin"
#: Takes RGB 1 x height x width x 3 in [0, 1], and gives the same, scale times as large.
Network = Callable[[Float32Array], Float32Array]
#: Takes a drawn input and gives it with the share of its contrast that the network can take.
Weakening = Callable[[Float32Array], tuple[Float32Array, float]]


#: Arithmetic on the phone -> how near to the same file in FP32 on this host's CPU.
CPU_GATES = {Precision.FP16: Bounds(psnr_db=55.0), Precision.FP32: Bounds(max_abs=1e-4)}


@dataclass(frozen=True)
class TorchReference:
    """The PyTorch network that a file was made from.

    Attributes:
        network: It, as a function; None where there is none.
        missing: Why there is none.
        gates: Arithmetic on the phone -> how near to the network.
        weakening: What drawn inputs go through first, as in `edgesr verify`: a network that leaves
            its own range on one says nothing of a file there. Photographs are taken as they are.
    """

    network: Network | None = None
    missing: str = ""
    gates: Mapping[Precision, Bounds] = field(default_factory=dict[Precision, Bounds])
    weakening: Weakening | None = None


@dataclass(frozen=True, eq=False)
class Sample:
    """A picture and what is made of it here.

    Attributes:
        name: For reports.
        lr_nhwc: RGB, 1 x height x width x 3, float32 in [0, 1].
        hr_nhwc: The file's output on this host's CPU in FP32 arithmetic.
        torch_nhwc: PyTorch's output; None where it is not compared with.
    """

    name: str
    lr_nhwc: Float32Array
    hr_nhwc: Float32Array
    torch_nhwc: Float32Array | None = None


@dataclass(frozen=True, eq=False)
class Expected:
    """What a file gives on this host.

    Attributes:
        input_name: Name of its input tensor.
        shape: Its sizes.
        samples: Pictures with their results.
        torch: The network that it was made from; None where nobody asked for it.
    """

    input_name: str
    shape: ModelShape
    samples: tuple[Sample, ...]
    torch: TorchReference | None = None


def expect(path: Path, pictures: Sequence[Path], torch: TorchReference | None = None) -> Expected:
    """Run a file on this host's CPU, and the network that it was made from.

    Args:
        path: A super-resolution `.tflite`.
        pictures: Pictures, of which the middle is used; none for the drawn test card.
        torch: The network; None to compare with the CPU alone.

    Raises:
        ModelFileError: The file is none that edgesr runs, or not made from the network.
        PictureError: A picture cannot be read, or is smaller than the file's input.
    """
    runner = open_model(path)
    graph = parse_model(read_model_bytes(path), str(path))["subgraphs"][0]
    name = tensor_name(graph["tensors"][graph["inputs"][0]])
    shape = runner.shape
    inputs = [(picture.name, _network_input(_crop(picture, shape))) for picture in pictures]
    if not inputs:
        inputs = [_test_card(shape, torch)]
    samples: list[Sample] = []
    for called, lr_nhwc in inputs:
        wanted = None if torch is None or torch.network is None else torch.network(lr_nhwc)
        if wanted is not None and wanted.shape != shape.hr_nhwc:
            raise ModelFileError(
                f"{path} makes {list(shape.hr_nhwc)} of a picture, its PyTorch network "
                f"{list(wanted.shape)}: not the same network"
            )
        samples.append(Sample(called, lr_nhwc, runner.run(lr_nhwc).copy(), wanted))
    return Expected(name, shape, tuple(samples), torch)


def _test_card(shape: ModelShape, torch: TorchReference | None) -> tuple[str, Float32Array]:
    """The test card and its name, in the contrast that the network can take."""
    lr_nhwc = _network_input(draw_test_card(shape.height, shape.width))
    if torch is None or torch.weakening is None:
        return "test card", lr_nhwc
    lr_nhwc, contrast = torch.weakening(lr_nhwc)
    return "test card" + (f" at {contrast:g} of its contrast" if contrast < 1 else ""), lr_nhwc


def _network_input(hwc_u8: NDArray[np.uint8]) -> Float32Array:
    return (hwc_u8.astype(np.float32) / np.float32(255))[np.newaxis]


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
            results += compare_all(sample, hr_nhwc, setting.precision, expected.torch)
    return results, invocations


def compare_all(
    sample: Sample, got: Float32Array, precision: Precision, torch: TorchReference | None
) -> list[Fidelity]:
    """How far an output is from this host's and, where there is one, from the network's."""
    results = [compare(sample.name, got, sample.hr_nhwc, CPU_GATES[precision], "host CPU")]
    if torch is not None and sample.torch_nhwc is not None:
        gate = torch.gates[precision]
        results.append(compare(sample.name, got, sample.torch_nhwc, gate, "PyTorch"))
    return results


def compare(
    picture: str, got: Float32Array, wanted: Float32Array, gate: Bounds, reference: Reference
) -> Fidelity:
    """How far two outputs are apart, and whether they are near enough."""
    finite = bool(np.isfinite(got).all())
    psnr_db = largest = None
    if finite:
        difference = np.abs(got - wanted)
        largest = float(difference.max())
        mse = float(np.mean(np.square(difference), dtype=np.float64))
        psnr_db = None if mse == 0.0 else -10 * math.log10(mse)
    return Fidelity(
        picture=picture,
        reference=reference,
        psnr_db=psnr_db,
        max_abs=largest,
        finite=finite,
        gate=str(gate),
        passed=largest is not None and not gate.is_low(psnr_db) and not gate.is_far(largest),
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
